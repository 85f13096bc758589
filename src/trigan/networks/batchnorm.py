"""Batch norm whose statistics are those of the global batch, can be held still, and can be re-estimated.

Ioffe & Szegedy 2015 (1502.03167). torch's SyncBatchNorm refuses CPU tensors; this one takes its statistics through an
all-reduce that is its own gradient, so n processes equal one at the same global batch.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.errors import DataError


class _SumOverRanks(torch.autograd.Function):
    """The sum over all processes; as every rank's loss depends on it, its gradient is summed over ranks too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _SumOverRanks.apply(gradient.contiguous())


class BatchNorm2d(nn.Module):
    """Batch norm over (N, H, W) of an input (N, C, H, W).

    State, each of shape (C,): ``weight``, ``bias``, ``running_mean``, ``running_var``.

    Args:
        channels: C.
        momentum: share of the new batch in the running statistics.
        eps: added to the variance.

    In training mode under a process group of several ranks, every rank must call it the same number of times.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.update_statistics = True  # frozen_statistics
        self.synchronized = True  # local_statistics
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised ``x``, of the same shape and dtype."""
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        if self.synchronized and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            return self._normalize_over_ranks(x)
        if self.update_statistics:
            mean, var = self.running_mean, self.running_var
            return F.batch_norm(x, mean, var, self.weight, self.bias, True, self.momentum, self.eps)
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)

    def _normalize_over_ranks(self, x: Tensor) -> Tensor:
        wide = x.float() if x.dtype.itemsize == 2 else x
        count, mean, var = _moments_over_ranks(wide)
        if self.update_statistics:
            with torch.no_grad():
                self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), self.momentum)
                unbiased = var.detach() * (count / (count - 1))
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        scale = self.weight * torch.rsqrt(var + self.eps)
        normalized = (wide - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]
        return normalized.to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, momentum={self.momentum}, eps={self.eps}"


def _moments_over_ranks(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count (), mean (C,) and biased variance (C,) of ``x`` (n, C, H, W) over all ranks' rows; n may differ by rank.

    Each rank sends its count, mean and centred second moment in its own row of one table; they are pooled after Chan et
    al. 1979. Sums of squares would lose digits where the mean is large.
    """
    channels = x.shape[1]
    mean = x.mean((0, 2, 3))
    second = (x - mean[:, None, None]).square().sum((0, 2, 3))
    own = torch.cat([mean, second, mean.new_full((1,), x.numel() // channels)])
    row = own.new_zeros(dist.get_world_size(), 1)
    row[dist.get_rank()] = 1.0
    means, seconds, counts = _SumOverRanks.apply(row * own).split((channels, channels, 1), dim=1)
    count = counts.sum()
    pooled = (counts * means).sum(0) / count
    return count, pooled, (seconds + counts * (means - pooled).square()).sum(0) / count


def _layers(*networks: nn.Module) -> list[BatchNorm2d]:
    return [module for network in networks for module in network.modules() if isinstance(module, BatchNorm2d)]


@contextmanager
def frozen_statistics(*networks: nn.Module) -> Iterator[None]:
    """Within it, training mode still normalises by the batch, but running statistics stay (for generated batches)."""
    moving = [layer for layer in _layers(*networks) if layer.update_statistics]
    for layer in moving:
        layer.update_statistics = False
    try:
        yield
    finally:
        for layer in moving:
            layer.update_statistics = True


@contextmanager
def local_statistics(*networks: nn.Module) -> Iterator[None]:
    """Within it, training mode normalises by this process's rows alone: for a rank that looks on its own."""
    shared = [layer for layer in _layers(*networks) if layer.synchronized]
    for layer in shared:
        layer.synchronized = False
    try:
        yield
    finally:
        for layer in shared:
            layer.synchronized = True


class _Pool:
    """A forward pre-hook that pools count, mean and centred second moment of a layer's inputs in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.second = torch.zeros((), dtype=torch.float64)

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor]) -> None:
        var, mean = torch.var_mean(inputs[0].double(), (0, 2, 3), correction=0)
        count = inputs[0].numel() // inputs[0].shape[1]
        total = self.count + count
        shift = mean - self.mean
        self.second = self.second + var * count + shift.square() * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.count = total


@torch.no_grad()
def recalibrate_batch_norm(
    network: nn.Module, batches: Iterable[Any], forward: Callable[[Any], Any] | None = None
) -> None:
    """Replace running statistics by the exact pooled mean and unbiased variance over ``batches``; ends in eval mode.

    Each batch is normalised by its own statistics on the way through; all else (dropout, spectral norm) is in eval
    mode. A layer that the forward pass doesn't reach keeps its statistics. No process group is used: every process that
    calls it passes the same batches, so one rank may also call it alone.

    Args:
        network: the network that holds the batch-norm layers.
        batches: what ``forward`` takes, one after the other: real training images.
        forward: the pass to make; ``network`` itself by default.

    Raises:
        DataError: there is not one batch.
    """
    network.eval()
    pools = {layer: _Pool() for layer in _layers(network)}
    if not pools:
        return
    hooks = [layer.register_forward_pre_hook(pool) for layer, pool in pools.items()]
    for layer in pools:
        layer.train()
    try:
        with frozen_statistics(network), local_statistics(network):
            seen = sum(1 for _ in map(forward or network, batches))
    finally:
        for hook in hooks:
            hook.remove()
        for layer in pools:
            layer.eval()
    if not seen:
        raise DataError("batch-norm statistics cannot be re-estimated from no images: pass at least one batch")
    for layer, pool in pools.items():
        if pool.count:
            layer.running_mean.copy_(pool.mean)
            layer.running_var.copy_(pool.second / max(pool.count - 1, 1))
