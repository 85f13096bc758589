"""Stages that train D's features on images alone, without a GAN: a denoising autoencoder, and SimCLR.

Both start from the initial weights of the GAN's D, train on the GAN's images, and keep only D, recalibrated.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from trigan import distributed
from trigan.checks import require, require_length, require_settings
from trigan.component_ids import component
from trigan.datasets.augmentation import Augmentation
from trigan.datasets.inputs import Inputs
from trigan.datasets.types import DataSpec
from trigan.losses.pretext_losses import nt_xent, squared_error
from trigan.networks.diffusion.edm import refuse_diffusion
from trigan.networks.gans.gan import Architecture, Discriminator
from trigan.networks.pretext_heads import Autoencoder, Projector
from trigan.training.optimizers import Adam, Cosine, OptimizerFactory
from trigan.training.players import Player, PlayersModule, Update
from trigan.training.recalibration import recalibrate_classifier, recalibrate_discriminator
from trigan.training.stage import StageContext
from trigan.training.step import TrainingStep

#: The one player: D, with the layers that are discarded after training.
PLAYER = "discriminator"


@dataclass(frozen=True)
class PretextStage(ABC):
    """Base of the stages here, with input ``real`` (images alone) and result ``discriminator``."""

    architecture: Architecture
    optimizer: OptimizerFactory
    steps: int
    batch: int = 64

    kind: ClassVar[str]
    views: ClassVar[int]

    def __post_init__(self) -> None:
        require_length(self.steps, self.batch)

    @abstractmethod
    def _network(self, context: StageContext, discriminator: Discriminator) -> nn.Module:
        """``discriminator`` with the layers that the objective needs."""

    @abstractmethod
    def _loss(self, step: TrainingStep) -> Tensor:
        """The loss, shape ()."""

    def build(self, context: StageContext, inputs: Inputs) -> PlayersModule:
        """See `trigan.training.stage.Stage`; D has the initial weights of the GAN's D with the same seed."""
        discriminator = context.build_network(PLAYER, lambda: self.architecture.discriminator(context.spec))
        network = self._network(context, discriminator.to("cpu", torch.float32))
        streams = {"real": context.stream("real", inputs["real"], self.batch)}
        update = Update(PLAYER, self._loss, self.views * self.batch)
        plan = context.plan(self.steps, self.batch)
        return PlayersModule({PLAYER: Player(network, self.optimizer)}, (update,), streams, plan)

    def finish(self, module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
        """D alone, recalibrated."""
        discriminator: Any = module.evaluation_network(PLAYER).discriminator
        recalibrate_discriminator(discriminator, inputs["real"].images, module.plan.seed)
        return {PLAYER: discriminator}

    def skeleton(self, spec: DataSpec) -> dict[str, nn.Module]:
        """See `trigan.training.stage.Stage`."""
        return {PLAYER: self.architecture.discriminator(spec).eval()}


@component("stage/autoencoder@1")
@dataclass(frozen=True)
class AutoencoderStage(PretextStage):
    """Train a denoising autoencoder A: D's feature maps encode, the body of the architecture's G decodes.

    The loss is E |x - A(clip(x + e, -1, 1))|^2 with Gaussian e (Vincent et al. 2008, ICML; with Gaussian noise and
    squared error as in Vincent et al. 2010, JMLR 11). ``noise`` is the standard deviation of e, on images in [-1, 1].
    """

    noise: float = 0.5

    kind, views = "autoencoder", 1

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_diffusion(self.architecture)
        require(self.noise >= 0.0, "noise", self.noise, "at least 0")

    def _network(self, context: StageContext, discriminator: Discriminator) -> nn.Module:
        build = partial(Autoencoder, discriminator, self.architecture, context.spec)
        return context.build_network("autoencoder", build)

    def _loss(self, step: TrainingStep) -> Tensor:
        real = step.batch("real")
        noise = real.draws.normal("corruption", *real.images.shape[1:]).to(real.images.dtype)
        noisy = torch.add(real.images, noise, alpha=self.noise).clamp_(-1.0, 1.0)
        loss = squared_error(step.network(PLAYER)(noisy), real.images)
        step.log("train/reconstruction_loss", loss)
        return loss


@component("stage/deep_smote@1")
@dataclass(frozen=True)
class DeepSMOTEStage(AutoencoderStage):
    """Train the encoder and decoder of DeepSMOTE (Dablain et al. 2021, 2105.02340, algorithm 1), and keep both.

    The loss is E |x - A(x)|^2 + E |x - dec(enc(x'))|^2, with x' another image of x's class: the paper's penalty, by
    which the decoder meets codes of other images of a class. The input ``real`` has labels. ``noise`` is that of
    `AutoencoderStage`, of which the paper has none.
    """

    optimizer: OptimizerFactory = field(default_factory=lambda: Adam(1e-3, (0.9, 0.999), schedule=Cosine()))
    steps: int = 3000
    noise: float = 0.0

    kind, views = "deep_smote", 2

    def _loss(self, step: TrainingStep) -> Tensor:
        loss, images = super()._loss(step), step.batch("real").images
        penalty = squared_error(step.network(PLAYER)(step.same_class_batch("real").images), images)
        step.log("train/penalty", penalty)
        return loss + penalty

    def finish(self, module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
        """The autoencoder, recalibrated."""
        network = module.evaluation_network(PLAYER)
        recalibrate_classifier(network, inputs["real"].images, module.plan.seed)
        return {"autoencoder": network}

    def skeleton(self, spec: DataSpec) -> dict[str, nn.Module]:
        """See `trigan.training.stage.Stage`."""
        network = Autoencoder(self.architecture.discriminator(spec), self.architecture, spec)
        return {"autoencoder": network.eval()}


@component("stage/simclr@1")
@dataclass(frozen=True)
class SimCLRStage(PretextStage):
    """Train D's feature maps by SimCLR (Chen et al. 2020, arXiv 2002.05709): two views, a projection head, NT-Xent.

    The two views of an image are trained to be more similar to each other than to the other views (eq. 1).
    ``hidden`` and ``projection`` are the widths of the head's two layers; the head is discarded.
    """

    augmentation: Augmentation = field(kw_only=True)
    temperature: float = 0.5
    hidden: int = 256
    projection: int = 128

    kind, views = "simclr", 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.temperature > 0.0, "temperature", self.temperature, "above 0")
        require_settings(self, "hidden projection", 1)

    def _network(self, context: StageContext, discriminator: Discriminator) -> nn.Module:
        build = partial(Projector, discriminator, context.spec, self.hidden, self.projection)
        return context.build_network("projector", build)

    def _loss(self, step: TrainingStep) -> Tensor:
        """Anchors are this rank's images, contrasted with those of all ranks."""
        real = step.batch("real")
        views = [self.augmentation(real.images, real.draws, name) for name in ("first view", "second view")]
        projected = step.network(PLAYER)(torch.cat(views))  # in one pass: batch-norm statistics are over both views
        projected = projected.float() if projected.dtype.itemsize == 2 else projected  # bfloat16 is too coarse
        first, second = (distributed.all_gather(part) for part in projected.chunk(2))
        start = distributed.rank() * len(real.images)
        loss = nt_xent(first, second, self.temperature, start, start + len(real.images))
        step.log("train/contrastive_loss", loss)
        return loss
