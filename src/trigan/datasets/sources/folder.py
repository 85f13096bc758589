"""Your own images: one folder per class."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trigan.component_ids import component
from trigan.datasets.sources.hub import Hub, SplitNames
from trigan.datasets.sources.image_source import ImageSource, Item, Part, existing_folder, file_stamps
from trigan.errors import DataError

_log = logging.getLogger(__name__)
#: Files that count as images; others are ignored.
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm"})
#: Folder names of the parts; `val` joins the training images, the regime decides what validates.
_PARTS: dict[str, Part] = {
    "train": "train",
    "val": "train",
    "valid": "train",
    "validation": "train",
    "unlabelled": "unlabelled",
    "unlabeled": "unlabelled",
    "test": "test",
}


@component("data/folder@1")
@dataclass(frozen=True)
class Folder(ImageSource):
    """Images under ``root``, in one of three layouts.

    ``root/CLASS/*.png`` (no official test set); ``root/{train,test}/CLASS/*.png``, optionally with ``val`` (joins
    train) and ``unlabelled`` (images at any depth); or Parquet files with an image and a label column. Classes are the
    folder names, sorted; images are found at any depth below them and taken in sorted order.

    Attributes:
        root: the folder.
    """

    root: str | None = field(default=None, metadata={"identity": False})

    @property
    def name(self) -> str:
        """The folder's name."""
        return self._root().absolute().name

    def _root(self) -> Path:
        return existing_folder(self.root, "folder")

    def key(self) -> Any:
        """See `ImageSource.key`."""
        parquet = self._parquet()
        if parquet:
            return parquet.key()
        files = [path for path, _, _ in self._files()]
        _tell_links(self._root(), files)
        return file_stamps(files)

    def paths(self) -> list[str] | None:
        """See `ImageSource.paths`; None for Parquet files."""
        return None if self._parquet() else [path.relative_to(self._root()).as_posix() for path, _, _ in self._files()]

    def listing(self) -> tuple[Iterator[Item], Sequence[str] | None]:
        """See `ImageSource.listing`."""
        parquet = self._parquet()
        if parquet:
            return parquet.listing()
        return (Item(str(path), path, label, part) for path, label, part in self._files()), None

    def _parquet(self) -> Hub | None:
        """The reader of Parquet files directly in the folder, if there are any."""
        files = list(self._root().glob("*.parquet"))
        if not files:
            return None
        splits = SplitNames(test="test" if any(path.stem.startswith("test") for path in files) else None)
        return Hub(root=self.root, splits=splits, image_size=self.image_size, channels=self.channels)

    def _files(self) -> list[tuple[Path, str | None, Part]]:
        """All image files with class and part, in source order: train, unlabelled, test."""
        root = self._root()
        names = {folder.name for folder in _class_folders(root)}
        if "train" in names:
            files = [entry for name, part in _PARTS.items() if name in names for entry in _part(root / name, part)]
        else:
            files = _part(root, "train")
        if not files:
            loose = len(image_files(root))
            content = f"{loose} images but no class folders" if loose else "no images"
            raise DataError(
                f"data.root={self.root} holds {content}; root/CLASS/IMAGE.png or root/train/CLASS/IMAGE.png is read"
            )
        return files


def _tell_links(root: Path, files: Sequence[Path]) -> None:
    """Log how many files are read through links from outside the folder."""
    inside = root.resolve()
    folders = {folder: folder.resolve() for folder in {path.parent for path in files}}
    outside = [
        path
        for path in files
        if not (path.resolve() if path.is_symlink() else folders[path.parent]).is_relative_to(inside)
    ]
    if outside:
        where = f"{outside[0]} -> {outside[0].resolve()}"
        _log.warning(
            "data.root=%s: %d of %d images are links to other folders: %s", root, len(outside), len(files), where
        )


def image_files(folder: Path, suffixes: frozenset[str] = SUFFIXES) -> list[Path]:
    """The files with one of the suffixes at any depth of a folder, sorted; hidden ones are left out."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in suffixes
        and not any(name.startswith(".") for name in path.relative_to(folder).parts)
        and path.is_file()
    ]


def _part(folder: Path, part: Part) -> list[tuple[Path, str | None, Part]]:
    if part == "unlabelled":
        return [(path, None, part) for path in image_files(folder)]
    return [(path, group.name, part) for group in _class_folders(folder) for path in image_files(group)]


def _class_folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
