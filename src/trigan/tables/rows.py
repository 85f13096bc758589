"""Rows and columns for records that no study has named: grouped by config, named by what differs."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from trigan.records.record import Record
from trigan.tables.table import CellKey

#: Parts of a config that make no row: they change nothing that a run computes, or show in other settings.
IGNORED_SETTINGS = (
    *("paths", "runtime", "logger", "callbacks", "study", "row", "hydra"),
    *("data.root", "data.source.root", "data.suggested", "regime.split"),
    *(f"strategy.pretrain.data.{part}" for part in ("root", "source.root", "suggested")),
    *("trainer.accelerator", "trainer.devices", "trainer.checkpoint_every"),
)
#: What a data set's config proposes for other settings (steps, augmentation), by the end of their keys.
_SUGGESTED = "data.suggested."
#: Last parts of keys that a row repeats over.
REPEAT_KEYS = ("trial", "seed")
#: Names that stand for whole subtrees of a config; a row is told from another by these first.
_LABELS = ("architecture", "loss", "classifier")
#: Groups that are composed for every run, and count where the strategy holds their object.
_SHARED = ("architecture", "loss", "optimizer", "classifier", "augmentation", "balance")
_STRATEGIES = ("baseline", "augment", "features", "joint")


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config as dotted keys; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def setting_text(value: Any) -> str:
    """A setting as it is typed: strings bare, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def settings(record: Record, suggestions: Collection[str] = ()) -> dict[str, str]:
    """The settings that tell a record's row and column, as text by dotted key, the labels among them.

    A setting that equals what the data's config proposes for it reads ``suggested``, if the proposal is among
    ``suggestions``: those that differ between the data sets at hand, where a row's steps are not one number.
    """
    labels: dict[str, Any] = {key: record["tags"][key] for key in _LABELS}  # type: ignore[literal-required]
    config, idle = flatten(record["config"]), _idle(record["config"])
    found = {
        key: setting_text(value)
        for key, value in {**config, **labels}.items()
        if _counts(key) and key.partition(".")[0] not in idle
    }
    for name in suggestions:
        for key, value in found.items():
            if _follows(key, name) and value == setting_text(config.get(_SUGGESTED + name)):
                found[key] = "suggested"
    return found


def _idle(config: Mapping[str, Any]) -> set[str]:
    """The shared groups that stand nowhere in the strategy: a baseline has no architecture, though one is composed."""
    played = list(_nodes(config.get("strategy")))
    return {key for key in _SHARED if key in config and config[key] not in played}


