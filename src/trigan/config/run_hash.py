"""The run hash: which settings make two runs the same run."""

from typing import Any

from trigan.config.pretraining_data import unwrap_pretraining_source
from trigan.config.settings import UNHASHED_KEYS, Evaluation
from trigan.identity import digest
from trigan.version import PROTOCOL_VERSION


def run_hash(config: dict[str, Any], fingerprint: str, protocol: int | None = None, external: str | None = None) -> str:
    """SHA-256 of everything a result depends on, as 20 hexadecimal characters.

    Included: the objects and plain settings of the config (`trigan.identity.canonical_form`), the data set's
    fingerprint, the protocol version, ``tuned`` if a search chose the settings, since it used labels, and
    ``evaluation`` if it is not the default, so that runs without it keep their hash. Excluded:
    ``UNHASHED_KEYS``, the place of the data, and what a data choice suggests for other settings, which counts where it
    is used.

    Args:
        config: plain and resolved.
        fingerprint: of the data set.
        protocol: a version other than the current one.
        external: the fingerprint of another data set that the strategy trains on.
    """
    evaluation, default = Evaluation(**(config.get("evaluation") or {})), Evaluation()
    counted = {
        "tuned": (config.get("tuned") or {}).get("search") is not None,
        "evaluation": evaluation != default,
    }
    excluded = {key for key in UNHASHED_KEYS if not counted.get(key, False)}
    kept: dict[str, Any] = {
        key: value for key, value in unwrap_pretraining_source(config).items() if key not in excluded
    }
    if "evaluation" in kept:  # a setting that came later leaves the hashes of the others as they were
        kept["evaluation"] = {
            k: v for k, v in kept["evaluation"].items() if getattr(evaluation, k) != getattr(default, k)
        }
    if "source" in (kept.get("data") or {}):
        kept["data"] = kept["data"]["source"]
    data = {"data": fingerprint, **({"external": external} if external else {})}
    return digest({"config": kept, **data, "protocol": protocol or PROTOCOL_VERSION}, length=20)
