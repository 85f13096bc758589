"""The interface of strategies, and their result: a classifier, fixed before the test set is opened."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import nn

from trigan.datasets.inputs import Input
from trigan.datasets.types import DataSpec, TrainingView
from trigan.errors import ConfigError
from trigan.strategies.stage_runner import StageRunner
from trigan.training.selection import Selection

#: For each saved network, the shapes of its tensors.
Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Outcome:
    """The result of a strategy, fixed before the test set is opened. What data it used, its view has counted.

    Attributes:
        weights: all networks to keep, by player; ``classifier`` maps images float (N, C, S, S) in [-1, 1] to logits
            (N, K), and its ``embed``, if it has one, to the input of its last layer, (N, F).
        rule: the selection rule that was applied.
        selected_step: the training step of the selected classifier.
        status: ``finished`` or ``diverged``.
        probabilistic: whether the softmax of the logits is a calibrated probability.
        stamps: marks that tables print beside the row.
        notes: further plain data for the record.
        snapshots: the classifier during its last fit, by images used.
    """

    weights: Mapping[str, nn.Module]
    rule: Literal["last", "val"]
    selected_step: int
    status: str = "finished"
    probabilistic: bool = True
    stamps: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    snapshots: Mapping[int, nn.Module] = field(default_factory=dict)

    @property
    def classifier(self) -> nn.Module:
        """The classifier."""
        return self.weights["classifier"]

    @property
    def generator(self) -> nn.Module | None:
        """The source of samples, if any."""
        return self.weights.get("generator")


class Strategy(Protocol):
    """A sequence of stages whose result is a classifier, as a frozen dataclass.

    Its optional ``unused_settings`` are names of settings without effect, given the others; a run warns about them.
    """

    def run(self, view: TrainingView, runner: StageRunner) -> Outcome:
        """Train all stages on the view, which has no test images."""

    def skeleton(self, spec: DataSpec, shapes: Shapes) -> dict[str, nn.Module]:
        """``classifier`` and, if any, ``generator``: networks to load a finished run's weights (of ``shapes``) into."""


def labelled_inputs(view: TrainingView, selection: Selection | None = None) -> dict[str, Input]:
    """The inputs of every classifier's fit: ``labelled``, and ``validation`` if it is selected on validation images.

    Without a ``selection`` the validation images are taken, and so counted, wherever the regime has some.
    """
    inputs = {"labelled": Input(view.labelled.images, view.labelled.labels)}
    validation = bool(view.sizes.validation)
    if validation if selection is None else selection.resolve(validation) == "val":
        inputs["validation"] = validation_input(view)
    return inputs


def validation_input(view: TrainingView) -> Input:
    """The validation images of a view that has some, which then count as used."""
    if view.validation is None:
        raise ValueError("this view has no validation images")
    return Input(view.validation.images, view.validation.labels)


def require_unlabelled(view: TrainingView, setting: str) -> None:
    """Raise a ConfigError if ``setting`` needs unlabelled images and the regime has none."""
    if view.sizes.unlabelled == 0:
        raise ConfigError(f"{setting} needs unlabelled images, and this regime has none; set regime.unlabelled=all")
