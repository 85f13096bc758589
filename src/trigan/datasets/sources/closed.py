"""Sources that are closed while a strategy trains and while its networks are scored: it has its view, and no labels."""

from collections.abc import Iterator
from contextlib import contextmanager

from trigan.errors import SealedError

_reasons: list[str] = []


@contextmanager
def closed_sources(reason: str) -> Iterator[None]:
    """Within it, no source of this process can be loaded or read; ``reason`` says when that is, for the error."""
    _reasons.append(reason)
    try:
        yield
    finally:
        _reasons.pop()


def refuse_if_closed() -> None:
    """Raise a `SealedError` within `closed_sources`."""
    if _reasons:
        raise SealedError(
            f"a data set was loaded {_reasons[-1]}: its labels and its test set are sealed then; use the images of the "
            "TrainingView"
        )
