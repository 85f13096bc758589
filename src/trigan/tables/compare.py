"""Behind `trigan compare`: select records by run hash or by setting, and build a table of them."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from trigan.component_ids import with_defaults
from trigan.errors import ConfigError
from trigan.records.config_keys import flatten
from trigan.records.record import MIN_HASH_PREFIX, Record
from trigan.records.seal_ledger import Ledger
from trigan.tables.image_outcomes import ImageOutcomes
from trigan.tables.rows import rows_from_records, setting_text
from trigan.tables.table import Table, TableSpec, build_table


def select(records: Iterable[Record], queries: Sequence[str]) -> list[Record]:
    """The records that match the queries, sorted by run hash; all of them without a query.

    A query is the start of a run hash (4 characters or more), or ``key=value`` with a tag (``strategy=joint``), a
    dotted setting of the config (``regime.per_class=10``) or ``status``; ``key=a,b`` matches either value. All
    key=value conditions must hold; runs given by hash are added to the result.

    Raises:
        ConfigError: a hash that matches no run or several, an unknown key, or conditions that no run meets.
    """
    known = {record["run"]: record for record in records}
    if not queries:
        return [known[run] for run in sorted(known)]
    chosen = {_by_hash(known, query) for query in queries if "=" not in query}
    if conditions := [query.split("=", 1) for query in queries if "=" in query]:
        fields = {
            run: {**flatten(with_defaults(record["config"])), **record["tags"], "status": record["result"]["status"]}
            for run, record in known.items()
        }
        matching = set(known)
        for key, values in conditions:
            matching = _matching(matching, fields, key.strip(), values)
        chosen |= matching
    return [known[run] for run in sorted(chosen)]


def _by_hash(known: Iterable[str], prefix: str) -> str:
    runs = sorted(run for run in known if run.startswith(prefix))
    if len(prefix) < MIN_HASH_PREFIX:
        raise ConfigError(
            f"{prefix!r} is too short for a run: give {MIN_HASH_PREFIX} characters of its hash, or key=value"
        )
    if not runs:
        near = difflib.get_close_matches(prefix, [run[: len(prefix)] for run in known], n=1)
        hint = f"; the nearest is {near[0]}" if near else ""
        raise ConfigError(f"no run starts with {prefix!r}{hint}")
    if len(runs) > 1:
        raise ConfigError(f"{len(runs)} runs start with {prefix!r}: {', '.join(run[:12] for run in runs[:4])}")
    return runs[0]


def _matching(runs: set[str], fields: Mapping[str, Mapping[str, Any]], key: str, values: str) -> set[str]:
    """Those of ``runs`` whose ``key`` has one of the comma-separated values; ``fields`` are of all known runs."""
    every = sorted({name for one in fields.values() for name in one})
    if key not in every:
        inside = [name for name in every if name.startswith(f"{key}.")]
        near = inside[:3] or difflib.get_close_matches(key, every, n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ConfigError(f"no run has {key!r}{hint}")
    wanted = [value.strip() for value in values.split(",")]
    present = [one[key] for one in fields.values() if key in one]
    for value in wanted:
        if not any(_equals(one, value) for one in present):
            raise ConfigError(f"no run has {key}={value}; there is {_examples(present)}")
    matching = {run for run in runs if key in fields[run] and any(_equals(fields[run][key], one) for one in wanted)}
    if not matching:
        rest = _examples(fields[run][key] for run in runs if key in fields[run]) or "none with that key"
        raise ConfigError(f"no run that meets the other conditions has {key}={values}; there is {rest}")
    return matching


def _examples(values: Iterable[Any]) -> str:
    """Up to eight of the values, for an error line."""
    return ", ".join(sorted({setting_text(value) for value in values})[:8])


def _equals(value: Any, text: str) -> bool:
    """Whether a setting equals what was typed: as text, or as a number (2e-4 is 0.0002)."""
    if setting_text(value) == text:
        return True
    try:
        typed = json.loads(text.lower())
    except ValueError:
        return False
    return typed == value and isinstance(typed, bool) == isinstance(value, bool)


def compare(
    records: Sequence[Record],
    metric: str = "accuracy",
    reference: str | None = None,
    margin: float = 0.5,
    outcomes: Mapping[str, ImageOutcomes] = MappingProxyType({}),
    ledger: Ledger = MappingProxyType({}),
) -> Table:
    """An ad-hoc table: rows by config, columns by data and labels, differences to ``reference``.

    ``outcomes`` are those of the runs, as far as predictions are stored (`read_outcomes`); ``ledger`` says which
    settings have met a test set. The default reference is the first baseline, or the first row if there is none.

    Raises:
        ConfigError: no records, an unknown metric, or an unknown reference.
    """
    if not records:
        raise ConfigError("nothing to compare: no finished run was found")
    cells, rows, columns = rows_from_records(records)
    if reference is not None and reference not in rows:
        near = difflib.get_close_matches(reference, rows, n=1, cutoff=0.3)
        nearest = f"nearest: {near[0]}; " if near else ""
        raise ConfigError(f"no row is named {reference!r}; {nearest}rows: {', '.join(rows)}")
    # Rows are sorted with baselines first.
    chosen = reference or (rows[0] if len(rows) > 1 else None)
    spec = TableSpec("Comparison", rows, columns, metric=metric, reference=chosen, margin=margin)
    return build_table(cells, spec, outcomes=outcomes, ledger=ledger)
