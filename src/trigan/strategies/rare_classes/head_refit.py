"""C's head trained anew on a frozen body, with classes drawn equally often."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.inputs import Inputs
from trigan.losses.classifier_losses import CrossEntropy
from trigan.networks.classifiers.classifier import Classifier, ClassifierFactory
from trigan.networks.classifiers.frozen_body import FrozenBody
from trigan.networks.foreign_layers import with_our_layers
from trigan.networks.shapes import ImageSpec
from trigan.strategies.backbones import saved_weights
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.training.balance import Balance, Resampling
from trigan.training.stages.classifier_stage import ClassifierStage


@component("classifier/frozen_body@1")
@dataclass(frozen=True)
class FrozenBodyClassifier:
    """Classifier factory: the body of ``factory`` with the weights ``state``, frozen, and a new head."""

    factory: ClassifierFactory
    weights: str
    state: Mapping[str, Tensor] = field(metadata={"identity": False}, compare=False)

    def __call__(self, spec: ImageSpec) -> Classifier:
        """Build the network; its head keeps the initial weights."""
        network = with_our_layers("classifier", self.factory(spec))
        head = copy.deepcopy(network.head)
        network.load_state_dict(self.state)
        return Classifier(FrozenBody(network.body).eval(), head)


@component("head/refit@1")
@dataclass(frozen=True)
class HeadRefit:
    """Classifier re-training: cRT of Kang et al. 2019 (1910.09217, section 4.1), or SYNAuG's last step (2308.00994).

    The new head is fitted on the labelled images alone by cross-entropy, without mixing, with its own schedule of the
    learning rate and its own weight average. Batch norm keeps the statistics that C is evaluated with.

    Attributes:
        length: steps of this fit as a share of the recipe's; they come after those (in the paper 10 epochs after 90).
        learning_rate_factor: of the recipe's learning rate.
        balance: how classes are drawn or weighted.
    """

    length: float = 0.5
    learning_rate_factor: float = 1.0
    balance: Balance = field(default_factory=Resampling)

    def __post_init__(self) -> None:
        require(self.length > 0.0, "length", self.length, "above 0")
        factor = self.learning_rate_factor
        require(factor > 0.0, "learning_rate_factor", factor, "above 0")

    def train(self, stage: ClassifierStage, trained: TrainedStage, inputs: Inputs, runner: StageRunner) -> TrainedStage:
        """C of ``trained``, which ``stage`` describes, with a new head; the result counts the steps of both fits."""
        recipe, network = stage.recipe, trained.networks["classifier"]
        optimizer: Any = recipe.optimizer
        second = replace(
            recipe,
            classifier=FrozenBodyClassifier(recipe.classifier, *saved_weights(network)),
            steps=max(1, round(self.length * recipe.steps)),
            optimizer=replace(optimizer, learning_rate=self.learning_rate_factor * optimizer.learning_rate),
            balance=self.balance,
            criterion=CrossEntropy(),
            mix=None,
        )
        used = {name: data for name, data in inputs.items() if name in ("labelled", "validation", "statistics")}
        fitted = runner.train("classifier-head", ClassifierStage(second), used)
        whole = copy.deepcopy(network)
        whole.head.load_state_dict(fitted.networks["classifier"].head.state_dict())
        networks = {**fitted.networks, "classifier": whole.eval()}
        return replace(
            fitted,
            networks=networks,
            step=trained.step + fitted.step,
            images_before=trained.images_before + trained.step * recipe.batch,
        )
