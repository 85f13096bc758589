"""The text under a table: its footnotes, and in plain words what the table shows and what it does not."""

from collections.abc import Iterator
from typing import Any

from trigan.records.config_keys import flatten
from trigan.records.record import EXTERNAL
from trigan.tables.classifier_differences import table_differences, undeclared
from trigan.tables.layout.formatting import TextFormat, format_range, join_names
from trigan.tables.layout.templating import environment
from trigan.tables.published import TAGS
from trigan.tables.stored_predictions import RESAMPLES
from trigan.tables.table import Table


def footnotes(table: Table, best_mark: str) -> list[str]:
    """The footnotes that the table needs, one line each (``templates/footnotes.txt.j2``).

    ``best_mark`` is how the best cell is marked: ``bold`` or ``*``.
    """
    cells = [cell for cell in table.cells.values() if cell.records]
    values: dict[str, Any] = {
        "table": table,
        "cells": cells,
        "comparisons": [*table.differences.values(), *table.primary],
        "fmt": TextFormat(table.metric),
        "best_mark": best_mark,
        "limits": list(_detectable(table)),
        "groups": list(_groups(table)),
        "resamples": RESAMPLES,
        "sampled": join_names(sorted({one.units for one in table.sampling.values()})),
        "correlations": _correlations(table),
        "protocols": sorted({str(r["result"]["protocol"]) for cell in cells for r in cell.records}),
        "trials": sorted({trial for cell in table.cells.values() for trial in cell.expected}),
        "rules": {rule for cell in cells for rule in cell.rules},
        "tuning": _tuning(table),
        "searches": _searches(table),
        "undeclared": _undeclared(table),
        "external": any(EXTERNAL in cell.stamps for cell in cells),
        "stamps": list(_stamps(table)),
        "tags": [f"[{tag}] {meaning}" for tag, meaning in TAGS.items() if tag in {one.tag for one in table.published}],
        "spreads": {one.spread_kind for one in table.published},
    }
    return _render("footnotes.txt.j2", values)


def _undeclared(table: Table) -> list[str]:
    """The rows with undeclared differences in C's training."""
    found = [one.row for column in table.spec.columns for one in undeclared(table_differences(table, column))]
    return list(dict.fromkeys(found))


def _searches(table: Table) -> list[tuple[str, list[str]]]:
    """Each search that chose settings, with its budget, and the rows that use them."""
    rows: dict[str, list[str]] = {}
    for (row, _), cell in table.cells.items():
        for tuned in (record["config"].get("tuned") or {} for record in cell.records):
            if tuned.get("search") is not None:
                search = f"{tuned['search']} ({tuned['trials']} trials on {tuned['labels']} validation labels)"
                rows.setdefault(search, []).append(row)
    return [(search, list(dict.fromkeys(using))) for search, using in sorted(rows.items())]


def _correlations(table: Table) -> dict[str, tuple[float, float] | None]:
    """Smallest and largest correlation of trials, of the comparisons where it is estimated, and where it is assumed."""
    overlaps = [one.overlap for one in (*table.differences.values(), *table.primary) if one.overlap is not None]
    found = {}
    for name, estimated in (("estimated", True), ("assumed", False)):
        values = [one.correlation for one in overlaps if one.estimated == estimated]
        found[name] = (min(values), max(values)) if values else None
    return found


def _detectable(table: Table) -> Iterator[str]:
    """The minimal detectable differences to the reference, by column: ``on digits: augment 1.2, joint 2.3``."""
    fmt = TextFormat(table.metric)
    for column in table.spec.columns:
        rows = [one for one in table.differences.values() if one.column == column and one.detectable is not None]
        limits = (f"{one.row} {fmt.value(one.detectable)}" for one in rows if one.detectable is not None)
        if rows:
            yield (f"on {column}: " if len(table.spec.columns) > 1 else "") + ", ".join(limits)


