"""A folder that is there whole or not at all: written beside its place, then renamed onto it."""

import contextlib
import os
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from trigan.atomic import sync_directory, wrap_os_errors
from trigan.errors import ConfigError

#: The file by which a folder is known as one that trigan wrote, so that --force never removes anything else.
MARKER_FILE = "trigan.json"


def check_output_folder(place: Path, force: bool) -> None:
    """Refuse a place that is taken; ``force`` may replace a folder that trigan wrote.

    Raises:
        ConfigError: something else is there.
    """
    if not os.path.lexists(place) or _empty(place):
        return
    if not force:
        raise ConfigError(f"--out {place}: exists already; choose another folder, or add --force to replace it")
    if place.is_symlink() or not (place / MARKER_FILE).is_file():
        raise ConfigError(
            f"--out {place}: was not written by trigan (no {MARKER_FILE} in it), so --force does not replace it"
        )


@contextmanager
def atomic_folder(place: Path, force: bool) -> Iterator[Path]:
    """An empty folder that becomes ``place`` when the body ends well, and leaves no trace when it doesn't.

    Raises:
        ConfigError: as :func:`check_output_folder`.
        ArtifactError: the disk refuses.
    """
    place = place.expanduser().absolute()
    check_output_folder(place, force)
    temporary = place.parent / f".{place.name}.{secrets.token_hex(4)}.partial"
    with wrap_os_errors(place), _sigterm_raises():
        try:
            temporary.mkdir(parents=True)
            yield temporary
            if not (temporary / MARKER_FILE).is_file():
                raise ValueError(f"a folder without {MARKER_FILE}")
            _put(temporary, place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _put(temporary: Path, place: Path) -> None:
    """The new folder onto its place; an old one is moved aside first and removed last."""
    old = temporary.with_suffix(".old")
    replaced = place.exists()
    if replaced:
        os.replace(place, old)
    try:
        os.replace(temporary, place)
    except OSError:
        if replaced:
            os.replace(old, place)
        raise
    sync_directory(place.parent)
    shutil.rmtree(old, ignore_errors=True)


def _empty(place: Path) -> bool:
    return place.is_dir() and not place.is_symlink() and not any(place.iterdir())


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM unwinds the stack within the body, so that what was half-written is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        with contextlib.suppress(TypeError):  # a handler that was not set from Python cannot be set back
            signal.signal(signal.SIGTERM, before)
