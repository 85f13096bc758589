"""The ledger of test sets: which settings have met which test set, in one file beside the runs.

The best of many settings is better on the test set that compared them than it is elsewhere. Each run therefore appends
a line before it scores a test set, and tables print the counts (`trigan.tables.seal_uses`). Lines are never removed: a
deleted record has still been seen. Debug runs and validation-only runs are not counted; submitted predictions are.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from trigan.atomic import file_lock, share, wrap_os_errors
from trigan.errors import TriganError
from trigan.records.config_keys import flatten, is_ignored, repeated_config
from trigan.records.file_index import FileIndex
from trigan.records.record import EXTERNAL, RECORD_NAME, read_record

LEDGER_NAME = "sealed_tests.jsonl"
#: A test set: the fingerprint of its data set, and the digest of its source indices.
SealedKey = tuple[str, str]
#: By test set, the settings that have met it.
Ledger = Mapping[SealedKey, frozenset[str]]
#: Ends of keys that do not change what is scored: where and how many points of a curve are drawn.
_CURVE_KEYS = ("selection.snapshots", "selection.curve")
_MATCHED = "matched_flops"


def setting_digest(config: Mapping[str, Any]) -> str:
    """What identifies a setting, over all of its trials and seeds: 16 hexadecimal characters.

    It covers what tells rows and columns of a table apart. Compute that a row was given counts by two digits, as it
    differs a little from trial to trial. Submitted predictions count by study, row and column.
    """
    return _setting_digest(repeated_config(config))


@lru_cache(maxsize=1024)
def _setting_digest(text: str) -> str:
    config = json.loads(text)
    if EXTERNAL in config:
        kept = {key: config[EXTERNAL].get(key) for key in ("study", "scale", "row", "column")}
    else:
        kept = {
            key: f"{value:.1e}" if key.endswith(_MATCHED) and value else value
            for key, value in flatten(config).items()
            if not is_ignored(key) and not key.endswith(_CURVE_KEYS)
        }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def sealed_key(split: Mapping[str, Any]) -> SealedKey | None:
    """The test set of a record's ``result.split``; None for a record that does not identify it."""
    test = split.get("test") or {}
    return (split["fingerprint"], test["sha256"]) if "fingerprint" in split and "sha256" in test else None


def append_use(runs: Path, run: str, trial: int, config: Mapping[str, Any], split: Mapping[str, Any]) -> None:
    """Note that a run's setting meets the test set of its split; safe beside other processes that do so.

    ``runs`` is the folder of the runs. Without a file, one is made of the records there first. A setting that has met
    the test set before adds no line.
    """
    key, setting, path = sealed_key(split), setting_digest(config), runs / LEDGER_NAME
    if key is None or config.get("debug"):
        return
    with wrap_os_errors(path), file_lock(runs / ".locks" / f"{LEDGER_NAME}.lock"):
        lines = [] if path.exists() else list(dict.fromkeys(_lines_of_records(runs)))
        if setting not in read_ledger(runs).get(key, ()):
            lines.append(_line(run, trial, setting, key))
        _append(path, lines)


def read_ledger(runs: Path, index: FileIndex | None = None) -> dict[SealedKey, frozenset[str]]:
    """The settings by test set: from the file, or from the records of the runs if there is none. Writes nothing."""
    path, settings = runs / LEDGER_NAME, dict[SealedKey, set[str]]()
    with wrap_os_errors(path, "read"):
        lines = (
            path.read_text(encoding="utf-8", errors="replace").splitlines()
            if path.exists()
            else _lines_of_records(runs, index)
        )
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):  # the last line of a process that was killed
            one = json.loads(line)
            settings.setdefault((one["data"], one["test"]), set()).add(one["setting"])
    return {key: frozenset(found) for key, found in settings.items()}


def _lines_of_records(runs: Path, index: FileIndex | None = None) -> Iterator[str]:
    index = index or FileIndex(runs)
    for folder in (runs, runs.parent / EXTERNAL):
        for path in sorted(folder.glob(f"*/{RECORD_NAME}")):
            with suppress(TriganError):  # a damaged record is reported where it is used
                if line := index.get(path, "ledger", _line_of_record):
                    yield line


def _line_of_record(path: Path) -> str:
    record = read_record(path)
    key = sealed_key(record["result"]["split"])
    if key is None or record["config"].get("debug"):
        return ""
    return _line(record["run"], record["tags"]["trial"], setting_digest(record["config"]), key)


def _line(run: str, trial: int, setting: str, key: SealedKey) -> str:
    return json.dumps({"data": key[0], "test": key[1], "trial": trial, "setting": setting, "run": run})


def _append(path: Path, lines: list[str]) -> None:
    """Append whole lines by one write, after the incomplete line of a killed process if there is one."""
    if not lines:
        return
    new = not path.exists()
    with path.open("a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        start = b"\n" if file.read(1) not in (b"", b"\n") else b""
        file.write(start + "".join(f"{line}\n" for line in lines).encode())
        file.flush()
        os.fsync(file.fileno())
    if new:
        share(path)
