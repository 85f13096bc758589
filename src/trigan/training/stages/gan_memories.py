"""State of a GAN's losses beside the weights: moving averages of logits, and the probability of ADA.

It changes between steps alone, from means over the global batch, so that ranks and micro-batches agree with one
process; as buffers of `PlayersModule.memories` it is part of every checkpoint.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from trigan import distributed
from trigan.datasets.discriminator_augmentation import AdaptiveAugment
from trigan.rng import Draws
from trigan.training.step import TrainingStep


class StepMeans(nn.Module, ABC):
    """Collects ``values`` means over the batches of ``interval`` steps, and then updates its state."""

    total: Tensor
    count: Tensor

    def __init__(self, values: int, interval: int = 1) -> None:
        super().__init__()
        self.interval = interval
        self.register_buffer("total", torch.zeros(values, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def begin(self, step: TrainingStep) -> None:
        """Before the first batch of a step: update the state where the interval ends."""
        if step.part == 0 and step.decided(lambda now: now.index % self.interval == 0):
            self._update(self.total / self.count.clamp_min(1.0), self.count > 0)
            self.total.zero_()
            self.count.zero_()

    @torch.no_grad()
    def observe(self, real: Tensor, fake: Tensor) -> None:
        """Add the logits (n,) of this process's real and generated images."""
        self.total += distributed.global_mean(self._values(real.double(), fake.double()))
        self.count += 1

    @abstractmethod
    def _values(self, real: Tensor, fake: Tensor) -> Tensor:
        """The means to collect, (values,)."""

    @abstractmethod
    def _update(self, means: Tensor, observed: Tensor) -> None:
        """Change the state by the collected means, where ``observed``, bool (), holds."""


class LogitAverages(StepMeans):
    """``value``: moving averages of the mean real and fake logit, (2,); -inf and inf before the second step."""

    value: Tensor

    def __init__(self, decay: float) -> None:
        super().__init__(values=2)
        self._decay = decay
        self.register_buffer("value", torch.tensor([-torch.inf, torch.inf], dtype=torch.float64))

    def _values(self, real: Tensor, fake: Tensor) -> Tensor:
        return torch.stack([real.mean(), fake.mean()])

    def _update(self, means: Tensor, observed: Tensor) -> None:
        moved = torch.where(self.value.isinf(), means, self._decay * self.value + (1.0 - self._decay) * means)
        self.value.copy_(torch.where(observed, moved, self.value))


class AugmentationController(StepMeans):
    """Adaptive discriminator augmentation: ``probability`` rises while E sign D(x) of real images is above the target.

    Karras et al. 2020 (2006.06676), section 3.1, r_t, as in the authors' code: after each interval p moves by +-(images
    of the interval) / ``ramp_images``, and stays in [0, 1].
    """

    probability: Tensor

    def __init__(self, augmentation: AdaptiveAugment, batch: int) -> None:
        super().__init__(values=1, interval=augmentation.interval)
        self._augmentation = augmentation
        self._move = batch * augmentation.interval / augmentation.ramp_images
        self.register_buffer("probability", torch.tensor(augmentation.initial, dtype=torch.float64))

    def forward(self, images: Tensor, draws: Draws, stream: str) -> Tensor:
        """See `trigan.datasets.augmentation.Augmentation`."""
        return self._augmentation.at(self.probability, images, draws, stream)

    def _values(self, real: Tensor, fake: Tensor) -> Tensor:
        return real.sign().mean()[None]

    def _update(self, means: Tensor, observed: Tensor) -> None:
        moved = self.probability + self._move * (means[0] - self._augmentation.target).sign()
        self.probability.copy_(torch.where(observed, moved, self.probability).clamp(0.0, 1.0))
