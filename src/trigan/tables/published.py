"""Published figures: ``published.csv`` of a study, and where in our table a figure may stand.

Its columns, and when a figure may stand beside a cell, are told in `experiments/README.md`. A cell's conditions are
read from its records: the data set from ``tags.data`` and what was changed after it, the split from
``result.split.test_redrawn``, labels from ``result.labels``, the architecture class from the players in
``result.cost.images``.

What L, U, V and X were is not among them: no figure is tested against ours.
"""

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from trigan.errors import ConfigError
from trigan.records.record import Record
from trigan.tables.cell import Cell

PUBLISHED_NAME = "published.csv"

#: What a tag means, under the table.
TAGS = {"R": "read in the authors' paper or code", "T": "read in a transcript of the paper", "P": "a pilot of ours"}
SPREADS = ("sd", "sem", "interval95", "none")

_ARXIV = re.compile(r"\d{4}\.\d{4,5}(v\d+)?|[a-z-]+(\.[A-Z]{2})?/\d{7}(v\d+)?")


@dataclass(frozen=True)
class Conditions:
    """What must be equal for two figures to stand side by side, as text; empty: not stated."""

    dataset: str
    metric: str
    split: str
    labels_training: str
    labels_selection: str
    architecture: str


@dataclass(frozen=True)
class PublishedResult:
    """One line of the file; ``value`` and ``spread`` as they were printed."""

    row: str
    column: str
    value: str
    spread: str
    spread_kind: str
    arxiv: str
    draws: str
    tag: str
    note: str
    conditions: Conditions


@dataclass(frozen=True)
class MatchedResult:
    """A figure, and how its conditions differ from those of our cell, in words; empty: it stands beside the cell."""

    published: PublishedResult
    differs: str


_OWN = [field.name for field in fields(PublishedResult) if field.name != "conditions"]
_CONDITIONS = [field.name for field in fields(Conditions)]
KEYS = (*_OWN, *_CONDITIONS)


def match_to_cells(
    figures: Iterable[PublishedResult], cells: Mapping[tuple[str, str], Cell]
) -> tuple[MatchedResult, ...]:
    """Each figure with what sets it apart from the cell that it names."""
    return tuple(MatchedResult(figure, _differs(figure, cells.get((figure.row, figure.column)))) for figure in figures)


def _differs(figure: PublishedResult, cell: Cell | None) -> str:
    if cell is None:
        missing = [kind for kind, name in (("row", figure.row), ("column", figure.column)) if not name]
        return f"no {' and no '.join(missing)} of ours"
    if not cell.records:
        return "no run of ours yet"
    ours = [conditions(record, cell.metric.key) for record in cell.records]
    return "; ".join(text for key in _CONDITIONS if (text := _apart(key, figure.conditions, ours)))


def _apart(key: str, theirs: Conditions, ours: Sequence[Conditions]) -> str:
    value, values = getattr(theirs, key), sorted({getattr(one, key) for one in ours})
    words = {"dataset": "data set", "labels_training": "training labels", "labels_selection": "selection labels"}
    return "" if values == [value] else f"{words.get(key, key)}: {value or 'not stated'}, ours {' or '.join(values)}"


def conditions(record: Record, metric: str) -> Conditions:
    """What a record says of itself; see the top of this file."""
    result = record["result"]
    return Conditions(
        dataset=_dataset(record),
        metric=metric,
        split="hash" if result["split"]["test_redrawn"] else "official",
        labels_training=str(result["labels"]["training"]),
        labels_selection=str(result["labels"]["selection"]),
        architecture=_architecture(record),
    )


def _dataset(record: Record) -> str:
    data, regime = (record["config"].get(key) or {} for key in ("data", "regime"))
    changes = [record["tags"]["data"]]
    if data.get("image_size"):
        changes.append(f"{data['image_size']} px")
    if data.get("channels"):
        changes.append(f"{data['channels']} channel{'s' if data['channels'] > 1 else ''}")
    if regime.get("imbalance"):
        changes.append("imbalanced")
    if regime.get("noise"):
        changes.append("noisy labels")
    return ", ".join(changes)


