"""Baselines: C without a GAN. Every gain of a GAN row is measured against them."""

import logging
import math
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from trigan.checks import require, require_probability
from trigan.component_ids import component
from trigan.datasets.augmentation import Augmentation
from trigan.datasets.inputs import Input, Inputs
from trigan.datasets.types import DataSpec, TrainingView
from trigan.errors import ConfigError
from trigan.rng import hash64
from trigan.samples.filters import outputs
from trigan.strategies.noisy_labels.estimation import needs_first_fit, with_estimated_criterion
from trigan.strategies.noisy_labels.method import LabelsAsGiven
from trigan.strategies.rare_classes.head_refit import HeadRefit
from trigan.strategies.rare_classes.post_hoc import (
    PostHoc,
    adjusted_outcome,
    adjusted_skeleton,
    require_validation,
    unadjusted_shapes,
)
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.strategies.strategy import Outcome, Shapes, labelled_inputs, require_unlabelled, validation_input
from trigan.training.selection import accuracy
from trigan.training.stages.classifier_stage import ClassifierStage
from trigan.training.terms.loss_terms import ExtraImages, FixMatch, LossTerm

_log = logging.getLogger(__name__)

#: The stage and the inputs of C's final fit.
Prepared = tuple[ClassifierStage, dict[str, Input]]


class UnlabelledMethod:
    """A way to train C on unlabelled images, as a frozen dataclass."""

    uses_unlabelled = True

    def prepare(self, stage: ClassifierStage, view: TrainingView, runner: StageRunner) -> Prepared:
        """The stage and the inputs of C's final fit: by default the stage as it is, on the labelled images."""
        return stage, labelled_inputs(view, stage.recipe.selection)


@component("baseline/labelled_only@1")
@dataclass(frozen=True)
class LabelledOnly(UnlabelledMethod):
    """No unlabelled images."""

    uses_unlabelled = False


@component("baseline/self_training@1")
@dataclass(frozen=True)
class SelfTraining(UnlabelledMethod):
    """Pseudo-labels (Lee 2013): C is trained on L and on the images of U that a teacher, trained on L, labels.

    A label is used if the teacher's confidence is at least ``threshold``, in [0, 1]. ``ratio`` is the number of
    pseudo-labelled images per labelled image in a batch, ``weight`` their weight, reduced if they are fewer than L.
    """

    threshold: float = 0.95
    weight: float = 1.0
    ratio: float = 1.0

    def __post_init__(self) -> None:
        threshold = self.threshold
        require(0.0 <= threshold <= 1.0, "strategy.unlabelled.threshold", threshold, "a probability in [0, 1]")
        require(self.weight >= 0.0, "strategy.unlabelled.weight", self.weight, "0 or more")
        require(self.ratio > 0.0, "strategy.unlabelled.ratio", self.ratio, "above 0")

    def prepare(self, stage: ClassifierStage, view: TrainingView, runner: StageRunner) -> Prepared:
        """Train the teacher and add the images that it labels."""
        require_unlabelled(view, "strategy.unlabelled=self_training")
        inputs = labelled_inputs(view, stage.recipe.selection)
        teacher = runner.train("teacher", stage.on_clean_images, inputs).networks["classifier"]
        logits = runner.run_task("pseudo-labels", lambda: outputs(teacher, view.unlabelled))
        confidence, labels = logits.softmax(1).max(1)
        kept = confidence >= self.threshold
        inputs["statistics"] = Input(view.training_images)
        if not bool(kept.any()):
            _log.warning(
                "the teacher is below strategy.unlabelled.threshold on all %d unlabelled images: C is trained on "
                "labelled images alone",
                len(kept),
            )
            return stage, inputs
        inputs["extra"] = Input(view.unlabelled[kept], labels[kept])
        weight = self.weight * min(1.0, len(inputs["extra"]) / view.sizes.labelled)
        recipe = stage.recipe
        terms = (*stage.terms, ExtraImages(recipe.augmentation, weight, self.ratio, adversary=recipe.adversary))
        return replace(stage, terms=terms), inputs


