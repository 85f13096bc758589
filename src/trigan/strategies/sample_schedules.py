"""When C is trained on the samples: together with the real images in every step, or before them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

from trigan.checks import require
from trigan.components import component
from trigan.datasets.inputs import Input, Inputs
from trigan.strategies.fine_tune import PretrainedClassifier
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.training.selection import Selection
from trigan.training.stages.classifier_stage import ClassifierStage
from trigan.training.stages.criteria import ExtraImages


class SampleSchedule(ABC):
    """A division of C's training steps between real images and samples, as a frozen dataclass."""

    @abstractmethod
    def train(
        self, stage: ClassifierStage, inputs: Inputs, samples: Input, extra: ExtraImages, runner: StageRunner
    ) -> TrainedStage:
        """Train C; ``extra`` is the loss term of samples in a mixed batch."""


@component("sample_schedule/mixed@1")
@dataclass(frozen=True)
class MixedSchedule(SampleSchedule):
    """Every batch has real images and samples."""

    def train(
        self, stage: ClassifierStage, inputs: Inputs, samples: Input, extra: ExtraImages, runner: StageRunner
    ) -> TrainedStage:
        """Train C in one fit with a further loss term."""
        mixed = replace(stage, terms=(*stage.terms, extra))
        return runner.train("classifier", mixed, {**inputs, "extra": samples})


@component("sample_schedule/pretrain@1")
@dataclass(frozen=True)
class PretrainSchedule(SampleSchedule):
    """First the samples alone, for ``share`` of the steps, then the real images.

    The second fit starts from the weights of the first with ``learning_rate_factor`` times its learning rate; it alone
    uses validation images. Together they have the steps of `MixedSchedule`, each with its own learning-rate
    schedule and average. The samples' weight and number per step have no effect.
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
        """Train C in two fits; the step and the images of the result include those of the first."""
        steps = self.steps_on_samples(stage.steps)
        # batch-norm statistics are of real images even for the intermediate network
        real = inputs.get("statistics", Input(inputs["labelled"].images))
        pretraining = replace(stage.with_steps(steps), terms=(), selection=Selection("last"))
        first = runner.train("classifier-synthetic", pretraining, {"labelled": samples, "statistics": real})
        optimizer: Any = stage.optimizer
        training = replace(
            stage.with_steps(stage.steps - steps),
            classifier=PretrainedClassifier.of(stage.classifier, first.networks["classifier"]),
            optimizer=replace(optimizer, learning_rate=self.learning_rate_factor * optimizer.learning_rate),
        )
        second = runner.train("classifier", training, inputs)
        return replace(second, step=first.step + second.step, images_before=first.step * stage.batch)

    def steps_on_samples(self, steps: int) -> int:
        """How many of ``steps`` are on samples; each fit has at least one."""
        require(steps >= 2, "strategy.classifier.steps", steps, "2 or more to be divided in two parts")
        return min(max(1, round(self.share * steps)), steps - 1)