def _groups(table: Table) -> Iterator[str]:
    """By column with groups of images, their number in the data set and in each part, smallest and largest of runs."""
    names = {"labelled": "labelled", "validation": "for validation", "unlabelled": "unlabelled", "test": "to test on"}
    for column in table.spec.columns:
        records: list[Any] = [one for row in table.spec.rows for one in table.cells[row, column].records]
        counts = [found for one in records if (found := one["result"]["split"].get("groups"))]
        if counts:
            extent = {
                key: format_range((min(c[key] for c in counts), max(c[key] for c in counts))) for key in counts[0]
            }
            column_name = flatten(records[0]["config"]).get("data.source.columns.group")
            kind = f" ({column_name})" if column_name else ""
            where = f" on {column}" if len(table.spec.columns) > 1 else ""
            parts = ", ".join(f"{extent[key]} {words}" for key, words in names.items())
            yield f"{extent['all']} groups of images{kind}{where}, each in one part of a split: {parts}"


def _tuning(table: Table) -> str:
    """Whether all rows were tuned alike, in one sentence; empty without runs of our own."""
    rows: dict[int, list[str]] = {}
    labels: set[int] = set()
    for (row, _), cell in table.cells.items():
        for record in (one for one in cell.records if EXTERNAL not in one["config"]):
            tuned = record["config"].get("tuned") or {}
            searched = tuned.get("search") is not None
            rows.setdefault(tuned["trials"] if searched else 0, []).append(row)
            labels |= {tuned["labels"]} if searched else set()
    if not rows or set(rows) == {0}:
        return "Not tuned: no row has settings that a search chose." if rows else ""
    if len(rows) == 1:
        budget = format_range((min(labels), max(labels)))
        return f"Tuned: {next(iter(rows))} search trials a row on {budget} validation labels."
    parts = [f"{n or 'no'} search trials for {join_names(list(dict.fromkeys(rows[n])))}" for n in sorted(rows)]
    return f"Tuned unequally: {'; '.join(parts)}."


def _stamps(table: Table) -> Iterator[tuple[str, list[str]]]:
    """Each stamp with its rows; of a row that has it in some runs only, the number of these."""
    for stamp in sorted({stamp for cell in table.cells.values() for stamp in cell.stamps} - {EXTERNAL}):
        rows = []
        for row in table.spec.rows:
            cells = [table.cells[row, column] for column in table.spec.columns]
            runs, all_runs = sum(cell.stamps.get(stamp, 0) for cell in cells), sum(len(cell.records) for cell in cells)
            if runs:
                rows.append(row if runs == all_runs else f"{row}, {runs} of {all_runs} runs")
        yield stamp, rows


def summary_paragraph(table: Table) -> str:
    """A few sentences on what the table shows and what it does not (``templates/summary.txt.j2``)."""
    fmt, cells = TextFormat(table.metric), [cell for cell in table.cells.values() if cell.values]
    sizes = {cell.n for cell in cells if not cell.incomplete} or {cell.n for cell in cells}
    n = (min(sizes), max(sizes)) if sizes else None
    limits = sorted(one.detectable for one in table.family if one.detectable is not None)
    values = {
        "table": table,
        "fmt": fmt,
        "n": n,
        "trials": f"{format_range(n)} trial{'s' if n[1] > 1 else ''}" if n else "",
        "claims": list(_claims(table)),
        "limits": dict.fromkeys(fmt.value(limit) for limit in (*limits[:1], *limits[-1:])),
        "unequal": dict.fromkeys(row for (row, _), one in table.differences.items() if one.kind == "different_data"),
        "missing": sum(cell.incomplete for cell in table.cells.values()),
    }
    return " ".join(_render("summary.txt.j2", values))


def _render(template: str, values: dict[str, Any]) -> list[str]:
    return environment().get_template(template).render(values).rstrip("\n").split("\n")


def _claims(table: Table) -> Iterator[tuple[str, list[tuple[list[str], str]]]]:
    """By column, the rows of the table's family by what may be said of them."""
    declared = table.spec.family is not None
    against = "the baselines that used the same data" if declared else join_names([str(table.spec.reference)])
    for column in table.spec.columns:
        where = f"On {join_names([column])}, against" if len(table.spec.columns) > 1 else "Against"
        rows: dict[str, list[str]] = {"better": [], "worse": [], "not resolved": []}
        for one in (one for one in table.family if one.column == column and one.has_interval):
            undecided = f"not decided at {len(one.differences)} trials"
            rows.setdefault(undecided if one.claim == "not decided" else one.claim, []).append(one.row)
        yield f"{where} {against}", [(named, claim) for claim, named in rows.items() if named]
