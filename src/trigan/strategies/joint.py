"""G, D and C trained together."""

from dataclasses import dataclass, replace

from torch import nn

from trigan.component_ids import component
from trigan.datasets.inputs import Input
from trigan.datasets.types import DataSpec, TrainingView
from trigan.strategies.noisy_labels.estimation import with_estimated_criterion
from trigan.strategies.rare_classes.post_hoc import PostHoc, adjusted_outcome, adjusted_skeleton, require_validation
from trigan.strategies.stage_runner import StageRunner
from trigan.strategies.strategy import Outcome, Shapes, labelled_inputs
from trigan.training.stages.joint_stage import JointStage


@component("strategy/joint@1")
@dataclass(frozen=True)
class Joint:
    """One stage with all players; the unlabelled images of the objective are all training images.

    ``post_hoc`` changes the logits of C.
    """

    joint: JointStage
    post_hoc: PostHoc | None = None

    def run(self, view: TrainingView, runner: StageRunner) -> Outcome:
        """Train the stage."""
        require_validation(self.post_hoc, view)
        inputs = {**labelled_inputs(view, self.joint.recipe.selection), "unlabelled": Input(view.training_images)}
        recipe, estimated = with_estimated_criterion(self.joint.recipe, inputs, runner)
        trained = runner.train("joint", replace(self.joint, recipe=recipe), inputs)
        rule = self.joint.recipe.selection.resolve("validation" in inputs)
        players = {name: network for name, network in trained.networks.items() if name != "snapshots"}
        notes = {"objective": type(self.joint.objective).__name__, **estimated}
        outcome = Outcome(players, rule, trained.step, runner.status, notes=notes, snapshots=trained.snapshots)
        return adjusted_outcome(outcome, self.post_hoc, view, runner)

    def skeleton(self, spec: DataSpec, shapes: Shapes) -> dict[str, nn.Module]:
        """The classifier and the generator."""
        networks = self.joint.skeleton(spec)
        kept = {"classifier": networks["classifier"], "generator": networks["generator"]}
        return adjusted_skeleton(kept, self.post_hoc, spec.classes)
