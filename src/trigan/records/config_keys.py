"""The keys of a record's config: as dotted text, and which of them tell no two rows apart."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

#: Parts of a config that make no row: they change nothing that a run computes, or show in other settings.
IGNORED_SETTINGS = (
    *("paths", "runtime", "logger", "callbacks", "study", "row", "hydra"),
    *("data.root", "data.source.root", "data.suggested", "regime.split"),
    *(f"strategy.pretrain.data.{part}" for part in ("root", "source.root", "suggested")),
    *(f"evaluation.{name}" for name in ("generator_classifiers", "attacks", "eps", "eps_l2", "attack_steps")),
    *("evaluation.corruptions", "evaluation.robustness_images"),
    *(f"trainer.{name}" for name in ("accelerator", "devices", "checkpoint_every", "graph", "compile", "images")),
)
#: Last parts of the keys that vary within a row.
REPEAT_KEYS = ("trial", "seed")


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config as dotted keys; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):  # ten times as fast as a test for a Mapping
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def repeated_config(config: Mapping[str, Any]) -> str:
    """A config without its trial and seed, as text: equal for the runs of a row and column, so a key for caches."""
    return json.dumps({key: value for key, value in config.items() if key not in REPEAT_KEYS})


@cache
def is_ignored(key: str) -> bool:
    """Whether a dotted key tells no two rows and no two columns apart."""
    ignored = any(key == part or key.startswith(f"{part}.") for part in IGNORED_SETTINGS)
    return ignored or key.rsplit(".", 1)[-1] in REPEAT_KEYS
