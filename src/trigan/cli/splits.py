"""``trigan splits``: the split of a run as a file for other programs, and whether such a file fits the data at hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trigan.cli.arguments import Parser
from trigan.cli.compose import Composed, Composer
from trigan.cli.nearest import suffix
from trigan.errors import ConfigError

_WORDS = ("export", "check")


def main(arguments: list[str]) -> int:
    """Write a split file, or check one; 0 when it is written, or fits."""
    word = arguments[0] if arguments else ""
    if word in ("-h", "--help"):
        print("usage: trigan splits export [settings] --output FILE\n       trigan splits check FILE [settings]\n")
        print("A run takes a file by regime=frozen regime.split=FILE. The format: docs/submit.md")
        return 0
    if word not in _WORDS:
        raise ConfigError(f"trigan splits {word}: no such command{suffix(word, _WORDS)}; commands: {', '.join(_WORDS)}")
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
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own")
    options = parser.parse_intermixed_args(list(arguments))
    composed = Composer(options.config_dir).compose(options.overrides)
    from trigan.artifacts.atomic import write_bytes
    from trigan.data.split_file import as_bytes
    from trigan.data.splitter import PARTS

    found = split_of(composed)
    write_bytes(options.output, as_bytes(found))
    sizes = ", ".join(f"{len(found[part]['indices'])} {part}" for part in PARTS)
    print(f"{options.output}: {found['data']['name']}, trial {found['trial']}: {sizes}; digest {found['digest'][:16]}")
    return 0


def split_of(composed: Composed) -> dict[str, Any]:
    """What the split file of a run says.

    Raises:
        ConfigError: the run takes its split from a file already.
    """
    from trigan.cli.build import build
    from trigan.data.frozen import Frozen
    from trigan.data.split import draw
    from trigan.data.split_file import content

    regime = build({"regime": composed.config["regime"]}).regime
    if isinstance(regime, Frozen):
        raise ConfigError("regime=frozen: the split of this run is a file already; copy that, or take another regime")
    source = composed.load_data()
    paths = build({"data": composed.config["data"]}).data.paths()
    return content(source, draw(source, regime, composed.trial), composed.config["regime"], paths)


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
    from trigan.data.frozen import take
    from trigan.data.split_file import read
    from trigan.data.splitter import PARTS

    file = read(options.file)
    source = composed.load_data()
    facts = take(source, file, file.trial).facts
    for name in PARTS:
        part = getattr(facts, name)
        print(f"{name:10}  {part.size:6} images  {part.sha256}")
    settings = f"regime=frozen regime.split={options.file} trial={file.trial}"
    print(f"{options.file}: fits {source.name}; a run takes it by {settings}")
    return 0
