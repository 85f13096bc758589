"""Another data set inside a strategy: a choice of the group ``data`` at ``strategy.pretrain.data``."""

import re
from collections.abc import Mapping
from typing import Any

from trigan.config.nodes import node_at
from trigan.config.settings import PRETRAINING_DATA_KEY


def pretraining_source(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The node of the choice's source in a plain config, or None."""
    source: dict[str, Any] | None = node_at(config, f"{PRETRAINING_DATA_KEY}.source")
    return source


def unwrap_pretraining_source(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the choice replaced by its source; the choice's other settings only serve the source."""
    source = pretraining_source(config)
    if source is None:
        return config
    strategy = config["strategy"]
    return {**config, "strategy": {**strategy, "pretrain": {**strategy["pretrain"], "data": source}}}


def with_pretraining_keys(text: str) -> str:
    """A source's message about its settings (``data.root``) with the keys of this choice."""
    return re.sub(r"(?<![\w./])data(?=[.=])", PRETRAINING_DATA_KEY, text)
