"""The nearest existing name to a misspelt one, for error lines."""

import difflib
from collections.abc import Iterable


def nearest(word: str, options: Iterable[str]) -> str | None:
    """The option that ``word`` most likely means, or None.

    An option that starts or ends with ``word`` at a dot comes first, then the closest spelling of the full name, then
    of its last segment.
    """
    names = sorted(set(options), key=lambda name: (name.count("."), len(name), name))
    if not word:
        return None
    for name in names:
        if name.startswith(word) or name.endswith(f".{word}"):
            return name
    if close := difflib.get_close_matches(word, names, n=1, cutoff=0.6):
        return close[0]
    by_tail = {name.rpartition(".")[2]: name for name in reversed(names)}
    tail = difflib.get_close_matches(word.rpartition(".")[2], list(by_tail), n=1, cutoff=0.75)
    return by_tail[tail[0]] if tail else None


def nearest_hint(word: str, options: Iterable[str]) -> str:
    """``"; nearest: X"``, or an empty text if no option is close."""
    name = nearest(word, options)
    return f"; nearest: {name}" if name else ""
