"""Another data set inside a strategy: a data choice that stands at ``strategy.pretrain.data`` instead of ``data``."""

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from trigan.config.settings import PRETRAINING_DATA_KEY
from trigan.errors import TriganError

_PARTS = PRETRAINING_DATA_KEY.split(".")


def pretraining_node(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The data choice of a plain config, or None if there is none."""
    node: Any = config
    for part in _PARTS:
        node = node.get(part) if isinstance(node, Mapping) else None
    return node if isinstance(node, dict) and "source" in node else None


def unwrap_pretraining_source(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the choice's source in its place; beside it stand only settings that the source refers to."""
    node = pretraining_node(config)
    return config if node is None else _with(config, _PARTS, node["source"])


def _with(node: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    inner = value if len(path) == 1 else _with(node[path[0]], path[1:], value)
    return {**node, path[0]: inner}


def load(config: Mapping[str, Any], cache: Path) -> Any:
    """The data set (`trigan.data.types.ImageDataset`) of the choice, cached where it was read before, or None.

    Raises:
        TriganError: as its source does, with the settings' names as they are here.
    """
    node = pretraining_node(config)
    if node is None:
        return None
    try:
        return instantiate(node["source"], _convert_="all").load(cache)
    except TriganError as error:
        raise type(error)(with_pretraining_keys(str(error))) from error


def fingerprint(config: Mapping[str, Any], cache: Path) -> str | None:
    """The fingerprint of the choice's data set, each read once in a process; None if there is none."""
    node = pretraining_node(config)
    return None if node is None else _fingerprint(json.dumps(node, sort_keys=True), cache)


@functools.lru_cache
def _fingerprint(node: str, cache: Path) -> str:
    config: Any = json.loads(node)
    for part in reversed(_PARTS):
        config = {part: config}
    return str(load(config, cache).fingerprint)


def with_pretraining_keys(text: str) -> str:
    """What a source says of its settings, ``data.root`` and the like, in terms of this place."""
    return re.sub(r"(?<![\w./])data(?=[.=])", PRETRAINING_DATA_KEY, text)
