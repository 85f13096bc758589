"""The process group: who am I, and the few collective operations that the players need.

Every rank runs the whole program on its slice of each global batch; gradients meet in one flat all-reduce per update
(so Lightning's DDP wrapper, which refuses alternating updates without a search for unused parameters, is not needed).
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes that share each global batch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number; rank 0 alone writes."""
    return dist.get_rank() if world_size() > 1 else 0


def broadcast(value: Any) -> Any:
    """Rank 0's value, on every rank."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def average_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over the ranks, in one flat all-reduce."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= world_size()
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


class _GlobalMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total / world_size()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total / world_size()


def global_mean(value: Tensor) -> Tensor:
    """Mean over the ranks of a per-rank mean, differentiable: for losses that are not themselves means over rows."""
    return value if world_size() == 1 else _GlobalMean.apply(value)


class _Gathered(torch.autograd.Function):
    """Every rank's loss may depend on every row, so a row's gradient is the sum over the ranks."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        every = rows.new_zeros(world_size(), *rows.shape)
        every[rank()] = rows
        dist.all_reduce(every)
        return every.flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total.unflatten(0, (world_size(), -1))[rank()]


def all_gather(rows: Tensor) -> Tensor:
    """All ranks' rows (n, d), n alike on each, one rank after the other: (ranks x n, d), differentiable."""
    return rows if world_size() == 1 else _Gathered.apply(rows)
