"""Stages that train D's feature maps on images alone, without a GAN: a denoising autoencoder, and SimCLR's contrast.

Either begins with the first weights of the GAN's D, sees what the GAN would see, and keeps D alone, recalibrated as a GAN's.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from trigan.components import component
from trigan.data.augmentation import Augmentation
from trigan.data.inputs import Inputs
from trigan.data.types import DataSpec
from trigan.losses.pretext_losses import nt_xent, squared_error
from trigan.networks.gans.gan import Architecture, Discriminator
from trigan.networks.pretext_heads import Autoencoder, Projector
from trigan.training import distributed
from trigan.training.optimizers import OptimizerFactory
from trigan.training.players import Objective, Player, PlayersModule, TrainingPlan, Update
from trigan.training.range_checks import require
from trigan.training.recalibration import recalibrate_discriminator
from trigan.training.stage import Stage, StageContext
from trigan.training.step import TrainingStep

#: The one player: D with what stands behind it in training.
PLAYER = "discriminator"


class PretextStage(Stage, Protocol):
    """A stage whose input is ``real`` images and whose result is a ``discriminator``."""

    @property
    def steps(self) -> int: ...

    def with_steps(self, steps: int) -> Self:
        """The same stage for another number of steps."""
        ...


@component("pretext/denoising@1")
@dataclass(frozen=True)
class DenoisingObjective:
    """Objective: the clean image from one with Gaussian noise of standard deviation ``noise``, cut off at [-1, 1]."""

    noise: float
    batch: int

    def updates(self) -> tuple[Update, ...]:
        return (Update(PLAYER, self.loss, images=self.batch),)

    def phase(self, progress: float) -> Hashable:
        return None

    def loss(self, step: TrainingStep) -> Tensor:
        """The autoencoder's loss, shape ()."""
        real = step.batch("real")
        noise = real.draws.normal("corruption", *real.images.shape[1:]).to(real.images.dtype)
        noisy = torch.add(real.images, noise, alpha=self.noise).clamp_(-1.0, 1.0)
        loss = squared_error(step.network(PLAYER)(noisy), real.images)
        step.log("train/reconstruction_loss", loss)
        return loss


@component("pretext/contrast@1")
@dataclass(frozen=True)
class ContrastiveObjective:
    """Objective: of all views in the batch, an image's two views are each other's nearest (NT-Xent)."""

    augmentation: Augmentation
    temperature: float
    batch: int

    def updates(self) -> tuple[Update, ...]:
        return (Update(PLAYER, self.loss, images=2 * self.batch),)

    def phase(self, progress: float) -> Hashable:
        return None

    def loss(self, step: TrainingStep) -> Tensor:
        """The contrastive loss, shape (): anchors are this rank's images, contrasted with those of all ranks."""
        real = step.batch("real")
        views = [self.augmentation(real.images, real.draws, name) for name in ("first view", "second view")]
        # In one pass, so that batch norm takes its statistics over both views of every image.
        projected = step.network(PLAYER)(torch.cat(views))
        projected = projected.float() if projected.dtype.itemsize == 2 else projected  # bfloat16 has too few digits
        first, second = (distributed.all_gather(part) for part in projected.chunk(2))
        start = distributed.rank() * len(real.images)
        loss = nt_xent(first, second, self.temperature, start, start + len(real.images))
        step.log("train/contrastive_loss", loss)
        return loss


@component("stage/autoencoder@1")
@dataclass(frozen=True)
class AutoencoderStage:
    """Train a denoising autoencoder: D's maps encode, the body of the architecture's G decodes.

    Vincent et al. 2008 (ICML); Gaussian noise and squared error as in Vincent et al. 2010 (JMLR 11). ``noise`` is the
    standard deviation on images in [-1, 1].
    """

    architecture: Architecture
    optimizer: OptimizerFactory
    steps: int
    batch: int = 64
    noise: float = 0.5

    def __post_init__(self) -> None:
        _check(self.steps, self.batch)
        require(self.noise >= 0.0, "noise", self.noise, "at least 0")

    @property
    def kind(self) -> str:
        return "autoencoder"

    def with_steps(self, steps: int) -> Self:
        return replace(self, steps=steps)

    def build(self, context: StageContext, inputs: Inputs) -> PlayersModule:
        discriminator = _first_weights(context, self.architecture)
        network = context.build_network(
            "autoencoder", lambda: Autoencoder(discriminator, self.architecture, context.spec)
        )
        objective = DenoisingObjective(self.noise, self.batch)
        return _module(network, self.optimizer, objective, context, inputs, context.plan(self.steps, self.batch))

    def finish(self, module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
        return _finish(module, inputs)

    def skeleton(self, spec: DataSpec) -> dict[str, nn.Module]:
        return {PLAYER: self.architecture.discriminator(spec).eval()}


@component("stage/simclr@1")
@dataclass(frozen=True)
class SimCLRStage:
    """Train D's maps by SimCLR (Chen et al. 2020, arXiv 2002.05709): two views, a head of two layers, NT-Xent.

    ``hidden`` and ``projection`` are the widths of the head's layers; the head is thrown away.
    """

    architecture: Architecture
    augmentation: Augmentation
    optimizer: OptimizerFactory
    steps: int
    batch: int = 64
    temperature: float = 0.5
    hidden: int = 256
    projection: int = 128

    def __post_init__(self) -> None:
        _check(self.steps, self.batch)
        require(self.temperature > 0.0, "temperature", self.temperature, "above 0")
        require(self.hidden >= 1, "hidden", self.hidden, "at least 1")
        require(self.projection >= 1, "projection", self.projection, "at least 1")

    @property
    def kind(self) -> str:
        return "simclr"

    def with_steps(self, steps: int) -> Self:
        return replace(self, steps=steps)

    def build(self, context: StageContext, inputs: Inputs) -> PlayersModule:
        discriminator = _first_weights(context, self.architecture)
        sizes = self.hidden, self.projection
        network = context.build_network("projector", lambda: Projector(discriminator, context.spec, *sizes))
        objective = ContrastiveObjective(self.augmentation, self.temperature, self.batch)
        return _module(network, self.optimizer, objective, context, inputs, context.plan(self.steps, self.batch))

    def finish(self, module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
        return _finish(module, inputs)

    def skeleton(self, spec: DataSpec) -> dict[str, nn.Module]:
        return {PLAYER: self.architecture.discriminator(spec).eval()}


def _check(steps: int, batch: int) -> None:
    require(steps >= 1, "steps", steps, "at least 1")
    require(batch >= 2, "batch", batch, "at least 2")


def _first_weights(context: StageContext, architecture: Architecture) -> Discriminator:
    """Those that the GAN's D begins with at the same seed; on the CPU, in single precision, until it has its player."""
    return context.build_network(PLAYER, lambda: architecture.discriminator(context.spec)).to("cpu", torch.float32)


def _module(
    network: nn.Module,
    optimizer: OptimizerFactory,
    objective: Objective,
    context: StageContext,
    inputs: Inputs,
    plan: TrainingPlan,
) -> PlayersModule:
    streams = {"real": context.stream("real", inputs["real"], plan.batch)}
    return PlayersModule({PLAYER: Player(network, optimizer)}, objective, streams, plan)


def _finish(module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
    discriminator: Discriminator = module.evaluation_network(PLAYER).discriminator
    recalibrate_discriminator(
        discriminator, inputs["real"].images, module.plan.seed, module.device, module.weights_dtype
    )
    return {PLAYER: discriminator}
