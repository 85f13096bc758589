"""Another data set inside a strategy: a data choice that stands at ``strategy.pretrain.data`` instead of ``data``."""

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from trigan.config.settings import EXTERNAL
from trigan.errors import TriganError

_PARTS = EXTERNAL.split(".")


def node_of(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The data choice of a plain config, or None if there is none."""
    node: Any = config
    for part in _PARTS:
        node = node.get(part) if isinstance(node, Mapping) else None
    return node if isinstance(node, dict) and "source" in node else None


def sources_alone(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the choice's source in its place; beside it stand only settings that the source refers to."""
    node = node_of(config)
    return config if node is None else _with(config, _PARTS, node["source"])


def _with(node: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    inner = value if len(path) == 1 else _with(node[path[0]], path[1:], value)
    return {**node, path[0]: inner}


def load(config: Mapping[str, Any], cache: Path) -> Any:
    """The data set (`trigan.data.types.Source`) of the choice, from the cache where it has been read before, or None.

    Raises:
        TriganError: as its source does, with the settings' names as they are here.
    """
    node = node_of(config)
    if node is None:
        return None
    try:
        return instantiate(node["source"], _convert_="all").load(cache)
    except TriganError as error:
        raise type(error)(renamed(str(error))) from error


def fingerprint(config: Mapping[str, Any], cache: Path) -> str | None:
    """The fingerprint of the choice's data set, each read once in a process; None if there is none."""
    node = node_of(config)
    return None if node is None else _fingerprint(json.dumps(node, sort_keys=True), cache)


@functools.lru_cache
def _fingerprint(node: str, cache: Path) -> str:
    config: Any = json.loads(node)
    for part in reversed(_PARTS):
        config = {part: config}
    return str(load(config, cache).fingerprint)


def renamed(text: str) -> str:
    """What a source says of its settings, ``data.root`` and the like, in terms of this place."""
    return re.sub(r"(?<![\w./])data(?=[.=])", EXTERNAL, text)
