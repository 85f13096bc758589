"""Batch norm over the global batch, with statistics that can be frozen and re-estimated.

Ioffe & Szegedy 2015 (1502.03167). torch's SyncBatchNorm refuses CPU tensors; this one pools its statistics with a
differentiable all-reduce, so n processes equal one with the same global batch.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan import distributed
from trigan.errors import DataError


class BatchNorm2d(nn.Module):
    """Batch norm over (N, H, W) of an input (N, C, H, W); C = ``channels``, and ``eps`` is added to the variance.

    State, each of shape (C,): ``weight``, ``bias``, ``running_mean``, ``running_var``, in which a new batch has the
    share ``momentum``. In training mode with several ranks, each rank must call it the same number of times.
    """

    running_mean: Tensor
    running_var: Tensor
    auxiliary_weight: nn.Parameter | None
    auxiliary_bias: nn.Parameter | None

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.update_statistics = True  # frozen_statistics
        self.synchronized = True  # local_statistics
        self.uses_auxiliary = False  # auxiliary_batch_norm
        self.keeps_statistics = False  # of a body that is frozen for good: they are not re-estimated
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_parameter("auxiliary_weight", None)
        self.register_parameter("auxiliary_bias", None)

    def add_auxiliary(self) -> None:
        """Add a second weight and bias, equal to the first, which `auxiliary_batch_norm` switches on."""
        self.auxiliary_weight = nn.Parameter(self.weight.detach().clone())
        self.auxiliary_bias = nn.Parameter(self.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Normalised ``x``, of the same shape and dtype."""
        return self._normalize(x, *self._weight_and_bias)

    def _normalize(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if self.training and self.synchronized and distributed.world_size() > 1:
            return self._normalize_over_ranks(x, weight, bias)
        frozen = self.training and not self.update_statistics
        mean, var = (None, None) if frozen else (self.running_mean, self.running_var)
        return F.batch_norm(x, mean, var, weight, bias, self.training, self.momentum, self.eps)

    @property
    def _weight_and_bias(self) -> tuple[nn.Parameter, nn.Parameter]:
        if self.uses_auxiliary and self.auxiliary_weight is not None and self.auxiliary_bias is not None:
            return self.auxiliary_weight, self.auxiliary_bias
        return self.weight, self.bias

    def _normalize_over_ranks(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        wide = x.float() if x.dtype.itemsize == 2 else x
        count, mean, var = _moments_over_ranks(wide)
        if self.update_statistics:
            with torch.no_grad():
                self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), self.momentum)
                unbiased = var.detach() * (count / (count - 1))
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        scale = weight * torch.rsqrt(var + self.eps)
        normalized = (wide - mean[:, None, None]) * scale[:, None, None] + bias[:, None, None]
        return normalized.to(x.dtype)


class BatchNormNd(BatchNorm2d):
    """The same over all but the channels of an input (N, C) or (N, C, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalised ``x``, of the same shape and dtype."""
        return super().forward(x.reshape(*x.shape[:2], -1, 1)).reshape(x.shape)


class ConditionalBatchNorm2d(BatchNorm2d):
    """Batch norm whose weight and bias are linear in a code of the row (N, ``code``): de Vries et al. 2017, 1707.00683.

    The weight is ``weight + gain(code)``, the bias ``bias + shift(code)``. With one-hot labels as codes each class has
    its own; ``gain`` and ``shift`` start at 0. With ``code`` 0 it is plain batch norm.
    """

    def __init__(self, channels: int, code: int) -> None:
        super().__init__(channels)
        self.gain = nn.Linear(code, channels, bias=False) if code else None
        self.shift = nn.Linear(code, channels, bias=False) if code else None
        for layer in (self.gain, self.shift):
            if layer is not None:
                nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """``x`` (N, C, H, W) normalised over all rows, with the weight and bias of each row's code (N, ``code``)."""
        if self.gain is None or self.shift is None:
            return super().forward(x)
        weight, bias = self.weight + self.gain(code), self.bias + self.shift(code)
        normalized = self._normalize(x, torch.ones_like(self.weight), torch.zeros_like(self.bias))
        scaled: Tensor = normalized * weight[..., None, None] + bias[..., None, None]
        return scaled