@component("baseline/fixmatch@1")
@dataclass(frozen=True)
class FixMatchTraining(UnlabelledMethod):
    """FixMatch (Sohn et al. 2020) on U, with C's own architecture, length and optimizer.

    A pseudo-label is used if its confidence is at least ``threshold``, in [0, 1). ``ratio`` is the number of unlabelled
    images per labelled image in a batch, ``weight`` the weight of their loss with the augmentation ``strong``.
    """

    strong: Augmentation
    threshold: float = 0.95
    weight: float = 1.0
    ratio: int = 2

    def __post_init__(self) -> None:
        require_probability("strategy.unlabelled.threshold", self.threshold)
        require(self.weight >= 0.0, "strategy.unlabelled.weight", self.weight, "0 or more")
        require(self.ratio >= 1, "strategy.unlabelled.ratio", self.ratio, "at least 1")

    def prepare(self, stage: ClassifierStage, view: TrainingView, runner: StageRunner) -> Prepared:
        """Add FixMatch's loss and its unlabelled images."""
        require_unlabelled(view, "strategy.unlabelled=fixmatch")
        weak, stream = stage.recipe.augmentation, "consistency"  # the joint stage's stream of the same term
        term = FixMatch(weak, self.strong, self.threshold, weight=self.weight, ratio=self.ratio, stream=stream)
        return _with_term(term, stage, view)


@component("baseline/unlabelled_term@1")
@dataclass(frozen=True)
class TermTraining(UnlabelledMethod):
    """A further term of C's loss on all training images, with C's own architecture, length and optimizer."""

    term: LossTerm

    def prepare(self, stage: ClassifierStage, view: TrainingView, runner: StageRunner) -> Prepared:
        """Add the term and its unlabelled images."""
        require_unlabelled(view, f"strategy.unlabelled.term={type(self.term).__name__}")
        return _with_term(self.term, stage, view)


def _with_term(term: LossTerm, stage: ClassifierStage, view: TrainingView) -> Prepared:
    """The stage with a further term, whose stream has all training images."""
    images = Input(view.training_images)
    inputs = {**labelled_inputs(view, stage.recipe.selection), term.stream: images, "statistics": images}
    return replace(stage, terms=(*stage.terms, term)), inputs


