"""C without a GAN: the rows that every gain is measured against."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from trigan.components import component
from trigan.data.augmentation import Augmentation
from trigan.data.inputs import Input, Inputs
from trigan.data.types import DataSpec, TrainingView
from trigan.errors import ConfigError
from trigan.rng import hash64
from trigan.samples.filters import outputs
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.strategies.strategy import DataUsed, Outcome, labelled_inputs, overall_status, selection_labels
from trigan.training.selection import accuracy
from trigan.training.stages.classifier_stage import ClassifierStage
from trigan.training.stages.criteria import ExtraImages, FixMatch

_log = logging.getLogger(__name__)


class UnlabelledMethod(Protocol):
    """What a baseline does with unlabelled images; ``uses_unlabelled`` says whether it looks at them at all."""

    @property
    def uses_unlabelled(self) -> bool: ...

    def prepare(
        self, stage: ClassifierStage, inputs: dict[str, Input], view: TrainingView, runner: StageRunner
    ) -> tuple[ClassifierStage, dict[str, Input]]:
        """The stage and the inputs with which C is finally trained."""
        ...


@component("baseline/labelled_only@1")
@dataclass(frozen=True)
class LabelledOnly:
    """Nothing: C sees labelled images alone."""

    @property
    def uses_unlabelled(self) -> bool:
        return False

    def prepare(
        self, stage: ClassifierStage, inputs: dict[str, Input], view: TrainingView, runner: StageRunner
    ) -> tuple[ClassifierStage, dict[str, Input]]:
        return stage, inputs


@component("baseline/self_training@1")
@dataclass(frozen=True)
class SelfTraining:
    """Pseudo-labels (Lee 2013): a teacher trained on L labels what it is sure of in U; C is trained on both."""

    threshold: float = 0.95
    weight: float = 1.0
    ratio: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"strategy.unlabelled.threshold: {self.threshold} must be a probability in [0, 1]")
        if self.weight < 0.0 or self.ratio <= 0.0:
            raise ConfigError(
                f"strategy.unlabelled: weight {self.weight} must be 0 or more, and ratio {self.ratio} above 0"
            )

    @property
    def uses_unlabelled(self) -> bool:
        return True

    def prepare(
        self, stage: ClassifierStage, inputs: dict[str, Input], view: TrainingView, runner: StageRunner
    ) -> tuple[ClassifierStage, dict[str, Input]]:
        require_unlabelled(view, "strategy.unlabelled=self_training")
        teacher = runner.train("teacher", stage, inputs).networks["classifier"]
        logits = runner.run_task("pseudo-labels", lambda: outputs(teacher, view.unlabelled))
        sure, labels = logits.softmax(1).max(1)
        kept = sure >= self.threshold
        inputs = {**inputs, "statistics": Input(view.training_images)}
        if not bool(kept.any()):
            _log.warning(
                "the teacher is sure of none of %d unlabelled images: C is trained on the labelled ones alone (see "
                "strategy.unlabelled.threshold)",
                len(kept),
            )
            return stage, inputs
        extra = Input(view.unlabelled[kept], labels[kept])
        weight = self.weight * min(1.0, len(extra) / len(view.labelled.labels))  # a handful is not half of the loss
        terms = (*stage.terms, ExtraImages(stage.augmentation, weight, self.ratio))
        return replace(stage, terms=terms), {**inputs, "extra": extra}


@component("baseline/fixmatch@1")
@dataclass(frozen=True)
class FixMatchTraining:
    """FixMatch on U, in the small: C's own classifier architecture, length and optimizer."""

    strong: Augmentation
    threshold: float = 0.95
    weight: float = 1.0
    ratio: int = 2

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold < 1.0:
            raise ConfigError(f"strategy.unlabelled.threshold: {self.threshold} must be a probability in [0, 1)")
        if self.weight < 0.0 or self.ratio < 1:
            raise ConfigError(
                f"strategy.unlabelled: weight {self.weight} must be 0 or more, and ratio {self.ratio} at least 1"
            )

    @property
    def uses_unlabelled(self) -> bool:
        return True

    def prepare(
        self, stage: ClassifierStage, inputs: dict[str, Input], view: TrainingView, runner: StageRunner
    ) -> tuple[ClassifierStage, dict[str, Input]]:
        require_unlabelled(view, "strategy.unlabelled=fixmatch")
        term = FixMatch(stage.augmentation, self.strong, self.threshold, self.weight, self.ratio)
        pool = Input(view.training_images)
        return replace(stage, terms=(*stage.terms, term)), {**inputs, "unlabelled": pool}


