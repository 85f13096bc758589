"""Errors that a user can mend: one line that names what was wrong, what was expected and where."""

import re
import unicodedata
from typing import Any

#: Control characters and those that reverse or break lines: no name needs them, and a terminal obeys them.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
#: Format characters that words need: the joiners of Arabic and Indic scripts and of emoji.
_JOINERS = "\u200c\u200d"


def is_printable(text: str) -> bool:
    """Whether a text has no control character."""
    return _CONTROL.search(text) is None


def plain_cell(value: Any) -> Any:
    """A cell of a CSV file; a text that a spreadsheet would compute gets an apostrophe in front, numbers stay."""
    if not isinstance(value, str) or value[:1] not in ("=", "+", "-", "@", "\t", "\r"):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def printable(text: str, keep: str = "") -> str:
    r"""Text without characters that no line or picture can show: control characters, lone surrogates, direction marks.

    Args:
        text: any text; such a character becomes an escape.
        keep: characters that stay, as ``"\n\t"`` in a text of several lines.

    >>> printable("cat\ntabby"), printable(b"caf\xe9".decode("utf-8", "surrogateescape"))
    ('cat\\ntabby', 'caf\\xe9')
    """
    if text.isprintable():
        return text
    kept = _JOINERS + keep
    return "".join(one if one.isprintable() or one in kept else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if unicodedata.category(character) == "Zs":
        return " "
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


class TriganError(Exception):
    """Base class of errors that a user can mend; the command line prints its text without a traceback."""

    #: Exit code of a command that fails with this error.
    exit_code = 2


class ConfigError(TriganError):
    """A setting is misspelt, of a wrong type, out of range, or contradicts another one."""


class DataError(TriganError):
    """The data are missing, unreadable, or too few for the regime."""


class ArtifactError(TriganError):
    """A stored file is missing, damaged, or cannot be written."""

    exit_code = 3


class DiskFullError(ArtifactError):
    """The disk or the quota is full: an interruption, after which the same command continues."""

    exit_code = 75


class SealedError(TriganError):
    """Code tried to read test data or hidden labels before the seal was opened."""

    exit_code = 4


class DivergedError(TriganError):
    """A player's loss or weights are no longer finite, or its loss has exploded."""

    exit_code = 5

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step