@component("strategy/baseline@1")
@dataclass(frozen=True)
class Baseline:
    """A classifier trained on L and, unless ``unlabelled`` is `LabelledOnly`, on U.

    ``matched_flops`` is another row's compute, spent as ``matched_by`` says: on longer training, on restarts (the most
    accurate on validation labels is kept), or on an ensemble (mean of probabilities). ``head`` trains C's head anew,
    and ``post_hoc`` changes the logits of the result. ``noisy_labels`` is a method against wrong labels, beside the
    criterion of C's recipe.
    """

    classifier: ClassifierStage
    unlabelled: UnlabelledMethod = field(default_factory=LabelledOnly)
    matched_flops: float | None = None
    matched_by: Literal["longer", "restarts", "ensemble"] = "longer"
    head: HeadRefit | None = None
    post_hoc: PostHoc | None = None
    noisy_labels: LabelsAsGiven = field(default_factory=LabelsAsGiven)

    def __post_init__(self) -> None:
        self._check_noisy_labels()
        if self.matched_flops is not None:
            require(self.matched_flops > 0, "strategy.matched_flops", self.matched_flops, "above 0")
            if isinstance(self.unlabelled, SelfTraining):
                raise ConfigError(
                    "strategy.matched_flops goes with strategy.unlabelled=none or fixmatch, not self_training"
                )
            if self.head is not None:
                raise ConfigError(
                    "strategy.matched_flops goes with strategy.head=none, whose fits are the ones matched"
                )
        if self.matched_by != "longer" and self.classifier.recipe.selection.snapshots is not None:
            raise ConfigError(
                f"selection.snapshots: strategy.matched_by={self.matched_by} has several fits, and a curve shows one; "
                "set strategy.matched_by=longer or selection.snapshots=null"
            )

    def _check_noisy_labels(self) -> None:
        """Refuse a method, or an estimate of the noise, beside what it does not go with."""
        self.noisy_labels.check(self.classifier)
        method, estimates = self.noisy_labels != LabelsAsGiven(), needs_first_fit(self.classifier.recipe)
        what = "strategy.noisy_labels" if method else "recipe.criterion with an estimated matrix"
        if (method or estimates) and self.matched_flops is not None:
            raise ConfigError(f"strategy.matched_flops: {what} has fits of its own; set strategy.matched_flops=null")
        if method and self.unlabelled.uses_unlabelled:
            raise ConfigError("strategy.noisy_labels: it trains on labelled images alone; set strategy.unlabelled=none")

    def run(self, view: TrainingView, runner: StageRunner) -> Outcome:
        """Train the classifier, or as many as the matched compute allows."""
        require_validation(self.post_hoc, view)
        restarts = self.matched_flops is not None and self.matched_by == "restarts"
        if restarts and not view.sizes.validation:
            raise ConfigError(
                "strategy.matched_by=restarts chooses on validation labels, and this regime has none; set "
                "strategy.matched_by=longer or ensemble, or regime.validation=large"
            )
        stage, inputs = self.unlabelled.prepare(self.classifier, view, runner)
        recipe, notes = with_estimated_criterion(stage.recipe, inputs, runner)
        stage = stage.with_recipe(recipe)
        stage, inputs, found = self.noisy_labels.prepare(stage, inputs, runner)
        notes |= found
        if restarts:
            inputs["validation"] = validation_input(view)
        stamps: tuple[str, ...] = ()
        if self.matched_flops is None:
            trained = runner.train("classifier", stage, inputs)
            members = [trained if self.head is None else self.head.train(stage, trained, inputs, runner)]
        else:
            members = self._matched(stage, inputs, runner, self.matched_flops)
            stamps = (f"matched-{self.matched_by}",)
        rule = "val" if restarts else stage.recipe.selection.resolve("validation" in inputs)
        if isinstance(self.unlabelled, SelfTraining):
            notes |= {"pseudo_labelled": len(inputs["extra"]) if "extra" in inputs else 0}
            stamps += () if "extra" in inputs else ("no-pseudo-labels",)
        networks = [member.networks["classifier"] for member in members]
        network = networks[0] if len(networks) == 1 else Ensemble(networks).eval()
        first = members[0]
        settled = rule, first.step, runner.status, True, stamps, notes, first.snapshots
        return adjusted_outcome(Outcome({"classifier": network}, *settled), self.post_hoc, view, runner)

    def skeleton(self, spec: DataSpec, shapes: Shapes) -> dict[str, nn.Module]:
        """The classifier, or an ensemble of as many as were saved."""
        saved = unadjusted_shapes(shapes["classifier"])
        members = {name.split(".")[1] for name in saved if name.startswith("members.")}
        networks: list[nn.Module] = [self.classifier.recipe.classifier(spec) for _ in range(max(1, len(members)))]
        network = Ensemble(networks) if members else networks[0]
        return adjusted_skeleton({"classifier": network}, self.post_hoc, spec.classes)

    def _matched(self, stage: ClassifierStage, inputs: Inputs, runner: StageRunner, flops: float) -> list[TrainedStage]:
        """Train as many members as ``flops`` allow (rounded), with the length at which together they cost ``flops``."""
        recipe = stage.recipe
        per_step, per_validation = runner.measure_flops(stage, inputs)
        validation = per_validation * recipe.selection.candidates  # per member, independent of its length
        count = 1 if self.matched_by == "longer" else max(1, round(flops / (per_step * recipe.steps + validation)))
        steps = max(1, round((flops - count * validation) / (per_step * count)))
        stage = stage.with_recipe(replace(recipe, steps=steps))
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
        """The members' embeddings side by side, (N, sum of F)."""
        return torch.cat([member.embed(images) for member in self.members], dim=1)  # type: ignore[operator]

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities (N, K)."""
        logs = torch.stack([member(images).log_softmax(1) for member in self.members])
        return logs.logsumexp(0) - math.log(len(self.members))
