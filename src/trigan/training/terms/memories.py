"""State of terms on unlabelled images, as part of every checkpoint.

The state changes between steps alone, from the rows of all ranks and micro-batches of a step. Within a step a term has
the state as if the rows of its micro-batch (of all ranks) had been the step's only ones; without micro-batches that is
the state after the step, as in the papers.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trigan import distributed
from trigan.training.optimizers import update_average
from trigan.training.step import Moment, TrainingStep


class BatchAverages(nn.Module):
    """a <- momentum a + (1 - momentum) m, with m the means of a step, each (n,).

    A value that ``start`` has as NaN begins with the first step's mean.
    """

    values: Tensor
    total: Tensor
    count: Tensor

    def __init__(self, start: Tensor, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("values", start.clone())
        self.register_buffer("total", torch.zeros_like(start))
        self.register_buffer("count", start.new_zeros(()))

    @torch.no_grad()
    def forward(self, step: TrainingStep, means: Tensor) -> Tensor:
        """The averages (n,) in a step, for the means (n,) over this rank's rows of a micro-batch."""
        if step.part == 0:
            self._update()
        means = distributed.global_mean(means.detach().to(self.values.dtype))
        self.total += means
        self.count += 1
        return self._moved(means)

    def _update(self) -> None:
        """Move the averages by the means since the last update, if there are any."""
        moved = self._moved(self.total / self.count.clamp_min(1.0))
        self.values.copy_(torch.where(self.count > 0, moved, self.values))
        self.total.zero_()
        self.count.zero_()

    def _moved(self, means: Tensor) -> Tensor:
        return torch.where(self.values.isnan(), means, self.momentum * self.values + (1.0 - self.momentum) * means)


class LastLabels(nn.Module):
    """For each unlabelled image the class of its last confident prediction; -1 where there was none.

    `forward` gives the labels before the step, and notes the step's predictions.
    """

    values: Tensor
    noted: Tensor

    def __init__(self, images: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.full((images,), -1))
        self.register_buffer("noted", torch.full((images,), -1))

    @torch.no_grad()
    def forward(self, step: TrainingStep, images: Tensor, labels: Tensor, confident: Tensor) -> Tensor:
        """The labels (N,) before a step, in which ``images`` (n,) are predicted as ``labels`` (n,).

        Only predictions where ``confident``, bool (n,), count; of two of one image the later row's does.
        """
        if step.part == 0:
            self.values.copy_(self.noted)
        columns = torch.stack([images, labels, confident.long()], 1).double()
        images, labels, confident = distributed.all_gather(columns).long().unbind(1)
        rows = torch.where(confident > 0, torch.arange(len(images), device=images.device), -1)
        last = torch.full_like(self.noted, -1).scatter_reduce_(0, images, rows, "amax")
        self.noted.copy_(torch.where(last >= 0, labels[last.clamp_min(0)], self.noted))
        return self.values


class AveragedWeights(nn.Module):
    """The weights of a mean teacher: w' <- decay w' + (1 - decay) w after each step, from C's initial weights.

    Names of parameters contain dots, so that the buffers have numbers.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._names = [name for name, _ in network.named_parameters()]
        for number, weight in enumerate(network.parameters()):
            self.register_buffer(str(number), weight.detach().clone())

    @torch.no_grad()
    def forward(self, step: TrainingStep, network: nn.Module, share: Callable[[Moment], float]) -> dict[str, Tensor]:
        """The averages by the parameters' names, at the begin of a step; ``share`` of them is then that of C's."""
        averages = tuple(getattr(self, str(number)) for number in range(len(self._names)))
        if step.part == 0 and step.decided(lambda now: now.index > 0):
            update_average(averages, tuple(weight.detach() for weight in network.parameters()), step.scheduled(share))
        return dict(zip(self._names, averages, strict=True))
