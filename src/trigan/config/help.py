"""The text of ``trigan run --help``: groups, choices, the settings that are used most, and examples."""

from typing import Any

from omegaconf import OmegaConf

from trigan.config.compose import Composer, chosen, unresolved
from trigan.config.schema import show

_OPTIONS = """\
options:
  --cfg job|hydra|all    print the config instead of running (--resolve fills in interpolations, --package KEY one node)
  --info [WHAT]          where the config comes from: all, config, defaults, defaults-tree, plugins, searchpath
  -m, --multirun         one run for each combination of a=1,2 b=x,y, each a process of its own
  --workers N            with -m: runs at a time (default: one per core)
  --timeout MINUTES      with -m: end a run that takes longer
  --retry                with -m: run again what failed in an earlier call, too
  --force                compute again what is finished
  --validation-only      end with the validation scores and never open the test set (as the trials of a search do)
  --settings FILE        settings from a file, e.g. a search's best.yaml, below those that are written here
  --config-dir DIR       a folder with groups of your own, e.g. DIR/architecture/mine.yaml
  --traceback            show Python's traceback of an error
"""

_EXAMPLES = """\
examples:
  trigan run
  trigan run strategy=joint regime.labels_per_class=10 trial=3
  trigan run data=mnist data.root=PATH architecture=cgan strategy=joint trainer=cpu
  trigan run debug=fast strategy=augment                     end to end in seconds, kept apart under outputs/debug
  trigan run strategy=features --cfg job --package strategy  the settings of a strategy
  trigan run -m strategy=baseline,augment,features,joint trial=0,1,2
"""

#: Shown with their defaults where the composed config has them.
COMMON_SETTINGS = (
    ("trial", "which draw of split and labels"),
    ("seed", "weights, order and noise; the trial's number by default"),
    ("data.root", "where the images lie"),
    ("data.image_size", "images are resized to this"),
    ("regime.labels_per_class", "the label budget; null: all"),
    ("regime.validation", "labels that validate"),
    ("architecture.width", "channels next to the image"),
    ("trainer.devices", "processes of one run"),
    ("trainer.precision", "32-true, bf16-mixed or 64-true"),
    ("paths.outputs", "where everything is written"),
    ("runtime.threads", "torch threads of a process"),
)


def run_help(composer: Composer) -> str:
    """The help, from the groups and defaults as they are."""
    cfg = composer.base([])
    default, plain = chosen(cfg), unresolved(cfg)
    names = [*(n for n in default if n in composer.groups), *(n for n in composer.groups if n not in default)]
    names = [name for name in names if len(composer.groups[name]) > 1 or "/" not in name]
    width = max(map(len, names))
    groups = []
    for name in names:
        marked = [f"[{option}]" if option == default.get(name) else option for option in composer.groups[name]]
        groups.append(f"  {name:{width}}  {', '.join(marked)}")
    return "\n".join(
        [
            "usage: trigan run [options] [group=choice ...] [setting=value ...]",
            "\nCompose one run, check it, train, evaluate, write outputs/runs/<hash>/record.json, print that folder.",
            "The same command again gives the finished result at once; a run that was stopped goes on.\n",
            "groups ([default]):",
            *groups,
            "\nthe most used settings, with defaults (all of them: trigan run --cfg job):",
            *_common(plain),
            "",
            _OPTIONS,
            _EXAMPLES,
        ]
    )


def _common(plain: dict[str, Any]) -> list[str]:
    config, missing = OmegaConf.create(plain), object()
    rows = []
    for key, text in COMMON_SETTINGS:
        value = OmegaConf.select(OmegaConf.create(plain), key, default=missing) if key != "seed" else "${trial}"
        if value is not missing and OmegaConf.select(config, key.rpartition(".")[0] or key, default=None) is not None:
            rows.append((f"{key}={show(value)}", text))
    width = max(len(setting) for setting, _ in rows)
    return [f"  {setting:{width}}  {text}" for setting, text in rows]
