"""``trigan study NAME``: run what is missing of a table's jobs, then print and write the table."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from trigan.artifacts.atomic import explained
from trigan.artifacts.identity import digest
from trigan.cli.arguments import Parser, at_least_one
from trigan.cli.compose import Composer
from trigan.cli.crew import Crew, report
from trigan.cli.launchers import Job
from trigan.cli.study import Cell, Plan
from trigan.cli.study_file import StudyFile, find, read
from trigan.errors import ConfigError


def main(arguments: list[str]) -> int:
    """Run a study; 0 when its table is complete, 1 when jobs failed."""
    options = _parser().parse_intermixed_args(arguments)
    composer = Composer(options.config_dir)
    study = read(find(options.name), options.scale)
    plan = Plan(composer, study, options.overrides)
    if options.dry_run or options.status:
        return _show(plan, options.dry_run)
    extra = ["--config-dir", str(options.config_dir.absolute())] if options.config_dir else []
    with Crew(options.workers, options.timeout) as crew:
        base, cells, n_matched = plan.first(), plan.cells(), plan.check_matched()
        logs = base.paths.outputs / "logs" / study.name
        print(f"{study.title}: {len(cells) + n_matched} jobs", file=sys.stderr)
        code = _run(crew, cells, logs, extra)
        matched, waiting = plan.matched(cells)
        code = max(code, _run(crew, matched, logs, extra))
    for name in waiting:
        print(f"not run: {name} needs the compute of its column's other rows, of which some failed", file=sys.stderr)
    _tell_offline([*cells, *matched])
    if base.debug:
        print("debug runs enter no table; their records are under", base.paths.runs)
        return 1 if waiting else code
    variant = plan.variant()
    if variant:  # its own table: what is under the study's name is the study as it is written
        study = replace(study, name=f"{study.name}-{digest(variant, 8)}", title=f"{study.title} (with {variant})")
    folder = base.paths.outputs / "studies" / study.name / (study.scale or "")
    write_table(study, [*cells, *matched], folder, base.paths.outputs)
    return 1 if waiting else code


def write_table(study: StudyFile, cells: Sequence[Cell], folder: Path, outputs: Path) -> None:
    """Print the table of the finished jobs and submitted rows, and write it as text, Markdown, CSV and a picture."""
    from trigan.results.external import external_rows
    from trigan.results.files import write_atomically
    from trigan.results.pictures import comparison
    from trigan.results.record import Record, read_record
    from trigan.results.render import render_csv, render_markdown, render_terminal
    from trigan.results.table import Family, TableSpec, build_table

    records: dict[tuple[str, str], list[Record]] = {}
    for cell in cells:
        if cell.done:
            records.setdefault((cell.row.name, cell.column.name), []).append(read_record(cell.record))
    columns = tuple(column.name for column in study.columns)
    submitted = external_rows(outputs, study.name, study.scale, columns)
    records |= submitted
    spec = TableSpec(
        title=study.title,
        rows=(*(row.name for row in study.rows), *dict.fromkeys(row for row, _ in submitted)),
        columns=columns,
        trials=study.trials,
        reference=study.reference,
        family=Family(*study.family) if study.family else None,
        margin=study.margin,
        metric=study.metric,
    )
    table = build_table(records, spec)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("txt", render_terminal(table)), ("md", render_markdown(table)), ("csv", render_csv(table))):
        write_atomically(folder / f"table.{name}", text.encode())
    comparison(table, folder / "comparison.png")
    console = Console()
    print(render_terminal(table, width=max(console.width, 80), colour=console.is_terminal))
    print(f"written: {folder}/table.txt, table.md, table.csv, comparison.png")


def _parser() -> Parser:
    parser = Parser(
        prog="trigan study",
        description="Run the jobs of experiments/NAME/study.yaml that have no record yet, and print their table.",
        epilog="Each job is a process of its own. The same command again goes on from what is finished.",
        allow_abbrev=False,
    )
    parser.add_argument("name", help="a study of ./experiments or of trigan's own, or a path")
    parser.add_argument("overrides", nargs="*", help="settings for every job, e.g. trainer=gpu paths.outputs=DIR")
    parser.add_argument("--scale", help="one of the study's scales (default: its first)")
    parser.add_argument("--workers", type=at_least_one, help="jobs at a time (default: one per core)")
    parser.add_argument("--timeout", type=at_least_one, metavar="MINUTES", help="end a job that takes longer")
    parser.add_argument("--dry-run", action="store_true", help="list the jobs and what each would run, and run nothing")
    parser.add_argument("--status", action="store_true", help="list the jobs and which are done, and run nothing")
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own")
    return parser


def _run(crew: Crew, cells: Sequence[Cell], logs: Path, extra: Sequence[str]) -> int:
    """Run the jobs without a record; those that are the same run are one job."""
    todo = {cell.hash: cell for cell in cells if not cell.done}
    names = [cell.name for cell in todo.values()]
    if len(set(names)) != len(names):
        raise ConfigError("two jobs of the study have the same row, column and trial")
    jobs = [Job(cell.name, (*extra, *cell.arguments)) for cell in todo.values()]
    return report(crew.run(jobs, logs))


def _tell_offline(cells: Sequence[Cell]) -> None:
    """How to send what W&B has kept offline: each job said so, but in its own log."""
    runs = {cell.record.parents[1] for cell in cells if any(cell.record.parent.glob("wandb/offline-run-*"))}
    for place in sorted(runs):
        print(f"W&B has kept curves offline; send them with: wandb sync {place}/*/wandb", file=sys.stderr)


def _show(plan: Plan, commands: bool) -> int:
    cells, n_matched = plan.cells(), plan.check_matched()
    matched, waiting = plan.matched(cells)
    for cell in [*cells, *matched]:
        print(f"{'done' if cell.done else 'to do':5}  {cell.hash}  {cell.name}")
        if commands and not cell.done:
            print("       trigan run " + " ".join(_shell(argument) for argument in cell.arguments))
    for name in waiting:
        print(f"to do  {'after the others':20}  {name}")
    done = sum(cell.done for cell in [*cells, *matched])
    print(f"{done} of {len(cells) + n_matched} jobs done")
    return 0


def _shell(word: str) -> str:
    import shlex

    return shlex.quote(word)