def _moments_over_ranks(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count (), mean (C,) and biased variance (C,) of ``x`` (n, C, H, W) over all ranks' rows; n may differ by rank.

    Counts, means and centred second moments are pooled after Chan et al. 1979: sums of squares would lose digits where
    the mean is large.
    """
    channels = x.shape[1]
    mean = x.mean((0, 2, 3))
    second = (x - mean[:, None, None]).square().sum((0, 2, 3))
    own = torch.cat([mean, second, mean.new_full((1,), x.numel() // channels)])
    means, seconds, counts = torch.split(distributed.all_gather(own[None]), [channels, channels, 1], dim=1)
    count = counts.sum()
    pooled = (counts * means).sum(0) / count
    return count, pooled, (seconds + counts * (means - pooled).square()).sum(0) / count


def batch_norms(network: nn.Module) -> list[BatchNorm2d]:
    """All batch-norm layers of the network."""
    return [module for module in network.modules() if isinstance(module, BatchNorm2d)]


def _recalibrated(network: nn.Module) -> list[BatchNorm2d]:
    """The batch-norm layers whose statistics may be re-estimated."""
    return [layer for layer in batch_norms(network) if not layer.keeps_statistics]


@contextmanager
def _switched(attribute: str, value: bool, networks: Iterable[nn.Module]) -> Iterator[None]:
    """Set ``attribute`` of every batch norm to ``value`` within the body, then back where it was not."""
    layers = [layer for network in networks for layer in batch_norms(network)]
    changed = [layer for layer in layers if getattr(layer, attribute) != value]
    for layer in changed:
        setattr(layer, attribute, value)
    try:
        yield
    finally:
        for layer in changed:
            setattr(layer, attribute, not value)


def frozen_statistics(*networks: nn.Module) -> AbstractContextManager[None]:
    """Within it, training mode normalises by the batch without updating running statistics (for generated images)."""
    return _switched("update_statistics", False, networks)


def local_statistics(*networks: nn.Module) -> AbstractContextManager[None]:
    """Within it, training mode normalises by this process's rows alone, without a collective call."""
    return _switched("synchronized", False, networks)


def auxiliary_batch_norm(network: nn.Module) -> AbstractContextManager[None]:
    """Within it, batch norm uses its auxiliary weight and bias (for images of another distribution).

    Together with `frozen_statistics` it is the auxiliary batch norm of AdvProp (Xie et al. 2020, arXiv 1911.09665,
    section 4), which is not used after training.

    Raises:
        ValueError: a batch norm has no auxiliary weight and bias, or there is no batch norm.
    """
    layers = batch_norms(network)
    if not layers or any(layer.auxiliary_weight is None for layer in layers):
        raise ValueError("auxiliary batch norm needs a network built by SeparateBatchNorm")
    return _switched("uses_auxiliary", True, (network,))


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Within the body batch norm normalises by the batch of this process, and nothing is updated.

    All else (dropout, spectral norm) is in eval mode. Afterwards the network has its own mode. No collective is called.
    """
    training = network.training
    network.eval()
    for layer in _recalibrated(network):
        layer.training = True  # not train(): layers within it stay in eval mode
    try:
        with frozen_statistics(network), local_statistics(network):
            yield
    finally:
        network.train(training)


class _InputMoments:
    """A forward pre-hook that pools count, mean and centred second moment of a layer's inputs in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.second = torch.zeros((), dtype=torch.float64)

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor]) -> None:
        others = (0, *range(2, inputs[0].ndim))
        var, mean = torch.var_mean(inputs[0].double(), others, correction=0)
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
    """Replace running statistics by the exact mean and unbiased variance over ``batches``; ends in eval mode.

    The passes are under `batch_statistics`; a layer that they don't reach keeps its statistics. One rank may call it
    alone, and ranks that pass the same batches get the same statistics. ``batches`` are inputs of ``forward``, by
    default of ``network``.

    Raises:
        DataError: ``batches`` is empty.
    """
    network.eval()
    moments = {layer: _InputMoments() for layer in _recalibrated(network)}
    if not moments:
        return
    hooks = [layer.register_forward_pre_hook(hook) for layer, hook in moments.items()]
    try:
        with batch_statistics(network):
            passes = sum(1 for _ in map(forward or network, batches))
    finally:
        for hook in hooks:
            hook.remove()
    if not passes:
        raise DataError("batch-norm statistics cannot be re-estimated from no images: pass at least one batch")
    for layer, pooled in moments.items():
        if pooled.count:
            layer.running_mean.copy_(pooled.mean)
            layer.running_var.copy_(pooled.second / max(pooled.count - 1, 1))
