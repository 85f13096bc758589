"""Moving averages of C's probabilities for each labelled image: state of a loss, as part of every checkpoint."""

import torch
from torch import Tensor, nn

from trigan import distributed
from trigan.training.step import TrainingStep


class TargetAverages(nn.Module):
    """For each image t <- momentum t + (1 - momentum) p, from 0, at the end of a step that shows it.

    `forward` gives the averages as if its rows alone had been shown. The state changes between steps, by the rows of
    all ranks and micro-batches: where a step shows an image several times, by the mean of their p.
    """

    values: Tensor
    total: Tensor
    count: Tensor

    def __init__(self, images: int, classes: int, momentum: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("values", torch.zeros(images, classes, dtype=dtype))
        self.register_buffer("total", torch.zeros(images, classes, dtype=dtype))
        self.register_buffer("count", torch.zeros(images, dtype=dtype))

    @torch.no_grad()
    def forward(self, step: TrainingStep, images: Tensor, probabilities: Tensor) -> Tensor:
        """The averages (n, K) after a step, for ``images``, numbers in L (n,), and probabilities (n, K)."""
        if step.part == 0:
            self._update()
        shown = (probabilities / probabilities.sum(1, keepdim=True)).detach().to(self.values.dtype)
        rows = distributed.all_gather(torch.cat([images[:, None].double(), shown.double()], 1))
        numbers = rows[:, 0].long()
        self.total.index_add_(0, numbers, rows[:, 1:].to(self.total.dtype))
        self.count.index_add_(0, numbers, torch.ones_like(numbers, dtype=self.count.dtype))
        return self._moved(self.values[images], shown)

    def _update(self) -> None:
        """Move the averages of the images that were shown since the last update."""
        means = self.total / self.count.clamp_min(1.0)[:, None]
        self.values.copy_(torch.where(self.count[:, None] > 0, self._moved(self.values, means), self.values))
        self.total.zero_()
        self.count.zero_()

    def _moved(self, values: Tensor, probabilities: Tensor) -> Tensor:
        return self.momentum * values + (1.0 - self.momentum) * probabilities
