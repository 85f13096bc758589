"""The matrix of the label noise, estimated by a first fit of C."""

from dataclasses import replace
from typing import Any

from trigan.datasets.inputs import Input
from trigan.losses.classifier_losses import CrossEntropy
from trigan.losses.label_noise_losses import CorrectedLoss
from trigan.losses.label_transitions import EstimatedTransition, Transition, anchor_point_matrix
from trigan.samples.filters import outputs
from trigan.strategies.stage_runner import StageRunner
from trigan.training.recipe import Recipe
from trigan.training.stages.classifier_stage import ClassifierStage


def is_to_estimate(transition: Transition) -> bool:
    """Whether a first fit has to give the matrix."""
    return isinstance(transition, EstimatedTransition) and transition.values is None


def needs_first_fit(recipe: Recipe) -> bool:
    """Whether the criterion of the recipe has a matrix to estimate."""
    return isinstance(recipe.criterion, CorrectedLoss) and is_to_estimate(recipe.criterion.transition)


def with_estimate(transition: Transition, recipe: Recipe, inputs: dict[str, Input], runner: StageRunner) -> Transition:
    """``transition`` with its matrix, if it is one to estimate.

    C is fitted to the labelled images, unattacked, by its own recipe with the plain cross-entropy. Anchor points are
    among these images, as in the experiments of Patrini et al. 2017 (1609.03683).
    """
    if not isinstance(transition, EstimatedTransition) or transition.values is not None:
        return transition
    stage = ClassifierStage(replace(recipe, criterion=CrossEntropy(), adversary=None))
    taken = {name: one for name, one in inputs.items() if name in ("labelled", "validation")}
    network = runner.train("first-fit", stage, taken).networks["classifier"]
    logits = runner.run_task("anchor points", lambda: outputs(network, inputs["labelled"].images))
    matrix = anchor_point_matrix(logits.double().softmax(1), transition.percentile)
    return replace(transition, values=tuple(map(tuple, matrix.tolist())))


def with_estimated_criterion(
    recipe: Recipe, inputs: dict[str, Input], runner: StageRunner
) -> tuple[Recipe, dict[str, Any]]:
    """``recipe``, with the matrix of its criterion where there is one to estimate, and notes for the record."""
    criterion = recipe.criterion
    if not isinstance(criterion, CorrectedLoss) or not is_to_estimate(criterion.transition):
        return recipe, {}
    transition = with_estimate(criterion.transition, recipe, inputs, runner)
    return replace(recipe, criterion=replace(criterion, transition=transition)), transition_notes(transition)


def transition_notes(transition: Transition) -> dict[str, Any]:
    """The estimated matrix for the record, rounded; nothing for another one."""
    values = transition.values if isinstance(transition, EstimatedTransition) else None
    return {} if values is None else {"transition": [[round(value, 4) for value in row] for row in values]}
