"""Co-teaching as a choice of the baseline."""

from dataclasses import dataclass

from trigan.component_ids import component
from trigan.datasets.inputs import Input
from trigan.strategies.noisy_labels.method import Cleaned, LabelsAsGiven
from trigan.strategies.stage_runner import StageRunner
from trigan.training.stages.classifier_stage import ClassifierStage
from trigan.training.stages.co_teaching_stage import CoTeachingStage, ForgetRate


@component("noisy_labels/co_teaching@1")
@dataclass(frozen=True)
class CoTeaching(LabelsAsGiven):
    """Two classifiers choose each other's images (`CoTeachingStage`); the first one is kept."""

    forget_rate: ForgetRate

    def check(self, stage: ClassifierStage) -> None:
        """See `LabelsAsGiven.check`."""
        CoTeachingStage(stage.recipe, forget_rate=self.forget_rate)

    def prepare(self, stage: ClassifierStage, inputs: dict[str, Input], runner: StageRunner) -> Cleaned:
        """The stage of two classifiers."""
        return CoTeachingStage(stage.recipe, forget_rate=self.forget_rate), inputs, {}
