"""Arguments as a line that a shell reads back unchanged."""

import shlex
from collections.abc import Sequence


def shell_line(arguments: Sequence[str]) -> str:
    """Arguments as one line for a POSIX shell; double quotes, easier to read, where an argument has single ones."""
    return " ".join(
        f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word) for word in arguments
    )
