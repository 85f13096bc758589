"""The joint stage: G, C and, where the objective has one, D, trained together."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import nn

from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.augmentation import Augmentation, NoAugmentation
from trigan.datasets.discriminator_augmentation import for_images, refuse_adaptive
from trigan.datasets.inputs import Inputs
from trigan.datasets.types import DataSpec
from trigan.errors import ConfigError
from trigan.losses.gan_losses import AdversarialLoss
from trigan.networks.classifiers.classifier import TwoHeads
from trigan.networks.diffusion.edm import refuse_diffusion
from trigan.networks.gans.encoder import Encoder
from trigan.networks.gans.gan import Architecture
from trigan.networks.gans.pacgan import PacGAN
from trigan.training.objectives.objective import ObjectiveContext, ObjectiveFactory
from trigan.training.optimizers import EMA, OptimizerFactory
from trigan.training.players import Player, PlayersModule, Update
from trigan.training.recalibration import recalibrate_discriminator, recalibrate_generator
from trigan.training.recipe import Recipe
from trigan.training.stage import StageContext
from trigan.training.stages import classifier_stage
from trigan.training.stages.gan_stage import check_regularizers
from trigan.training.terms.loss_terms import FitData, LossTerm, TermInFit

#: Streams of every joint objective.
OBJECTIVE_STREAMS = ("labelled", "unlabelled")


@component("stage/joint@2")
@dataclass(frozen=True)
class JointStage:
    """Train the players of ``objective`` on ``labelled`` and ``unlabelled`` images; C is trained by ``recipe``.

    The inputs are ``labelled``, ``unlabelled`` (all training images) and ``validation`` if any.

    The recipe gives the length of the fit and the size of a batch: as many unlabelled and as many generated images as
    labelled ones. ``optimizer`` has a factory for D and one for G, which an encoder shares.
    ``discriminator_augmentation`` is applied to all images for the network that separates real from generated images
    (Zhao et al. 2020, arXiv 2006.10738). ``consistency`` is an additional term of C's loss, on a separate stream of
    unlabelled images. ``ema`` averages the weights of G; with None the last weights are kept.
    """

    recipe: Recipe
    architecture: Architecture
    loss: AdversarialLoss
    objective: ObjectiveFactory
    optimizer: dict[str, OptimizerFactory]
    discriminator_augmentation: Augmentation = field(default_factory=NoAugmentation)
    ema: EMA | None = field(default_factory=EMA)
    consistency: LossTerm | None = None

    kind = "joint"

    def __post_init__(self) -> None:
        refuse_diffusion(self.architecture)
        self.objective.check(self.architecture, self.loss)
        refuse_adaptive(self.discriminator_augmentation)
        if isinstance(self.architecture, PacGAN):
            raise ConfigError(
                "architecture=pacgan: packs are for strategy=augment and features; set architecture=dcgan"
            )
        expected = "the optimizers of generator and discriminator; C's is recipe.optimizer"
        require(set(self.optimizer) == {"generator", "discriminator"}, "optimizer", sorted(self.optimizer), expected)
        if "discriminator" in self.objective.players:
            check_regularizers(self.architecture, self.loss)
        if self.consistency is not None:
            stream, expected = self.consistency.stream, "a name of its own, such as consistency"
            require(stream not in OBJECTIVE_STREAMS, "consistency.stream", stream, expected)
            if self.consistency.replaces_labelled:
                raise ConfigError(
                    "consistency: this term has C's loss of labelled images in it, which is the objective's in joint "
                    "training; choose another strategy/consistency"
                )

    def build(self, context: StageContext, inputs: Inputs) -> PlayersModule:
        """See `trigan.training.stage.Stage`."""
        recipe, labelled = self.recipe, inputs["labelled"]
        players = {}
        for name in self.objective.players:
            network = context.build_network(name, partial(self._network, name, context.spec))
            players[name] = self._player(name, network)
        streams = {
            "labelled": recipe.labelled_stream(context, labelled),
            "unlabelled": context.stream("unlabelled", inputs["unlabelled"], recipe.batch),
        }
        discriminator_augmentation = for_images(self.discriminator_augmentation, len(inputs["unlabelled"]))
        supervised = recipe.labelled_loss(context, labelled)
        settings = self.loss, supervised, discriminator_augmentation, recipe.batch, self.architecture.conditional
        updates, memories = self.objective.updates(ObjectiveContext(*settings)), supervised.memories
        if self.consistency is not None:
            stream, rows = self.consistency.stream, self.consistency.stream_batch_size(recipe.batch)
            streams[stream] = context.stream(stream, inputs["unlabelled"], rows)
            sizes = context.spec.classes, len(inputs["unlabelled"]), recipe.batch
            term = self.consistency.in_fit(FitData(*sizes, players["classifier"].network))
            updates = tuple(self._with_consistency(update, self.consistency, term) for update in updates)
            memories += term.memories
        plan = context.plan(recipe.steps, recipe.batch)
        module = PlayersModule(players, updates, streams, plan, self.objective.phase)
        module.memories.extend(memories)
        return classifier_stage.register_classifier_selection(module, recipe.selection, inputs)

    def finish(self, module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
        """G, C and D, recalibrated; a classifier with two heads keeps only the class head."""
        networks: dict[str, Any] = {name: module.evaluation_network(name) for name in self._kept_players}
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
        networks = {name: self._network(name, spec).eval() for name in self._kept_players}
        recipe = self.recipe
        return networks | classifier_stage.skeleton_classifiers(
            recipe.selection, lambda: recipe.classifier(spec).eval()
        )

    def _player(self, name: str, network: nn.Module) -> Player:
        """C by its recipe, G and D by the stage's optimizers."""
        if name == "classifier":
            return Player(network, self.recipe.optimizer, self.recipe.ema, self.recipe.clip)
        optimizer = self.optimizer["generator" if name == "encoder" else name]
        return Player(network, optimizer, self.ema if name == "generator" else None)

    @property
    def _kept_players(self) -> list[str]:
        return [name for name in self.objective.players if name != "encoder"]

    def _network(self, player: str, spec: DataSpec) -> nn.Module:
        """The network to train."""
        if player == "classifier":
            classifier = self.recipe.classifier(spec)
            return TwoHeads(classifier) if self.objective.two_heads else classifier
        if player == "encoder":  # the body of a D, and one linear layer
            return Encoder(self.architecture.discriminator(spec).backbone, self.architecture.generator(spec).latent)
        return self.architecture.generator(spec) if player == "generator" else self.architecture.discriminator(spec)

    def _with_consistency(self, update: Update, term: LossTerm, in_fit: TermInFit) -> Update:
        """``update``, with the term added to the loss if it is C's."""
        if update.player != "classifier":
            return update
        images = update.images + term.forward_images(self.recipe.batch)
        return replace(
            update, images=images, loss=lambda step: update.loss(step) + in_fit.loss(step, step.network("classifier"))
        )
