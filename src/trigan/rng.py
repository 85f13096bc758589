"""Stateless randomness: every random number is a function of (seed, stream, step, row of the global batch).

Nothing here keeps state, so a resumed run draws the same numbers, and a rank that takes rows 32..63 of a global batch
gets the numbers that a single process would have drawn for those rows.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


def hash64(*parts: object) -> int:
    """A 63-bit integer from the parts' texts (BLAKE2b); the same on every machine and Python version."""
    # a slash inside a part is escaped, so that ("a/b", "c") and ("a", "b/c") differ
    text = "/".join(str(part).replace("\\", "\\\\").replace("/", "\\/") for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def torch_generator(*parts: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator seeded with `hash64` of the parts."""
    return torch.Generator(device=device).manual_seed(hash64(*parts))


def permutation(n: int, *parts: object) -> Tensor:
    """A permutation of 0..n-1, int64 on the CPU, as a function of the parts alone."""
    return torch.randperm(n, generator=torch_generator("permutation", *parts))


@dataclass(frozen=True)
class Draws:
    """The random numbers of one step, for rows ``start..stop`` of a global batch of ``total`` rows.

    Each method draws for the whole global batch and returns this process's rows, so that the value of a row does not
    depend on how many processes share the batch.
    """

    seed: int
    step: int
    total: int
    start: int
    stop: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop <= self.total:
            raise ValueError(f"rows {self.start}..{self.stop} don't lie in a global batch of {self.total} rows")

    def _draw(self, sampler: Callable[..., Tensor], stream: str, *arguments: Any) -> Tensor:
        generator = torch_generator(self.seed, stream, self.step, device=self.device)
        return sampler(*arguments, generator=generator, device=self.device)[self.start : self.stop]

    def normal(self, stream: str, *shape: int) -> Tensor:
        """N(0, 1) numbers, shape (stop - start, *shape)."""
        return self._draw(torch.randn, stream, self.total, *shape)

    def uniform(self, stream: str, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), shape (stop - start, *shape)."""
        return self._draw(torch.rand, stream, self.total, *shape)

    def integers(self, stream: str, high: int, *shape: int) -> Tensor:
        """Uniform integers in 0..high-1, int64, shape (stop - start, *shape)."""
        return self._draw(torch.randint, stream, high, (self.total, *shape))

    def permutation(self, stream: str) -> Tensor:
        """This process's part of a permutation of the global batch's row numbers, int64, shape (stop - start,)."""
        return self._draw(torch.randperm, stream, self.total)

    def rows(self, start: int, stop: int) -> "Draws":
        """The same step's numbers for rows ``start..stop`` of this process's own rows (a micro-batch)."""
        if not 0 <= start <= stop <= self.stop - self.start:
            raise ValueError(f"rows {start}..{stop} don't lie in the {self.stop - self.start} rows of this process")
        return replace(self, start=self.start + start, stop=self.start + stop)
