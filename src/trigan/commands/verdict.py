"""``trigan verdict``: a small fixed study on the user's images, and one page that says whether a GAN helps there."""

from trigan.commands.arguments import command_parser, positive_float, positive_int


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
    parser.add_argument("--trials", type=positive_int, help="at most so many (default: 10; five give intervals)")
    parser.add_argument("--workers", type=positive_int, help="jobs at a time (default: one per core)")
    parser.add_argument("--name", help="folder under outputs/verdicts (default: data set and budget)")
    options = parser.parse_intermixed_args(arguments)
    from rich.console import Console
    from rich.markdown import Markdown

    from trigan.studies.verdict_study import PICTURE_FILE, run_verdict

    path, summary = run_verdict(
        options.overrides,
        minutes=options.minutes,
        trials=options.trials,
        workers=options.workers,
        name=options.name,
        config_dir=options.config_dir,
    )
    console, page = Console(), path.read_text()
    if console.is_terminal:
        console.print(Markdown(page))
    else:
        print(page)
    print(f"written: {path}, {PICTURE_FILE}")
    return summary.code
