"""The interface of methods against wrong labels, which change C's stage or its labelled images."""

from dataclasses import dataclass
from typing import Any

from trigan.component_ids import component
from trigan.datasets.inputs import Input
from trigan.strategies.stage_runner import StageRunner
from trigan.training.stages.classifier_stage import ClassifierStage

#: C's stage, its inputs, and notes for the record.
Cleaned = tuple[ClassifierStage, dict[str, Input], dict[str, Any]]


@component("noisy_labels/as_given@1")
@dataclass(frozen=True)
class LabelsAsGiven:
    """Labels are taken as they are; the base of the other methods, which are frozen dataclasses."""

    def check(self, stage: ClassifierStage) -> None:
        """Refuse a recipe that the method does not go with."""

    def prepare(self, stage: ClassifierStage, inputs: dict[str, Input], runner: StageRunner) -> Cleaned:
        """C's stage and inputs, ``labelled`` among them, with the method applied."""
        return stage, inputs, {}
