"""The joint stage: G, C and, where the objective has one, D, trained together."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import nn

from trigan.checks import require, require_length
from trigan.component_ids import component
from trigan.datasets.augmentation import Augmentation, NoAugmentation
from trigan.datasets.inputs import Inputs
from trigan.datasets.mixing import Mix
from trigan.datasets.types import DataSpec
from trigan.losses.gan_losses import AdversarialLoss
from trigan.networks.classifiers.classifier import ClassifierFactory, TwoHeads
from trigan.networks.gans.gan import Architecture
from trigan.training.objectives.objective import ObjectiveContext, ObjectiveFactory
from trigan.training.optimizers import EMA, OptimizerFactory
from trigan.training.players import Player, PlayersModule, Update
from trigan.training.recalibration import recalibrate_discriminator, recalibrate_generator
from trigan.training.selection import Selection
from trigan.training.stage import StageContext
from trigan.training.stages import classifier_stage
from trigan.training.stages.gan_stage import refuse_penalty_through_batch_norm
from trigan.training.stages.loss_terms import LossTerm

#: Streams of every joint objective.
OBJECTIVE_STREAMS = ("labelled", "unlabelled")


@component("stage/joint@1")
@dataclass(frozen=True)
class JointStage:
    """Train the players of ``objective`` on ``labelled`` and ``unlabelled`` images.

    The inputs are ``labelled``, ``unlabelled`` (all training images) and ``validation`` if any.

    ``optimizer`` has a factory for each player. ``discriminator_augmentation`` is applied to all images for the network
    that separates real from generated images (Zhao et al. 2020, arXiv 2006.10738), ``augmentation`` and ``mix`` to
    labelled images for C, as in every other strategy. ``consistency`` is an additional term of C's loss, on a separate
    stream of unlabelled images. ``ema`` averages the weights of G and C; with None the last weights are kept.
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

    kind = "joint"

    def __post_init__(self) -> None:
        require_length(self.steps, self.batch)
        self.objective.check(self.architecture, self.loss)
        if "discriminator" in self.objective.players:
            refuse_penalty_through_batch_norm(self.architecture, self.loss)
        if self.consistency is not None:
            stream, expected = self.consistency.stream, "a name of its own, such as consistency"
            require(stream not in OBJECTIVE_STREAMS, "consistency.stream", stream, expected)

    def build(self, context: StageContext, inputs: Inputs) -> PlayersModule:
        """See `trigan.training.stage.Stage`."""
        players = {}
        for name in self.objective.players:
            network = context.build_network(name, partial(self._network, name, context.spec))
            players[name] = Player(network, self.optimizer[name], None if name == "discriminator" else self.ema)
        streams = {name: context.stream(name, inputs[name], self.batch) for name in OBJECTIVE_STREAMS}
        settings = self.loss, self.augmentation, self.discriminator_augmentation, self.batch
        updates = self.objective.updates(ObjectiveContext(*settings, self.architecture.conditional, self.mix))
        if self.consistency is not None:
            stream, rows = self.consistency.stream, self.consistency.stream_batch_size(self.batch)
            streams[stream] = context.stream(stream, inputs["unlabelled"], rows)
            updates = tuple(self._with_consistency(update, self.consistency) for update in updates)
        plan = context.plan(self.steps, self.batch)
        module = PlayersModule(players, updates, streams, plan, self.objective.phase)
        return classifier_stage.register_classifier_selection(module, self.selection, inputs)

    def finish(self, module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
        """All players, recalibrated; a classifier with two heads keeps only the class head."""
        networks: dict[str, Any] = {name: module.evaluation_network(name) for name in self.objective.players}
        networks |= classifier_stage.final_classifiers(module)
        if self.objective.two_heads:
            networks["classifier"] = networks["classifier"].classifier
            if module.snapshots is not None:
                networks["snapshots"] = module.snapshots.map_networks(lambda network: network.classifier)
        recalibrate_generator(networks["generator"], module.plan.seed)
        if "discriminator" in networks:
            recalibrate_discriminator(networks["discriminator"], inputs["unlabelled"].images, module.plan.seed)
        return networks

    def skeleton(self, spec: DataSpec) -> dict[str, nn.Module]:
        """See `trigan.training.stage.Stage`."""
        networks = {name: self._network(name, spec).eval() for name in self.objective.players}
        return networks | classifier_stage.skeleton_classifiers(self.selection, lambda: self.classifier(spec).eval())

    def _network(self, player: str, spec: DataSpec) -> nn.Module:
        """The network to train."""
        if player == "classifier":
            classifier = self.classifier(spec)
            return TwoHeads(classifier) if self.objective.two_heads else classifier
        return self.architecture.generator(spec) if player == "generator" else self.architecture.discriminator(spec)

    def _with_consistency(self, update: Update, term: LossTerm) -> Update:
        """``update``, with ``term`` added to the loss if it is C's."""
        if update.player != "classifier":
            return update
        images = update.images + term.forward_images(self.batch)
        return replace(
            update, images=images, loss=lambda step: update.loss(step) + term(step, step.network("classifier"))
        )
