"""Data sets of the Hugging Face hub, downloaded or read from Parquet files in a folder (then without any network)."""

import logging
import os
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from trigan.component_ids import component
from trigan.datasets.sources.decode import first_line
from trigan.datasets.sources.folder_scan import FolderScan, Links, Part, Unread, check_inside
from trigan.datasets.sources.image_source import ImageSource, Item, Label, existing_folder, file_stamps
from trigan.errors import ConfigError, DataError, printable

_ROWS_PER_BATCH = 1000
#: Beginnings of the types that a label may have.
LABEL_TYPES = ("int", "uint", "string", "large_string", "bool")


@component("data/columns@1")
@dataclass(frozen=True)
class Columns:
    """Names of the image and the label column; if one is absent, the only column that can be it is taken.

    ``group`` is a column of what belongs together (a patient); None: none.
    """

    image: str = "image"
    label: str = "label"
    group: str | None = None

    def find_image(self, features: Mapping[str, Any], location: str) -> str:
        """The image column among ``features``.

        Raises:
            DataError: the named column is absent and no other is the only one of its kind; see also `find_label`.
        """
        from datasets import Image

        images = [
            name
            for name, kind in features.items()
            if isinstance(kind, Image) or (isinstance(kind, Mapping) and "bytes" in kind)
        ]
        return _choose("image", self.image, features, images, location)

    def find_label(self, features: Mapping[str, Any], location: str) -> str:
        """The label column among ``features``."""
        from datasets import ClassLabel, Value

        classes = [name for name, kind in features.items() if isinstance(kind, ClassLabel)]
        values = [name for name, kind in features.items() if isinstance(kind, Value)]
        plain = [name for name in values if features[name].dtype.startswith(LABEL_TYPES)]
        alone = plain if len(values) == 1 else []  # beside other values nobody knows which one is the label
        return _choose("label", self.label, features, classes or alone, location)


@component("data/splits@1")
@dataclass(frozen=True)
class SplitNames:
    """Names of a data set's splits; None: it has none of that kind. Labels of an unlabelled split are not read."""

    train: str = "train"
    test: str | None = "test"
    unlabelled: str | None = None
    validation: str | None = None

    def by_part(self) -> dict[Part, str]:
        """The splits that exist, in source order."""
        parts: dict[Part, str | None] = {
            "train": self.train,
            "validation": self.validation,
            "unlabelled": self.unlabelled,
            "test": self.test,
        }
        return {part: name for part, name in parts.items() if name is not None}


