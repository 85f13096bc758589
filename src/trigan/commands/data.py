"""``trigan data check``: what a run would find in its data set."""

from trigan.commands.arguments import command_parser
from trigan.errors import ConfigError, printable


def main(arguments: list[str]) -> int:
    """Report on the data set that the settings choose; 1 if it holds an error."""
    if arguments[:1] in (["-h"], ["--help"]):
        arguments = ["check", "--help"]
    if arguments[:1] != ["check"]:
        raise ConfigError("trigan data: expected `trigan data check [data=CHOICE] [data.root=PATH]`")
    parser = command_parser(
        "data check",
        "Class counts, one-label sets, tiny classes, unreadable files, values, duplicates, the regime.",
        "example: trigan data check data=folder data.root=PATH",
    )
    parser.add_argument("overrides", nargs="*", help="settings as for `trigan run`: data=..., regime=..., trial=...")
    options = parser.parse_intermixed_args(arguments[1:])
    from trigan.config.compose import compose
    from trigan.datasets.data_check import check_data
    from trigan.datasets.splits.draw_split import draw_split
    from trigan.datasets.splits.splitter import split_summary

    composed = compose(options.overrides, options.config_dir)
    built = composed.build()
    report = check_data(built.data)
    print(printable("\n".join(report.lines())))
    if report.level == "error":
        return 1
    info = draw_split(composed.load_data(), built.regime, composed.trial).info
    print(f"regime {composed.choices['regime']}, trial {composed.trial}: {split_summary(info)}")
    return 0
