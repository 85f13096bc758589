"""When C sees the samples: beside the real images in every step, or before them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from trigan.components import component
from trigan.data.inputs import Input
from trigan.errors import ConfigError
from trigan.strategies.pretrained import PretrainedClassifier
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.training.selection import Selection
from trigan.training.stages.classifier_stage import ClassifierStage
from trigan.training.stages.criteria import ExtraImages


class SampleSchedule(Protocol):
    """How a classifier's fit is divided between real images and samples."""

    def train(
        self,
        stage: ClassifierStage,
        inputs: Mapping[str, Input],
        samples: Input,
        extra: ExtraImages,
        runner: StageRunner,
    ) -> TrainedStage:
        """C, with the step that the selection rule took; ``extra`` is how samples count beside real images."""
        ...


@component("sample_schedule/mixed@1")
@dataclass(frozen=True)
class MixedSchedule:
    """Each step shows real images and samples."""

    def train(
        self,
        stage: ClassifierStage,
        inputs: Mapping[str, Input],
        samples: Input,
        extra: ExtraImages,
        runner: StageRunner,
    ) -> TrainedStage:
        whole = replace(stage, terms=(*stage.terms, extra))
        return runner.train("classifier", whole, {**inputs, "extra": samples})


@component("sample_schedule/pretrain@1")
@dataclass(frozen=True)
class PretrainSchedule:
    """First the samples alone, for ``share`` of the steps, then the real images, at ``learning_rate_factor`` times the learning rate.

    Both parts together have the steps of :class:`MixedSchedule`, and each has its own learning-rate schedule and average. The
    second part begins with the weights that the first one kept; only in it does anything look at validation images. The
    samples' weight and number per step are settings of MixedSchedule and play no part here: a step shows one batch of samples.
    """

    share: float = 0.5
    learning_rate_factor: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise ConfigError(f"strategy.schedule.share={self.share}: must lie between 0 and 1")
        if not self.learning_rate_factor > 0.0:
            raise ConfigError(f"strategy.schedule.learning_rate_factor={self.learning_rate_factor}: must be above 0")

    def train(
        self,
        stage: ClassifierStage,
        inputs: Mapping[str, Input],
        samples: Input,
        extra: ExtraImages,
        runner: StageRunner,
    ) -> TrainedStage:
        first = self.steps_on_samples(stage.steps)
        # A network that saw samples is settled on real images, also where nothing but the next part looks at it.
        real = inputs.get("statistics", Input(inputs["labelled"].images))
        before = replace(stage.with_steps(first), terms=(), selection=Selection("last"))
        begun = runner.train("classifier-synthetic", before, {"labelled": samples, "statistics": real})
        optimizer: Any = stage.optimizer
        after = replace(
            stage.with_steps(stage.steps - first),
            classifier=PretrainedClassifier.of(stage.classifier, begun.networks["classifier"]),
            optimizer=replace(optimizer, learning_rate=self.learning_rate_factor * optimizer.learning_rate),
        )
        trained = runner.train("classifier", after, inputs)
        return replace(trained, step=begun.step + trained.step, images_before=begun.step * stage.batch)

    def steps_on_samples(self, steps: int) -> int:
        """How many of the steps are on samples; each part has one at least."""
        if steps < 2:
            raise ConfigError(f"strategy.classifier.steps: {steps} must be 2 or more to be divided in two parts")
        return min(max(1, round(self.share * steps)), steps - 1)
