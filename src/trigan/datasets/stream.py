"""Batches as a function of (seed, step, row of the global batch), from images that stay on the device."""

from functools import lru_cache, partial

import torch
from torch import Tensor

from trigan import rng
from trigan.errors import DataError


def to_float(images: Tensor) -> Tensor:
    """uint8 0..255 -> float32 in [-1, 1]: u / 127.5 - 1."""
    # In this order both ends are exact and the values symmetric about 0; it is also twice as fast as division.
    return images.to(torch.float32).sub_(127.5).mul_(1 / 127.5)


def to_uint8(images: Tensor) -> Tensor:
    """[-1, 1] -> uint8 0..255, rounded and clipped: the inverse of `to_float`."""
    return images.float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)


class BatchStream:
    """An endless stream of global batches; batch ``t`` depends on the seed and ``t`` alone.

    Row r of batch t is at position p = t * batch + r of the stream. Position p holds image
    ``permutation(N, seed, p // N)[p % N]``, so each epoch has each image once, and a batch may be larger than the
    data set.

    Args:
        images: uint8 (N, C, S, S).
        labels: int64 (N,), probabilities float (N, K), or None.
        batch: rows of the global batch, over all processes.
        seed: of the order.
        weights: float (N,) >= 0; each row is then drawn with replacement, image i with probability w_i / sum(w).
        device: of images and labels.
        parts: sizes that add up to N of consecutive sets, shuffled separately; not together with weights.
        weights_from: the step from which weights apply; before it each epoch has each image once.

    Raises:
        DataError: no images, no rows, invalid weights, or parts that don't add up.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor | None,
        batch: int,
        seed: int,
        weights: Tensor | None = None,
        device: torch.device | str = "cpu",
        parts: tuple[int, ...] = (),
        weights_from: int = 0,
    ) -> None:
        if not len(images) or batch < 1:
            raise DataError(f"cannot draw batches of {batch} from {len(images)} images; both must be 1 or more")
        if labels is not None and len(labels) != len(images):
            raise DataError(f"{len(images)} images but {len(labels)} labels")
        if parts and (sum(parts) != len(images) or min(parts) < 1 or weights is not None):
            raise DataError(f"parts {list(parts)} must be sizes that add up to {len(images)}, and go without weights")
        self.batch, self.seed, self.device, self.weights_from = batch, seed, torch.device(device), weights_from
        self.images = images.to(self.device)
        self.labels = None if labels is None else labels.to(self.device)
        self._cumulative = None if weights is None else _cumulative(weights, len(images)).to(self.device)
        self._parts = parts or (len(images),)
        self._order = lru_cache(maxsize=2)(partial(_order_of_epoch, self._parts, seed, self.device))

    def __len__(self) -> int:
        """Images, which is the length of an epoch."""
        return len(self.images)

    def at(self, step: int | rng.DeviceStep, start: int = 0, stop: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Rows ``start..stop`` of global batch ``step``: float32 (stop - start, C, S, S) in [-1, 1], labels or None."""
        return self._take(self.indices(step, start, stop))

    def pick(self, step: int | rng.DeviceStep, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `at`, for any ``rows`` (n,) of the global batch."""
        return self._take(self.indices(step).index_select(0, rows.to(self.device)))

    def _take(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        labels = None if self.labels is None else self.labels.index_select(0, indices)
        return to_float(self.images.index_select(0, indices)), labels

    def indices(self, step: int | rng.DeviceStep, start: int = 0, stop: int | None = None) -> Tensor:
        """The images in those rows, int64 (stop - start,) on the device."""
        stop = self.batch if stop is None else stop
        if not 0 <= start <= stop <= self.batch:
            raise ValueError(f"rows {start}..{stop} are not inside a batch of {self.batch}")
        if self._cumulative is not None and self._weighted(step):
            draws = rng.Draws(self.seed, step, self.batch, start, stop, self.device)
            drawn = draws.uniform("resample", dtype=torch.float64) * self._cumulative[-1]
            return torch.searchsorted(self._cumulative, drawn, right=True).clamp_(max=len(self) - 1)
        if isinstance(step, rng.DeviceStep):
            return step.rows(self._positions)[start:stop]
        position, last = step * self.batch + start, step * self.batch + stop
        pieces: list[Tensor] = []
        while position < last or not pieces:
            epoch, offset = divmod(position, len(self))
            pieces.append(self._order(epoch)[offset : min(len(self), offset + last - position)])
            position += len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _weighted(self, step: int | rng.DeviceStep) -> bool:
        if isinstance(step, rng.DeviceStep):
            return step.decided(lambda number: number >= self.weights_from)
        return step >= self.weights_from

    def _positions(self, steps: range) -> Tensor:
        """The images of consecutive steps without weights, int64 (steps, batch)."""
        first, last = steps.start * self.batch, steps.stop * self.batch
        epochs = range(first // len(self), -(-last // len(self)))
        orders = _orders(self._parts, self.seed, self.device, epochs).flatten()
        offset = first - epochs.start * len(self)
        return orders[offset : offset + last - first].view(len(steps), self.batch)


def _orders(parts: tuple[int, ...], seed: int, device: torch.device, epochs: range) -> Tensor:
    """The order of the images in each epoch, int64 (epochs, N)."""
    pieces, first = [], 0
    for index, size in enumerate(parts):
        part = (index,) if index else ()
        keys = [rng.permutation_key("batches", seed, epoch, *part) for epoch in epochs]
        pieces.append(first + rng.permutations(size, torch.tensor(keys, device=device)))
        first += size
    return torch.cat(pieces, dim=1)


def _order_of_epoch(parts: tuple[int, ...], seed: int, device: torch.device, epoch: int) -> Tensor:
    return _orders(parts, seed, device, range(epoch, epoch + 1))[0]


def _cumulative(weights: Tensor, count: int) -> Tensor:
    total = weights.detach().cpu().double().cumsum(0)
    if weights.shape != (count,) or bool((weights < 0).any()) or not 0 < float(total[-1]) < float("inf"):
        raise DataError(f"weights must be {count} numbers, none negative, with a finite sum above 0")
    return total
