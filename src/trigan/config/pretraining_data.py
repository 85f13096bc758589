"""Another data set inside a strategy: a choice of the group ``data`` at ``strategy.pretrain.data``."""

import re
from collections.abc import Mapping
from typing import Any

from trigan.config.settings import PRETRAINING_DATA_KEY

_OUTER, _MIDDLE, _INNER = PRETRAINING_DATA_KEY.split(".")


def pretraining_source(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The node of the choice's source in a plain config, or None."""
    node: Any = config
    for part in (_OUTER, _MIDDLE, _INNER):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node["source"] if isinstance(node, dict) and "source" in node else None


def unwrap_pretraining_source(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the choice replaced by its source; the choice's other settings only serve the source."""
    source = pretraining_source(config)
    if source is None:
        return config
    strategy = config[_OUTER]
    return {**config, _OUTER: {**strategy, _MIDDLE: {**strategy[_MIDDLE], _INNER: source}}}


def with_pretraining_keys(text: str) -> str:
    """A source's message about its settings (``data.root``) with the keys of this choice."""
    return re.sub(r"(?<![\w./])data(?=[.=])", PRETRAINING_DATA_KEY, text)
