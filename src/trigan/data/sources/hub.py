"""Data sets of the Hugging Face hub, from the hub or from Parquet files in a folder (then without any network)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigan.components import component
from trigan.data.sources.assemble import Item, Part
from trigan.data.sources.columns import Columns, ResolvedColumns, find_columns
from trigan.data.sources.image_source import ImageSource, existing_folder, file_stamps
from trigan.errors import ConfigError, DataError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


@component("data/splits@1")
@dataclass(frozen=True)
class SplitNames:
    """Names of a data set's splits; None: it has none of that kind.

    Attributes:
        train: training images with labels.
        test: the official test set. Without one, each trial draws its own.
        unlabelled: more training images; labels that they may have are not read.
    """

    train: str = "train"
    test: str | None = "test"
    unlabelled: str | None = None

    def named(self) -> dict[Part, str]:
        parts: dict[Part, str | None] = {"train": self.train, "unlabelled": self.unlabelled, "test": self.test}
        return {part: name for part, name in parts.items() if name is not None}


@component("data/hub@1")
@dataclass(frozen=True)
class Hub(ImageSource):
    """A data set with an image and a label column, read through Hugging Face ``datasets``.

    Attributes:
        repo: owner/name on the hub; may be None beside ``root``.
        config: the data set's configuration, e.g. ``cropped_digits``; None: its default.
        revision: commit, tag or branch on the hub; None: main as it is when it is first read (the decoded
            images are kept). Name a commit to pin it.
        root: folder with ``train-*.parquet``, ``test-*.parquet`` ... (also in ``data/`` or ``CONFIG/``, or as
            ``train/*.parquet``); None: the hub.
        columns: names of the image and the label column.
        splits: names of the splits.
        image_size: side to resize to, 8 to 128; None: as the images are.
        channels: 1, 3 or None (1 if all images are grey, else 3).
    """

    repo: str | None = None
    config: str | None = None
    revision: str | None = None
    root: str | None = field(default=None, metadata={"identity": False})
    columns: Columns = field(default_factory=Columns)
    splits: SplitNames = field(default_factory=SplitNames)
    image_size: int | None = None
    channels: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.repo is None and self.root is None:
            raise ConfigError("nothing to read: set data.repo=OWNER/NAME (the hub) or data.root=FOLDER (Parquet files)")

    @property
    def name(self) -> str:
        if self.repo is not None:
            return self.repo.rsplit("/", 1)[-1]
        return existing_folder(self.root, "hub").absolute().name

    def key(self) -> Any:
        if self.root is None:
            place: Any = [self.repo, self.config, self.revision]
        else:
            place = file_stamps([path for files in self._files().values() for path in files])
        columns = [self.columns.image, self.columns.label]
        return [place, columns, list(self.splits.named().items())]

    def listing(self) -> tuple[Iterator[Item], Sequence[str] | None]:
        parts = self.splits.named() if self.root is None else self._files()
        tables = {part: self._open(part) for part in parts}
        found = find_columns(tables["train"].features, self.columns, self.name)
        return self._items(tables, found), found.names

    def _items(self, tables: dict[Part, Any], found: ResolvedColumns) -> Iterator[Item]:
        for part, table in tables.items():
            wanted = [found.image] if part == "unlabelled" else [found.image, found.label]
            missing = [column for column in wanted if column not in table.features]
            if missing:
                raise DataError(f"{self.name}: split '{part}' has no column '{missing[0]}' as the training split has")
            where = f"{self.name}, {self.splits.named()[part]} row"
            for row, (data, label) in enumerate(found.rows(table, with_labels=part != "unlabelled")):
                yield Item(f"{where} {row}", found.encoded(data, f"{where} {row}"), label, part)

    def _open(self, part: Part) -> "Dataset | IterableDataset":
        """One split; local files are streamed, so nothing is copied."""
        import datasets  # 1 s to import, and not needed when the decoded images are kept

        split = self.splits.named()[part]
        try:
            if self.root is not None:
                files = [str(path) for path in self._files()[part]]
                return datasets.load_dataset("parquet", data_files={split: files}, split=split, streaming=True)
            return datasets.load_dataset(self.repo, self.config, split=split, revision=self.revision)
        except DataError:
            raise
        except Exception as error:  # the hub's client, pyarrow and fsspec have a dozen kinds without a common base
            reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
            if self.root is not None:
                raise DataError(f"cannot read split '{split}' of data.root={self.root}: {reason}") from error
            raise DataError(
                f"cannot get split '{split}' of {self.repo} from the hub: {reason}; "
                f"with a local copy, set data.root=FOLDER"
            ) from error

    def _files(self) -> dict[Part, list[Path]]:
        """Parquet files by part; files that name no split are the training images."""
        root = existing_folder(self.root, self.name if self.repo else "hub")
        places = [root, root / "data", *([root / self.config] if self.config else [])]
        flat = (found for place in places if (found := sorted(place.glob("*.parquet"))))
        files = next(flat, []) or sorted(path for place in places for path in place.glob("*/*.parquet"))
        if not files:
            raise DataError(f"data.root={self.root} holds no Parquet files (expected {self.splits.train}-*.parquet)")
        splits = self.splits.named()
        named = {part: [path for path in files if _is_split(path, split, places)] for part, split in splits.items()}
        if not any(named.values()) and len(files) == 1:
            return {"train": files}
        for part, split in splits.items():
            if not named[part]:
                there = ", ".join(path.name for path in files[:4])
                raise DataError(
                    f"data.root={self.root} has no {split}-*.parquet (it holds {there}); add it, or set "
                    f"data.source.splits.{part}=NAME{'' if part == 'train' else ' (null: it has none)'}"
                )
        return named


def _is_split(path: Path, split: str, places: Sequence[Path]) -> bool:
    """By the file's name, or by that of its folder if that is one below the data set's own."""
    folder = path.parent.name if path.parent not in places else None
    return split in (path.stem, folder) or path.stem.startswith((f"{split}-", f"{split}."))
