"""The GAN stage: G against D, on images alone or on images with their labels."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from trigan.checks import require, require_clip, require_length
from trigan.component_ids import component
from trigan.datasets.augmentation import Augmentation, NoAugmentation
from trigan.datasets.discriminator_augmentation import for_images
from trigan.datasets.inputs import Inputs
from trigan.datasets.types import DataSpec
from trigan.errors import ConfigError
from trigan.losses.gan_losses import AdversarialLoss, gradient_penalty
from trigan.networks.batchnorm import frozen_statistics
from trigan.networks.diffusion.edm import refuse_diffusion
from trigan.networks.gans.gan import Architecture
from trigan.training.optimizers import EMA, OptimizerFactory
from trigan.training.players import Player, PlayersModule, Update
from trigan.training.recalibration import recalibrate_discriminator, recalibrate_generator
from trigan.training.stage import StageContext
from trigan.training.step import TrainingStep


@component("stage/gan_settings@1")
@dataclass(frozen=True)
class GANObjective:
    """The adversarial loss, with ``loss.discriminator_steps`` updates of D per update of G.

    D normalises generated images by their own batch statistics, and only real ones update its running statistics. All
    images, real or generated, reach D through ``discriminator_augmentation`` (Zhao et al. 2020, arXiv 2006.10738).
    ``stream`` is the name of the stream of real images.
    """

    loss: AdversarialLoss
    batch: int
    discriminator_augmentation: Augmentation
    stream: str = "real"

    def updates(self) -> tuple[Update, ...]:
        """D in every step, then G where it is due."""
        return (
            Update("discriminator", self._discriminator_loss, images=2 * self.batch),
            Update("generator", self._generator_loss, images=self.batch, every=self.loss.discriminator_steps),
        )

    def _discriminator_loss(self, step: TrainingStep) -> Tensor:
        discriminator, real, fakes = step.network("discriminator"), step.batch(self.stream), step.fakes()
        real_images = self.discriminator_augmentation(real.images, real.draws, "view")
        fake_images = self.discriminator_augmentation(fakes.images.detach(), fakes.draws, "view")
        real_logits = discriminator(real_images, real.labels)
        with frozen_statistics(discriminator):
            fake_logits = discriminator(fake_images, fakes.labels)
        loss = self.loss.discriminator_loss(real_logits, fake_logits)
        step.log("train/discriminator_loss", loss)
        step.log("train/real_logit", real_logits.mean())
        step.log("train/fake_logit", fake_logits.mean())
        if self.loss.gradient_penalty > 0.0:
            eps = real.draws.uniform("penalty", 1, 1, 1).to(real_images.dtype)
            fake_images = fake_images.to(real_images.dtype)  # under autocast G's images are bfloat16
            penalty = gradient_penalty(lambda x: discriminator(x, real.labels), real_images, fake_images, eps)
            step.log("train/gradient_penalty", penalty)
            loss = loss + self.loss.gradient_penalty * penalty
        return loss

    def _generator_loss(self, step: TrainingStep) -> Tensor:
        discriminator, fakes = step.network("discriminator"), step.fakes()
        with frozen_statistics(discriminator):
            logits = discriminator(self.discriminator_augmentation(fakes.images, fakes.draws, "view"), fakes.labels)
        loss = self.loss.generator_loss(logits)
        step.log("train/generator_loss", loss)
        return loss


def refuse_penalty_through_batch_norm(architecture: Architecture, loss: AdversarialLoss) -> None:
    """Raise a ConfigError for a gradient penalty on a D whose output for an image depends on the others."""
    if loss.gradient_penalty > 0.0 and architecture.discriminator_norm == "batch":
        raise ConfigError(
            "architecture.discriminator_norm=batch: a gradient penalty needs a D whose output for an image does not "
            "depend on the others (Gulrajani et al. 2017, sec. 4); set architecture.discriminator_norm=none or spectral"
        )


@component("stage/gan@1")
@dataclass(frozen=True)
class GANStage:
    """Train a GAN on the input ``real``: unconditional on images, or label-conditional on labelled images.

    ``optimizer`` maps "generator" and "discriminator" to their factories. The moving average of G's weights is kept.
    """

    architecture: Architecture
    loss: AdversarialLoss
    optimizer: dict[str, OptimizerFactory]
    steps: int
    batch: int = 64
    ema: EMA | None = field(default_factory=EMA)
    discriminator_augmentation: Augmentation = field(default_factory=NoAugmentation)
    clip: float | None = None

    kind = "gan"

    def __post_init__(self) -> None:
        refuse_diffusion(self.architecture)
        require_length(self.steps, self.batch, least_steps=0)
        require_clip(self.clip)
        players = {"generator", "discriminator"}
        require(
            players <= set(self.optimizer), "optimizer", sorted(self.optimizer), "those of generator and discriminator"
        )
        refuse_penalty_through_batch_norm(self.architecture, self.loss)

    def build(self, context: StageContext, inputs: Inputs) -> PlayersModule:
        """See `trigan.training.stage.Stage`."""
        architecture, spec = self.architecture, context.spec
        generator = context.build_network("generator", lambda: architecture.generator(spec))
        discriminator = context.build_network("discriminator", lambda: architecture.discriminator(spec))
        players = {
            "discriminator": Player(discriminator, self.optimizer["discriminator"], clip=self.clip),
            "generator": Player(generator, self.optimizer["generator"], self.ema, self.clip),
        }
        streams = {"real": context.stream("real", inputs["real"], self.batch)}
        augmentation = for_images(self.discriminator_augmentation, len(inputs["real"]))
        updates = GANObjective(self.loss, self.batch, augmentation).updates()
        return PlayersModule(players, updates, streams, context.plan(self.steps, self.batch))

    def finish(self, module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
        """``generator`` and ``discriminator``, recalibrated."""
        networks = {name: module.evaluation_network(name) for name in ("generator", "discriminator")}
        recalibrate_generator(networks["generator"], module.plan.seed)
        recalibrate_discriminator(networks["discriminator"], inputs["real"].images, module.plan.seed)
        return networks

    def skeleton(self, spec: DataSpec) -> dict[str, nn.Module]:
        """See `trigan.training.stage.Stage`."""
        generator, discriminator = self.architecture.generator(spec), self.architecture.discriminator(spec)
        return {"generator": generator.eval(), "discriminator": discriminator.eval()}
