"""The nearest existing name to a misspelt one, for error lines."""

import difflib
from collections.abc import Iterable


def nearest_hint(word: str, options: Iterable[str]) -> str:
    """``"; nearest: X"`` with the option that ``word`` most likely means, or an empty text if none is close.

    An option that starts or ends with ``word`` at a dot comes first, then one with its first and last segment, then the
    closest spelling of the full name, then of its last segment.
    """
    names = sorted(set(options), key=lambda name: (name.count("."), len(name), name))
    by_tail = {name.rpartition(".")[2]: name for name in reversed(names)}
    tails = difflib.get_close_matches(word.rpartition(".")[2], list(by_tail), n=1, cutoff=0.75)
    ends = (word.partition(".")[0], word.rpartition(".")[2])
    alike = [name for name in names if "." in word and (name.partition(".")[0], name.rpartition(".")[2]) == ends]
    candidates = [
        *(name for name in names if name.startswith(word) or name.endswith(f".{word}")),
        *difflib.get_close_matches(word, alike, n=1, cutoff=0.0),
        *difflib.get_close_matches(word, names, n=1, cutoff=0.6),
        *(by_tail[tail] for tail in tails),
    ]
    return f"; nearest: {candidates[0]}" if word and candidates else ""
