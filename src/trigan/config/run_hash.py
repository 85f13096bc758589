"""The run hash: which settings make two runs the same run."""

from typing import Any

from trigan import PROTOCOL_VERSION
from trigan.config.pretraining_data import unwrap_pretraining_source
from trigan.config.settings import UNHASHED_KEYS

#: Hexadecimal characters of a run hash (80 bits).
HASH_LENGTH = 20


def run_hash(config: dict[str, Any], fingerprint: str, protocol: int | None = None, external: str | None = None) -> str:
    """SHA-256 of what a result depends on, as 20 hexadecimal characters.

    In it: the objects that the resolved config describes (:func:`trigan.identity.canonical_form`), the plain settings beside
    them, the fingerprint of the data set, the protocol version, and the search that chose the settings, if one did: it
    has looked at labels. Not in it: the observers (``paths``, ``runtime``, ``logger``, ``callbacks`` and the labels
    ``study`` and ``row``), where the data lie, and what a data choice proposes for other settings: that counts where it
    is used.

    Args:
        config: plain and resolved.
        fingerprint: of the data set.
        protocol: another version than this one.
        external: the fingerprint of another data set that the strategy trains on.
    """
    from trigan.identity import digest  # imports torch

    tuned = (config.get("tuned") or {}).get("search") is not None
    aside = [key for key in UNHASHED_KEYS if not (key == "tuned" and tuned)]
    kept = {key: value for key, value in unwrap_pretraining_source(config).items() if key not in aside}
    if "source" in (kept.get("data") or {}):
        kept["data"] = kept["data"]["source"]
    data = {"data": fingerprint, **({"external": external} if external else {})}
    return digest({"config": kept, **data, "protocol": protocol or PROTOCOL_VERSION}, HASH_LENGTH)
