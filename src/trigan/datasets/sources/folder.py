"""Your own images: one folder per class."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from trigan.component_ids import component
from trigan.datasets.sources.folder_scan import (
    FolderScan,
    Links,
    Part,
    Unread,
    named_like_a_part,
    part_of,
    part_order,
)
from trigan.datasets.sources.hub import Hub, SplitNames, split_name
from trigan.datasets.sources.image_source import ImageSource, Item, existing_folder, file_stamps
from trigan.errors import DataError, printable

_log = logging.getLogger(__name__)
#: Files that count as images.
SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp"}
)
SUFFIXES |= {".avif", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".dcm", ".dicom"}
_PARQUET = frozenset({".parquet"})
_File = tuple[Path, str | None, Part]


@component("data/folder@1")
@dataclass(frozen=True)
class Folder(ImageSource):
    """Images under ``root``, in one of three layouts.

    ``root/CLASS/*.png`` (no official test set); ``root/{train,test}/CLASS/*.png``, optionally with ``val`` (see
    ``validation``) and ``unlabelled`` (images at any depth); or Parquet files with an image and a label column. Parts
    have their usual names in any case (`trigan.datasets.sources.folder_scan.PART_NAMES`). Classes are the folder names,
    sorted; images are found at any depth below them and taken in sorted order.

    Attributes:
        root: the folder.
        links: ``inside``: links must lead to places in ``root``; ``any``: anywhere.
    """

    root: str | None = field(default=None, metadata={"identity": False})
    links: Links = field(default="inside", metadata={"identity": False})

    @property
    def name(self) -> str:
        """The folder's name."""
        return printable(self._root().absolute().name)

    def _root(self) -> Path:
        return existing_folder(self.root, "folder")

    def key(self) -> Any:
        """See `ImageSource.key`."""
        parquet = self._parquet()
        if parquet:
            return parquet.key()
        files = [path for path, _, _ in self._files()[0]]
        _tell_links(self._root(), files)
        return file_stamps(files)

    def paths(self) -> list[str] | None:
        """See `ImageSource.paths`; None for Parquet files."""
        if self._parquet():
            return None
        return [printable(path.relative_to(self._root()).as_posix()) for path, _, _ in self._files()[0]]

    def unread(self) -> Unread:
        """See `ImageSource.unread`."""
        parquet = self._parquet()
        return parquet.unread() if parquet else self._files()[1]

    def names_are_own(self) -> bool:
        """See `ImageSource.names_are_own`."""
        return True

    def listing(self) -> tuple[Iterator[Item], Sequence[str] | None]:
        """See `ImageSource.listing`."""
        parquet = self._parquet()
        if parquet:
            return parquet.listing()
        return (Item(printable(str(path)), path, label, part) for path, label, part in self._files()[0]), None

    def _parquet(self) -> Hub | None:
        """The reader of Parquet files directly in the folder, if there are any; its splits have their usual names."""
        files = FolderScan(self._root(), self.links).content(self._root(), _PARQUET)[1]
        if not files:
            return None
        names = {part: name for name in sorted({split_name(path) for path in files}) if (part := part_of(name))}
        splits = SplitNames(
            train=names.get("train", "train"),
            validation=names.get("validation"),
            unlabelled=names.get("unlabelled"),
            test=names.get("test"),
        )
        shared = {field.name: getattr(self, field.name) for field in fields(ImageSource)}
        return Hub(root=self.root, links=self.links, splits=splits, **shared)

    def _files(self) -> tuple[list[_File], Unread]:
        """All image files with class and part, in source order: train, validation, unlabelled, test; and the rest."""
        root = self._root()
        scan = FolderScan(root, self.links)
        folders, loose = scan.content(root, SUFFIXES)
        parts = _parts(scan, folders)
        if parts:
            files = [entry for folder, part in parts for entry in _part_files(scan, folder, part)]
            for folder in set(folders) - {folder for folder, _ in parts}:
                scan.skip("images in folders that are no part", scan.files(folder, SUFFIXES))
        else:
            files = _class_files(scan, folders, "train")
        if not files:
            below = len(scan.files(root, SUFFIXES))
            content = f"{below} images but no class folders" if below else "no images"
            tables = scan.unread.get("tables (data=table reads one)", [])
            if below and tables:
                content += f" (for the table {tables[0]}: data=table data.root={self.root}/{tables[0]})"
            raise DataError(
                f"data.root={self.root} holds {content}; root/CLASS/IMAGE.png or root/train/CLASS/IMAGE.png is read"
            )
        scan.skip("images outside of class folders", loose)
        return files, scan.unread


def _tell_links(root: Path, files: Sequence[Path]) -> None:
    """Log how many files are read through links from outside the folder, which ``links=any`` allows."""
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


def _parts(scan: FolderScan, folders: Sequence[Path]) -> list[tuple[Path, Part]]:
    """The folders that are parts, in source order; none if all folders are classes.

    Raises:
        DataError: folders that are named like parts lie beside classes, or a part is missing or there twice.
    """
    found = [(folder, part) for folder in folders if (part := part_of(folder.name))]
    suspects = [folder for folder in folders if named_like_a_part(folder.name)]
    training = [folder for folder, part in found if part == "train"]
    others = [folder for folder in folders if folder not in suspects]
    if not suspects:
        _refuse_label_file(scan.root)
        return []
    loose = [images for folder in training if not (below := scan.content(folder, SUFFIXES))[0] and (images := below[1])]
    if not training or (loose and others):
        beside = (
            f"lies beside {', '.join(folder.name for folder in others[:3])}" if others else "has no train beside it"
        )
        raise DataError(
            printable(
                f"{scan.root}: the folder '{(training or suspects)[0].name}' {beside}: is it a part or a class? Move "
                "the class folders into train/ (train/CLASS/IMAGE.png), where test/, val/ and unlabelled/ beside it "
                "are parts; or rename it"
            )
        )
    for part in ("train", "test"):
        names = [folder.name for folder, kind in found if kind == part]
        if len(names) > 1:
            raise DataError(f"{scan.root} has {' and '.join(names)}, which are both the {part} part; keep one of them")
    return sorted(found, key=lambda one: part_order(one[0].name))


def _refuse_label_file(root: Path) -> None:
    """Refuse StyleGAN's layout, whose folders have numbers and no meaning."""
    if (root / "dataset.json").exists():
        raise DataError(
            f"{root / 'dataset.json'} has the labels of these images, so the folders beside it are no classes; read it "
            f"with data=table data.root={root / 'dataset.json'}, or move the images into one folder per class"
        )


def _part_files(scan: FolderScan, folder: Path, part: Part) -> list[_File]:
    if part == "unlabelled":
        return [(path, None, part) for path in scan.files(folder, SUFFIXES)]
    folders, loose = scan.content(folder, SUFFIXES)
    scan.skip(f"images without a class folder in {folder.name}/", loose)
    return _class_files(scan, folders, part)


def _class_files(scan: FolderScan, folders: Sequence[Path], part: Part) -> list[_File]:
    """The images of class folders. A folder without any is no class, and is named."""
    files: list[_File] = []
    for folder in folders:
        images = scan.files(folder, SUFFIXES)
        parts_below = [name for path in images for name in path.relative_to(folder).parts[:-1] if part_of(name)]
        if parts_below:
            below = f"{folder}/{parts_below[0]}"
            raise DataError(
                printable(
                    f"{below} is named like a part, and lies below a class; name the folder that holds the parts "
                    f"(data.root={folder}), or move its images to {parts_below[0]}/{folder.name}"
                )
            )
        if not images:
            scan.skip("class folders without an image", [folder])
        files += [(path, folder.name, part) for path in images]
    return files
