"""How trackers name and group a run: data set, labels, row and trial, as a person reads them."""

from pathlib import Path
from typing import Any

from trigan.config.compose import RunConfig
from trigan.runs.trained_run import RunLocation
from trigan.tracking import RunInfo

_PUBLIC = ("cifar10", "cifar100", "digits", "fashion_mnist", "kmnist", "mnist", "stl10", "svhn")


def run_info(composed: RunConfig, location: RunLocation) -> RunInfo:
    """The run's names: runs that differ in their trial alone share a group.

    A validation-only run has an id of its own, as the ordinary run of the same settings has the same hash.
    """
    config, choices = composed.config, composed.choices
    data, strategy = f"{data_name(composed)} {labels_name(config['regime'])}", str(choices.get("strategy"))
    study, row = config.get("study"), config.get("row") or strategy
    only = ("validation-only",) if location.validation_only else ()
    chosen = {"data": data_name(composed), "labels": labels_name(config["regime"])}
    chosen |= {name: str(choices.get(name)) for name in ("architecture", "loss")}
    return RunInfo(
        id="-".join((location.run, *only)),
        name=f"{data} {row} #{composed.trial}",
        group=f"{study}/{row}/{data}" if study else f"{data}/{row}",
        job_type=strategy,
        tags=(*(f"{key}:{name}" for key, name in chosen.items()), f"trial:{composed.trial}", *only),
        directory=location.directory,
    )


def tracked_config(composed: RunConfig) -> dict[str, Any]:
    """The config for trackers, with ``choices``: the names of what was chosen, flat, to filter and group by."""
    chosen = {group.replace("/", "_"): one for group, one in composed.choices.items() if one and "@" not in group}
    named = {"data": data_name(composed), "labels": labels_name(composed.config["regime"])}
    return {**composed.config, "choices": {**chosen, **named}}


def shows_real_images(composed: RunConfig) -> bool:
    """Whether trackers may show training images: those of a public data set, or of any if the user asks for them."""
    return composed.choices.get("data") in _PUBLIC or composed.config["callbacks"].get("real_columns") is not None


def data_name(composed: RunConfig) -> str:
    """The data set's name; of the user's own images that of the repository, folder or file."""
    data = composed.config["data"]
    own = composed.choices.get("data") in ("folder", "hub", "npz", "table")
    return Path(str(data.get("repo") or data["root"])).name if own else str(composed.choices.get("data"))


def labels_name(regime: dict[str, Any]) -> str:
    """``10/class``, ``5% labels``, ``all labels`` or ``split file``, and whether there is imbalance or noise."""
    number, fraction = regime.get("labels_per_class"), regime.get("fraction")
    if "labels_per_class" not in regime:
        return "split file"
    amount = f"{number}/class" if number else f"{100 * fraction:g}% labels" if fraction else "all labels"
    return " ".join((amount, *(name for name in ("imbalance", "noise") if regime.get(name))))
