"""What every kind of source shares: items in, one checked data set out, decoded once."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trigan.data.sources.assemble import Item, ItemDecoder, assemble
from trigan.data.sources.cache import cached
from trigan.data.sources.decode import Geometry
from trigan.data.types import ImageDataset
from trigan.errors import DataError


class ImageSource(ABC):
    """A kind of source: subclasses are frozen dataclasses that list their items; this class does the rest."""

    image_size: int | None
    channels: int | None

    def __post_init__(self) -> None:
        self.geometry()  # refuses impossible sizes before any work

    @property
    @abstractmethod
    def name(self) -> str:
        """For people."""

    @abstractmethod
    def listing(self) -> tuple[Iterator[Item], Sequence[str] | None]:
        """The items (training, unlabelled, test, in source order) and, for integer labels, their names if known."""

    @abstractmethod
    def key(self) -> Any:
        """JSON data that change whenever the items could (settings, files with sizes and times)."""

    def paths(self) -> list[str] | None:
        """The files of the images, relative to the source's folder and in source order; None if they have none each."""
        return None

    def load(self, cache: Path | None = None) -> ImageDataset:
        """Read, check and fingerprint the data set; a second call with the same ``cache`` folder reads what was kept.

        Raises:
            DataError: for data that are missing, unreadable or of no use, in one line.
        """
        geometry = self.geometry()
        key = [type(self).__name__, self.name, geometry.image_size, geometry.channels, self.key()]
        return cached(cache, key, lambda: self.read(ItemDecoder()))

    def read(self, decoder: ItemDecoder) -> ImageDataset:
        """Decode everything anew, noting in ``decoder`` what was met."""
        items, names = self.listing()
        return assemble(self.name, items, names, self.geometry(), decoder)

    def geometry(self) -> Geometry:
        return Geometry(self.image_size, self.channels)


def existing_folder(root: str | None, kind: str) -> Path:
    """The folder that ``data.root`` names.

    Raises:
        DataError: when it is not set, missing or not a folder.
    """
    if root is None:
        raise DataError(f"data={kind} needs a folder: set data.root=FOLDER")
    folder = Path(root).expanduser()
    if not folder.exists():
        raise DataError(f"data.root={root} does not exist (looked for {folder.absolute()})")
    if not folder.is_dir():
        raise DataError(f"data.root={root} is a file; name the folder that holds the data")
    return folder


def file_stamps(files: Sequence[Path]) -> list[list[Any]]:
    """Absolute path, size and time of change (ns) of each file: what a cache entry depends on."""
    stats = [(path, path.stat()) for path in files]
    return [[str(path.absolute()), stat.st_size, stat.st_mtime_ns] for path, stat in stats]
