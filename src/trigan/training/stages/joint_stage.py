"""The joint stage: G, C and, where the game has one, D, trained together."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from trigan.components import component
from trigan.data.augmentation import Augmentation, NoAugmentation
from trigan.data.inputs import Inputs
from trigan.data.mixing import Mix
from trigan.data.types import DataSpec
from trigan.losses.gan_losses import AdversarialLoss
from trigan.networks.classifiers.classifier import ClassifierFactory, TwoHeads
from trigan.networks.gans.gan import Architecture
from trigan.training.ema import EMA
from trigan.training.objectives.objective import ObjectiveContext, ObjectiveFactory
from trigan.training.objectives.objective_with_term import ObjectiveWithTerm
from trigan.training.optimizers import OptimizerFactory
from trigan.training.players import Player, PlayersModule
from trigan.training.range_checks import require
from trigan.training.recalibration import recalibrate_discriminator, recalibrate_generator
from trigan.training.selection import Selection
from trigan.training.stage import StageContext
from trigan.training.stages.classifier_stage import (
    final_classifiers,
    register_classifier_selection,
    skeleton_classifiers,
)
from trigan.training.stages.criteria import LossTerm
from trigan.training.stages.gan_stage import refuse_penalty_through_batch_norm

#: What every game draws its batches from.
OBJECTIVE_STREAMS = ("labelled", "unlabelled")


@component("stage/joint@1")
@dataclass(frozen=True)
class JointStage:
    """Play ``objective``; inputs are ``labelled``, ``unlabelled`` (all training images) and ``validation`` if any.

    ``optimizer`` maps each player to its factory. ``discriminator_augmentation`` is how every image is shown to whoever tells real from
    generated (Zhao et al. 2020); ``augmentation`` is how C sees labelled images, as in every other strategy, and
    ``mix`` mixes them. ``consistency`` is one more summand of C's loss, on a stream of its own of the unlabelled
    images. ``ema`` averages the weights of G and C; with None the last weights are kept.
    """

    architecture: Architecture
    classifier: ClassifierFactory
    loss: AdversarialLoss
    objective: ObjectiveFactory
    optimizer: dict[str, OptimizerFactory]
    augmentation: Augmentation
    steps: int
    batch: int = 64
    discriminator_augmentation: Augmentation = field(default_factory=NoAugmentation)
    ema: EMA | None = field(default_factory=EMA)
    selection: Selection = field(default_factory=Selection)
    consistency: LossTerm | None = None
    mix: Mix | None = None

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.batch >= 2, "batch", self.batch, "at least 2")
        self.objective.check(self.architecture, self.loss)
        if "discriminator" in self.objective.players:
            refuse_penalty_through_batch_norm(self.architecture, self.loss)
        if self.consistency is not None:
            stream = self.consistency.stream
            require(
                stream not in OBJECTIVE_STREAMS, "consistency.stream", stream, "a name of its own, such as consistency"
            )

    @property
    def kind(self) -> str:
        return "joint"

    def build(self, context: StageContext, inputs: Inputs) -> PlayersModule:
        networks = {
            name: context.build_network(name, partial(self._played, name, context.spec))
            for name in self.objective.players
        }
        players = {
            name: Player(network, self.optimizer[name], None if name == "discriminator" else self.ema)
            for name, network in networks.items()
        }
        streams = {name: context.stream(name, inputs[name], self.batch) for name in OBJECTIVE_STREAMS}
        objective = self.objective.build(
            ObjectiveContext(
                self.loss,
                self.augmentation,
                self.discriminator_augmentation,
                self.batch,
                self.architecture.conditional,
                self.mix,
            )
        )
        if self.consistency is not None:
            stream, rows = self.consistency.stream, self.consistency.stream_batch_size(self.batch)
            streams[stream] = context.stream(stream, inputs["unlabelled"], rows)
            objective = ObjectiveWithTerm(objective, self.consistency, self.batch)
        module = PlayersModule(players, objective, streams, context.plan(self.steps, self.batch))
        return register_classifier_selection(module, self.selection, inputs)

    def finish(self, module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
        seed, device, dtype = module.plan.seed, module.device, module.weights_dtype
        networks: dict[str, Any] = {name: module.evaluation_network(name) for name in self.objective.players}
        networks |= final_classifiers(module, inputs)
        if self.objective.two_heads:
            networks["classifier"] = networks["classifier"].classifier
            if module.snapshots is not None:
                networks["snapshots"] = module.snapshots.map_networks(lambda network: network.classifier)
        recalibrate_generator(networks["generator"], seed, device, dtype)
        if "discriminator" in networks:
            recalibrate_discriminator(networks["discriminator"], inputs["unlabelled"].images, seed, device, dtype)
        return networks

    def skeleton(self, spec: DataSpec) -> dict[str, nn.Module]:
        networks = {name: self._network(name, spec).eval() for name in self.objective.players}
        return networks | skeleton_classifiers(self.selection, lambda: self.classifier(spec).eval())

    def _played(self, player: str, spec: DataSpec) -> nn.Module:
        """The network that plays; a second head of C is dropped when the game is over."""
        if player == "classifier" and self.objective.two_heads:
            return TwoHeads(self.classifier(spec))
        return self._network(player, spec)

    def _network(self, player: str, spec: DataSpec) -> nn.Module:
        makers = {
            "generator": self.architecture.generator,
            "discriminator": self.architecture.discriminator,
            "classifier": self.classifier,
        }
        return makers[player](spec)
