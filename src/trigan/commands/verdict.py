"""``trigan verdict``: a small fixed study on the user's images, and one page that says whether a GAN helps there."""

import sys

from trigan.commands.arguments import command_parser, positive_float, positive_int
from trigan.execution.progress import Heartbeat
from trigan.scores import METRICS
from trigan.studies.job_cache import make_plan
from trigan.studies.study_file import find_study, read_study


def main(arguments: list[str]) -> int:
    """Run trials until the minutes are used, and print the page; 1 when jobs failed."""
    parser = command_parser(
        "verdict",
        "Does a GAN help a classifier on these images? A small study of fixed rows, and one page.",
        "Example: trigan verdict data=folder data.root=my_images data.image_size=32 --minutes 30",
    )
    parser.add_argument("overrides", nargs="*", help="data and regime, e.g. data=mnist regime.labels_per_class=10")
    minutes_help = "trials are added while one more fits; the first one always runs (default: 30)"
    parser.add_argument("--minutes", type=positive_float, default=30.0, help=minutes_help)
    parser.add_argument("--trials", type=positive_int, help="at most so many (default: 10, which a verdict needs)")
    parser.add_argument("--workers", type=positive_int, help="jobs at a time (default: one per core)")
    metric_help = "the score that rows are compared by (default: accuracy)"
    parser.add_argument("--metric", choices=sorted(METRICS), help=metric_help)
    parser.add_argument("--name", help="folder under outputs/verdicts (default: data set and budget)")
    parser.add_argument(
        "--yes", action="store_true", help="start without measuring how long it takes, and without asking"
    )
    options = parser.parse_intermixed_args(arguments)
    from rich.console import Console
    from rich.prompt import Confirm

    make_plan(read_study(find_study("verdict")), options.overrides, options.config_dir).check()
    from trigan.studies.verdict.verdict_study import PICTURE_FILE, TABLE_FILE, VerdictRuns  # torch

    with Heartbeat():
        verdict = VerdictRuns(options.overrides, options.config_dir, options.metric)
        plan = None if options.yes else verdict.plan(options.minutes, options.trials, options.workers)
    if plan is not None:
        print(plan)
        if sys.stdin.isatty() and not Confirm.ask("Start?", default=True):
            print("nothing was run; --minutes N and --trials N change the length, --yes skips this question")
            return 0
    with Heartbeat():
        path = verdict.run(options.minutes, options.trials, options.workers, options.name)
    console = Console()
    print(verdict.terminal_text(max(80, console.width), console.is_terminal))
    print(f"page: {path.with_suffix('.html')}, {path.name}, {TABLE_FILE}, {PICTURE_FILE}")
    return verdict.summary.code
