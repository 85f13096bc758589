"""The texts of ``trigan run --help``, ``--cfg`` and ``--info``."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trigan.config.compose import CONFIG_NAME, Composer, chosen, unresolved
from trigan.config.nodes import dotted_keys
from trigan.config.override_rules import first_line
from trigan.config.schema import show
from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError

#: What ``--info`` can show.
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")

_HEAD = """\
Compose one run, check it, train, evaluate, write outputs/runs/<hash>/record.json, print that folder.
The same command again gives the finished result at once; a run that was stopped continues.

groups ([default], or what this line chooses):"""

#: Shown with their defaults where the composed config has them.
_COMMON_SETTINGS = (
    ("trial", "which draw of split and labels"),
    ("seed", "weights, order and noise; the trial's number by default"),
    ("data.root", "the folder or file of the images"),
    ("data.image_size", "images are resized to this"),
    ("regime.labels_per_class", "the label budget; null: all"),
    ("regime.validation", "labels for validation"),
    ("architecture.width", "channels next to the image"),
    ("trainer.devices", "processes of one run"),
    ("trainer.precision", "32-true, tf32 (GPU), bf16-mixed or 64-true"),
    ("paths.outputs", "where everything is written"),
    ("runtime.threads", "torch threads of a process"),
    ("runtime.jobs_per_device", "jobs of a study that share a GPU, a number or auto"),
    ("trainer.graph", "true: replay steps as CUDA graphs, several times as fast for small networks"),
)


def run_help(composer: Composer, arguments: Sequence[str] = ()) -> str:
    """What `trigan run` does, its groups and its most used settings, with the choices and values of ``arguments``."""
    config = composer.load(composer.parse(arguments))
    default = chosen(config)
    names = [*(n for n in default if n in composer.groups), *(n for n in composer.groups if n not in default)]
    groups = {}
    for name in names:
        if len(composer.groups[name]) > 1 or "/" not in name:
            options = composer.groups[name]
            groups[name] = ", ".join(f"[{option}]" if option == default.get(name) else option for option in options)
    common = _columns(_common_settings(unresolved(config)))
    title = "\nthe most used settings, with defaults or what this line gives (all of them: trigan run --cfg job):"
    return "\n".join([_HEAD, *_columns(groups), title, *common])


def _columns(rows: dict[str, str]) -> list[str]:
    width = max(map(len, rows))
    return [f"  {left:{width}}  {right}" for left, right in rows.items()]


def _common_settings(plain: dict[str, Any]) -> dict[str, str]:
    config, missing, rows = OmegaConf.create(plain), object(), {}
    for key, text in _COMMON_SETTINGS:
        value = "${trial}" if key == "seed" else OmegaConf.select(config, key, default=missing)
        if value is not missing and OmegaConf.select(config, key.rpartition(".")[0] or key, default=None) is not None:
            rows[f"{key}={show(value)}"] = text
    return rows


def config_text(
    composer: Composer, arguments: Sequence[str], cfg: str, package: str | None, resolve: bool, info: str | None
) -> str:
    """Hydra's text for ``--cfg`` (job, hydra or all) or ``--info`` (one of ``INFO``), after trigan's checks."""
    overrides = composer.parse(arguments)
    config, words = composer.load(overrides), composer.words(overrides)
    if package and OmegaConf.select(config, package, throw_on_missing=False) is None:
        hint = nearest_hint(package, dotted_keys(unresolved(config)))
        raise ConfigError(f"--package {package}: no such node{hint}")
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            if info:
                composer.hydra.show_info(info, CONFIG_NAME, words)
            else:
                composer.hydra.show_cfg(CONFIG_NAME, words, cfg, package, resolve)
    except OmegaConfBaseException as error:
        raise ConfigError(first_line(error)) from error
    return text.getvalue()