@component("data/hub@1")
@dataclass(frozen=True)
class Hub(ImageSource):
    """A data set with an image and a label column, read through Hugging Face ``datasets``.

    Attributes:
        repo: owner/name on the hub; may be None beside ``root``.
        config: the data set's configuration, e.g. ``cropped_digits``; None: its default.
        revision: commit, tag or branch on the hub; None: main at the first read (the decoded images are kept). Name a
            commit to pin it.
        root: folder with ``train-*.parquet``, ``test-*.parquet`` ... (also in ``data/`` or ``CONFIG/``, or as
            ``train/*.parquet``); None: the hub.
        columns: names of the image and the label column.
        splits: names of the splits.
        links: ``inside``: links must lead to places in ``root``; ``any``: anywhere.
    """

    repo: str | None = None
    config: str | None = None
    revision: str | None = None
    root: str | None = field(default=None, metadata={"identity": False})
    columns: Columns = field(default_factory=Columns)
    splits: SplitNames = field(default_factory=SplitNames)
    links: Links = field(default="inside", metadata={"identity": False})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.repo is None and self.root is None:
            raise ConfigError("nothing to read: set data.repo=OWNER/NAME (the hub) or data.root=FOLDER (Parquet files)")

    @property
    def name(self) -> str:
        """The repository's name without its owner, else the folder's."""
        if self.repo is not None:
            return self.repo.rsplit("/", 1)[-1]
        return printable(existing_folder(self.root, "hub").absolute().name)

    def key(self) -> Any:
        """See `ImageSource.key`."""
        if self.root is None:
            location: Any = [self.repo, self.config, self.revision]
        else:
            location = file_stamps([path for files in self._files().values() for path in files])
        return [location, list(vars(self.columns).values()), list(self.splits.by_part().items())]

    def unread(self) -> Unread:
        """See `ImageSource.unread`."""
        if self.root is None:
            return {}
        root, read = self._root(), {path for files in self._files().values() for path in files}
        scan = FolderScan(root, self.links)
        left = [path for path in scan.files(root, frozenset({".parquet"})) if path not in read]
        scan.skip("Parquet files of no split that is read", left)
        return scan.unread

    def names_are_own(self) -> bool:
        """See `ImageSource.names_are_own`: a repository's names are its own."""
        return self.repo is None

    def listing(self) -> tuple[Iterator[Item], Sequence[str] | None]:
        """See `ImageSource.listing`."""
        tables = [(part, table) for part in self.splits.by_part() for table in self._open(part)]
        features = tables[0][1].features
        image, label = self.columns.find_image(features, self.name), self.columns.find_label(features, self.name)
        return self._items(tables, image, label), _names(tables[0][1], label)

    def _items(self, tables: list[tuple[Part, Any]], image_column: str, label_column: str) -> Iterator[Item]:
        asked = {self.columns.image: image_column, self.columns.label: label_column}
        note = "; ".join(f"there is no column '{a}': '{found}' is read" for a, found in asked.items() if a != found)
        rows: Counter[Part] = Counter()
        for part, table in tables:
            labels = None if part == "unlabelled" else label_column
            for column in (image_column, labels):
                if column is not None and column not in table.features:
                    raise DataError(f"{self.name}: split '{part}' has no column '{column}'; every split needs it")
            wanted = self.columns.group
            if wanted is not None and wanted not in table.features:
                names = ", ".join(table.features)
                raise DataError(f"{self.name}: data.group={wanted}: split '{part}' has no such column ({names})")
            same_numbers = _matched_labels(tables[0][1], table, label_column)
            try:
                for data, label, group in read_rows(table, image_column, labels, self.columns.group):
                    location = f"{self.name}, {self.splits.by_part()[part]} row {rows[part]}"
                    rows[part] += 1
                    if same_numbers is not None and label not in (None, -1):
                        if label not in same_numbers:
                            shown = _shown(table, label_column, label)
                            raise DataError(
                                f"{location}: the class {shown} is not among those of the training images; labels are "
                                "matched by name: correct the names"
                            )
                        label = same_numbers[label]
                    yield Item(location, image_bytes(data, image_column, location), label, part, note, group)
            except DataError:
                raise
            except Exception as error:  # as in _open_file: a damaged page of a Parquet file
                after = f"after row {rows[part] - 1} of" if rows[part] else "the first row of"
                where = f"{after} {self.name}, {self.splits.by_part()[part]}"
                raise DataError(f"cannot read {where}: {first_line(error)}; replace the damaged file") from error

    def _open(self, part: Part) -> list[Any]:
        """One split, as data sets of ``datasets``; local files are streamed one by one, so nothing is copied."""
        if self.root is None:
            _spare_retries()
        import datasets  # 1 s to import, and not needed when the decoded images are cached

        split = self.splits.by_part()[part]
        if self.root is not None:
            return [self._open_file(path, split) for path in self._files().get(part, ())]
        try:
            return [datasets.load_dataset(self.repo, self.config, split=split, revision=self.revision)]
        except Exception as error:  # the hub's client and fsspec have a dozen kinds without a common base
            raise DataError(
                f"cannot get split '{split}' of {self.repo} from the hub: {first_line(error)}; "
                f"with a local copy, set data.root=FOLDER"
            ) from error

    def _open_file(self, path: Path, split: str) -> Any:
        import datasets

        try:
            return datasets.load_dataset("parquet", data_files={split: [str(path)]}, split=split, streaming=True)
        except Exception as error:  # pyarrow and fsspec have a dozen kinds without a common base
            raise DataError(f"cannot read split '{split}' of data.root={self.root}: {first_line(error)}") from error

    def _root(self) -> Path:
        return existing_folder(self.root, self.name if self.repo else "hub")

    def _files(self) -> dict[Part, list[Path]]:
        """Parquet files by part; a single file that names no split holds the training images."""
        root = self._root()
        folders = [root, root / "data", *([root / self.config] if self.config else [])]
        flat = (found for folder in folders if (found := sorted(folder.glob("*.parquet"))))
        files = next(flat, []) or sorted(path for folder in folders for path in folder.glob("*/*.parquet"))
        if not files:
            raise DataError(f"data.root={self.root} holds no Parquet files (expected {self.splits.train}-*.parquet)")
        for path in files:
            check_inside(path, root, self.links, f"the link {printable(str(path))}")
        splits = self.splits.by_part()
        by_part = {part: [path for path in files if _is_split(path, split, folders)] for part, split in splits.items()}
        if not any(by_part.values()) and len(files) == 1:
            return {"train": files}
        for part, split in splits.items():
            if not by_part[part]:
                names = ", ".join(path.name for path in files[:4])
                raise DataError(
                    f"data.root={self.root} has no {split}-*.parquet (it holds {names}); add it, or set "
                    f"data.source.splits.{part}=NAME{'' if part == 'train' else ' (null: it has none)'}"
                )
        return by_part


