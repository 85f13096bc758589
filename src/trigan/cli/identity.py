"""The run hash: which settings make two runs the same run."""

import dataclasses
from typing import Any

from hydra.utils import get_object

from trigan import PROTOCOL_VERSION
from trigan.cli.settings import OBSERVERS

#: Hexadecimal characters of a run hash (80 bits).
LENGTH = 20


def run_hash(config: dict[str, Any], fingerprint: str) -> str:
    """SHA-256 of what a result depends on, as 20 hexadecimal characters.

    In it: the resolved config without its observers (``paths``, ``runtime``, ``logger``, ``callbacks`` and the labels
    ``study`` and ``row``) and without dataclass fields marked ``metadata={"identity": False}`` (devices, worker counts,
    where a data set lies), the fingerprint of the data set, and the protocol version.
    """
    from trigan.artifacts.identity import digest  # imports torch

    kept = {key: _identity(value) for key, value in config.items() if key not in OBSERVERS}
    return digest({"config": kept, "data": fingerprint, "protocol": PROTOCOL_VERSION}, LENGTH)


def _identity(node: Any) -> Any:
    if isinstance(node, list):
        return [_identity(item) for item in node]
    if not isinstance(node, dict):
        return node
    left_out = _observing_fields(node["_target_"]) if "_target_" in node else set()
    return {key: _identity(value) for key, value in node.items() if key not in left_out}


def _observing_fields(target: str) -> set[str]:
    kind = get_object(target)
    if not dataclasses.is_dataclass(kind):
        return set()
    return {f.name for f in dataclasses.fields(kind) if not f.metadata.get("identity", True)}
