"""Settings in a file: `trigan search` writes ``best.yaml``, `trigan run --settings` reads it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from trigan.atomic import wrap_os_errors
from trigan.errors import ConfigError


def merge_settings(path: Path, given: Sequence[str]) -> list[str]:
    """The settings of the file followed by ``given``, which replace those of the same key."""
    own = {dotted_key(word) for word in given}
    return [*(word for word in read(path) if dotted_key(word) not in own), *given]


def read(path: Path) -> list[str]:
    """The settings of the file, each as on a command line."""
    if not path.is_file():
        raise ConfigError(f"--settings {path}: no such file; `trigan search` writes one, best.yaml")
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


def settings_yaml(words: Sequence[str], about: Mapping[str, Any], heading: str) -> str:
    """The content of such a file, with the origin of the settings in ``about`` and the heading as a comment."""
    comment = "".join(f"# {line}\n" for line in heading.splitlines())
    return comment + yaml.safe_dump({"settings": list(words), "about": dict(about)}, sort_keys=False)


def dotted_key(word: str) -> str:
    """The key of a setting, with dots in place of the slashes of an inner group, which `trigan run` takes alike."""
    return word.partition("=")[0].replace("/", ".")