def _spare_retries() -> None:
    """Without a network let the hub's client take what it has stored at once, without retries and a line for each.

    The client reads the variable when it is imported. A proxy knows names that this machine does not.
    """
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    host = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname
    try:
        if not getproxies():
            socket.getaddrinfo(host, 443)
    except OSError:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")


def split_name(path: Path) -> str:
    """The split that a Parquet file is named after: ``train`` of ``train-00000-of-00001.parquet``."""
    return path.stem.partition("-")[0].partition(".")[0]


def _names(table: Any, column: str) -> list[str] | None:
    """The class names of a label column of numbers."""
    return getattr(table.features.get(column), "names", None) or None


def _matched_labels(training: Any, table: Any, column: str) -> dict[Label, Label] | None:
    """From the labels of a file to those of the training images' first file, by class name; None: they are the same."""
    names, own = _names(training, column), _names(table, column)
    if own == names:
        return None
    numbers: list[Label] = [*range(len(own or ()))]
    if names is None:  # the training images have text, or numbers without names, which no name matches
        text = str(getattr(training.features[column], "dtype", "")).endswith("string")
        return dict(zip(numbers, own or (), strict=True)) if text else {}
    known: dict[Label, Label] = {name: k for k, name in enumerate(names)}
    if own is None:
        text = str(getattr(table.features.get(column), "dtype", "")).endswith("string")
        return known if text else None
    return {k: known[name] for k, name in enumerate(own) if name in known}


def _shown(table: Any, column: str, label: Label) -> str:
    names = _names(table, column)
    return f"'{names[label]}'" if names and isinstance(label, int) and 0 <= label < len(names) else repr(label)


def _is_split(path: Path, split: str, folders: Sequence[Path]) -> bool:
    """Whether a file belongs to a split, by its own name or by that of a folder below the data set's own."""
    subfolder = path.parent.name if path.parent not in folders else None
    return split in (path.stem, subfolder) or path.stem.startswith((f"{split}-", f"{split}."))


def read_rows(
    table: Any, image: str, label: str | None, group: str | None = None
) -> Iterator[tuple[Any, Label, int | str | None]]:
    """(image struct, label or None, group or None) of each row, still encoded, from the columns of these names."""
    for batch in table.with_format("arrow").iter(batch_size=_ROWS_PER_BATCH):
        images = batch.column(image).to_pylist()
        labels, groups = (
            batch.column(name).to_pylist() if name is not None else [None] * len(images) for name in (label, group)
        )
        yield from zip(images, (_label(value, label) for value in labels), groups, strict=True)


def image_bytes(data: Any, column: str, location: str) -> bytes:
    """The image file's bytes in the image column of a row."""
    content = data.get("bytes") if isinstance(data, Mapping) else data
    if not isinstance(content, bytes):
        raise DataError(f"{location}: column '{column}' holds no image bytes; save the images into the Parquet file")
    return content


def _choose(kind: str, name: str, features: Mapping[str, Any], candidates: list[str], location: str) -> str:
    if name in features:
        return name
    if len(candidates) == 1:
        return candidates[0]
    raise DataError(
        f"{location}: {kind} column '{name}' not found among {', '.join(features)}; set "
        f"data.source.columns.{kind}=NAME (beside data=hub data.root=FOLDER; without a test split also "
        "data.source.splits.test=null)"
    )


def _label(value: Any, column: str | None) -> Label:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | int):
        return int(value)
    raise DataError(f"label column '{column}' holds {value!r}; labels must be integers or text")
