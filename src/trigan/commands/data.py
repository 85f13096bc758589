"""``trigan data check``: what a run would find in its data set."""

from pathlib import Path

from trigan.commands.arguments import Parser
from trigan.config.build import build
from trigan.config.compose import Composer, RunConfig
from trigan.data.splits.split_info import PartInfo
from trigan.errors import ConfigError


def main(arguments: list[str]) -> int:
    """Report on the data set that the overrides choose; 1 if it holds an error."""
    if arguments[:1] != ["check"]:
        if arguments[:1] in (["-h"], ["--help"]):
            arguments = ["check", "--help"]
        else:
            raise ConfigError("trigan data: expected `trigan data check [data=CHOICE] [data.root=PATH]`")
    parser = Parser(
        prog="trigan data check",
        description="Class counts, one-label sets, tiny classes, unreadable files, values, duplicates, the regime.",
        epilog="example: trigan data check data=folder data.root=PATH",
        allow_abbrev=False,
    )
    parser.add_argument("overrides", nargs="*", help="settings as for `trigan run`: data=..., regime=..., trial=...")
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own")
    options = parser.parse_intermixed_args(arguments[1:])
    composed = Composer(options.config_dir).compose(options.overrides)
    from trigan.data.data_check import check_data

    found = check_data(build({"data": composed.config["data"]}).data)
    print("\n".join(found.lines()))
    if found.level == "error":
        return 1
    print(_given(composed))
    return 0


def _given(composed: RunConfig) -> str:
    """What the regime makes of the data set in one trial.

    Raises:
        TriganError: one line, where the regime asks for more than there is.
    """
    from trigan.data.splits.make_split import make_split

    facts = make_split(composed.load_data(), build({"regime": composed.config["regime"]}).regime, composed.trial).info
    parts = [
        f"{part.size} {name}{_each(part)}"
        for name, part in (
            ("labelled", facts.labelled),
            ("for validation", facts.validation),
            ("unlabelled", facts.unlabelled),
            ("test", facts.test),
        )
    ]
    return f"regime {composed.choices['regime']}, trial {composed.trial}: {', '.join(parts)}"


def _each(part: PartInfo) -> str:
    """How many of each class, where their labels may be seen."""
    if not part.size or part.class_counts is None:
        return ""
    low, high = min(part.class_counts), max(part.class_counts)
    return f" ({low} of each class)" if low == high else f" ({low} to {high} of a class)"
