"""Published results: ``published.csv`` of a study, matched to the cells of our table.

`experiments/README.md` documents its columns, and when a result is printed beside a cell. A cell's conditions are read
from its records: the data set from ``tags.data`` and its changed settings, the split from
``result.split.test_redrawn``, labels from ``result.labels``, the architecture from the players in
``result.cost.images``. L, U, V and X of published results are unknown, so they are never tested against ours.
"""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trigan.errors import ConfigError
from trigan.records.record import Record
from trigan.tables.cell import Cell

PUBLISHED_NAME = "published.csv"

#: Meaning of each tag, printed under the table.
TAGS = {"R": "read in the authors' paper or code", "T": "read in a transcript of the paper", "P": "a pilot of ours"}
SPREADS = ("sd", "sem", "interval95", "none")

_ARXIV = re.compile(r"\d{4}\.\d{4,5}(v\d+)?|[a-z-]+(\.[A-Z]{2})?/\d{7}(v\d+)?")


@dataclass(frozen=True)
class PublishedResult:
    """One line of the file; ``value`` and ``spread`` as printed in the source.

    Attributes:
        conditions: by ``CONDITIONS``, what must be equal for it to be printed beside our cell; empty: not stated.
        differs: how the conditions differ from those of our cell, in words; empty: printed beside the cell.
    """

    row: str
    column: str
    value: str
    spread: str
    spread_kind: str
    arxiv: str
    draws: str
    tag: str
    note: str
    conditions: Mapping[str, str]
    differs: str = ""


_OWN = ("row", "column", "value", "spread", "spread_kind", "arxiv", "draws", "tag", "note")
CONDITIONS = ("dataset", "metric", "split", "labels_training", "labels_selection", "architecture")
#: The columns of the file.
KEYS = (*_OWN, *CONDITIONS)


def difference_from(result: PublishedResult, cell: Cell | None) -> str:
    """How the conditions of a result differ from those of the cell that it names, in words; empty if they do not."""
    if cell is None:
        missing = [kind for kind, name in (("row", result.row), ("column", result.column)) if not name]
        return f"no {' and no '.join(missing)} of ours"
    if not cell.records:
        return "no run of ours yet"
    ours = [conditions(record, cell.metric.key) for record in cell.records]
    words = {"dataset": "data set", "labels_training": "training labels", "labels_selection": "selection labels"}
    parts = []
    for key in CONDITIONS:
        value, own = result.conditions[key], sorted({one[key] for one in ours})
        if own != [value]:
            parts.append(f"{words.get(key, key)}: {value or 'not stated'}, ours {' or '.join(own)}")
    return "; ".join(parts)


def conditions(record: Record, metric: str) -> dict[str, str]:
    """The conditions of a record, by ``CONDITIONS``; see the top of this file."""
    result = record["result"]
    return {
        "dataset": _dataset(record),
        "metric": metric,
        "split": "hash" if result["split"]["test_redrawn"] else "official",
        "labels_training": str(result["labels"]["training"]),
        "labels_selection": str(result["labels"]["selection"]),
        "architecture": _architecture(record),
    }


def _dataset(record: Record) -> str:
    data, regime = (record["config"].get(key) or {} for key in ("data", "regime"))
    parts = (
        record["tags"]["data"],
        f"{data['image_size']} px" if data.get("image_size") else "",
        f"{data['channels']} channel{'s' if data['channels'] > 1 else ''}" if data.get("channels") else "",
        "imbalanced" if regime.get("imbalance") else "",
        "noisy labels" if regime.get("noise") else "",
    )
    return ", ".join(part for part in parts if part)


def _architecture(record: Record) -> str:
    players, tags = set(record["result"]["cost"]["images"] or ()), record["tags"]
    gan = [tags["architecture"]] if players & {"discriminator", "generator"} else []
    return "+".join([*gan, tags["classifier"]] if "classifier" in players else gan) or "none"


def read_published(path: Path, rows: Sequence[str], columns: Sequence[str]) -> tuple[PublishedResult, ...]:
    """The results of a file, in its order; ``rows`` and ``columns`` are those of the table.

    Raises:
        ConfigError: one line that names the file, the line and the wrong key.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, line) for line in reader if any(map(str.strip, line))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read as CSV ({error})") from error
    header = [key.strip() for key in lines[0][1]] if lines else []
    wrong = [f"{key} is missing" for key in KEYS if key not in header]
    wrong += [f"{key}: no such column, or there twice" for key in header if key not in KEYS or header.count(key) > 1]
    if wrong:
        raise ConfigError(f"{path}, line 1: {wrong[0]}; columns: {', '.join(KEYS)}")
    results = []
    for number, line in lines[1:]:
        where = f"{path}, line {number}"
        if len(line) != len(header):
            raise ConfigError(f"{where}: {len(line)} fields, expected {len(header)}; quote texts that have a comma")
        values = dict(zip(header, map(str.strip, line), strict=True))
        for key, sound, expected in _rules(values, rows, columns):
            if not sound:
                raise ConfigError(f"{where}: {key} is {values[key]!r}: {expected}")
        values |= {
            key: str(int(values[key])) for key in ("labels_training", "labels_selection", "draws") if values[key]
        }
        stated = {key: values[key] for key in CONDITIONS}
        results.append(PublishedResult(**{key: values[key] for key in _OWN}, conditions=stated))
    return tuple(results)


def _rules(line: Mapping[str, str], rows: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[str, object, str]]:
    """Key, whether its value is sound, and what is wrong or expected if it is not."""
    memory = "a figure from memory is never printed; find its source and tag it R or T, or take the line out"
    yield "tag", line["tag"] != "M", memory
    yield "tag", line["tag"] in TAGS, f"expected one of {', '.join(TAGS)}"
    for key, names in (("row", rows), ("column", columns)):
        known = f"no such {key} in this table, expected one of {', '.join(names)}, or nothing"
        yield key, line[key] in ("", *names), known
    yield "value", _is_number(line["value"]), "expected a number"
    kind, spread = line["spread_kind"], line["spread"]
    yield "spread_kind", kind in SPREADS, f"expected one of {', '.join(SPREADS)}"
    yield "spread", kind != "none" or not spread, "expected nothing beside spread_kind none"
    positive = _is_number(spread) and float(spread) >= 0
    yield "spread", kind == "none" or positive, f"expected a number of at least 0, as spread_kind is {kind}"
    paper = _ARXIV.fullmatch(line["arxiv"]) or (line["tag"] == "P" and not line["arxiv"])
    yield "arxiv", paper, "expected an id such as 1606.03498 (nothing for tag P alone)"
    for key in ("dataset", "metric", "split"):
        yield key, line[key], "expected a name"
    split = re.fullmatch(r"official|hash|other: \S.*", line["split"])
    yield "split", split, "expected official, hash, or other: WORDS"
    for key, least in (("labels_training", 0), ("labels_selection", 0), ("draws", 1)):
        stated = line[key].isdecimal() and int(line[key]) >= least
        yield key, stated or not line[key], f"expected an int >= {least}, or nothing where it is not stated"
    named = (line["row"] and line["column"]) or line["note"]
    yield "note", named, "expected what the figure is of, as it has no row or no column of ours"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
