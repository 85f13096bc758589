"""``trigan wandb-report STUDY``: a study as a W&B Report, over its runs there; the page on disk is `trigan report`."""

from collections.abc import Sequence
from pathlib import Path

from trigan.atomic import write_bytes
from trigan.commands.arguments import Parser
from trigan.errors import ConfigError
from trigan.studies.job_cache import JobCache, load_jobs, make_plan, no_finished_runs, with_variant_name
from trigan.studies.jobs import StudyJob
from trigan.studies.study_file import StudyFile, find_study, read_study
from trigan.studies.study_table import render_table, study_table
from trigan.tables.table import Table
from trigan.tracking.curve_files import MetricsFile
from trigan.tracking.wandb_report import ReportText, save_report

#: Beside W&B's own files in the study's folder: the id of the report that was saved last.
_SAVED = "report"


def main(arguments: list[str]) -> int:
    """Save the report, or what is new in it, and print its address."""
    options = _parser().parse_intermixed_args(arguments)
    study = read_study(find_study(options.name), options.scale)
    job_cache = JobCache.for_study(study, options.overrides, options.config_dir)
    jobs = load_jobs(job_cache, study, lambda: make_plan(study, options), finished=True)
    if jobs.debug:
        raise ConfigError("debug runs enter no table, and so no report; leave debug=... out")
    done = [cell for cell in jobs.runnable if cell.done]
    if not done:
        raise no_finished_runs(study, f"under {jobs.runs}")
    from trigan.tracking.wandb_tracking import public_api

    entity = options.entity or str(public_api().default_entity)
    study = with_variant_name(study, jobs)
    text = _text(study, study_table(study, done, jobs.outputs), done)
    saved = jobs.folder(study) / "wandb" / _SAVED
    key = f"{entity}/{options.project}"
    held, _, known = saved.read_text().rpartition(" ") if saved.is_file() else ("", "", "")
    report, address = save_report(text, entity, options.project, known if held == key else "")
    write_bytes(saved, f"{key} {report}".encode())
    print(address)
    return 0


def _text(study: StudyFile, table: Table, done: Sequence[StudyJob]) -> ReportText:
    about = study.about
    words = {
        "Question": about.question,
        "What came out": render_table(table, "md"),
        "Command": f"`{about.command}`" if about.command else "",
        "Cost": about.cost,
        "Expected": about.expected,
    }
    paragraphs = {heading: text for heading, text in words.items() if text}
    metric = f"final/test/{study.analysis.metric}"
    return ReportText(study.title, about.claim, paragraphs, study.name, metric, _curves(done))


def _curves(done: Sequence[StudyJob]) -> list[str]:
    """The losses that any of the runs has drawn."""
    files = (cell.record_path.parent / "metrics.jsonl" for cell in done)
    keys = {key for file in files for row in MetricsFile.read(file) for key in row}
    return sorted(key for key in keys if key.endswith("loss"))


def _parser() -> Parser:
    parser = Parser(
        prog="trigan wandb-report",
        description="Save a study as a W&B Report: its text, its table, and panels over its runs in W&B.",
        epilog="It needs a login (`wandb login`) and wandb-workspaces (pip install 'trigan[reports]'). Called again, "
        "it replaces the report that it saved before.",
        allow_abbrev=False,
    )
    parser.add_argument("name", help="a study of ./experiments or of trigan's own, or a path")
    parser.add_argument("overrides", nargs="*", help="the settings that the study was run with, e.g. paths.outputs=DIR")
    parser.add_argument("--scale", help="one of the study's scales (default: its first)")
    parser.add_argument("--entity", help="the W&B user or team (default: the login's)")
    parser.add_argument("--project", default="trigan", help="the W&B project of the runs (default: trigan)")
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own")
    return parser
