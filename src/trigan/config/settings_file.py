"""Settings in a file, as `trigan search` leaves them in ``best.yaml`` and `trigan run --settings` takes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from trigan.atomic import wrap_os_errors
from trigan.errors import ConfigError


def merge_settings(path: Path, given: Sequence[str]) -> list[str]:
    """The settings of the file and, on top of them, ``given``: what is given there replaces what the file says.

    Raises:
        ConfigError: the file isn't there, or isn't a list of settings.
    """
    own = {_key(word) for word in given}
    return [*(word for word in read(path) if _key(word) not in own), *given]


def read(path: Path) -> list[str]:
    """The settings of the file, each as it is written on a command line."""
    if not path.is_file():
        raise ConfigError(f"--settings {path}: no such file; `trigan search` leaves one, best.yaml")
    with wrap_os_errors(path, "read"):
        text = path.read_text(errors="replace")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--settings {path}: {' '.join(str(error).split())}") from error
    words = content.get("settings") if isinstance(content, Mapping) else None
    if not isinstance(words, list) or not all(isinstance(word, str) and "=" in word for word in words):
        raise ConfigError(f"--settings {path}: expected `settings:` and below it a list of key=value")
    return words


def settings_yaml(words: Sequence[str], about: Mapping[str, Any], heading: str) -> bytes:
    """Such a file: ``about`` says where the settings come from, ``heading`` stands above them as a comment."""
    lines = "".join(f"# {line}\n" for line in heading.splitlines())
    return (lines + yaml.safe_dump({"settings": list(words), "about": dict(about)}, sort_keys=False)).encode()


def _key(word: str) -> str:
    return word.partition("=")[0].replace("/", ".")
