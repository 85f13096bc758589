"""Rows and columns for records outside a study: grouped by config, named by the settings that differ."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from math import isfinite
from types import MappingProxyType
from typing import Any

from trigan.component_ids import with_defaults
from trigan.records.config_keys import flatten, is_ignored, repeated_config
from trigan.records.record import Record
from trigan.scores import EVALUATION_DEFAULTS
from trigan.tables.table import CellKey

#: Prefix of the values that a data set's config suggests for other settings (steps, augmentation).
_SUGGESTED = "data.suggested."
#: Tags that stand for whole subtrees of a config; preferred in the names of rows.
_TAGS = ("architecture", "loss", "classifier")
#: Config groups that are composed for every run, and matter only if the strategy contains their object.
_SHARED = ("architecture", "loss", "optimizer", "classifier", "augmentation", "balance", "recipe")
_STRATEGIES = ("baseline", "augment", "features", "joint")

#: The settings that identify a row or a column: (key, value as text).
Settings = frozenset[tuple[str, str]]


def setting_text(value: Any) -> str:
    """A setting as it is typed: strings bare, all else as JSON."""
    if type(value) is int or (type(value) is float and isfinite(value)):  # as below, and ten times as fast
        return repr(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def settings(record: Record, suggestions: tuple[str, ...] = ()) -> Mapping[str, str]:
    """The settings and tags that identify a record's row and column, as text by dotted key.

    ``suggestions`` are keys of a data set's config that differ between the data sets compared. A setting equal to one
    of them reads ``suggested``, since its number then differs between the columns of a row.
    """
    tags = tuple((key, value) for key, value in record["tags"].items() if key in _TAGS)
    return _settings(repeated_config(record["config"]), tags, suggestions)


@lru_cache(maxsize=1024)
def _settings(text: str, tags: tuple[tuple[str, Any], ...], suggestions: tuple[str, ...]) -> Mapping[str, str]:
    nested = with_defaults(json.loads(text))
    nested["evaluation"] = EVALUATION_DEFAULTS | (nested.get("evaluation") or {})
    config = flatten(nested)
    config.pop("evaluation.generator_images")  # which figures are stamped with
    unused = _unused_groups(nested)
    values = {**config, **dict(tags)}
    named = {
        key: setting_text(value)
        for key, value in values.items()
        if not is_ignored(key) and key.partition(".")[0] not in unused
    }
    for name in suggestions:
        for key, value in named.items():
            # ``strategy.gan.steps`` follows the suggestion ``gan_steps``
            follows = f".{key}".replace(".", "_").endswith("_" + name.replace(".", "_"))
            if follows and value == setting_text(config.get(_SUGGESTED + name)):
                named[key] = "suggested"
    return MappingProxyType(named)


def _unused_groups(config: Mapping[str, Any]) -> set[str]:
    """The shared groups that the strategy does not contain: a baseline has no architecture, though one is composed."""
    used = list(_nodes(config.get("strategy")))
    return {key for key in _SHARED if key in config and config[key] not in used}


def _nodes(node: Any) -> Iterator[Mapping[str, Any]]:
    """All mappings inside a nested config, itself included."""
    if isinstance(node, Mapping):
        yield node
    for item in node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ():
        yield from _nodes(item)


def _differing_suggestions(records: Sequence[Record]) -> tuple[str, ...]:
    given = (record["config"].get("data", {}).get("suggested") or {} for record in records)
    suggested = [flatten(json.loads(text)) for text in {json.dumps(one) for one in given}]
    names = sorted({name for one in suggested for name in one})
    return tuple(name for name in names if len({setting_text(one.get(name)) for one in suggested}) > 1)


def rows_from_records(
    records: Iterable[Record],
) -> tuple[dict[CellKey, list[Record]], tuple[str, ...], tuple[str, ...]]:
    """Group records into table cells: (records by (row, column), row names, column names), all in a fixed order.

    Two records share a row if their configs differ only in trial and seed, or in data and regime. They share a column
    if data (the images themselves, wherever stored) and regime are equal. A row is named by its strategy and the
    smallest set of settings that distinguishes it from the other rows of that strategy; a column by data and labels per
    class, and by its settings if that is not enough.
    """
    rows: dict[Settings, list[Record]] = {}
    columns: dict[Settings, list[Record]] = {}
    ordered = sorted(records, key=lambda one: one["run"])
    suggestions = _differing_suggestions(ordered)
    for record in ordered:
        row, column = {("strategy", record["tags"]["strategy"])}, {("data", record["tags"]["data"])}
        column.add(("data.fingerprint", record["result"]["split"].get("fingerprint", "")[:8]))
        column.add(("split.sizes", _split_file_sizes(record)))
        for item in settings(record, suggestions).items():
            (column if item[0].startswith(("data.", "regime.")) else row).add(item)
        columns.setdefault(frozenset(column), []).append(record)
        rows.setdefault(frozenset(row), []).append(record)
    row_names = _names(rows, lambda group: group[0]["tags"]["strategy"])
    column_names = _names(columns, _column_name)
    column_of = {record["run"]: column_names[key] for key, group in columns.items() for record in group}
    cells: dict[CellKey, list[Record]] = {}
    for key, group in rows.items():
        for record in group:
            cells.setdefault((row_names[key], column_of[record["run"]]), []).append(record)
    return cells, tuple(sorted(row_names.values(), key=_row_order)), tuple(sorted(column_names.values(), key=_natural))


def _split_file_sizes(record: Record) -> str:
    """The sizes of a split that was read from a file, which no setting contains; empty for a drawn split."""
    split: Any = record["result"]["split"]
    parts = ("labelled", "validation", "unlabelled") if "file" in split else ()
    return "/".join(str(split[part]["size"]) for part in parts)


def _column_name(group: Sequence[Record]) -> str:
    """Data and the label budget: the largest number of training and selection labels."""
    classes = len(group[0]["result"]["test"]["confusion"])
    total = max(label_budget(record) for record in group)
    each = total // classes
    budget = f"{each} label{'s' if each > 1 else ''} per class" if total % classes == 0 else f"{total} labels"
    return f"{group[0]['tags']['data']}, {budget}"


def label_budget(record: Record) -> int:
    """Number of labels that a run used, for training and for selection."""
    return record["result"]["labels"]["training"] + record["result"]["labels"]["selection"]


def _names(
    groups: Mapping[Settings, Sequence[Record]], short_name: Callable[[Sequence[Record]], str]
) -> dict[Settings, str]:
    """A name for each group: the short one, with the fewest settings that distinguish groups of that name."""
    same_name: dict[str, list[Settings]] = {}
    for key, group in groups.items():
        same_name.setdefault(short_name(group), []).append(key)
    names = {}
    for name, keys in same_name.items():
        chosen = _distinguishing(keys)
        for key in keys:
            values = dict(key)
            parts = [f"{_brief(one, chosen)}={values.get(one, 'unset')}" for one in chosen]
            names[key] = f"{name} ({', '.join(parts)})" if parts else name
    return names


def _distinguishing(keys: Sequence[Settings]) -> list[str]:
    """The fewest settings that distinguish all groups; tags first, then short keys, then alphabetically.

    Sets of up to three are tried in full; beyond that, settings are added greedily.
    """
    groups = [dict(key) for key in keys]
    every = sorted({name for group in groups for name in group}, key=_preference)
    partitions: dict[tuple[int, ...], str] = {}
    for name in every:
        values = [group.get(name) for group in groups]
        if len(set(values)) > 1:
            # Of settings that partition the groups alike, the preferred one is kept.
            partitions.setdefault(tuple(values.index(value) for value in values), name)
    columns = {name: partition for partition, name in partitions.items()}

    def distinguished(names: Sequence[str]) -> int:
        return len({tuple(columns[name][i] for name in names) for i in range(len(groups))})

    for size in range(4):
        for names in combinations(columns, size):
            if distinguished(names) == len(groups):
                return list(names)
    chosen: list[str] = []
    while distinguished(chosen) < len(groups):
        chosen.append(max(columns, key=lambda name: distinguished([*chosen, name])))
    return chosen


def _preference(key: str) -> tuple[bool, bool, int, int, str]:
    return key not in _TAGS, key.rsplit(".", 1)[-1].startswith("_"), key.count("."), len(key), key


def _brief(key: str, among: Sequence[str]) -> str:
    """The last part of a dotted key; the whole key if another chosen one ends alike, or if it is a class path."""
    last = key.rsplit(".", 1)[-1]
    same_end = [other for other in among if other.rsplit(".", 1)[-1] == last]
    return key if len(same_end) > 1 or last.startswith("_") else last


def _row_order(name: str) -> tuple[int, list[tuple[bool, float, str]]]:
    strategy = name.split(" (")[0]
    return (_STRATEGIES.index(strategy) if strategy in _STRATEGIES else len(_STRATEGIES)), _natural(name)


def _natural(name: str) -> list[tuple[bool, float, str]]:
    """Sort key that orders numbers in names by size: 5 labels before 10."""
    words = name.replace(",", " ").replace("=", " ").replace(")", " ").split()
    return [(True, float(word), "") if word.replace(".", "", 1).isdigit() else (False, 0.0, word) for word in words]
