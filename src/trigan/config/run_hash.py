"""The run hash: which settings make two runs the same run."""

import dataclasses
from typing import Any

from hydra._internal.utils import _locate

from trigan import PROTOCOL_VERSION
from trigan.config.settings import OBSERVERS, PLACES

#: Hexadecimal characters of a run hash (80 bits).
LENGTH = 20


def run_hash(config: dict[str, Any], fingerprint: str, protocol: int | None = None, external: str | None = None) -> str:
    """SHA-256 of what a result depends on, as 20 hexadecimal characters.

    In it: the resolved config, the fingerprint of the data set, the protocol version, and the search that chose the
    settings, if one did: it has looked at labels. Not in it: the observers (``paths``, ``runtime``, ``logger``,
    ``callbacks`` and the labels ``study`` and ``row``), where the data lie (``settings.PLACES``), and dataclass fields
    marked ``metadata={"identity": False}``. A field marked with a function counts by what that gives for it: a file by
    its content. ``protocol``: another version than this one. ``external``: the fingerprint of another data set that the
    strategy trains on.
    """
    from trigan.identity import digest  # imports torch

    tuned = (config.get("tuned") or {}).get("search") is not None
    aside = [key for key in OBSERVERS if not (key == "tuned" and tuned)]
    kept = {key: _identity(value, key) for key, value in config.items() if key not in aside}
    data = {"data": fingerprint, **({"external": external} if external else {})}
    return digest({"config": kept, **data, "protocol": protocol or PROTOCOL_VERSION}, LENGTH)


def _identity(node: Any, key: str) -> Any:
    if isinstance(node, list):
        return [_identity(item, f"{key}.{index}") for index, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    rules = _rules(node["_target_"]) if "_target_" in node else {}
    kept = {name: value for name, value in node.items() if rules.get(name, True) and f"{key}.{name}" not in PLACES}
    counted = {name: rule(kept[name]) for name, rule in rules.items() if callable(rule) and name in kept}
    return {name: _identity(value, f"{key}.{name}") for name, value in {**kept, **counted}.items()}


def _rules(target: str) -> dict[str, Any]:
    """How each field of a node's class counts: True, False, or by a function of its value."""
    kind = _locate(target)
    if not dataclasses.is_dataclass(kind):
        return {}
    return {f.name: f.metadata.get("identity", True) for f in dataclasses.fields(kind)}
