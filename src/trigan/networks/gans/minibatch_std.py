"""The minibatch standard deviation, by which D sees how much the images of a batch differ."""

import torch
from torch import Tensor, nn

from trigan import distributed
from trigan.errors import ConfigError


class MinibatchStd(nn.Module):
    """One more map: the mean standard deviation in groups of ``group`` consecutive images.

    Karras et al. 2018 (1710.10196), section 3, with groups as in the authors' code. In evaluation the map has the
    moving average of training, so that the logit of an image does not depend on others.
    """

    average: Tensor

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group
        self.register_buffer("average", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S) -> (N, C + 1, S, S)."""
        count, _, *side = x.shape
        if not self.training:
            return torch.cat([x, self.average.to(x.dtype).expand(count, 1, *side)], dim=1)
        if count % self.group:
            raise ConfigError(
                f"architecture.minibatch_std={self.group}: {count} images in a (micro-)batch of D are not full groups; "
                f"take a batch that gives each process and micro-batch a multiple of {self.group}"
            )
        variance = x.view(-1, self.group, *x.shape[1:]).var(1, correction=0)
        deviation = (variance + 1e-8).sqrt().mean((1, 2, 3))
        with torch.no_grad():
            self.average.lerp_(distributed.global_mean(deviation.mean()).to(self.average.dtype), 0.1)
        return torch.cat([x, deviation.repeat_interleave(self.group).view(-1, 1, 1, 1).expand(count, 1, *side)], dim=1)
