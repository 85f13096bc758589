"""What lies in a data folder: the files to be read, and by reason those that are not."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trigan.checks import require
from trigan.errors import DataError, printable

Part = Literal["train", "validation", "unlabelled", "test"]
Links = Literal["inside", "any"]
#: Locations by the reason why they are not read.
Unread = dict[str, list[str]]
#: Tables of image files.
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".parquet"})
#: How many locations a line names.
EXAMPLES = 3


@dataclass(frozen=True, eq=False)
class FolderScan:
    """The content of ``root``; ``unread`` grows while folders are listed.

    Attributes:
        root: the data folder.
        links: ``inside``: a link must lead to a place in ``root``; ``any``: anywhere.
    """

    root: Path
    links: Links = "inside"
    _skipped: defaultdict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))

    def __post_init__(self) -> None:
        require(self.links in ("inside", "any"), "data.links", self.links, "inside or any")

    @property
    def unread(self) -> Unread:
        """Locations relative to ``root`` by the reason why they were not read so far."""
        return {reason: list(found) for reason, found in self._skipped.items()}

    def files(self, folder: Path, suffixes: frozenset[str]) -> list[Path]:
        """The files with one of the suffixes at any depth of a folder, sorted."""
        return sorted(self._walk(folder, suffixes, self._above(folder)))

    def content(self, folder: Path, suffixes: frozenset[str]) -> tuple[list[Path], list[Path]]:
        """The folders directly in a folder, and the files with one of the suffixes there, both sorted."""
        entries = list(self._entries(folder, self._above(folder)))
        files = [path for path, is_folder in entries if not is_folder and self._has_suffix(path, suffixes)]
        return sorted(path for path, is_folder in entries if is_folder), sorted(files)

    def skip(self, reason: str, paths: Iterable[Path]) -> None:
        """Count ``paths`` as not read."""
        for path in paths:
            self._skipped[reason][printable(path.relative_to(self.root).as_posix())] = None

    def _above(self, folder: Path) -> frozenset[str]:
        """The real paths of a folder and of those that lead to it from the root."""
        inner = [folder, *folder.parents][: len(folder.parts) - len(self.root.parts) + 1]
        return frozenset(map(os.path.realpath, inner))

    def _walk(self, folder: Path, suffixes: frozenset[str], above: frozenset[str]) -> Iterator[Path]:
        above |= {os.path.realpath(folder)}
        for path, is_folder in self._entries(folder, above):
            if is_folder:
                yield from self._walk(path, suffixes, above)
            elif self._has_suffix(path, suffixes):
                yield path

    def _has_suffix(self, path: Path, suffixes: frozenset[str]) -> bool:
        if path.suffix.lower() in suffixes:
            return True
        if path.suffix.lower() in TABLE_SUFFIXES - suffixes:
            self.skip("tables (data=table reads one)", [path])
            return False
        self.skip(f"files that end in {printable(path.suffix) or 'nothing'}", [path])
        return False

    def _entries(self, folder: Path, above: frozenset[str]) -> Iterator[tuple[Path, bool]]:
        """Visible files and folders, and which is which; ``above`` are the real paths of the folders that lead here."""
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"cannot read the folder {printable(str(folder))}: {error.strerror}") from error
        if not found:
            self.skip("empty folders", [folder])
        for entry in found:
            path = Path(entry.path)
            if entry.name.startswith("."):
                self.skip("hidden files and folders", [path])
            elif entry.is_symlink() and not path.exists():
                self.skip("links to nothing", [path])
            elif entry.is_symlink() and os.path.realpath(path) in above:
                self.skip("links that lead back to a folder above", [path])
            elif not (entry.is_dir() or entry.is_file()):
                self.skip("neither files nor folders", [path])
            else:
                if entry.is_symlink():
                    check_inside(path, self.root, self.links, f"the link {printable(str(path))}")
                yield path, entry.is_dir()


def check_inside(path: Path, root: Path, links: Links, where: str) -> None:
    """Refuse a path or link that leads out of ``root``, unless ``links`` is ``any``.

    Raises:
        DataError: it does.
    """
    target, inside = os.path.realpath(path), os.path.realpath(root)
    if links != "any" and os.path.commonpath([target, inside]) != inside:
        raise DataError(
            f"{where} leads out of the data folder, to {printable(target)}; set data.links=any to follow it, or put "
            "the files there"
        )


def describe_unread(unread: Unread) -> str:
    """One line: counts by reason, with examples; empty if everything is read."""
    reasons = [f"{len(found)} {reason} ({examples(found)})" for reason, found in sorted(unread.items()) if found]
    return f"not read: {'; '.join(reasons)}" if reasons else ""


def examples(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - EXAMPLES
    return ", ".join(names[:EXAMPLES]) + (f" and {more} more" if more > 0 else "")


def folded(name: str) -> str:
    """A name by which spellings agree that differ in case, surrounding spaces or Unicode's form alone."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


#: Names of the folders and Parquet files of each part, in source order.
PART_NAMES: dict[Part, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev", "development"),
    "unlabelled": ("unlabelled", "unlabeled", "unlab", "unsup", "unsupervised"),
    "test": ("test", "testing"),
}
#: Further names that are no class beside other folders, and of which it is unknown which part they are.
_UNCLEAR_NAMES = ("extra", "eval", "evaluation", "holdout", "hold out")
_ORDER = [name for names in PART_NAMES.values() for name in names]


def part_of(name: str) -> Part | None:
    """The part that a folder or split is named after, in any case, also as ``Test-Set``, ``train2017``, ``val images``.

    >>> part_of("Training"), part_of("test_images"), part_of("unlabeled"), part_of("tester")
    ('train', 'test', 'unlabelled', None)
    """
    stem = _stem(name)
    return next((part for part, names in PART_NAMES.items() if stem in names), None)


def named_like_a_part(name: str) -> bool:
    """Whether a folder of this name beside class folders is probably no class."""
    return part_of(name) is not None or _stem(name) in _UNCLEAR_NAMES


def part_order(name: str) -> int:
    """Where a folder that is named like a part comes in the source order."""
    return _ORDER.index(_stem(name))


def _stem(name: str) -> str:
    plain = re.sub(r"[\s_-]+", " ", folded(name)).strip()
    return re.sub(r" ?(set|data|images?|imgs?|split|\d{1,4})$", "", plain)
