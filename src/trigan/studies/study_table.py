"""A study's table: built of the records of its finished jobs and its published figures, and rendered in any format."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from trigan.atomic import wrap_os_errors, write_bytes
from trigan.errors import ArtifactError
from trigan.records.record import Record, read_record
from trigan.studies.jobs import StudyJob
from trigan.studies.study_file import StudyFile
from trigan.tables.external_records import external_rows
from trigan.tables.published import PUBLISHED_NAME, PublishedResult, read_published
from trigan.tables.table import CellKey, Family, Table, TableSpec, build_table

#: Each format: the end of its file's name, and the function that makes a text of a table.
FORMATS = {
    "terminal": ("txt", "trigan.tables.layout.text:render_terminal"),
    "md": ("md", "trigan.tables.layout.text:render_markdown"),
    "csv": ("csv", "trigan.tables.layout.text:render_csv"),
    "latex": ("tex", "trigan.tables.layout.latex:render_latex"),
    "html": ("html", "trigan.tables.layout.html:render_html"),
}
#: Those that ``trigan study`` writes.
FILE_FORMATS = ("terminal", "md", "csv", "latex")


def study_table(study: StudyFile, cells: Sequence[StudyJob], outputs: Path) -> Table:
    """The table of the finished ones of ``cells``, of rows submitted to ``outputs``, and of figures published.

    Raises:
        TriganError: a record or the published figures are not sound.
    """
    records: dict[CellKey, list[Record]] = {}
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
        reference=study.analysis.reference,
        family=Family(*study.analysis.family) if study.analysis.family else None,
        margin=study.analysis.margin,
        metric=study.analysis.metric,
        ablations=study.analysis.ablations,
    )
    mine = [
        one for one in published_results(study) if one.row in ("", *spec.rows) and one.column in ("", *spec.columns)
    ]
    return build_table({**records, **submitted}, spec, mine)


def published_results(study: StudyFile) -> tuple[PublishedResult, ...]:
    """What ``published.csv`` beside the study's file holds; nothing where there is none.

    Raises:
        ConfigError: one line that names the file, the line and the key that is wrong.
    """
    path = study.file.parent / PUBLISHED_NAME
    return read_published(path, *study.names) if path.is_file() else ()


def _record(cell: StudyJob) -> Record:
    record = read_record(cell.record_path)
    if record["run"] != cell.hash:
        raise ArtifactError(
            f"{cell.record_path}: the record of another run, {record['run'][:20]}: move it to its own folder"
        )
    return record


def render_table(table: Table, name: str) -> str:
    """The table in one of ``FORMATS``, as it is written to a file."""
    module, _, function = FORMATS[name][1].partition(":")
    text: str = getattr(import_module(module), function)(table)
    return text


def write_table_files(table: Table, folder: Path) -> list[str]:
    """Write the table as text, Markdown, CSV and LaTeX and as a picture; returns the files' names."""
    from trigan.plots.run_plots import plot_comparison  # matplotlib takes its time

    with wrap_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name in FILE_FORMATS:
        write_bytes(folder / f"table.{FORMATS[name][0]}", render_table(table, name).encode())
    plot_comparison(table, folder / "comparison.png")
    return [*(f"table.{FORMATS[name][0]}" for name in FILE_FORMATS), "comparison.png"]


def print_table(table: Table) -> None:
    """The table on standard output, as wide as the terminal and in its colours."""
    from rich.console import Console

    from trigan.tables.layout.text import render_terminal

    console = Console()
    print(render_terminal(table, width=max(console.width, 80), colour=console.is_terminal))
