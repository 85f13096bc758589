"""The GAN stage: G against D, on images alone or on images with their labels."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from torch import Tensor, nn

from trigan.components import component
from trigan.data.augmentation import Augmentation, NoAugmentation
from trigan.data.inputs import Inputs
from trigan.data.types import DataSpec
from trigan.errors import ConfigError
from trigan.losses.gan_losses import AdversarialLoss, gradient_penalty
from trigan.networks.batchnorm import frozen_statistics
from trigan.networks.gans.gan import Architecture
from trigan.training.ema import EMA
from trigan.training.optimizers import OptimizerFactory
from trigan.training.players import Player, PlayersModule, Update
from trigan.training.range_checks import require, require_clip
from trigan.training.recalibration import recalibrate_discriminator, recalibrate_generator
from trigan.training.stage import StageContext
from trigan.training.step import Batch, TrainingStep


@component("stage/gan_settings@1")
@dataclass(frozen=True)
class GANObjective:
    """Objective: D tells real from fake, G makes D err; ``loss.discriminator_steps`` D updates for one of G.

    D sees generated images with its own batch statistics, but only real ones move its running statistics. With an
    ``discriminator_augmentation`` D sees every image, real or generated, through it (Zhao et al. 2020, arXiv 2006.10738).
    """

    loss: AdversarialLoss
    batch: int
    discriminator_augmentation: Augmentation
    stream: str = "real"

    def updates(self) -> tuple[Update, ...]:
        return (
            Update("discriminator", self.discriminator_loss, images=2 * self.batch),
            Update("generator", self.generator_loss, images=self.batch, every=self.loss.discriminator_steps),
        )

    def phase(self, progress: float) -> Hashable:
        return None

    def discriminator_loss(self, step: TrainingStep) -> Tensor:
        """D's loss on a real and a generated batch, with the gradient penalty where the loss has one."""
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
            penalty = self._penalty(step, real, real_images, fake_images)
            step.log("train/gradient_penalty", penalty)
            loss = loss + self.loss.gradient_penalty * penalty
        return loss

    def generator_loss(self, step: TrainingStep) -> Tensor:
        """G's loss on the same generated batch, against D as it now is."""
        discriminator, fakes = step.network("discriminator"), step.fakes()
        with frozen_statistics(discriminator):
            logits = discriminator(self.discriminator_augmentation(fakes.images, fakes.draws, "view"), fakes.labels)
        loss = self.loss.generator_loss(logits)
        step.log("train/generator_loss", loss)
        return loss

    def _penalty(self, step: TrainingStep, real: Batch, real_images: Tensor, fake_images: Tensor) -> Tensor:
        discriminator = step.network("discriminator")
        eps = real.draws.uniform("penalty", 1, 1, 1).to(real_images.dtype)
        fake_images = fake_images.to(real_images.dtype)  # under autocast G's images are bfloat16

        def critic(images: Tensor) -> Tensor:
            logits: Tensor = discriminator(images, real.labels)
            return logits

        return gradient_penalty(critic, real_images, fake_images, eps)


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
    """Train a GAN: unconditional on images, or label-conditional on labelled images.

    ``optimizer`` maps "generator" and "discriminator" to their factories. G is kept as its running average.
    """

    architecture: Architecture
    loss: AdversarialLoss
    optimizer: dict[str, OptimizerFactory]
    steps: int
    batch: int = 64
    ema: EMA | None = field(default_factory=EMA)
    discriminator_augmentation: Augmentation = field(default_factory=NoAugmentation)
    clip: float | None = None

    def __post_init__(self) -> None:
        require(self.steps >= 0, "steps", self.steps, "at least 0")
        require(self.batch >= 2, "batch", self.batch, "at least 2")
        require_clip(self.clip)
        refuse_penalty_through_batch_norm(self.architecture, self.loss)

    @property
    def kind(self) -> str:
        return "gan"

    def build(self, context: StageContext, inputs: Inputs) -> PlayersModule:
        architecture, spec = self.architecture, context.spec
        generator_network = context.build_network("generator", lambda: architecture.generator(spec))
        discriminator = context.build_network("discriminator", lambda: architecture.discriminator(spec))
        players = {
            "discriminator": Player(discriminator, self.optimizer["discriminator"], clip=self.clip),
            "generator": Player(generator_network, self.optimizer["generator"], self.ema, self.clip),
        }
        streams = {"real": context.stream("real", inputs["real"], self.batch)}
        objective = GANObjective(self.loss, self.batch, self.discriminator_augmentation)
        return PlayersModule(players, objective, streams, context.plan(self.steps, self.batch))

    def finish(self, module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
        generator_network, discriminator = (
            module.evaluation_network("generator"),
            module.evaluation_network("discriminator"),
        )
        recalibrate_generator(generator_network, module.plan.seed, module.device, module.weights_dtype)
        recalibrate_discriminator(
            discriminator, inputs["real"].images, module.plan.seed, module.device, module.weights_dtype
        )
        return {"generator": generator_network, "discriminator": discriminator}

    def skeleton(self, spec: DataSpec) -> dict[str, nn.Module]:
        return {
            "generator": self.architecture.generator(spec).eval(),
            "discriminator": self.architecture.discriminator(spec).eval(),
        }
