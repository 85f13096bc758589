"""An argument parser with one-line errors, and argument types."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError

T = TypeVar("T")


def help_text(name: str) -> str:
    """The text ``help/NAME.txt`` beside this file."""
    return (Path(__file__).parent / "help" / f"{name}.txt").read_text(encoding="utf-8")


class Parser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` that raises `ConfigError` with the nearest option instead of printing its usage."""

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; ``-paths.outputs=D`` is refused, which argparse reads as ``-p aths.outputs=D``."""
        for word in args or ():
            if re.match(r"-[A-Za-z_][\w.@/]*[./@_]?\w{2,}=", word) and not word.startswith("-cd="):
                raise ConfigError(f"{word}: settings are written without a dash: {word.lstrip('-')}")
        return super().parse_intermixed_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise the error in one line."""
        unknown = re.search(r"unrecognized arguments: (\S+)", message)
        if unknown:
            options = [option for action in self._actions for option in action.option_strings]
            raise ConfigError(
                f"{unknown[1]}: no such option{nearest_hint(unknown[1], options)}; `{self.prog} --help` lists them"
            )
        message = message.replace("the following arguments are required: ", "needed: ").replace(", overrides", "")
        raise ConfigError(f"{message.removeprefix('argument ')}; see `{self.prog} --help`")


def command_parser(command: str, description: str, epilog: str, usage: str | None = None) -> Parser:
    """The parser of a command that composes runs, with ``--config-dir``; options are not abbreviated."""
    parser = Parser(prog=f"trigan {command}", description=description, epilog=epilog, usage=usage, allow_abbrev=False)
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own")
    return parser


def _type(parse: Callable[[str], T], accepts: Callable[[T], bool], expected: str) -> Callable[[str], T]:
    def convert(text: str) -> T:
        try:
            value = parse(text)
        except ValueError:
            pass
        else:
            if accepts(value):
                return value
        raise argparse.ArgumentTypeError(f"{text}: expected {expected}")

    return convert


#: Types for ``add_argument``.
natural_int = _type(int, lambda value: value >= 0, "an int >= 0")
positive_int = _type(int, lambda value: value >= 1, "an int >= 1")
positive_float = _type(float, lambda value: 0 < value < float("inf"), "a number above 0")
share = _type(float, lambda value: 0 <= value <= 1, "a number in 0..1")
