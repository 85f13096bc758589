"""G, D and C trained together."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from trigan.components import component
from trigan.data.inputs import Input
from trigan.data.types import DataSpec, TrainingView
from trigan.strategies.stage_runner import StageRunner
from trigan.strategies.strategy import DataUsed, Outcome, labelled_inputs, overall_status, selection_labels
from trigan.training.stages.joint_stage import JointStage


@component("strategy/joint@1")
@dataclass(frozen=True)
class Joint:
    """One stage with all players; all training images serve as unlabelled ones, the labelled included."""

    joint: JointStage

    def run(self, view: TrainingView, runner: StageRunner) -> Outcome:
        inputs = labelled_inputs(view)
        inputs["unlabelled"] = Input(view.training_images)
        trained = runner.train("joint", self.joint, inputs)
        rule = self.joint.selection.resolve("validation" in inputs)
        sees = DataUsed(len(view.labelled.labels), len(view.unlabelled), selection_labels(inputs, rule))
        networks = {name: network for name, network in trained.networks.items() if name != "snapshots"}
        return Outcome(
            networks["classifier"],
            networks,
            sees,
            rule,
            trained.step,
            overall_status(runner),
            generator=networks["generator"],
            notes={"objective": type(self.joint.objective).__name__},
            snapshots=trained.snapshots,
        )

    def skeleton(self, spec: DataSpec, shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> dict[str, nn.Module]:
        networks = self.joint.skeleton(spec)
        return {"classifier": networks["classifier"], "generator": networks["generator"]}
