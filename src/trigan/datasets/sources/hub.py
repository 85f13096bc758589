"""Data sets of the Hugging Face hub, downloaded or read from Parquet files in a folder (then without any network)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trigan.component_ids import component
from trigan.datasets.sources.decode import first_line
from trigan.datasets.sources.image_source import ImageSource, Item, Label, Part, existing_folder, file_stamps
from trigan.errors import ConfigError, DataError

_ROWS_PER_BATCH = 1000
#: Beginnings of the types that a label may have.
_LABEL_TYPES = ("int", "uint", "string", "large_string", "bool")


@component("data/columns@1")
@dataclass(frozen=True)
class Columns:
    """Names of the image and the label column; if one is absent, the only column of its kind is taken.

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
        plain = [
            name for name, kind in features.items() if isinstance(kind, Value) and kind.dtype.startswith(_LABEL_TYPES)
        ]
        return _choose("label", self.label, features, classes or plain, location)


@component("data/splits@1")
@dataclass(frozen=True)
class SplitNames:
    """Names of a data set's splits; None: it has none of that kind. Labels of an unlabelled split are not read."""

    train: str = "train"
    test: str | None = "test"
    unlabelled: str | None = None

    def by_part(self) -> dict[Part, str]:
        """The splits that exist, in source order."""
        parts: dict[Part, str | None] = {"train": self.train, "unlabelled": self.unlabelled, "test": self.test}
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
    """

    repo: str | None = None
    config: str | None = None
    revision: str | None = None
    root: str | None = field(default=None, metadata={"identity": False})
    columns: Columns = field(default_factory=Columns)
    splits: SplitNames = field(default_factory=SplitNames)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.repo is None and self.root is None:
            raise ConfigError("nothing to read: set data.repo=OWNER/NAME (the hub) or data.root=FOLDER (Parquet files)")

    @property
    def name(self) -> str:
        """The repository's name without its owner, else the folder's."""
        if self.repo is not None:
            return self.repo.rsplit("/", 1)[-1]
        return existing_folder(self.root, "hub").absolute().name

    def key(self) -> Any:
        """See `ImageSource.key`."""
        if self.root is None:
            location: Any = [self.repo, self.config, self.revision]
        else:
            location = file_stamps([path for files in self._files().values() for path in files])
        names = [self.columns.image, self.columns.label, *([self.columns.group] if self.columns.group else [])]
        return [location, names, list(self.splits.by_part().items())]

    def listing(self) -> tuple[Iterator[Item], Sequence[str] | None]:
        """See `ImageSource.listing`."""
        parts = self.splits.by_part() if self.root is None else self._files()
        tables = {part: self._open(part) for part in parts}
        features = tables["train"].features
        image, label = self.columns.find_image(features, self.name), self.columns.find_label(features, self.name)
        return self._items(tables, image, label), getattr(features[label], "names", None) or None

    def _items(self, tables: dict[Part, Any], image_column: str, label_column: str) -> Iterator[Item]:
        for part, table in tables.items():
            labels = None if part == "unlabelled" else label_column
            group_column = self.columns.group
            for column in (image_column, labels):
                if column is not None and column not in table.features:
                    raise DataError(f"{self.name}: split '{part}' has no column '{column}' as the training split has")
            if group_column is not None and group_column not in table.features:
                names = ", ".join(table.features)
                raise DataError(f"{self.name}: data.group={group_column}: split '{part}' has no such column ({names})")
            rows, location = enumerate(read_rows(table, image_column, labels, group_column)), ""
            try:
                for row, (data, label, group) in rows:
                    location = f"{self.name}, {self.splits.by_part()[part]} row {row}"
                    yield Item(location, image_bytes(data, image_column, location), label, part, group)
            except DataError:
                raise
            except Exception as error:  # as in _open: a damaged page of a Parquet file
                after = f"after {location}" if location else f"the first row of {self.splits.by_part()[part]}"
                raise DataError(f"cannot read {after}: {first_line(error)}; replace the damaged file") from error

    def _open(self, part: Part) -> Any:
        """One split, as a data set of ``datasets``; local files are streamed, so nothing is copied."""
        import datasets  # 1 s to import, and not needed when the decoded images are cached

        split = self.splits.by_part()[part]
        files = None if self.root is None else [str(path) for path in self._files()[part]]
        try:
            if files is not None:
                return datasets.load_dataset("parquet", data_files={split: files}, split=split, streaming=True)
            return datasets.load_dataset(self.repo, self.config, split=split, revision=self.revision)
        except Exception as error:  # the hub's client, pyarrow and fsspec have a dozen kinds without a common base
            if self.root is not None:
                raise DataError(f"cannot read split '{split}' of data.root={self.root}: {first_line(error)}") from error
            raise DataError(
                f"cannot get split '{split}' of {self.repo} from the hub: {first_line(error)}; "
                f"with a local copy, set data.root=FOLDER"
            ) from error

    def _files(self) -> dict[Part, list[Path]]:
        """Parquet files by part; a single file that names no split holds the training images."""
        root = existing_folder(self.root, self.name if self.repo else "hub")
        folders = [root, root / "data", *([root / self.config] if self.config else [])]
        flat = (found for folder in folders if (found := sorted(folder.glob("*.parquet"))))
        files = next(flat, []) or sorted(path for folder in folders for path in folder.glob("*/*.parquet"))
        if not files:
            raise DataError(f"data.root={self.root} holds no Parquet files (expected {self.splits.train}-*.parquet)")
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
        f"{location}: {kind} column '{name}' not found among {', '.join(features)}; set data.source.columns.{kind}=NAME"
    )


def _label(value: Any, column: str | None) -> Label:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | int):
        return int(value)
    raise DataError(f"label column '{column}' holds {value!r}; labels must be integers or text")
