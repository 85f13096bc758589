"""``trigan report STUDY``: what a study has so far as one HTML page that opens without a server or a network."""

from pathlib import Path

from trigan.cli.arguments import Parser
from trigan.cli.compose import Composer
from trigan.cli.study import Plan
from trigan.cli.study_command import as_run, folder_of, table_of
from trigan.cli.study_file import find, read, words
from trigan.errors import ConfigError

NAME = "report.html"


def main(arguments: list[str]) -> int:
    """Write the page and print where it is; runs nothing."""
    options = _parser().parse_intermixed_args(arguments)
    path = find(options.name)
    study = read(path, options.scale)
    plan = Plan(Composer(options.config_dir), study, options.overrides)
    base, cells = plan.first(), plan.cells()
    if base.debug:
        raise ConfigError("debug runs enter no table, and so no report; leave debug=... out")
    matched, _ = plan.matched(cells)
    done = [cell for cell in (*cells, *matched) if cell.done]
    if not done:
        mend = f"`trigan study {options.name}` runs it"
        raise ConfigError(f"study {study.name}: no run is finished under {base.paths.runs}; {mend}")
    from trigan.results.files import write_atomically
    from trigan.results.report.material import Heading, Material
    from trigan.results.report.page import render_report

    study = as_run(study, plan)
    heading = Heading(study.title, study.claim, tuple((key.capitalize(), text) for key, text in words(path).items()))
    material = Material(heading, table_of(study, done), {cell.hash: cell.record.parent for cell in done})
    output = options.output or folder_of(study, base.paths.outputs) / NAME
    write_atomically(output, render_report(material).encode())
    print(f"written: {output}")
    return 0


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
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"default: outputs/studies/NAME/[SCALE/]{NAME}")
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own")
    return parser
