"""Files of strangers: their YAML, and settings in them. `trigan search` writes ``best.yaml``, ``--settings`` reads it.

Files name no code beyond the allow-list, no folder to write to, no program of a cluster, and read no environment: these
are for the user's own command line.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from trigan.config.nodes import walk
from trigan.errors import ConfigError, is_printable

#: Keys that have no place in a file.
COMMAND_LINE_ONLY = ("runtime.allow", "paths", "hydra")
#: The most values that the anchors of a YAML file may expand to.
MAX_YAML_VALUES = 100_000
#: A reference to another key, which needs no resolver: ``${trial}``, ``${..width}``, ``${list[0]}``.
_REFERENCE = re.compile(r"\$\{\.*\w[\w-]*(\.\w[\w-]*|\[\w+\])*\}")


def merge_settings(path: Path, given: Sequence[str]) -> list[str]:
    """The settings of the file followed by ``given``, which replace those of the same key."""
    own = {dotted_key(word) for word in given}
    return [*(word for word in read(path) if dotted_key(word) not in own), *given]


def read(path: Path) -> list[str]:
    """The settings of the file, each as on a command line."""
    if not path.is_file():
        raise ConfigError(f"--settings {path}: no such file; `trigan search` writes one, best.yaml")
    try:
        content = read_plain(path)
        words = content.get("settings") if isinstance(content, Mapping) else None
        if not isinstance(words, list) or not all(isinstance(word, str) and "=" in word for word in words):
            raise ConfigError(f"{path}: expected `settings:` and below it a list of key=value")
        check_settings(words)
    except (ConfigError, ValueError) as error:
        where = "" if isinstance(error, ConfigError) else f"{path}: "
        raise ConfigError(f"--settings {where}{error}") from error
    return words


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML's safe loader, which would keep the last of two equal keys, refuses the second one."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The mapping as it is written, before ``<<`` merges others into it."""
        node = super().compose_mapping_node(anchor)
        known = set[tuple[str, str]]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in known:
                line, column = key.start_mark.line + 1, key.start_mark.column + 1
                raise ValueError(f"line {line}, column {column}: the key {key.value!r} is there twice; remove one")
            known.add((key.tag, str(key.value)))
        return node


def load_yaml(text: str) -> Any:
    """Plain YAML, as `yaml.safe_load`.

    Raises:
        ValueError: a key is there twice, or its anchors contain themselves or expand to more than `MAX_YAML_VALUES`.
    """
    if "&" in text and "*" in text and (root := yaml.compose(text, _UniqueKeys)) is not None:
        _count_values(root, {})
    return yaml.load(text, _UniqueKeys)


def _count_values(node: yaml.Node, known: dict[int, int]) -> int:
    """The number of values of a node, anchors written out."""
    if id(node) not in known:
        known[id(node)] = MAX_YAML_VALUES  # while its parts are counted: it may be one of them
        parts: list[Any] = node.value if isinstance(node, yaml.CollectionNode) else []
        nodes = (one for part in parts for one in (part if isinstance(part, tuple) else (part,)))
        known[id(node)] = 1 + sum(_count_values(one, known) for one in nodes)
        if known[id(node)] > MAX_YAML_VALUES:
            line = node.start_mark.line + 1
            raise ValueError(f"line {line}: anchors expand to more than {MAX_YAML_VALUES} values; write them out")
    return known[id(node)]


def read_plain(path: Path, load: Callable[[str], Any] = load_yaml) -> Any:
    """The plain content of a file, YAML by default, with every text in it checked by `check_texts`.

    Raises:
        ConfigError: one line that names the file, and the line where there is one.
    """
    try:
        data = path.read_bytes()
        content = load(data.decode("utf-8-sig"))
        check_texts(content)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: cannot be read (nested too deeply)") from error
    except UnicodeDecodeError as error:
        line, column = data.count(b"\n", 0, error.start) + 1, error.start - data.rfind(b"\n", 0, error.start)
        raise ConfigError(f"{path}: line {line}, column {column}: is not UTF-8; save the file as UTF-8") from error
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    return content


def check_folder(folder: Path) -> None:
    """Refuse anchors in a folder of groups as `load_yaml` does, before Hydra expands them; a ConfigError.

    Files that are not UTF-8 are refused as well, since Hydra's error does not name them.
    """
    for path in sorted(folder.rglob("*.yaml")):
        with suppress(OSError):  # Hydra says so if the file is chosen
            data = path.read_bytes()
            if not _is_utf8(data) or (b"&" in data and b"*" in data):
                read_plain(path)


def _is_utf8(data: bytes) -> bool:
    with suppress(UnicodeDecodeError):
        data.decode()
        return True
    return False


def check_texts(content: Any) -> None:
    """Refuse resolvers (``${oc.env:HOME}``) and control characters in every text of a file; ValueError in one line."""
    for place, value in walk(content):
        key = f"{place}: " if place else ""
        for text in (*(value if isinstance(value, dict) else ()), value):
            if isinstance(text, str):
                shown = repr(text if len(text) <= 60 else f"{text[:57]}...")
                if "${" in _REFERENCE.sub("", text):
                    raise ValueError(f"{key}{shown}: a file refers to other keys only, ${{key}}; give it literally")
                if not is_printable(text.replace("\n", "").replace("\t", "")):
                    raise ValueError(f"{key}{shown}: has a control character; remove it")


def check_settings(words: Iterable[str]) -> None:
    """Refuse settings of a file that only the user's own command line may give; ValueError in one line."""
    for word in words:
        check_texts(word)
        key = re.sub(r"[/@]", ".", word.partition("=")[0].strip().lstrip("+~"))
        if any(f"{key}.".startswith(f"{own}.") for own in COMMAND_LINE_ONLY) or key == "runtime":
            raise ValueError(f"{word}: {key} may be given on the command line only")
        if not is_printable(word):
            raise ValueError(f"{word!r}: has a line break or a control character; remove it")


def settings_yaml(words: Sequence[str], about: Mapping[str, Any], heading: str) -> str:
    """The content of such a file, with the origin of the settings in ``about`` and the heading as a comment."""
    comment = "".join(f"# {line}\n" for line in heading.splitlines())
    return comment + yaml.safe_dump({"settings": list(words), "about": dict(about)}, sort_keys=False)


def dotted_key(word: str) -> str:
    """The key of a setting, with dots in place of the slashes of an inner group, which `trigan run` takes alike."""
    return word.partition("=")[0].replace("/", ".")
