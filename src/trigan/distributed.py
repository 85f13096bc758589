"""Rank and size of the process group, and the collective operations of training and of batch norm.

Every rank runs the whole program on its rows of each global batch. Gradients are averaged by one flat all-reduce per
update, so Lightning's DDP wrapper (which needs a search for unused parameters with alternating updates) is not used.
"""

import warnings
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

if dist.is_available():
    from torch.distributed.nn.functional import all_reduce
# torch 2.13 recommends a private function instead (torch.distributed._functional_collectives)
warnings.filterwarnings("ignore", r"torch\.distributed\.nn\.functional\.all_reduce is deprecated", FutureWarning)


def world_size() -> int:
    """Number of processes that share each global batch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process; only rank 0 writes files."""
    return dist.get_rank() if world_size() > 1 else 0


def broadcast(value: Any) -> Any:
    """Rank 0's value, on every rank."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def average_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over the ranks, in one flat all-reduce."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    means = torch.split(flat.div_(world_size()), [gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [mean.view_as(one) for mean, one in zip(means, gradients, strict=True)])


def _sum(value: Tensor) -> Tensor:
    """Sum over the ranks; its gradient is summed over the ranks too, because every rank's loss depends on it."""
    total: Tensor = all_reduce(value)  # type: ignore[no-untyped-call]
    return total


def global_mean(value: Tensor) -> Tensor:
    """Mean over the ranks, differentiable: for losses that are not themselves means over rows."""
    return value if world_size() == 1 else _sum(value) / world_size()


def all_gather(rows: Tensor) -> Tensor:
    """All ranks' rows (n, d), with the same n on each, in the order of the ranks: (ranks x n, d), differentiable."""
    if world_size() == 1:
        return rows
    padded = rows.new_zeros(world_size(), *rows.shape)
    padded[rank()] = rows
    return _sum(padded).flatten(0, 1)
