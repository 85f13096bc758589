"""A study's table: built of the records of its finished jobs and its published figures, and rendered in any format."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from trigan.atomic import explained, write_bytes
from trigan.errors import ArtifactError
from trigan.records.record import Record, read_record
from trigan.studies.jobs import Cell
from trigan.studies.study_file import StudyFile
from trigan.tables.external_records import external_rows
from trigan.tables.published import FILE, Figure, read_published
from trigan.tables.table import Family, Place, Table, TableSpec, build_table

#: Each format: the end of its file's name, and the function that makes a text of a table.
FORMATS = {
    "terminal": ("txt", "trigan.tables.layout.text:render_terminal"),
    "md": ("md", "trigan.tables.layout.text:render_markdown"),
    "csv": ("csv", "trigan.tables.layout.text:render_csv"),
    "latex": ("tex", "trigan.tables.layout.latex:render_latex"),
    "html": ("html", "trigan.tables.layout.html:render_html"),
}
#: Those that ``trigan study`` writes.
WRITTEN = ("terminal", "md", "csv", "latex")


def study_table(study: StudyFile, cells: Sequence[Cell], outputs: Path) -> Table:
    """The table of the finished ones of ``cells``, of rows submitted to ``outputs``, and of figures published.

    Raises:
        TriganError: a record or the published figures are not sound.
    """
    records: dict[Place, list[Record]] = {}
    for cell in cells:
        if cell.done:
            records.setdefault((cell.row.name, cell.column.name), []).append(_record(cell))
    columns = tuple(column.name for column in study.columns)
    submitted = external_rows(outputs, study.name, study.scale, columns)
    spec = TableSpec(
        title=study.title,
        rows=(*(row.name for row in study.rows), *dict.fromkeys(row for row, _ in submitted)),
        columns=columns,
        trials=study.trials,
        reference=study.reading.reference,
        family=Family(*study.reading.family) if study.reading.family else None,
        margin=study.reading.margin,
        metric=study.reading.metric,
        chains=study.reading.chains,
    )
    mine = [
        one for one in published_figures(study) if one.row in ("", *spec.rows) and one.column in ("", *spec.columns)
    ]
    return build_table({**records, **submitted}, spec, mine)


def published_figures(study: StudyFile) -> tuple[Figure, ...]:
    """What ``published.csv`` beside the study's file holds; nothing where there is none.

    Raises:
        ConfigError: one line that names the file, the line and the key that is wrong.
    """
    path = study.file.parent / FILE
    return read_published(path, *study.names) if path.is_file() else ()


def _record(cell: Cell) -> Record:
    record = read_record(cell.record)
    if record["run"] != cell.hash:
        raise ArtifactError(
            f"{cell.record}: the record of another run, {record['run'][:20]}: move it to its own folder"
        )
    return record


def rendered(table: Table, name: str) -> str:
    """The table in one of ``FORMATS``, as it is written to a file."""
    module, _, function = FORMATS[name][1].partition(":")
    text: str = getattr(import_module(module), function)(table)
    return text


def write_files(table: Table, folder: Path) -> list[str]:
    """Write the table as text, Markdown, CSV and LaTeX and as a picture; returns the files' names."""
    from trigan.plots.run_plots import comparison  # matplotlib takes its time

    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name in WRITTEN:
        write_bytes(folder / f"table.{FORMATS[name][0]}", rendered(table, name).encode())
    comparison(table, folder / "comparison.png")
    return [*(f"table.{FORMATS[name][0]}" for name in WRITTEN), "comparison.png"]


def print_terminal(table: Table) -> None:
    """The table on standard output, as wide as the terminal and in its colours."""
    from rich.console import Console

    from trigan.tables.layout.text import render_terminal

    console = Console()
    print(render_terminal(table, width=max(console.width, 80), colour=console.is_terminal))