def _nodes(node: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping inside a nested config, itself included."""
    if isinstance(node, Mapping):
        yield node
    for item in node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ():
        yield from _nodes(item)


def _follows(key: str, suggestion: str) -> bool:
    """Whether a setting is the one that a proposal is for: ``strategy.gan.steps`` ends as ``gan_steps`` does."""
    return f".{key}".replace(".", "_").endswith("_" + suggestion.replace(".", "_"))


def _differing_suggestions(records: Sequence[Record]) -> list[str]:
    proposals = [flatten(record["config"].get("data", {}).get("suggested") or {}) for record in records]
    names = sorted({name for one in proposals for name in one})
    return [name for name in names if len({setting_text(one.get(name)) for one in proposals}) > 1]


def _counts(key: str) -> bool:
    outside = any(key == part or key.startswith(f"{part}.") for part in IGNORED_SETTINGS)
    return not outside and key.rsplit(".", 1)[-1] not in REPEAT_KEYS


def rows_from_records(
    records: Iterable[Record],
) -> tuple[dict[CellKey, list[Record]], tuple[str, ...], tuple[str, ...]]:
    """Group records into a table's places: (records by (row, column), row names, column names), all in a fixed order.

    Two records are in one row if their configs differ in trial and seed, or in data and regime, only; in one column if
    data (the images themselves, wherever they lie) and regime agree. A row is named by its strategy and the smallest
    set of settings that tells it from the other rows of that strategy; a column by data and labels per class, and its
    settings where that is not enough.
    """
    rows: dict[frozenset[tuple[str, str]], list[Record]] = {}
    columns: dict[frozenset[tuple[str, str]], list[Record]] = {}
    ordered = sorted(records, key=lambda one: one["run"])
    suggestions = _differing_suggestions(ordered)
    for record in ordered:
        mine = {("data", record["tags"]["data"])}, {("strategy", record["tags"]["strategy"])}
        mine[0].add(("data.fingerprint", record["result"]["split"].get("fingerprint", "")[:8]))
        mine[0].add(("split.sizes", _frozen_sizes(record)))
        for key, value in settings(record, suggestions).items():
            mine[not key.startswith(("data.", "regime."))].add((key, value))
        columns.setdefault(frozenset(mine[0]), []).append(record)
        rows.setdefault(frozenset(mine[1]), []).append(record)
    row_names = _names(rows, lambda group: group[0]["tags"]["strategy"])
    column_names = _names(columns, _column)
    places: dict[CellKey, list[Record]] = {}
    column_of = {record["run"]: column_names[key] for key, group in columns.items() for record in group}
    for config, group in rows.items():
        for record in group:
            places.setdefault((row_names[config], column_of[record["run"]]), []).append(record)
    return places, tuple(sorted(row_names.values(), key=_row_order)), tuple(sorted(column_names.values(), key=_natural))


def _frozen_sizes(record: Record) -> str:
    """The sizes of a split that came from a file, which no other setting says; nothing for one that was drawn."""
    split: Any = record["result"]["split"]
    parts = ("labelled", "validation", "unlabelled") if "file" in split else ()
    return "/".join(str(split[part]["size"]) for part in parts)


def _column(group: Sequence[Record]) -> str:
    """Data and the label budget: training and selection labels of the record with most of both."""
    sizes = [sum(record["result"]["labels"].values()) for record in group]
    classes = len(group[0]["result"]["test"]["confusion"])
    total = max(sizes)
    each = total // classes
    budget = f"{each} label{'s' if each > 1 else ''} per class" if total % classes == 0 else f"{total} labels"
    return f"{group[0]['tags']['data']}, {budget}"


def _names(groups: Mapping[frozenset[tuple[str, str]], Sequence[Record]], short: Any) -> dict[Any, str]:
    """A name for each group: the short one, and in brackets the fewest settings that tell those of that name apart."""
    alike: dict[str, list[frozenset[tuple[str, str]]]] = {}
    for key, group in groups.items():
        alike.setdefault(short(group), []).append(key)
    names = {}
    for name, keys in alike.items():
        chosen = _telling(keys)
        for key in keys:
            found = dict(key)
            parts = [f"{_brief(one, chosen)}={found.get(one, 'unset')}" for one in chosen]
            names[key] = f"{name} ({', '.join(parts)})" if parts else name
    return names


def _telling(keys: Sequence[frozenset[tuple[str, str]]]) -> list[str]:
    """The fewest settings whose values differ between all groups; labels first, then short keys, then by alphabet.

    Sets of up to three are tried in full; beyond that the setting that splits most is added until all are told apart.
    """
    found = [dict(key) for key in keys]
    every = sorted({name for group in found for name in group}, key=_preference)
    splits: dict[tuple[int, ...], str] = {}
    for name in every:
        values = [group.get(name) for group in found]
        if len(set(values)) > 1:
            # Settings that split the groups alike are one choice, for which the preferred one stands.
            splits.setdefault(tuple(values.index(value) for value in values), name)
    columns = {name: split for split, name in splits.items()}

    def told_apart(names: Sequence[str]) -> int:
        return len({tuple(columns[name][i] for name in names) for i in range(len(found))})

    for size in range(4):
        for names in combinations(columns, size):
            if told_apart(names) == len(found):
                return list(names)
    chosen: list[str] = []
    while told_apart(chosen) < len(found):
        chosen.append(max(columns, key=lambda name: told_apart([*chosen, name])))
    return chosen


def _preference(key: str) -> tuple[bool, bool, int, int, str]:
    return key not in _LABELS, key.rsplit(".", 1)[-1].startswith("_"), key.count("."), len(key), key


def _brief(key: str, among: Sequence[str]) -> str:
    """The last part of a dotted key, where no other chosen key ends alike and it is no bare class path."""
    last = key.rsplit(".", 1)[-1]
    alike = [other for other in among if other.rsplit(".", 1)[-1] == last]
    return key if len(alike) > 1 or last.startswith("_") else last


def _row_order(name: str) -> tuple[int, list[tuple[bool, float, str]]]:
    strategy = name.split(" (")[0]
    place = _STRATEGIES.index(strategy) if strategy in _STRATEGIES else len(_STRATEGIES)
    return place, _natural(name)


def _natural(name: str) -> list[tuple[bool, float, str]]:
    """Sorts numbers in names by size: 5 labels before 10."""
    words = name.replace(",", " ").replace("=", " ").replace(")", " ").split()
    return [(True, float(word), "") if word.replace(".", "", 1).isdigit() else (False, 0.0, word) for word in words]
