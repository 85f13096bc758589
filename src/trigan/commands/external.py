"""``trigan splits`` and ``trigan submit``: split files for other programs, and their predictions for these splits."""

from collections.abc import Sequence
from pathlib import Path

from trigan.commands.arguments import command_parser
from trigan.config.compose import Composer
from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError
from trigan.studies.study_file import find_study, read_study

_WORDS = ("export", "check")


def splits_main(arguments: list[str]) -> int:
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
    parser = command_parser(
        "splits export",
        "Draw the split of a run and write its source indices, and the labels that a method may use.",
        "example: trigan splits export data=mnist data.root=PATH trial=3 --output mnist-3.json",
    )
    parser.add_argument("overrides", nargs="*", help="settings as for `trigan run`: data=..., regime=..., trial=...")
    parser.add_argument("--output", "-o", type=Path, required=True, metavar="FILE", help="the file to write")
    parser.add_argument("--study", metavar="NAME", help="the split of a study's rows, instead of a single run's")
    parser.add_argument("--trial", type=int, metavar="N", help="with --study: the trial")
    parser.add_argument("--column", metavar="NAME", help="with --study: the column (needed if it has several)")
    parser.add_argument("--row", metavar="NAME", help="with --study: the row, where rows differ in regime")
    parser.add_argument("--scale", help="with --study: one of its scales (default: its first)")
    options = parser.parse_intermixed_args(list(arguments))
    composer = Composer(options.config_dir)
    if not options.study:
        composer.check(options.overrides)
    from trigan.datasets.splits.splitter import PARTS
    from trigan.interop.split_export import export_split, study_run

    if options.study:
        study = read_study(find_study(options.study), options.scale)
        composed = study_run(composer, study, options.overrides, options.column, options.trial, options.row)
    else:
        for name in ("trial", "column", "row", "scale"):
            if getattr(options, name) is not None:
                mend = f"write trial={options.trial}" if name == "trial" else "name one"
                raise ConfigError(f"--{name}: goes with --study; {mend}")
        composed = composer.compose(options.overrides)
    split = export_split(composed, options.output)
    sizes = ", ".join(f"{len(split[part]['indices'])} {part}" for part in PARTS)
    print(f"{options.output}: {split['data']['name']}, trial {split['trial']}: {sizes}; digest {split['digest'][:16]}")
    return 0


def _check(arguments: Sequence[str]) -> int:
    parser = command_parser(
        "splits check",
        "Whether a split file is complete, keeps the protocol's rules, and fits the data set at hand.",
        "example: trigan splits check mnist-3.json data=mnist data.root=PATH",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the split file")
    parser.add_argument("overrides", nargs="*", help="settings as for `trigan run`: data=..., data.root=...")
    options = parser.parse_intermixed_args(list(arguments))
    composer = Composer(options.config_dir)
    composer.check(options.overrides)
    from trigan.datasets.splits.split_file import read_split_file, split_from_file
    from trigan.datasets.splits.splitter import PARTS

    split = read_split_file(options.file)
    source = composer.compose(options.overrides).load_data()
    info = split_from_file(source, split, split.trial).info
    for name in PARTS:
        part = getattr(info, name)
        print(f"{name:10}  {part.size:6} images  {part.sha256}")
    settings = f"regime=from_file regime.split={options.file} trial={split.trial}"
    print(f"{options.file}: fits {source.name}; a run takes it by {settings}")
    return 0


def submit_main(arguments: list[str]) -> int:
    """Check, score and keep one submission; the study's table shows it from then on."""
    parser = command_parser(
        "submit",
        "Score another program's predictions for a study's split, and show them as a row of its table.",
        "The files: docs/submit.md. example: trigan submit mine-0.npz --study demo --row 'my method'",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the predictions, .npz or .csv")
    parser.add_argument("overrides", nargs="*", help="where things lie: data.root=..., paths.outputs=...")
    parser.add_argument("--study", required=True, metavar="NAME", help="the study whose table gets the row")
    parser.add_argument("--row", required=True, metavar="NAME", help="the row's name, the same in all its trials")
    parser.add_argument("--column", metavar="NAME", help="the study's column (needed if it has several)")
    parser.add_argument("--scale", help="one of the study's scales (default: its first)")
    metadata = "what the method used (default: beside FILE, .json)"
    parser.add_argument("--metadata", type=Path, metavar="FILE", help=metadata)
    options = parser.parse_intermixed_args(arguments)
    from trigan.interop.submission import submit

    path, record, new = submit(
        options.file,
        read_study(find_study(options.study), options.scale),
        options.row,
        options.overrides,
        column=options.column,
        metadata=options.metadata,
        config_dir=options.config_dir,
    )
    if not new:
        print(f"submitted already: {path}")
        return 0
    stated = record["config"]["external"]
    accuracy = 100 * record["result"]["test"]["accuracy"]
    print(f"{stated['row']} (external), {stated['column']}, trial {stated['trial']}: test accuracy {accuracy:.2f} %")
    print(path)
    return 0
