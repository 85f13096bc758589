"""What every strategy is, and what it hands back: something that classifies images, and an account of what it saw."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from trigan.data.inputs import Input, Inputs
from trigan.data.types import DataSpec, TrainingView
from trigan.strategies.stage_runner import StageRunner


@dataclass(frozen=True)
class DataUsed:
    """How many images a row may see: labelled, unlabelled, for selection, and from other data sets."""

    L: int
    U: int = 0
    V: int = 0
    X: int = 0


@dataclass(frozen=True)
class Outcome:
    """A strategy's result, frozen before the test set is opened.

    ``classifier`` maps images, float (N, C, S, S) in [-1, 1], to logits (N, K); its ``embed``, if it has one, gives
    what its last layer sees, (N, F). ``probabilistic`` says whether the logits' softmax means anything. ``generator``
    is what samples come from, where there is one; ``weights`` are all players. ``snapshots``: the
    classifier along its last fit, by images seen, where ``selection.snapshots`` asks for it; for a curve of test error.
    """

    classifier: nn.Module
    weights: Mapping[str, nn.Module]
    data_used: DataUsed
    rule: Literal["last", "val"]
    selected_step: int
    status: str = "finished"
    probabilistic: bool = True
    generator: nn.Module | None = None
    stamps: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    snapshots: Mapping[int, nn.Module] = field(default_factory=dict)

    def classify(self, images: Tensor) -> Tensor:
        """Logits (N, K) for images float (N, C, S, S) in [-1, 1]."""
        logits: Tensor = self.classifier(images)
        return logits


class Strategy(Protocol):
    """A recipe of stages, as a frozen dataclass.

    It may have ``unused_settings``: names of those of its settings that have no effect beside the others. A run warns of them.
    """

    def run(self, view: TrainingView, runner: StageRunner) -> Outcome:
        """Do the recipe on what may be seen; the test set is out of reach."""
        ...

    def skeleton(self, spec: DataSpec, shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> dict[str, nn.Module]:
        """Networks to load a finished run's weights into: ``classifier`` and, if there is one, ``generator``.

        ``shapes`` gives, for each of them, the shapes of the tensors that were saved.
        """
        ...


def labelled_inputs(view: TrainingView) -> dict[str, Input]:
    """The inputs that every classifier's fit gets: ``labelled``, and ``validation`` where the regime has it."""
    inputs = {"labelled": Input(view.labelled.images, view.labelled.labels)}
    if view.validation is not None:
        inputs["validation"] = Input(view.validation.images, view.validation.labels)
    return inputs


def selection_labels(inputs: Inputs, rule: str) -> int:
    """How many labels selection used."""
    return len(inputs["validation"]) if rule == "val" else 0


def overall_status(runner: StageRunner) -> str:
    """``diverged`` if any stage did."""
    return "diverged" if any(trained.status == "diverged" for trained in runner.trained_stages) else "finished"
