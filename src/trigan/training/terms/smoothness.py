"""VAT and mean teacher: C's predictions for an unlabelled image and for a perturbed one, or another C's, are alike."""

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from trigan.checks import require, require_at_least
from trigan.component_ids import component
from trigan.datasets.augmentation import Augmentation
from trigan.losses.semi_supervised_losses import conditional_entropy, pi_model_loss, sigmoid_ramp_up
from trigan.losses.unlabelled_losses import kl_divergence
from trigan.networks.batchnorm import frozen_statistics
from trigan.training.optimizers import EMA
from trigan.training.step import TrainingStep
from trigan.training.terms.loss_terms import FitData, LossTerm, StatelessTerm, TermInFit, require_random
from trigan.training.terms.memories import AveragedWeights


@component("criterion/vat@1")
@dataclass(frozen=True)
class VAT(StatelessTerm):
    """Virtual adversarial training (Miyato et al. 2018, arXiv 1704.03976, eq. 5 to 7, algorithm 1).

    ``weight`` (E KL(p(x) || p(x + r)) + ``entropy`` E H[p(x)]), with r of length ``radius`` sqrt(V) for an image of V
    values in [-1, 1], in the direction that raises the divergence most. The direction is found by ``power_steps`` steps
    of power iteration with finite differences ``difference`` from a random one. The radius is a root mean square, so
    that it means the same at every image size: .1443 is the length 8 of the authors' CIFAR-10 runs, on images with
    other units. Their ``difference`` is 1e-6, which float32 rounds: with confident predictions the direction found is
    then far from that of float64. Their second row, VAT with entropy minimisation, has ``entropy`` 1. No pass moves
    running statistics.
    """

    augmentation: Augmentation
    radius: float = 0.1443
    difference: float = 1e-3
    power_steps: int = 1
    entropy: float = 0.0
    weight: float = 1.0
    ratio: int = 2
    stream: str = "unlabelled"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.radius > 0.0, "radius", self.radius, "above 0")
        require(self.difference > 0.0, "difference", self.difference, "above 0")
        require_at_least("power_steps", self.power_steps, 1)
        require(self.entropy >= 0.0, "entropy", self.entropy, "at least 0")

    def forward_images(self, batch: int) -> int:
        """See `LossTerm.forward_images`: the image, one for each step of the iteration, and the perturbed one."""
        return (2 + self.power_steps) * self.stream_batch_size(batch)

    def __call__(self, step: TrainingStep, network: nn.Module) -> Tensor:
        """The weighted term, shape ()."""
        unlabelled = step.batch(self.stream)
        images = unlabelled.augmented(self.augmentation, "augment")
        with frozen_statistics(network):
            logits = network(images)
            start = unlabelled.draws.normal("direction", images[0].numel()).view_as(images).to(images)
            direction = self._adversarial_direction(network, images, logits.detach(), start)
            perturbed = network(images + self.radius * images[0].numel() ** 0.5 * direction)
        loss = kl_divergence(logits.detach(), perturbed).mean()
        step.log("train/consistency_loss", loss)
        if self.entropy:
            loss = loss + self.entropy * conditional_entropy(logits)
        return self.weight * loss

    def _adversarial_direction(self, network: nn.Module, images: Tensor, target: Tensor, start: Tensor) -> Tensor:
        """Directions (n, C, S, S) of length 1; ``target`` are logits (n, K) without a gradient."""
        direction = start
        for _ in range(self.power_steps):
            shift = (self.difference * _unit(direction)).requires_grad_()
            divergence = kl_divergence(target, network(images + shift)).sum()
            (direction,) = torch.autograd.grad(divergence, shift)
        return _unit(direction)


def _unit(directions: Tensor) -> Tensor:
    """Each image of length 1, after a division by its largest value, as squares of tiny gradients vanish."""
    flat = directions.detach().flatten(1)
    flat = flat / flat.abs().amax(1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
    return nn.functional.normalize(flat, dim=1).view_as(directions)


@component("criterion/mean_teacher@1")
@dataclass(frozen=True)
class MeanTeacher(LossTerm):
    """Mean teacher (Tarvainen & Valpola 2017, arXiv 1703.01780, section 2): C agrees with an average of its weights.

    ``weight`` w(t) E |p(x) - p'(x')|^2 / K for two views of each image; p' are the predictions of the teacher, in
    training mode and without a gradient, and w is a sigmoid ramp-up over the first share ``ramp_up`` of the fit. In the
    paper the weight is 100 times the share of images that are labelled on CIFAR-10, the ramp-up 40,000 of 150,000
    steps, and the teacher's decay a step .99 while the weight rises, then .999. By default ``average`` has the latter
    (for batches of 64), with a half-life of at most 5 % of the fit so far: in fits of hundreds of steps the paper's
    teacher stays near C's initial weights. The classifier that is kept has the average of C's recipe.
    """

    augmentation: Augmentation
    weight: float = 10.0
    ramp_up: float = 0.27
    average: EMA = field(default_factory=lambda: EMA(44_339, 0.05))
    ratio: int = 2
    stream: str = "unlabelled"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0.0 < self.ramp_up <= 1.0, "ramp_up", self.ramp_up, "in (0, 1]")
        require_random("augmentation", self.augmentation)

    def in_fit(self, data: FitData) -> TermInFit:
        """See `LossTerm.in_fit`."""
        teacher = AveragedWeights(data.network)
        return TermInFit(partial(self._loss, teacher, data.batch), teacher)

    def _loss(self, teacher: AveragedWeights, batch: int, step: TrainingStep, network: nn.Module) -> Tensor:
        unlabelled = step.batch(self.stream)
        weights = teacher(step, network, lambda now: 1.0 - self.average.decay(now.index * batch, batch))
        with torch.no_grad(), frozen_statistics(network):
            targets = functional_call(network, weights, (unlabelled.augmented(self.augmentation, "teacher"),))
        loss = pi_model_loss(network(unlabelled.augmented(self.augmentation, "augment")), targets)
        step.log("train/consistency_loss", loss)
        weighted: Tensor = step.scheduled(lambda now: self.weight * sigmoid_ramp_up(now.progress / self.ramp_up)) * loss
        return weighted
