"""``trigan data check``: what a run would find in its data set."""

from pathlib import Path

from trigan.cli.arguments import Parser
from trigan.cli.build import build
from trigan.cli.compose import Composer
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
        description="Class counts, one-label sets, tiny classes, unreadable files, value ranges, and duplicates.",
        epilog="example: trigan data check data=folder data.root=PATH",
        allow_abbrev=False,
    )
    parser.add_argument("overrides", nargs="*", help="settings as for `trigan run`: data=..., data.root=...")
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own")
    options = parser.parse_intermixed_args(arguments[1:])
    composed = Composer(options.config_dir).compose(options.overrides)
    from trigan.data.check import check

    found = check(build({"data": composed.config["data"]}).data)
    print("\n".join(found.lines()))
    return 1 if found.level == "error" else 0