@component("strategy/baseline@1")
@dataclass(frozen=True)
class Baseline:
    """A classifier on labelled images; with ``unlabelled`` it sees U too.

    ``matched_flops`` gives it another row's compute, spent on longer training, on restarts of which the best on the
    validation labels is taken, or on an ensemble (mean of probabilities).
    """

    classifier: ClassifierStage
    unlabelled: UnlabelledMethod = field(default_factory=LabelledOnly)
    matched_flops: float | None = None
    matched_by: Literal["longer", "restarts", "ensemble"] = "longer"

    def __post_init__(self) -> None:
        if self.matched_flops is not None and self.matched_flops <= 0:
            raise ConfigError(f"strategy.matched_flops: {self.matched_flops} must be above 0")
        if self.matched_flops is not None and isinstance(self.unlabelled, SelfTraining):
            raise ConfigError(
                "strategy.matched_flops goes with strategy.unlabelled=none or fixmatch, not self_training"
            )
        if self.matched_by != "longer" and self.classifier.selection.snapshots is not None:
            raise ConfigError(
                f"selection.snapshots: strategy.matched_by={self.matched_by} has several fits, and a curve is one fit's; take "
                "strategy.matched_by=longer or selection.snapshots=null"
            )

    def run(self, view: TrainingView, runner: StageRunner) -> Outcome:
        if self.matched_flops is not None and self.matched_by == "restarts" and view.validation is None:
            raise ConfigError(
                "strategy.matched_by=restarts chooses on validation labels, and this regime has none; take "
                "strategy.matched_by=longer or ensemble, or regime.validation=large"
            )
        stage, inputs = self.unlabelled.prepare(self.classifier, labelled_inputs(view), view, runner)
        stamps: tuple[str, ...] = ()
        if self.matched_flops is None:
            members = [runner.train("classifier", stage, inputs)]
        else:
            members = self._matched(stage, inputs, runner, self.matched_flops)
            stamps = (f"matched-{self.matched_by}",)
        rule = stage.selection.resolve("validation" in inputs)
        if self.matched_by == "restarts" and self.matched_flops is not None:
            rule = "val"
        notes = {}
        if isinstance(self.unlabelled, SelfTraining):
            kept = len(inputs["extra"]) if "extra" in inputs else 0
            notes, stamps = {"pseudo_labelled": kept}, (*stamps, *(() if kept else ("no-pseudo-labels",)))
        networks = [member.networks["classifier"] for member in members]
        classifier = networks[0] if len(networks) == 1 else Ensemble(networks).eval()
        sees = DataUsed(
            L=len(view.labelled.labels),
            U=len(view.unlabelled) if self.unlabelled.uses_unlabelled else 0,
            V=selection_labels(inputs, rule),
        )
        return Outcome(
            classifier,
            {"classifier": classifier},
            sees,
            rule,
            members[0].step,
            overall_status(runner),
            stamps=stamps,
            notes=notes,
            snapshots=members[0].snapshots,
        )

    def skeleton(self, spec: DataSpec, shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> dict[str, nn.Module]:
        members = {name.split(".")[1] for name in shapes["classifier"] if name.startswith("members.")}
        networks: list[nn.Module] = [self.classifier.classifier(spec) for _ in range(max(1, len(members)))]
        return {"classifier": Ensemble(networks) if members else networks[0]}

    def _matched(self, stage: ClassifierStage, inputs: Inputs, runner: StageRunner, flops: float) -> list[TrainedStage]:
        """As many members as come nearest, each a little longer or shorter, so that together they spend ``flops``."""
        per_step, per_look = runner.flops_per_step(stage, inputs)
        looks = per_look * stage.selection.candidates  # of each member, however long it trains
        count = 1 if self.matched_by == "longer" else max(1, round(flops / (per_step * stage.steps + looks)))
        stage = replace(stage, steps=max(1, round((flops - count * looks) / (per_step * count))))
        if self.matched_by == "longer":
            return [runner.train("classifier", stage, inputs)]
        members = [
            runner.train(f"classifier-{k}", stage, inputs, runner.seed if k == 0 else hash64(runner.seed, k))
            for k in range(count)
        ]
        if self.matched_by == "ensemble":
            return members
        return [max(members, key=lambda member: accuracy(member.networks["classifier"], inputs["validation"]))]


class Ensemble(nn.Module):
    """Logarithm of the mean of the members' probabilities: images -> (N, K)."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def embed(self, images: Tensor) -> Tensor:
        """What the members' last layers see, side by side, (N, sum of F)."""
        return torch.cat([member.embed(images) for member in self.members], dim=1)  # type: ignore[operator]

    def forward(self, images: Tensor) -> Tensor:
        logs = torch.stack([member(images).log_softmax(1) for member in self.members])
        return logs.logsumexp(0) - math.log(len(self.members))


def require_unlabelled(view: TrainingView, setting: str) -> None:
    """Raise a ConfigError where a setting needs unlabelled images and the regime leaves none."""
    if len(view.unlabelled) == 0:
        raise ConfigError(f"{setting} needs unlabelled images, and this regime has none; set regime.unlabelled=all")
