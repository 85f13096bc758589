"""``trigan splits``: the split of a run as a file for other programs, and whether such a file fits the data at hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigan.commands.arguments import Parser
from trigan.config.compose import Composer, RunConfig
from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError

if TYPE_CHECKING:
    from trigan.data.splits.splitter import DataSplit
    from trigan.data.types import ImageDataset

_WORDS = ("export", "check")


def main(arguments: list[str]) -> int:
    """Write a split file, or check one; 0 when it is written, or fits."""
    word = arguments[0] if arguments else ""
    if word in ("-h", "--help"):
        print("usage: trigan splits export [settings] --output FILE\n       trigan splits check FILE [settings]\n")
        print("A run takes a file by regime=from_file regime.split=FILE. The format: docs/submit.md")
        return 0
    if word not in _WORDS:
        raise ConfigError(
            f"trigan splits {word}: no such command{nearest_hint(word, _WORDS)}; commands: {', '.join(_WORDS)}"
        )
    return (_export if word == "export" else _check)(arguments[1:])


def _export(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="trigan splits export",
        description="Draw the split of a run and write its source indices, and the labels that a method may see.",
        epilog="example: trigan splits export data=mnist data.root=PATH trial=3 --output mnist-3.json",
        allow_abbrev=False,
    )
    parser.add_argument("overrides", nargs="*", help="settings as for `trigan run`: data=..., regime=..., trial=...")
    parser.add_argument("--output", "-o", type=Path, required=True, metavar="FILE", help="the file to write")
    parser.add_argument("--study", metavar="NAME", help="the split of a study's rows, instead of a single run's")
    parser.add_argument("--trial", type=int, metavar="N", help="with --study: the trial")
    parser.add_argument("--column", metavar="NAME", help="with --study: the column (needed if it has several)")
    parser.add_argument("--row", metavar="NAME", help="with --study: the row, where rows differ in regime")
    parser.add_argument("--scale", help="with --study: one of its scales (default: its first)")
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own")
    options = parser.parse_intermixed_args(list(arguments))
    composer = Composer(options.config_dir)
    composed = _of_study(composer, options) if options.study else _of_run(composer, options)
    from trigan.atomic import write_bytes
    from trigan.data.splits.split_file import split_file_bytes
    from trigan.data.splits.splitter import PARTS

    found = run_split_content(composed)
    write_bytes(options.output, split_file_bytes(found))
    sizes = ", ".join(f"{len(found[part]['indices'])} {part}" for part in PARTS)
    print(f"{options.output}: {found['data']['name']}, trial {found['trial']}: {sizes}; digest {found['digest'][:16]}")
    return 0


def _of_run(composer: Composer, options: Any) -> RunConfig:
    for name in ("trial", "column", "row", "scale"):
        if getattr(options, name) is not None:
            mend = f"write trial={options.trial}" if name == "trial" else "name one"
            raise ConfigError(f"--{name}: goes with --study; {mend}")
    return composer.compose(options.overrides)


def _of_study(composer: Composer, options: Any) -> RunConfig:
    from trigan.studies.plan import StudyPlan
    from trigan.studies.study_file import find_study, read_study

    study = read_study(find_study(options.study), options.scale)
    if options.trial not in study.trials:
        given = "is not given" if options.trial is None else options.trial
        raise ConfigError(f"--trial {given}: study {study.name} has {', '.join(map(str, study.trials))}")
    runs = StudyPlan(composer, study, options.overrides).runs(study.column(options.column), options.trial)
    if options.row is None:
        first, *others = runs.values()
        if any(other.config["regime"] != first.config["regime"] for other in others):
            raise ConfigError(f"--row is not given, and rows of study {study.name} differ in regime: {', '.join(runs)}")
        return first
    if options.row not in runs:
        raise ConfigError(f"--row {options.row}: no such row{nearest_hint(options.row, runs)}; rows: {', '.join(runs)}")
    return runs[options.row]


def data_and_split(composed: RunConfig) -> "tuple[ImageDataset, DataSplit]":
    """The data set of a run, and its split."""
    from trigan.config.build import build
    from trigan.data.splits.make_split import make_split

    source = composed.load_data()
    return source, make_split(source, build({"regime": composed.config["regime"]}).regime, composed.trial)


def run_split_content(composed: RunConfig) -> dict[str, Any]:
    """What the split file of a run says.

    Raises:
        ConfigError: the run takes its split from a file already.
    """
    from trigan.config.build import build
    from trigan.data.splits.split_file import split_file_content

    source, drawn = data_and_split(composed)
    if drawn.split_file_digest is not None:
        raise ConfigError(
            "regime=from_file: the split of this run is a file already; copy that, or take another regime"
        )
    paths = build({"data": composed.config["data"]}).data.paths()
    return split_file_content(source, drawn, composed.config["regime"], paths)


def _check(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="trigan splits check",
        description="Whether a split file is whole, keeps the protocol's rules, and fits the data set at hand.",
        epilog="example: trigan splits check mnist-3.json data=mnist data.root=PATH",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the split file")
    parser.add_argument("overrides", nargs="*", help="settings as for `trigan run`: data=..., data.root=...")
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own")
    options = parser.parse_intermixed_args(list(arguments))
    composed = Composer(options.config_dir).compose(options.overrides)
    from trigan.data.splits.split_file import read_split_file
    from trigan.data.splits.split_from_file import split_from_file
    from trigan.data.splits.splitter import PARTS

    file = read_split_file(options.file)
    source = composed.load_data()
    facts = split_from_file(source, file, file.trial).info
    for name in PARTS:
        part = getattr(facts, name)
        print(f"{name:10}  {part.size:6} images  {part.sha256}")
    settings = f"regime=from_file regime.split={options.file} trial={file.trial}"
    print(f"{options.file}: fits {source.name}; a run takes it by {settings}")
    return 0
