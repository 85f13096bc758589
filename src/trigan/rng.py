"""Stateless randomness: every random number is a function of (seed, stream, step, row of the global batch, element).

Nothing here keeps state, so a resumed run draws the same numbers, and a rank that takes rows 32..63 of a global batch
draws those rows alone, and gets what a single process would have drawn for them. All arithmetic is exact (integers, and
single floating-point operations that IEEE 754 rounds the same way everywhere), so CPUs and GPUs draw the same numbers.
"""

import functools
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor

V = TypeVar("V")

_WORD = 32  # bits of a random word
_BLOCK = 2**15  # numbers of a stream that are drawn and kept at once, where steps are drawn ahead
_TABLE = 2**16  # numbers of a step on the device that are drawn with those of other steps, which spares most kernels
_BLOCKS = 256  # the blocks that are kept: at most 64 MB


def hash64(*parts: object) -> int:
    """A 63-bit integer from the parts' texts (BLAKE2b); the same on every machine and Python version."""
    # a slash inside a part is escaped, so that ("a/b", "c") and ("a", "b/c") differ
    text = "/".join(str(part).replace("\\", "\\\\").replace("/", "\\/") for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


class DeviceStep(ABC):
    """The number of a training step as a value on the device, so that one CUDA graph serves many steps.

    What depends on the step is asked for in the same order in each run of the step's code.
    """

    @property
    @abstractmethod
    def number(self) -> Tensor:
        """The number of the step, int64 (1,)."""

    @abstractmethod
    def real(self, function: Callable[[int], float]) -> Tensor:
        """``function(step)``, shape (), in the precision of the weights."""

    @abstractmethod
    def integer(self, function: Callable[[int], int]) -> Tensor:
        """``function(step)``, int64 (1,)."""

    @abstractmethod
    def rows(self, function: Callable[[range], Tensor]) -> Tensor:
        """The step's row (m,) of ``function(steps)``, (steps, m) of any type on any device."""

    @abstractmethod
    def decided(self, function: Callable[[int], V]) -> V:
        """``function(step)`` on the host: the graph serves only steps with an equal value."""


def random_words(key: int | Tensor, counters: Tensor) -> Tensor:
    """A uniform 32-bit word for each counter: the generator Squares (Widynski 2020, arXiv 2004.06278, four rounds).

    Args:
        key: odd integer in -2**63..2**63-1 with irregular bits; or several, in a shape that broadcasts.
        counters: int64, any shape; equal counters have equal words.

    Returns:
        int64 in 0..2**32-1, of the counters' shape.
    """
    y = counters * key  # products and sums are meant to wrap around at 64 bits
    z = y + key
    x = _swap_halves(torch.addcmul(y, y, y))
    x = _swap_halves(torch.addcmul(z, x, x))
    x = _swap_halves(torch.addcmul(y, x, x))
    return _upper_half(torch.addcmul(z, x, x))


def _upper_half(x: Tensor) -> Tensor:
    return (x >> _WORD).bitwise_and_(2**_WORD - 1)  # the shift of a negative number fills up with ones


def _swap_halves(x: Tensor) -> Tensor:
    return (x << _WORD).bitwise_or_(_upper_half(x))


def _key(*parts: object) -> int:
    """An odd key of `random_words`: the parts' hash as the upper 63 of 64 bits, read as a signed integer."""
    key = hash64(*parts) << 1 | 1
    return key - 2**64 if key >= 2**63 else key


def permutation(n: int, *parts: object, device: torch.device | str = "cpu") -> Tensor:
    """A permutation of 0..n-1, int64, as a function of the parts alone: the order of n random words."""
    return random_words(permutation_key(*parts), torch.arange(n, device=device)).argsort(stable=True)


def permutations(n: int, keys: Tensor) -> Tensor:
    """The permutation of 0..n-1 of each `permutation_key` in ``keys`` (m,): int64 (m, n)."""
    return random_words(keys[:, None], torch.arange(n, device=keys.device)).argsort(stable=True)


def permutation_key(*parts: object) -> int:
    """What `permutation` makes of its parts."""
    return _key("permutation", *parts)


@dataclass(frozen=True)
class Draws:
    """The random numbers of one step, for rows ``start..stop`` of a global batch of ``total`` rows.

    A row has the same numbers in whichever process it is drawn.

    Attributes:
        seed: of all steps.
        step: 0 to 2**31-1, or on the device.
        total: rows of the global batch.
        start: first row of this process.
        stop: one after its last row.
        device: where the numbers are drawn.
        ahead: the numbers of up to this many steps are drawn at once, which a fit saves time by; they are the same.
        indices: the rows themselves, int64 (n,), where they are not consecutive; see `Draws.of_indices`.

    Example:
        >>> batch = Draws(seed=1, step=0, total=4, start=0, stop=4)
        >>> half = Draws(seed=1, step=0, total=4, start=2, stop=4)
        >>> bool((batch.normal("z", 8)[2:] == half.normal("z", 8)).all())
        True
    """

    seed: int
    step: int | DeviceStep
    total: int
    start: int
    stop: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    ahead: int = 1
    indices: Tensor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop <= self.total:
            raise ValueError(f"rows {self.start}..{self.stop} don't lie in a global batch of {self.total} rows")

    @classmethod
    def of_rows(cls, seed: int, start: int, stop: int, device: torch.device | None = None) -> "Draws":
        """The numbers of rows ``start..stop`` of an endless list without steps; by default on the CPU."""
        return cls(seed, 0, stop, start, stop, device or torch.device("cpu"))

    @classmethod
    def of_indices(cls, seed: int, indices: Tensor) -> "Draws":
        """The numbers of the rows ``indices`` (n,) of that endless list, in their order and on their device."""
        stop = int(indices.max()) + 1 if len(indices) else 0
        return cls(seed, 0, stop, 0, stop, indices.device, indices=indices)

    def words(self, stream: str, *shape: int) -> Tensor:
        """Uniform integers in 0..2**32-1, int64, shape (stop - start, *shape).

        Raises:
            ValueError: the step or the batch has more numbers than counters.
        """
        return self._drawn(_words, stream, shape)

    def normal(self, stream: str, *shape: int) -> Tensor:
        """N(0, 1) numbers, float32, shape (stop - start, *shape).

        Each is the sum of two independent quantiles, which the halves of one word choose, over the square root of 2.
        """
        return self._drawn(_normals, stream, shape)

    def uniform(self, stream: str, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform numbers in [0, 1), shape (stop - start, *shape): multiples of 2**-24, or of 2**-32 in float64."""
        bits = 24 if dtype == torch.float32 else _WORD
        return (self.words(stream, *shape) >> (_WORD - bits)).to(dtype).mul_(2.0**-bits)

    def integers(self, stream: str, high: int, *shape: int) -> Tensor:
        """Uniform integers in 0..high-1, int64, shape (stop - start, *shape); ``high`` is at most 2**31."""
        return (self.words(stream, *shape) * high) >> _WORD

    def permutation(self, stream: str) -> Tensor:
        """This process's part of a permutation of the global batch's row numbers, int64, shape (stop - start,)."""
        return self.order(self.total, stream)[self.start : self.stop]

    def order(self, count: int, *parts: object) -> Tensor:
        """A permutation of 0..count-1, int64 (count,), as a function of the seed, the parts and the step alone."""
        if isinstance(self.step, DeviceStep):
            key = self.step.integer(lambda step: permutation_key(self.seed, *parts, step))
            return permutations(count, key)[0]
        return permutation(count, self.seed, *parts, self.step, device=self.device)

    def _drawn(self, draw: Callable[..., Tensor], stream: str, shape: tuple[int, ...]) -> Tensor:
        """This step's rows of what ``draw`` draws for a block of steps."""
        size, step = math.prod(shape), self.step
        if self.stop * size > 2**_WORD or (isinstance(step, int) and not 0 <= step < 2 ** (_WORD - 1)):
            raise ValueError(f"step {step}, {self.stop} rows of {size} numbers: more than a 64-bit counter can count")
        key, first, last = _key(self.seed, stream), self.start * size, self.stop * size

        def drawn(steps: Tensor) -> Tensor:
            if self.indices is None:
                return draw(key, steps, torch.arange(first, last, device=self.device))
            elements = torch.arange(size, device=self.device)
            return draw(key, steps, (self.indices[:, None] * size + elements).flatten())

        ahead = min(self.ahead, _BLOCK // max(1, last - first)) if self.indices is None else 1
        if isinstance(step, DeviceStep):
            few = last - first <= _TABLE
            numbers = step.rows(lambda steps: drawn(_numbers(steps, self.device))) if few else drawn(step.number)
        elif ahead > 1:
            place = step % ahead
            block = range(step - place, step - place + ahead)
            numbers = _kept_block(draw, key, block, first, last, self.device)[place].clone()
        else:
            numbers = drawn(_numbers(range(step, step + 1), self.device))
        rows = self.stop - self.start if self.indices is None else len(self.indices)
        return numbers.view(rows, *shape)

    def rows(self, start: int, stop: int) -> "Draws":
        """The same step's numbers for rows ``start..stop`` of this process's own rows (a micro-batch)."""
        if not 0 <= start <= stop <= self.stop - self.start:
            raise ValueError(f"rows {start}..{stop} don't lie in the {self.stop - self.start} rows of this process")
        return replace(self, start=self.start + start, stop=self.start + stop)


def _numbers(steps: range, device: torch.device) -> Tensor:
    return torch.arange(steps.start, steps.stop, device=device)


def _words(key: int, steps: Tensor, lower: Tensor) -> Tensor:
    """A word for each of the ``steps`` (s,) and each number in ``lower`` (n,), int64 (s, n).

    The step is the upper half of a counter; row and element are the lower half.
    """
    return random_words(key, (steps << _WORD)[:, None] + lower)


def _normals(key: int, steps: Tensor, lower: Tensor) -> Tensor:
    """The numbers of `Draws.normal` for `_words`, float32."""
    words = _words(key, steps, lower)
    quantiles = _normal_quantiles(words.device)
    return quantiles.take(words >> 16).add_(quantiles.take(words & 0xFFFF)).mul_(math.sqrt(0.5))


@functools.lru_cache(maxsize=_BLOCKS)
def _kept_block(
    draw: Callable[..., Tensor], key: int, steps: range, first: int, last: int, device: torch.device
) -> Tensor:
    """What ``draw`` draws for ``steps`` and the numbers ``first..last``, (steps, last - first), kept."""
    return draw(key, _numbers(steps, device), torch.arange(first, last, device=device))


@functools.cache
def _normal_quantiles(device: torch.device) -> Tensor:
    """The N(0, 1) quantiles of (k + 1/2) / 2**16, float32 (65536,), scaled to a variance of exactly 1."""
    levels = (torch.arange(2**16, dtype=torch.float64) + 0.5) / 2**16
    quantiles: Tensor = torch.special.ndtri(levels)
    return (quantiles / quantiles.square().mean().sqrt()).float().to(device)
