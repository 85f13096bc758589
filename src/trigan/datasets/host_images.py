"""Images that stay on the host, in files or in memory, until rows of them are needed: sets larger than a memory."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from trigan.errors import DataError

aten = torch.ops.aten
#: Bytes of pixels that one operation may read at once. Batches are far smaller.
LARGEST_READ = 2**30


class PixelRows(Protocol):
    """Where rows come from: numbered images of one shape."""

    def __len__(self) -> int: ...

    def read(self, rows: np.ndarray) -> Tensor:
        """The images with these numbers, int64 (n,), as uint8 (n, C, S, S) on the CPU."""


class TensorRows:
    """Rows of a tensor uint8 (N, C, S, S) on the CPU."""

    def __init__(self, images: Tensor) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def read(self, rows: np.ndarray) -> Tensor:
        """See `PixelRows`."""
        return self._images.index_select(0, torch.from_numpy(rows))


class HostImages(Tensor):
    """uint8 (N, C, S, S) of which this object holds the numbers of its rows (8 bytes each), and no pixel.

    Rows are chosen without reading (indexing, slices, `torch.split`, `torch.cat` of rows of one origin), and the set is
    moved to a device without copying it. Every other operation reads its pixels and gives a plain tensor on the device;
    so a batch is read when it becomes floating-point.

    Args:
        source: where pixels come from.
        image: (C, S, S).
        rows: the numbers of the images, int64 (N,); None: all, in order.
        device: where what is read goes.

    Raises:
        DataError: an operation would read more than `LARGEST_READ` bytes at once.
    """

    # results are what `__torch_dispatch__` returns
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __new__(
        cls: type["HostImages"],
        source: PixelRows,
        image: Sequence[int],
        rows: np.ndarray | None = None,
        device: torch.device | str = "cpu",
    ) -> "HostImages":
        """See the class."""
        shape = (len(source) if rows is None else len(rows), *image)
        made: HostImages = Tensor._make_wrapper_subclass(cls, shape, dtype=torch.uint8, device=torch.device(device))
        return made

    def __init__(
        self,
        source: PixelRows,
        image: Sequence[int],
        rows: np.ndarray | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self._source, self._rows = source, np.arange(len(source)) if rows is None else rows

    def __repr__(self) -> str:  # type: ignore[override]
        return f"HostImages{tuple(self.shape)}"

    def chosen(self, rows: np.ndarray) -> "HostImages":
        """The images at these positions, int64 (n,)."""
        return HostImages(self._source, self.shape[1:], self._rows[rows], self.device)

    def read(self) -> Tensor:
        """All pixels, as a plain tensor on the device."""
        if self.numel() > LARGEST_READ:
            raise DataError(
                f"{len(self)} images of {self.numel() / 1e9:.1f} GB would be read into memory at once, which images "
                "that stay on the host are not for; use fewer images here, or data.in_memory=true on a larger machine"
            )
        return self._source.read(self._rows).to(self.device)

    def numpy(self, *, force: bool = False) -> Any:
        """As of any tensor."""
        return self.read().numpy(force=force)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Choose rows without reading, or read and compute."""
        named = dict(kwargs or {})
        choose = _CHOICES.get(func)
        if choose is not None and (chosen := choose(*args, **named)) is not None:
            return chosen
        return func(*map(_read, args), **{name: _read(value) for name, value in named.items()})


def portions(images: Tensor) -> Sequence[Tensor]:
    """256 images at a time, for what reads all of a set that may be in files."""
    return torch.split(images, 256)


def _read(value: Any) -> Any:
    """The value with pixels in the place of rows, also within a list."""
    if isinstance(value, list | tuple):
        return type(value)(map(_read, value))
    return value.read() if isinstance(value, HostImages) else value


def _numbers(rows: Tensor) -> np.ndarray:
    """A mask or indices of rows as positions on the CPU."""
    plain = rows.detach().cpu()
    positions: np.ndarray = (plain.nonzero().squeeze(1) if plain.dtype == torch.bool else plain).numpy()
    return positions


def _index(images: Any, indices: Sequence[Tensor | None]) -> HostImages | None:
    if len(indices) != 1 or not isinstance(images, HostImages):
        return None
    rows = indices[0]
    return images.chosen(_numbers(rows)) if rows is not None and rows.ndim == 1 else None


def _index_select(images: Any, dim: int, index: Tensor) -> HostImages | None:
    return images.chosen(_numbers(index)) if dim == 0 else None


def _slice(images: HostImages, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> HostImages | None:
    return images.chosen(np.arange(len(images))[start:end:step]) if dim == 0 else None


def _split(images: HostImages, size: int, dim: int = 0) -> list[HostImages] | None:
    if dim:
        return None
    return [images.chosen(np.arange(first, min(first + size, len(images)))) for first in range(0, len(images), size)]


def _cat(parts: Sequence[Any], dim: int = 0) -> HostImages | None:
    """Rows of one origin stay rows; an empty part has none of another."""
    held = [part for part in parts if len(part)]
    lasting = all(isinstance(part, HostImages) for part in held) and held
    if dim or not lasting or any(part._source is not held[0]._source for part in held):
        return None
    return HostImages(held[0]._source, held[0].shape[1:], np.concatenate([p._rows for p in held]), held[0].device)


def _to_copy(
    images: HostImages,
    *,
    dtype: torch.dtype | None = None,
    layout: torch.layout | None = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
    non_blocking: bool = False,
    memory_format: torch.memory_format | None = None,
) -> HostImages | None:
    """Another device alone is no reason to read."""
    if dtype not in (None, torch.uint8):
        return None
    return HostImages(images._source, images.shape[1:], images._rows, device or images.device)


#: Operations on rows; each returns None where it must read.
_CHOICES: dict[Any, Callable[..., Any]] = {
    aten.index.Tensor: _index,
    aten.index_select.default: _index_select,
    aten.slice.Tensor: _slice,
    aten.split.Tensor: _split,
    aten.cat.default: _cat,
    aten._to_copy.default: _to_copy,
    aten.detach.default: lambda images: images,
    aten.alias.default: lambda images: images,
}
