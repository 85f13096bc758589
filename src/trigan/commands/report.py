"""``trigan report STUDY``: what a study has so far as one HTML page that opens without a server or a network."""

from pathlib import Path

from rich.console import Console

from trigan.atomic import write_bytes
from trigan.commands.arguments import Parser
from trigan.errors import ConfigError
from trigan.reports.report_data import ReportData, ReportHeading
from trigan.reports.report_page import render_report
from trigan.studies.job_cache import JobCache, load_jobs, make_plan, no_finished_runs, with_variant_name
from trigan.studies.study_file import StudyFile, find_study, read_study
from trigan.studies.study_table import study_table

PAGE_FILE = "report.html"


def main(arguments: list[str]) -> int:
    """Write the page and print where it is; runs nothing."""
    options = _parser().parse_intermixed_args(arguments)
    study = read_study(find_study(options.name), options.scale)
    job_cache = JobCache.for_study(study, options.overrides, options.config_dir)
    jobs = load_jobs(job_cache, study, lambda: make_plan(study, options), finished=True)
    if jobs.debug:
        raise ConfigError("debug runs enter no table, and so no report; leave debug=... out")
    done = [cell for cell in jobs.runnable if cell.done]
    if not done:
        raise no_finished_runs(study, f"under {jobs.runs}")
    study = with_variant_name(study, jobs)
    material = ReportData(
        _heading(study), study_table(study, done, jobs.outputs), {cell.hash: cell.record_path.parent for cell in done}
    )
    output = options.output or jobs.folder(study) / PAGE_FILE
    with Console(stderr=True).status(f"drawing {len(done)} runs; maps take seconds each"):
        write_bytes(output, render_report(material).encode())
    print(f"written: {output}")
    return 0


def _heading(study: StudyFile) -> ReportHeading:
    about = study.about
    words = (
        ("Question", about.question),
        ("Command", about.command),
        ("Cost", about.cost),
        ("Expected", about.expected),
    )
    return ReportHeading(study.title, about.claim, tuple((name, text) for name, text in words if text))


def _parser() -> Parser:
    parser = Parser(
        prog="trigan report",
        description="Write a study as one HTML page: its table, pictures, and the runs behind each number.",
        epilog="The page holds all that it shows. It runs nothing: of an unfinished study it shows what is there.",
        allow_abbrev=False,
    )
    parser.add_argument("name", help="a study of ./experiments or of trigan's own, or a path")
    parser.add_argument("overrides", nargs="*", help="the settings that the study was run with, e.g. paths.outputs=DIR")
    parser.add_argument("--scale", help="one of the study's scales (default: its first)")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help=f"default: outputs/studies/NAME/[SCALE/]{PAGE_FILE}"
    )
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own")
    return parser
