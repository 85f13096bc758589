"""Behind `trigan compare`: choose records by run hash or by setting, and build a table of them."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trigan.errors import ConfigError
from trigan.records.record import MIN_HASH_PREFIX, Record
from trigan.tables.rows import flatten, rows_from_records, setting_text
from trigan.tables.table import Table, TableSpec, build_table


def select(records: Iterable[Record], queries: Sequence[str]) -> list[Record]:
    """The records that the queries ask for, sorted by run hash; all of them without a query.

    A query is the start of a run hash (4 characters or more), or ``key=value`` with a label (``strategy=joint``), a
    dotted setting of the config (``regime.per_class=10``) or ``status``; ``key=a,b`` takes either value. All key=value
    conditions must hold; runs named by hash are added to what they choose.

    Raises:
        ConfigError: a hash that no run or several runs start with, an unknown key, or conditions that nothing meets.
    """
    known = {record["run"]: record for record in records}
    if not queries:
        return [known[run] for run in sorted(known)]
    chosen = {_by_hash(known, query) for query in queries if "=" not in query}
    conditions = [query.split("=", 1) for query in queries if "=" in query]
    if conditions:
        left = dict(known)
        for key, wanted in conditions:
            left = _meeting(left, known, key.strip(), wanted)
        chosen |= set(left)
    return [known[run] for run in sorted(chosen)]


def _by_hash(known: Mapping[str, Record], prefix: str) -> str:
    found = sorted(run for run in known if run.startswith(prefix))
    if len(prefix) < MIN_HASH_PREFIX:
        raise ConfigError(
            f"{prefix!r} is too short for a run: give {MIN_HASH_PREFIX} characters of its hash, or key=value"
        )
    if not found:
        near = difflib.get_close_matches(prefix, [run[: len(prefix)] for run in known], n=1)
        hint = f"; the nearest is {near[0]}" if near else ""
        raise ConfigError(f"no run starts with {prefix!r}{hint}")
    if len(found) > 1:
        raise ConfigError(f"{len(found)} runs start with {prefix!r}: {', '.join(run[:12] for run in found[:4])}")
    return found[0]


def _fields(record: Record) -> dict[str, Any]:
    """What can be asked for: dotted settings of the config, labels (which win over them), status."""
    return {**flatten(record["config"]), **record["tags"], "status": record["result"]["status"]}


def _meeting(left: Mapping[str, Record], known: Mapping[str, Record], key: str, wanted: str) -> dict[str, Record]:
    """The records of ``left`` whose ``key`` has a wanted value."""
    fields = {run: _fields(record) for run, record in known.items()}
    every = sorted({name for one in fields.values() for name in one})
    if key not in every:
        inside = [name for name in every if name.startswith(f"{key}.")]
        near = inside[:3] or difflib.get_close_matches(key, every, n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ConfigError(f"no run has {key!r}{hint}")
    values = [value.strip() for value in wanted.split(",")]
    there = [one[key] for one in fields.values() if key in one]
    for value in values:
        if not any(_same(one, value) for one in there):
            raise ConfigError(f"no run has {key}={value}; there is {_some(there)}")
    found = {
        run: record
        for run, record in left.items()
        if key in fields[run] and any(_same(fields[run][key], value) for value in values)
    }
    if not found:
        rest = _some(fields[run][key] for run in left if key in fields[run]) or "none with that key"
        raise ConfigError(f"no run that meets the other conditions has {key}={wanted}; there is {rest}")
    return found


def _some(values: Iterable[Any]) -> str:
    """A few of the values, for an error line."""
    return ", ".join(sorted({setting_text(value) for value in values})[:8])


def _same(value: Any, wanted: str) -> bool:
    """Whether a setting equals what was typed: as text, or as a number (2e-4 is 0.0002)."""
    if setting_text(value) == wanted:
        return True
    try:
        typed = json.loads(wanted.lower())
    except ValueError:
        return False
    return typed == value and isinstance(typed, bool) == isinstance(value, bool)


def compare(
    records: Sequence[Record],
    metric: str = "accuracy",
    reference: str | None = None,
    margin: float = 0.5,
    title: str = "Comparison",
) -> Table:
    """The ad-hoc table of some records: rows by config, columns by data and labels, differences to ``reference``.

    Without a reference, differences are taken to the first baseline, or to the first row where there is none.

    Raises:
        ConfigError: no records, an unknown metric, or a reference that is no row.
    """
    if not records:
        raise ConfigError("nothing to compare: no finished run was found")
    places, rows, columns = rows_from_records(records)
    if reference is not None and reference not in rows:
        near = difflib.get_close_matches(reference, rows, n=1, cutoff=0.3)
        nearest = f"nearest: {near[0]}; " if near else ""
        raise ConfigError(f"no row is named {reference!r}; {nearest}rows: {', '.join(rows)}")
    # Rows come with baselines first, so the first row is one if there is any.
    chosen = reference or (rows[0] if len(rows) > 1 else None)
    return build_table(places, TableSpec(title, rows, columns, metric=metric, reference=chosen, margin=margin))
