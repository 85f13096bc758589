"""Settings that a user gave and that the chosen strategy does not read."""

import copy
import json
import re
from collections.abc import Iterable
from typing import Any

from trigan.config.nodes import node_at

#: The groups that strategies refer to; a setting of theirs is unused where nothing refers to it.
SHARED_GROUPS = (
    *("architecture", "loss", "optimizer", "classifier", "augmentation", "mix", "balance", "selection", "recipe"),
    "discriminator_augmentation",
    "data.suggested",
)
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def find_unused_settings(
    config: dict[str, Any], given: Iterable[str], unused_settings: Iterable[str] = ()
) -> list[str]:
    """Those of the dotted keys and groups in ``given`` that have no effect in a config with unresolved interpolations.

    ``unused_settings`` are names below ``strategy`` of settings that the strategy itself ignores as it is set.
    """
    own = [f"strategy.{name}" for name in unused_settings]
    strategy = copy.deepcopy(config.get("strategy"))
    for key in own:
        parent, _, name = key.rpartition(".")
        if isinstance(node := node_at({"strategy": strategy}, parent), dict):
            node.pop(name, None)
    read: set[str] = set()
    queue = [strategy]
    while queue:
        new = set(_REFERENCE.findall(json.dumps(queue.pop()))) - read
        read |= new
        queue += [node_at(config, key) for key in new]

    def is_unused(key: str) -> bool:
        if any(_within(key, ignored) for ignored in own):
            return True
        key = key.replace("/", ".")  # of a group inside another
        shared = any(_within(key, group) for group in SHARED_GROUPS)
        return shared and not any(_within(key, other) or _within(other, key) for other in read)

    return [key for key in given if is_unused(key)]


def _within(key: str, parent: str) -> bool:
    return f"{key}.".startswith(f"{parent}.")
