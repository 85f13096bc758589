"""Arguments as a line that a shell reads back unchanged."""

import shlex
from collections.abc import Sequence


def shell_line(arguments: Sequence[str]) -> str:
    """Arguments as one line for a POSIX shell; in double quotes where single ones are inside, for the eye."""
    return " ".join(_quoted(argument) for argument in arguments)


def _quoted(argument: str) -> str:
    plain = "'" in argument and not set(argument) & set('"$`\\!')
    return f'"{argument}"' if plain else shlex.quote(argument)
