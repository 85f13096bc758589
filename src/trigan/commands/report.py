"""``trigan report STUDY`` and ``trigan wandb-report STUDY``: a study's results as an HTML page or a W&B Report."""

from pathlib import Path

from rich.console import Console

from trigan.atomic import write_text
from trigan.commands.study import chosen_study, study_parser
from trigan.studies.study_report import PAGE_FILE, jobs_to_report, render_study, save_wandb_report


def main(arguments: list[str]) -> int:
    """Write the page and print where it is; runs nothing."""
    parser = study_parser(
        "report",
        "Write a study as one HTML page: its table, pictures, and the runs behind each number.",
        "The page opens without a server or a network. It runs nothing: it shows the runs that are finished.",
    )
    default = f"default: outputs/studies/NAME/[SCALE/]{PAGE_FILE}"
    parser.add_argument("--output", type=Path, metavar="FILE", help=default)
    options = parser.parse_intermixed_args(arguments)
    study = chosen_study(options)
    jobs = jobs_to_report(study, options.overrides, options.config_dir)
    output = options.output or jobs.folder(jobs.named(study)) / PAGE_FILE
    with Console(stderr=True).status(f"drawing {len(jobs.done)} runs; maps take seconds each"):
        write_text(output, render_study(study, jobs))
    print(f"written: {output}")
    return 0


def wandb_report_main(arguments: list[str]) -> int:
    """Save the report, or what is new in it, and print its address."""
    parser = study_parser(
        "wandb-report",
        "Save a study as a W&B Report: its text, its table, and panels over its runs in W&B.",
        "It needs a login (`wandb login`) and wandb-workspaces (pip install 'trigan[reports]'). Called again, "
        "it replaces the report that it saved before.",
    )
    parser.add_argument("--entity", help="the W&B user or team (default: the login's)")
    parser.add_argument("--project", default="trigan", help="the W&B project of the runs (default: trigan)")
    options = parser.parse_intermixed_args(arguments)
    study = chosen_study(options)
    jobs = jobs_to_report(study, options.overrides, options.config_dir)
    print(save_wandb_report(study, jobs, options.project, options.entity))
    return 0
