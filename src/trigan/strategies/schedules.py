"""When C sees the samples: beside the real images in every step, or before them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from trigan.components import component
from trigan.data.inputs import Input
from trigan.errors import ConfigError
from trigan.strategies.pretrained import Pretrained
from trigan.strategies.stage_runner import Trained, Workshop
from trigan.training.selection import Selection
from trigan.training.stages.classifier_stage import ClassifierStage
from trigan.training.stages.criteria import Extra


class SampleSchedule(Protocol):
    """How a classifier's fit is divided between real images and samples."""

    def train(
        self, stage: ClassifierStage, inputs: Mapping[str, Input], samples: Input, extra: Extra, workshop: Workshop
    ) -> Trained:
        """C, with the step that the selection rule took; ``extra`` is how samples count beside real images."""
        ...


@component("sample_schedule/mixed@1")
@dataclass(frozen=True)
class Mixed:
    """Each step shows real images and samples."""

    def train(
        self, stage: ClassifierStage, inputs: Mapping[str, Input], samples: Input, extra: Extra, workshop: Workshop
    ) -> Trained:
        whole = replace(stage, terms=(*stage.terms, extra))
        return workshop.train("classifier", whole, {**inputs, "extra": samples})


@component("sample_schedule/pretrain@1")
@dataclass(frozen=True)
class Pretrain:
    """First the samples alone, for ``share`` of the steps, then the real images, at ``rate`` times the learning rate.

    Both parts together have the steps of :class:`Mixed`, and each has its own learning-rate schedule and average. The
    second part begins with the weights that the first one kept; only in it does anything look at validation images. The
    samples' weight and number per step are settings of Mixed and play no part here: a step shows one batch of samples.
    """

    share: float = 0.5
    rate: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise ConfigError(f"strategy.schedule.share={self.share}: must lie between 0 and 1")
        if not self.rate > 0.0:
            raise ConfigError(f"strategy.schedule.rate={self.rate}: must be above 0")

    def train(
        self, stage: ClassifierStage, inputs: Mapping[str, Input], samples: Input, extra: Extra, workshop: Workshop
    ) -> Trained:
        first = self.first(stage.steps)
        # A network that saw samples is settled on real images, also where nothing but the next part looks at it.
        real = inputs.get("statistics", Input(inputs["labelled"].images))
        before = replace(stage.lasting(first), terms=(), selection=Selection("last"))
        begun = workshop.train("classifier-synthetic", before, {"labelled": samples, "statistics": real})
        optimizer: Any = stage.optimizer
        after = replace(
            stage.lasting(stage.steps - first),
            classifier=Pretrained.of(stage.classifier, begun.networks["classifier"]),
            optimizer=replace(optimizer, learning_rate=self.rate * optimizer.learning_rate),
        )
        trained = workshop.train("classifier", after, inputs)
        return replace(trained, step=begun.step + trained.step, shown_before=begun.step * stage.batch)

    def first(self, steps: int) -> int:
        """How many of the steps are on samples; each part has one at least."""
        if steps < 2:
            raise ConfigError(f"strategy.classifier.steps: {steps} must be 2 or more to be divided in two parts")
        return min(max(1, round(self.share * steps)), steps - 1)
