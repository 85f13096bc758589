"""An argument parser whose errors are trigan's one line, for the commands that take plain options."""

import argparse
import re
from typing import NoReturn

from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` that raises `ConfigError` with the nearest option in place of printing its usage."""

    def error(self, message: str) -> NoReturn:
        """Raise the message as a `ConfigError`."""
        unknown = re.search(r"unrecognized arguments: (\S+)", message)
        if unknown:
            options = [option for action in self._actions for option in action.option_strings]
            raise ConfigError(
                f"{unknown[1]}: no such option{nearest_hint(unknown[1], options)}; `{self.prog} --help` lists them"
            )
        message = message.replace("the following arguments are required: ", "needed: ").replace(", overrides", "")
        raise ConfigError(f"{message.removeprefix('argument ')}; see `{self.prog} --help`")


def positive_int(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected an int >= 1")
    return int(text)


def positive_float(text: str) -> float:
    """An argparse type: a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected a number above 0")
    return value
