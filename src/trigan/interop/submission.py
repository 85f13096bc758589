"""What a program says of itself when it submits predictions: a JSON file beside them (docs/submit.md)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError
from trigan.records.record import DATA_KINDS

_KEYS = ("method", "url", "split", "trial", "seed", "data_used", "rule", "cost")


@dataclass(frozen=True)
class Submission:
    """The checked content of the file.

    Attributes:
        split: digest of the split that the method was trained on.
        data_used: counts of L, U, V and X.
        rule: ``val`` if the weights were chosen on validation labels, else ``last``.
        flops, images: counted cost of the whole method; None: unknown.
    """

    method: str
    url: str | None
    split: str
    trial: int
    seed: int
    data_used: dict[str, int]
    rule: Literal["last", "val"]
    flops: int | None
    images: dict[str, int] | None


def read_submission(path: Path) -> Submission:
    """Read and check the file.

    Raises:
        ConfigError: one line that names the file, the key and what is wrong with it.
    """
    try:
        said = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is missing; it says what the method saw (docs/submit.md)") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error})") from error
    try:
        return _checked(said, path.parent)
    except _Wrong as error:
        raise ConfigError(f"{path}: {error}") from error


class _Wrong(ValueError):
    """What is wrong, without the file's name."""


def _checked(said: Any, folder: Path) -> Submission:
    if not isinstance(said, dict):
        raise _Wrong("expected a JSON object")
    for key in said:
        if key not in _KEYS:
            raise _Wrong(f"{key}: no such key{nearest_hint(key, _KEYS)}; keys: {', '.join(_KEYS)}")
    url, data_used, cost = said.get("url"), _counts("data_used", said.get("data_used")), said.get("cost")
    if not isinstance(said.get("method"), str) or not said["method"].strip():
        raise _Wrong("method: expected the method's name")
    if not isinstance(url, str | None):
        raise _Wrong("url: expected a text, or null")
    if set(data_used) != set(DATA_KINDS):
        raise _Wrong(f"data_used: expected counts of images for {', '.join(DATA_KINDS)}")
    rule = said.get("rule", "val" if data_used["V"] else "last")
    if rule not in ("last", "val") or (rule == "val" and not data_used["V"]):
        raise _Wrong(f"rule: {rule!r}, expected last, or val beside a V above 0")
    if cost is not None and (not isinstance(cost, dict) or set(cost) - {"flops", "images"}):
        raise _Wrong("cost: expected flops and images (by player), or null where it is unknown")
    trial = _count("trial", said.get("trial"))
    return Submission(
        method=said["method"].strip(),
        url=url,
        split=_split(said.get("split"), folder),
        trial=trial,
        seed=_count("seed", said.get("seed", trial)),
        data_used={key: data_used[key] for key in DATA_KINDS},
        rule=rule,
        flops=_flops((cost or {}).get("flops")),
        images=_images((cost or {}).get("images")),
    )


def _split(value: Any, folder: Path) -> str:
    """The digest of a split that is named by its file or by its digest."""
    if not isinstance(value, str):
        raise _Wrong("split: expected the split file's path, or its digest")
    if re.fullmatch("[0-9a-f]{64}", value):
        return value
    from trigan.data.splits.split_file import read_split_file

    return read_split_file(folder / Path(value).expanduser()).digest


def _count(key: str, value: Any) -> int:
    if type(value) is not int or value < 0:
        raise _Wrong(f"{key}: {value!r}, expected a whole number, 0 or more")
    return value


def _counts(key: str, value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise _Wrong(f"{key}: expected counts by name")
    return {str(name): _count(f"{key}.{name}", number) for name, number in value.items()}


def _flops(value: Any) -> int | None:
    return None if value is None else _known("cost.flops", _count("cost.flops", value))


def _images(value: Any) -> dict[str, int] | None:
    if value is None:
        return None
    if value == {}:
        raise _Wrong("cost.images: no player; leave it out, or say null, where it is unknown")
    return {player: _known(f"cost.images.{player}", number) for player, number in _counts("cost.images", value).items()}


def _known(key: str, value: int) -> int:
    """No method is free: a 0 stands for 'not counted', and that is null."""
    if value == 0:
        raise _Wrong(f"{key}: 0, expected more; leave it out, or say null, where it is unknown")
    return value