def _architecture(record: Record) -> str:
    players = set(record["result"]["cost"]["images"] or ())
    labels = record["tags"]
    networks = [labels["architecture"]] if players & {"discriminator", "generator"} else []
    return "+".join([*networks, labels["classifier"]] if "classifier" in players else networks) or "none"


def read_published(path: Path, rows: Sequence[str], columns: Sequence[str]) -> tuple[PublishedResult, ...]:
    """The figures of a file, in its order; ``rows`` and ``columns`` are those of the table.

    Raises:
        ConfigError: one line that names the file, the line and the key that is wrong.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, line) for line in reader if any(map(str.strip, line))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read as CSV ({error})") from error
    header = [key.strip() for key in lines[0][1]] if lines else []
    if sorted(header) != sorted(KEYS):
        wrong = [f"{key} is missing" for key in KEYS if key not in header]
        wrong += [
            f"{key}: no such column, or there twice" for key in header if key not in KEYS or header.count(key) > 1
        ]
        raise ConfigError(f"{path}, line 1: {wrong[0]}; columns: {', '.join(KEYS)}")
    figures = []
    for number, line in lines[1:]:
        where = f"{path}, line {number}"
        if len(line) != len(header):
            raise ConfigError(f"{where}: {len(line)} fields, expected {len(header)}; quote texts that have a comma")
        figures.append(_figure(where, dict(zip(header, map(str.strip, line), strict=True)), rows, columns))
    return tuple(figures)


def _figure(where: str, line: Mapping[str, str], rows: Sequence[str], columns: Sequence[str]) -> PublishedResult:
    for key, wrong in _faults(line, rows, columns):
        if wrong:
            raise ConfigError(f"{where}: {key} is {line[key]!r}: {wrong}")
    whole = {key: str(int(line[key])) for key in ("labels_training", "labels_selection", "draws") if line[key]}
    read = {**line, **whole}
    return PublishedResult(
        conditions=Conditions(**{key: read[key] for key in _CONDITIONS}), **{key: read[key] for key in _OWN}
    )


def _faults(line: Mapping[str, str], rows: Sequence[str], columns: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Each key that has a rule, with what is wrong with its value."""
    if line["tag"] == "M":
        yield "tag", "a figure from memory is never printed; find its source and tag it R or T, or take the line out"
    yield "tag", "" if line["tag"] in TAGS else f"expected one of {', '.join(TAGS)}"
    for key, names in (("row", rows), ("column", columns)):
        known = line[key] in ("", *names)
        yield key, "" if known else f"no such {key} in this table, expected one of {', '.join(names)}, or nothing"
    yield "value", "" if _is_number(line["value"]) else "expected a number"
    yield "spread_kind", "" if line["spread_kind"] in SPREADS else f"expected one of {', '.join(SPREADS)}"
    if line["spread_kind"] == "none":
        yield "spread", "expected nothing beside spread_kind none" if line["spread"] else ""
    else:
        positive = _is_number(line["spread"]) and float(line["spread"]) >= 0
        yield "spread", "" if positive else f"expected a number of at least 0, as spread_kind is {line['spread_kind']}"
    paper = _ARXIV.fullmatch(line["arxiv"]) or (line["tag"] == "P" and not line["arxiv"])
    yield "arxiv", "" if paper else "expected an id such as 1606.03498 (nothing for tag P alone)"
    for key in ("dataset", "metric", "split"):
        yield key, "" if line[key] else "expected a name"
    split = line["split"] in ("official", "hash") or re.fullmatch(r"other: \S.*", line["split"])
    yield "split", "" if split else "expected official, hash, or other: WORDS"
    for key, least in (("labels_training", 0), ("labels_selection", 0), ("draws", 1)):
        stated = line[key].isdecimal() and int(line[key]) >= least
        yield key, "" if stated or not line[key] else f"expected an int >= {least}, or nothing where it is not stated"
    named = (line["row"] and line["column"]) or line["note"]
    yield "note", "" if named else "expected what the figure is of, as it has no row or no column of ours"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
