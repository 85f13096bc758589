"""When C is trained on samples: in every batch beside real images, or before them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any, ClassVar

from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.augmentation import NoAugmentation
from trigan.datasets.inputs import Input, Inputs
from trigan.samples.filters import outputs
from trigan.strategies.backbones import PretrainedClassifier, saved_weights
from trigan.strategies.rare_classes.head_refit import HeadRefit
from trigan.strategies.sample_settings import SampleSettings
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.training.selection import Selection
from trigan.training.stages.classifier_stage import ClassifierStage
from trigan.training.terms.loss_terms import ExtraImages


class SampleSchedule(ABC):
    """A division of C's training steps between real images and samples, as a frozen dataclass.

    ``apart`` says that there is a fit on samples alone, which takes labels as classes.
    """

    apart: ClassVar[bool] = True

    @abstractmethod
    def samples_used(self, steps: int, batch: int, samples: SampleSettings) -> int:
        """Samples that a fit of ``steps`` batches uses, counted as often as they are repeated."""

    @abstractmethod
    def train(
        self, stage: ClassifierStage, inputs: Inputs, samples: Input, extra: ExtraImages, runner: StageRunner
    ) -> TrainedStage:
        """Train C; ``extra`` is the loss term of samples in a mixed batch."""


@component("sample_schedule/mixed@1")
@dataclass(frozen=True)
class MixedSchedule(SampleSchedule):
    """Every batch has real images and samples."""

    apart = False

    def samples_used(self, steps: int, batch: int, samples: SampleSettings) -> int:
        """See `SampleSchedule.samples_used`."""
        return ceil(samples.until * steps) * samples.term(NoAugmentation(), "extra").stream_batch_size(batch)

    def train(
        self, stage: ClassifierStage, inputs: Inputs, samples: Input, extra: ExtraImages, runner: StageRunner
    ) -> TrainedStage:
        """Train C in one fit with a further loss term."""
        mixed = replace(stage, terms=(*stage.terms, extra))
        return runner.train("classifier", mixed, {**inputs, extra.stream: samples})


@component("sample_schedule/refit@1")
@dataclass(frozen=True)
class RefitSchedule(MixedSchedule):
    """As `MixedSchedule`; then C's head is trained anew on the real images alone, as SYNAuG does (2308.00994)."""

    head: HeadRefit = field(default_factory=HeadRefit)

    def train(
        self, stage: ClassifierStage, inputs: Inputs, samples: Input, extra: ExtraImages, runner: StageRunner
    ) -> TrainedStage:
        """Train C in one fit with a further loss term, then its head."""
        return self.head.train(stage, super().train(stage, inputs, samples, extra, runner), inputs, runner)


@component("sample_schedule/pretrain@1")
@dataclass(frozen=True)
class PretrainSchedule(SampleSchedule):
    """First the samples alone, for ``share`` of the steps, then the real images.

    The second fit starts from the weights of the first, with ``learning_rate_factor`` times its learning rate; only the
    second uses validation images. Together the fits have as many steps as `MixedSchedule`; each has its own
    learning-rate schedule and weight average. The samples' ``weight``, ``per_step``, ``annealing``, ``until`` and
    ``batch_norm`` have no effect.
    """

    share: float = 0.5
    learning_rate_factor: float = 0.1

    def __post_init__(self) -> None:
        factor = self.learning_rate_factor
        require(0.0 < self.share < 1.0, "strategy.schedule.share", self.share, "between 0 and 1")
        require(factor > 0.0, "strategy.schedule.learning_rate_factor", factor, "above 0")

    def train(
        self, stage: ClassifierStage, inputs: Inputs, samples: Input, extra: ExtraImages, runner: StageRunner
    ) -> TrainedStage:
        """Train C in two fits; the step and the images of the result include those of the first fit."""
        recipe = stage.recipe
        steps = self.steps_on_samples(recipe.steps)
        first = _fit_to_samples(stage, steps, inputs, samples, runner)
        optimizer: Any = recipe.optimizer
        second_part = replace(
            recipe,
            steps=recipe.steps - steps,
            classifier=PretrainedClassifier(recipe.classifier, *saved_weights(first.networks["classifier"])),
            optimizer=replace(optimizer, learning_rate=self.learning_rate_factor * optimizer.learning_rate),
        )
        second = runner.train("classifier", stage.with_recipe(second_part), inputs)
        return replace(second, step=first.step + second.step, images_before=first.step * recipe.batch)

    def samples_used(self, steps: int, batch: int, samples: SampleSettings) -> int:
        """See `SampleSchedule.samples_used`."""
        return self.steps_on_samples(max(2, steps)) * batch

    def steps_on_samples(self, steps: int) -> int:
        """How many of ``steps`` are on samples; each fit has at least one."""
        require(steps >= 2, "recipe.steps", steps, "2 or more to be divided in two parts")
        return min(max(1, round(self.share * steps)), steps - 1)


@component("sample_schedule/relabel@1")
@dataclass(frozen=True)
class RelabelSchedule(SampleSchedule):
    """The samples alone train a classifier, whose predictions are the labels of L for C; given labels are not used.

    Where some labels are wrong, and G has learnt the classes all the same (`trigan.training.stages.gan_stage`, with the
    matrix of the noise), C thus learns from real images with labels from the generator. Both fits have the recipe's
    length. The same settings of samples as in `PretrainSchedule` have no effect.
    """

    def train(
        self, stage: ClassifierStage, inputs: Inputs, samples: Input, extra: ExtraImages, runner: StageRunner
    ) -> TrainedStage:
        """Train the classifier of the samples, and then C."""
        labelled = inputs["labelled"]
        first = _fit_to_samples(stage, stage.recipe.steps, inputs, samples, runner).networks["classifier"]
        labels = runner.run_task("labels from the generator", lambda: outputs(first, labelled.images).argmax(1))
        return runner.train("classifier", stage, {**inputs, "labelled": replace(labelled, labels=labels)})

    def samples_used(self, steps: int, batch: int, samples: SampleSettings) -> int:
        """See `SampleSchedule.samples_used`."""
        return steps * batch


def _fit_to_samples(
    stage: ClassifierStage, steps: int, inputs: Inputs, samples: Input, runner: StageRunner
) -> TrainedStage:
    """A classifier of the samples; it has batch-norm statistics of real images."""
    real = inputs.get("statistics", Input(inputs["labelled"].images))
    fitted = ClassifierStage(replace(stage.recipe, steps=steps, selection=Selection("last")))
    return runner.train(
        "classifier-synthetic", fitted, {"labelled": replace(samples, sampled=True), "statistics": real}
    )
