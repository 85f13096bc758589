"""Building the objects that a checked config describes, and finding the one line of an error inside Hydra's chain."""

import json
import re
from types import SimpleNamespace
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from trigan.config.allow_list import targets
from trigan.config.override_rules import first_line
from trigan.config.pretraining_data import unwrap_pretraining_source, with_pretraining_keys
from trigan.config.settings import PRETRAINING_DATA_KEY
from trigan.errors import ConfigError, TriganError


class Built(SimpleNamespace):
    """The built top-level nodes by name; those without a ``_target_`` are absent, and ``data`` is the source itself."""


def build(config: dict[str, Any], known: dict[str, Any] | None = None) -> Built:
    """Instantiate every top-level node that holds a ``_target_``; lists become lists, mappings plain dicts.

    Args:
        known: objects of equal nodes that were built before, and where this call's are kept: Hydra takes its time, and
            the jobs of a study differ in few nodes.

    Raises:
        ConfigError: one line with the config key, when an object refuses its arguments.
    """
    config = unwrap_pretraining_source(config)
    known = {} if known is None else known
    built = {}
    for key, node in config.items():
        if next(targets(node), None):
            text = json.dumps([key, node], sort_keys=True)
            if text not in known:
                known[text] = _build(key, node)
            built[key] = known[text]
    if isinstance(built.get("data"), dict):  # beside the source stand settings that other nodes refer to
        built["data"] = built["data"]["source"]
    return Built(**built)


def _build(key: str, node: Any) -> Any:
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        raise _one_line(key, node, error) from error


def _one_line(key: str, node: Any, error: InstantiationException) -> ConfigError:
    inner = [line.partition(":")[2].strip() for line in str(error).splitlines() if line.strip().startswith("full_key:")]
    path = _path(node, inner[-1]) if inner else []
    cause: BaseException = error
    while not isinstance(cause, TriganError) and (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    if not isinstance(cause, TriganError):
        return ConfigError(f"{'.'.join([key, *path])}: {type(cause).__name__}: {first_line(cause)}")
    said = (
        with_pretraining_keys(first_line(cause))
        if ".".join([key, *path]).startswith(PRETRAINING_DATA_KEY)
        else first_line(cause)
    )
    return ConfigError(_prefixed([key, *path], _inner_node(node, path), said))


def _path(node: Any, key: str) -> list[str]:
    """The names that lead to ``key``; Hydra writes a place in a list onto its name, as in ``samples.filters0``."""
    path: list[str] = []
    for name in key.split(".") if key else []:
        inside = _inner_node(node, path)
        place = re.fullmatch(r"(.*?)(\d+)", name)
        path += place.groups() if place and isinstance(inside, dict) and name not in inside else [name]
    return path


def _inner_node(node: Any, path: list[str]) -> Any:
    for name in path:
        node = node[int(name)] if isinstance(node, list) else node[name]
    return node


def _prefixed(path: list[str], node: Any, text: str) -> str:
    """The text led by the full key of the setting that it speaks of, unless the text does so itself."""
    word = re.split(r"[^\w.]", text, maxsplit=1)[0]
    if word == path[0] or word.startswith(f"{path[0]}."):
        return text
    setting = isinstance(node, dict) and word.split(".")[0] in node
    return ".".join([*path, text]) if setting else f"{'.'.join(path)}: {text}"
