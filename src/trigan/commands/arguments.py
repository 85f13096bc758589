"""An argument parser with one-line errors, and argument types."""

import argparse
import re
from typing import NoReturn

from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` that raises `ConfigError` with the nearest option instead of printing its usage."""

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


def natural_int(text: str) -> int:
    """An argparse type: a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: expected an int >= 0")
    return int(text)


def positive_int(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected an int >= 1")
    return int(text)


def positive_float(text: str) -> float:
    """An argparse type: a finite number above 0."""
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected a number above 0")
    return value


def share(text: str) -> float:
    """An argparse type: a number in 0..1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a number in 0..1")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
