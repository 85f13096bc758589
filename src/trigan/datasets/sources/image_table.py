"""A table with a row for each image file: CSV, TSV, JSON lines or Parquet, with columns of paths and labels."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trigan.component_ids import component
from trigan.datasets.sources.decode import first_line
from trigan.datasets.sources.folder import SUFFIXES
from trigan.datasets.sources.folder_scan import (
    TABLE_SUFFIXES,
    FolderScan,
    Links,
    Part,
    Unread,
    check_inside,
    examples,
    part_of,
)
from trigan.datasets.sources.image_source import ImageSource, Item, Label, file_stamps
from trigan.errors import DataError, printable

#: Names by which a column is found if the settings name none, without regard to case.
_USUAL = {
    "image": ("image", "path", "file", "file_name", "filename", "filepath", "file_path", "image_path", "img"),
    "label": ("label", "class", "target", "category"),
    "split": ("split", "part", "subset"),
    "group": ("group",),
    "unlabelled": ("unlabelled", "unlabeled"),
}
#: Columns, without an ending ``_id``, that often say what belongs together; they are not used unless a setting says so.
_GROUPING = ("patient", "subject", "person", "participant", "slide", "case", "animal")
_UNUSED = "columns for data.group=NAME, which keeps all images of one patient or slide in one part"
_ORDER: tuple[Part, ...] = ("train", "validation", "unlabelled", "test")
_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no", "")
_Row = dict[str, Any]


@component("data/table_columns@1")
@dataclass(frozen=True)
class TableColumns:
    """Names of a table's columns; None: found by their usual names.

    Attributes:
        image: paths, relative to the table's folder.
        label: text, or whole numbers; an empty one: no label.
        split: train, val, test or unlabelled, in their usual spellings; no such column: all rows are training images.
        group: what belongs together (a patient).
        unlabelled: true for images whose label is not to be read.
    """

    image: str | None = None
    label: str | None = None
    split: str | None = None
    group: str | None = None
    unlabelled: str | None = None


@component("data/table@1")
@dataclass(frozen=True)
class ImageTable(ImageSource):
    """Image files that a table names (also Hugging Face's ``metadata.csv``, and StyleGAN's ``dataset.json``).

    Attributes:
        root: the table, or a folder that holds one; or a folder of parts (train, test) that hold one each.
        columns: names of the table's columns.
        links: ``inside``: paths and links must lead to places in the table's folder; ``any``: anywhere.
    """

    root: str | None = field(default=None, metadata={"identity": False})
    columns: TableColumns = field(default_factory=TableColumns)
    links: Links = field(default="inside", metadata={"identity": False})

    @property
    def name(self) -> str:
        """The name of the table's folder."""
        return printable(self._folder().absolute().name)

    def names_are_own(self) -> bool:
        """See `ImageSource.names_are_own`."""
        return True

    def key(self) -> Any:
        """See `ImageSource.key`."""
        files = [file for file, _ in self._tables()]
        return [list(vars(self.columns).values()), file_stamps([*files, *(row.path for row in self._rows())])]

    def paths(self) -> list[str] | None:
        """See `ImageSource.paths`."""
        return [printable(row.path.relative_to(self._folder()).as_posix()) for row in self._rows()]

    def unread(self) -> Unread:
        """See `ImageSource.unread`."""
        scan, read = FolderScan(self._folder(), self.links), {row.path for row in self._rows()}
        images = scan.files(self._folder(), SUFFIXES)
        scan.skip("images that no row names", (path for path in images if path not in read))
        tables = {path.relative_to(scan.root).as_posix() for path, _ in self._tables()}
        header = read_table(self._tables()[0][0])[0]
        grouping = [name for name in header if name.strip().lower().removesuffix("id").rstrip("_- ") in _GROUPING]
        if self.columns.group or any(name.strip().lower() in _USUAL["group"] for name in header):
            grouping = []
        return {
            why: left
            for why, found in (*scan.unread.items(), (_UNUSED, list(map(printable, grouping))))
            if (left := [one for one in found if one not in tables])
        }

    def listing(self) -> tuple[Iterator[Item], Sequence[str] | None]:
        """See `ImageSource.listing`."""
        rows = self._rows()
        texts = {row.label for row in rows if isinstance(row.label, str)}
        numbers = bool(texts) and all(text.isdecimal() and str(int(text)) == text for text in texts)
        return (row.item(numbers) for row in rows), None

    def _folder(self) -> Path:
        root = self._root()
        return root if root.is_dir() else root.parent

    def _root(self) -> Path:
        if self.root is None:
            raise DataError("data=table needs a table: set data.root=FILE.csv, or the folder that holds it")
        path = Path(self.root).expanduser()
        if not path.exists():
            raise DataError(f"data.root={self.root} does not exist (looked for {path.absolute()})")
        return path

    def _tables(self) -> Sequence[tuple[Path, Part | None]]:
        """The tables, and the parts of their folders."""
        root = self._root()
        if not root.is_dir():
            return [(root, None)]
        own = _tables_in(root)
        if own:
            return [(_only(own, root), None)]
        below = [(folder, part_of(folder.name)) for folder in sorted(root.iterdir()) if folder.is_dir()]
        found = [(_only(tables, folder), part) for folder, part in below if part and (tables := _tables_in(folder))]
        if not found:
            raise DataError(f"data.root={self.root} holds no table (.csv, .tsv, .jsonl, .parquet); name the file")
        return found

    def _rows(self) -> list["_ImageRow"]:
        """All rows, in source order: by part, then as the tables have them."""
        rows = [row for file, part in self._tables() for row in self._rows_of(file, part)]
        missing = [row.where for row in rows if not row.path.is_file()]
        if missing:
            raise DataError(
                f"{len(missing)} rows name files that do not exist ({examples(missing)}); correct the paths"
            )
        return sorted(rows, key=lambda row: _ORDER.index(row.part))

    def _rows_of(self, file: Path, part: Part | None) -> Iterator["_ImageRow"]:
        rows = read_table(file)
        columns = self._find_columns(file, rows[0])
        for number, row in enumerate(rows, 2):
            values = {kind: row[name] for kind, name in columns.items()}
            where = printable(f"{file.name} line {number}: {values['image']}")
            path = file.parent / str(values["image"])
            check_inside(path, self._folder(), self.links, where)
            unlabelled = str(values.get("unlabelled") or "").strip().lower()
            if unlabelled not in (*_TRUE, *_FALSE):
                raise DataError(f"{where}: {columns['unlabelled']} is {unlabelled!r}; expected true or false")
            label = None if unlabelled in _TRUE else label_of(values["label"], where)
            own = str(values.get("split") or "").strip()
            named = part_of(own) if own else (part or "train")
            if named is None:
                raise DataError(
                    f"{where}: {columns['split']} is {own!r}; expected train, val, test or unlabelled; or name another "
                    "column with data.source.columns.split"
                )
            final = "unlabelled" if label is None and named == "train" else named
            group = values.get("group")
            group = None if group == "" or group != group else group  # an empty cell of text or of numbers: alone
            yield _ImageRow(path, None if final == "unlabelled" else label, final, group, where)

    def _find_columns(self, file: Path, row: _Row) -> dict[str, str]:
        found: dict[str, str] = {}
        for kind, usual in _USUAL.items():
            asked = getattr(self.columns, kind)
            names = [name for name in row if (name == asked if asked else name.strip().lower() in usual)]
            if len(names) == 1:
                found[kind] = names[0]
            elif asked or len(names) > 1 or kind in ("image", "label"):
                problem = f"has {' and '.join(names)}" if names else f"has no column {asked or ' or '.join(usual[:4])}"
                setting = "data.group" if kind == "group" else f"data.source.columns.{kind}"
                mend = "; with one column for each of several labels, write one class into a column"
                raise DataError(
                    f"{file} {problem} for the {kind} (its columns: {', '.join(row)}); set {setting}=NAME"
                    f"{mend if kind == 'label' else ''}"
                )
        return found


