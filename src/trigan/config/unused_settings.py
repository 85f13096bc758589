"""Settings that a user gave and that nothing in the chosen strategy reads."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

#: Where such settings lie: groups that strategies take what they need from.
SHARED_GROUPS = (
    "architecture",
    "loss",
    "optimizer",
    "classifier",
    "augmentation",
    "mix",
    "balance",
    "selection",
    "data.suggested",
)
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def find_unused_settings(
    config: dict[str, Any], given: Iterable[str], unused_settings: Iterable[str] = ()
) -> list[str]:
    """Those of the keys in ``given`` that have no effect.

    Args:
        config: plain values with interpolations as they stand.
        given: dotted keys, or names of groups, that the user wrote.
        unused_settings: settings of the strategy itself that it does not read as it is set, by their names below ``strategy``.
    """
    own = {f"strategy.{name}" for name in unused_settings}
    read = _reached(config, _without(config.get("strategy"), "strategy", own), set())
    return [key for key in given if _is_idle(key, read, own)]


def _is_idle(key: str, read: set[str], unused_settings: set[str]) -> bool:
    if any(_within(key, place) for place in unused_settings):
        return True
    shared = any(_within(key, place) for place in SHARED_GROUPS)
    return shared and not any(_within(key, other) or _within(other, key) for other in read)


def _without(node: Any, key: str, unused_settings: set[str]) -> Any:
    if not isinstance(node, dict):
        return node
    below = {name: f"{key}.{name}" for name in node}
    return {
        name: _without(item, below[name], unused_settings)
        for name, item in node.items()
        if below[name] not in unused_settings
    }


def _within(key: str, place: str) -> bool:
    return f"{key}.".startswith(f"{place}.")


def _reached(config: dict[str, Any], node: Any, seen: set[str]) -> set[str]:
    """Every key that ``node`` refers to, and what those refer to."""
    for key in _references(node):
        if key not in seen:
            seen.add(key)
            _reached(config, _at(config, key), seen)
    return seen


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for item in node.values():
            yield from _references(item)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, str):
        yield from _REFERENCE.findall(node)


def _at(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config
