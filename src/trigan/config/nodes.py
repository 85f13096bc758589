"""The nodes of a plain config, by dotted keys."""

from collections.abc import Iterator, Mapping
from typing import Any


def walk(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every node and leaf, outermost first, as (dotted key, value); lists count by index."""
    yield key, node
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, item in items:
        yield from walk(item, f"{key}.{name}" if key else str(name))


def targets(node: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node with a ``_target_``, as `walk` gives them."""
    return ((name, inner) for name, inner in walk(node, key) if isinstance(inner, dict) and "_target_" in inner)


def dotted_keys(node: Any, prefix: str = "") -> list[str]:
    """Every key outside lists, inner nodes included."""
    keys = []
    for name, value in node.items() if isinstance(node, dict) else ():
        key = f"{prefix}.{name}" if prefix else str(name)
        keys += [key, *dotted_keys(value, key)]
    return keys


def node_at(node: Any, key: str) -> Any:
    """The value at a dotted key, or None."""
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