@dataclass(frozen=True)
class _ImageRow:
    path: Path
    label: Label
    part: Part
    group: int | str | None
    where: str

    def item(self, numbers: bool) -> Item:
        label = int(self.label) if numbers and isinstance(self.label, str) else self.label
        note = "rows without a label are unlabelled images" if self.part == "unlabelled" else ""
        return Item(self.where, self.path, label, self.part, note, self.group)


def read_table(file: Path) -> list[_Row]:
    """The rows of a table, each a mapping from column to value.

    Raises:
        DataError: unreadable, empty, or rows that do not fit the columns.
    """
    try:
        suffix = file.suffix.lower()
        if suffix == ".parquet":
            import pyarrow.parquet as pq

            rows: list[_Row] = pq.read_table(file).to_pylist()
        elif suffix in (".csv", ".tsv"):
            rows = list(_delimited(file))
        else:
            text = file.read_text(encoding="utf-8-sig")
            rows = (
                _json_rows(json.loads(text)) if suffix == ".json" else [json.loads(s) for s in text.splitlines() if s]
            )
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not encoded in UTF-8 (byte {error.start}); save it as UTF-8") from error
    except Exception as error:  # csv, json and pyarrow have no common base
        raise DataError(f"{file} is not a readable table ({first_line(error)})") from error
    if not rows or not all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows):
        raise DataError(f"{file} has {'rows with different columns' if rows else 'no rows'}; correct it")
    return rows


def _delimited(file: Path) -> Iterator[_Row]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        first = stream.readline()
        stream.seek(0)
        reader = csv.reader(stream, delimiter=max("\t" if file.suffix.lower() == ".tsv" else ",;\t", key=first.count))
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) < len(header):
            raise DataError(f"{file}: two columns have one name ({', '.join(header)}); rename one")
        for fields in reader:
            if fields and len(fields) != len(header):
                raise DataError(f"{file} line {reader.line_num} has {len(fields)} fields, the first {len(header)}")
            if fields:
                yield dict(zip(header, fields, strict=True))


def _json_rows(content: Any) -> list[_Row]:
    """The rows of StyleGAN's ``dataset.json``, or of a list of objects."""
    if isinstance(content, Mapping) and isinstance(content.get("labels"), list):
        return [{"image": path, "label": label} for path, label in content["labels"]]
    return content if isinstance(content, list) else []


def label_of(value: Any, where: str) -> Label:
    """One class from a cell: text, or a whole number; None for an empty cell.

    Raises:
        DataError: several labels, or a number that is no class.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and not any(mark in value for mark in "|;"):
        return value.strip() or None
    if isinstance(value, float):
        raise DataError(f"{where}: the label {value} is no class; labels are text or whole numbers")
    raise DataError(
        f"{where}: {value!r} looks like several labels; an image has one class here: give a column with one class, or "
        "make each combination a class of its own (cat+dog)"
    )


def _tables_in(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLE_SUFFIXES and path.is_file())
    return [path for path in files if path.stem.lower() == "metadata"] or files


def _only(files: list[Path], folder: Path) -> Path:
    if len(files) > 1:
        raise DataError(
            f"{folder} holds {len(files)} tables ({', '.join(f.name for f in files)}); name one: data.root=FILE"
        )
    return files[0]
