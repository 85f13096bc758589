"""The run hash: which settings make two runs the same run."""

import dataclasses
from typing import Any

from hydra._internal.utils import _locate

from trigan import PROTOCOL_VERSION
from trigan.cli.settings import OBSERVERS, PLACES

#: Hexadecimal characters of a run hash (80 bits).
LENGTH = 20


def run_hash(config: dict[str, Any], fingerprint: str) -> str:
    """SHA-256 of what a result depends on, as 20 hexadecimal characters.

    In it: the resolved config, the fingerprint of the data set, and the protocol version. Not in it: the observers
    (``paths``, ``runtime``, ``logger``, ``callbacks`` and the labels ``study`` and ``row``), where the data lie
    (``settings.PLACES``), and dataclass fields marked ``metadata={"identity": False}``.
    """
    from trigan.artifacts.identity import digest  # imports torch

    kept = {key: _identity(value, key) for key, value in config.items() if key not in OBSERVERS}
    return digest({"config": kept, "data": fingerprint, "protocol": PROTOCOL_VERSION}, LENGTH)


def _identity(node: Any, key: str) -> Any:
    if isinstance(node, list):
        return [_identity(item, f"{key}.{index}") for index, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    left_out = _observing_fields(node["_target_"]) if "_target_" in node else set()
    inner = {name: (value, f"{key}.{name}") for name, value in node.items() if name not in left_out}
    return {name: _identity(value, full) for name, (value, full) in inner.items() if full not in PLACES}


def _observing_fields(target: str) -> set[str]:
    kind = _locate(target)
    if not dataclasses.is_dataclass(kind):
        return set()
    return {f.name for f in dataclasses.fields(kind) if not f.metadata.get("identity", True)}
