"""The diffusion stage: a denoiser on images, on images with their labels, or on both in one network."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trigan.checks import require, require_clip, require_length
from trigan.component_ids import component
from trigan.datasets.inputs import Inputs
from trigan.datasets.types import DataSpec
from trigan.networks.diffusion.edm import EDM, Denoiser
from trigan.training.collapse_watch import CollapseWatch, WatchState
from trigan.training.optimizers import EMA, OptimizerFactory
from trigan.training.players import Player, PlayersModule, Update
from trigan.training.stage import StageContext
from trigan.training.step import TrainingStep

#: The one player.
PLAYER = "generator"


@component("stage/diffusion@1")
@dataclass(frozen=True)
class DiffusionStage:
    """Train a denoiser on the input ``real``: E weight(sigma) |D(x + sigma e; sigma, y) - x|^2 (Karras et al. 2022).

    The expectation is over ln sigma ~ N(noise_mean, noise_std^2), e ~ N(0, I) and the images, as a mean over pixels. A
    conditional architecture learns from an image with its label, and in a share ``label_dropout`` of cases without it
    (Ho & Salimans 2022, 2207.12598); images without a label (-1, or no labels at all) train it without.

    Attributes:
        architecture: the denoiser's.
        optimizer: of the denoiser.
        steps: batches.
        batch: images in each.
        ema: moving average of the weights, which is kept; None: the last weights are.
        noise_mean: mean of ln sigma (table 1: P_mean).
        noise_std: its standard deviation (P_std).
        label_dropout: share of labelled images that are shown without their label, in [0, 1].
        labelled_share: least share of labelled images in a batch, where the input has both kinds, in [0, 1); they are
            then drawn with replacement.
        clip: largest norm of the gradient, or None.
        flops: counted operations that the fit may cost, in place of ``steps``; a strategy turns them into steps.
        watch: the collapse watch; off by default, since a look costs many passes. There is no D to cure.
    """

    architecture: EDM
    optimizer: OptimizerFactory
    steps: int
    batch: int = 64
    ema: EMA | None = field(default_factory=EMA)
    noise_mean: float = -1.2
    noise_std: float = 1.2
    label_dropout: float = 0.1
    labelled_share: float = 0.5
    clip: float | None = None
    flops: float | None = None
    watch: CollapseWatch = field(default_factory=lambda: CollapseWatch(None))

    kind = "diffusion"
    cycle = 1

    def __post_init__(self) -> None:
        is_denoiser = hasattr(self.architecture, "backbone")
        require(is_denoiser, "architecture", type(self.architecture).__name__, "a diffusion model, architecture=edm")
        require_length(self.steps, self.batch, least_steps=0)
        require_clip(self.clip)
        require(self.flops is None or self.flops > 0, "strategy.gan.flops", self.flops, "above 0, or null")
        require(self.noise_std >= 0.0, "noise_std", self.noise_std, "0 or more")
        require(0.0 <= self.label_dropout <= 1.0, "label_dropout", self.label_dropout, "in [0, 1]")
        require(
            self.watch.action != "cure", "watch.action", "cure", "warn, stop, rollback or null: there is no D to cure"
        )
        require(0.0 <= self.labelled_share < 1.0, "labelled_share", self.labelled_share, "in [0, 1)")

    def build(self, context: StageContext, inputs: Inputs) -> PlayersModule:
        """See `trigan.training.stage.Stage`."""
        network = context.build_network(PLAYER, lambda: self.architecture.generator(context.spec))
        players = {PLAYER: Player(network, self.optimizer, self.ema, self.clip)}
        weights = inputs["real"].weights_with_labels(self.labelled_share) if self.architecture.conditional else None
        streams = {"real": context.stream("real", inputs["real"], self.batch, weights)}
        update = Update(PLAYER, self._loss, images=self.batch)
        plan = context.plan(self.steps, self.batch)
        module = PlayersModule(players, (update,), streams, plan)
        module.watch = WatchState(self.watch, plan, inputs["real"], context.spec.classes, None)
        return module

    def _loss(self, step: TrainingStep) -> Tensor:
        real, network = step.batch("real"), step.network(PLAYER)
        images, draws = real.images, real.draws
        sigma = (self.noise_mean + self.noise_std * draws.normal("sigma")).exp().to(images.dtype)
        noise = draws.normal("noise", *images.shape[1:]).to(images.dtype) * sigma[:, None, None, None]
        labels = None
        if self.architecture.conditional and real.labels is not None:
            dropped = draws.uniform("label dropout") < self.label_dropout
            labels = torch.where(dropped, -1, real.labels)
        errors = (network.denoise(images + noise, sigma, labels) - images).square().mean((1, 2, 3))
        loss: Tensor = (network.weight(sigma) * errors).mean()
        step.log("train/denoising_loss", loss)
        return loss

    def finish(self, module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
        """``generator``: the denoiser, which has no batch statistics."""
        return {PLAYER: module.evaluation_network(PLAYER)}

    def skeleton(self, spec: DataSpec) -> dict[str, nn.Module]:
        """See `trigan.training.stage.Stage`."""
        network: Denoiser = self.architecture.generator(spec)
        return {PLAYER: network.eval()}
