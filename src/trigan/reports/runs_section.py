"""Where the numbers come from: what is missing or diverged, and the runs behind each cell."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from typing import Any

from trigan.records.record import Record
from trigan.reports.report_data import FEATURES, METRICS, PICTURES, PREDICTIONS, ReportData, Section
from trigan.tables.cell import Cell
from trigan.tables.layout.formatting import join_names
from trigan.tables.layout.html import escape

#: Top-level settings that say where and how a run was done, not what it computes.
_PLACES = ("paths", "runtime", "logger", "callbacks", "study", "row")


def missing(report: ReportData) -> list[str]:
    """Each cell that lacks trials, with them, in words."""
    found = []
    for (row, column), cell in report.table.cells.items():
        trials = [str(trial) for trial in cell.expected if trial not in cell.values]
        if trials:
            where = f" on {column}" if len(report.table.spec.columns) > 1 else ""
            why = " (finished, but without this score)" if cell.undefined else ""
            found.append(f"{row}{where}: trial{'s' if len(trials) > 1 else ''} {join_names(trials)}{why}")
    return found


def failures(report: ReportData) -> Section:
    """Diverged runs, missing trials, and files of runs that are not here."""
    cells = report.table.cells
    records = [(place, record) for place, cell in cells.items() for record in cell.records]
    diverged = [
        f"{row}, {column}, trial {r['tags']['trial']}: run {r['run']}"
        for (row, column), r in records
        if r["result"]["status"] == "diverged"
    ]
    without = [r["run"] for _, r in records if report.file(r, PREDICTIONS) is None]
    parts = []
    if diverged:
        parts.append(_list("Diverged; they stay in the mean with their last healthy weights (or chance):", diverged))
    if gone := missing(report):
        parts.append(_list("Missing, so that the cell is incomplete and not compared:", gone))
    if without:
        words = f"Runs whose folder has no {PREDICTIONS} here, and so are in no picture drawn from it:"
        parts.append(_list(words, without))
    if not parts:
        parts.append(f"<p>All {len(records)} runs have finished, and none diverged.</p>")
    return Section("failures", "Failures", "\n".join(parts))


def _list(words: str, items: list[str]) -> str:
    return f"<p>{words}</p>\n<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def anchor(row: int, column: int) -> str:
    """The place on the page of what stands behind a cell, by the numbers of its row and column."""
    return f"cell-{row + 1}-{column + 1}"


def runs_behind(report: ReportData) -> Section:
    """For each number the runs behind it, each with the digests of its config, its split and its weights."""
    spec, parts = report.table.spec, []
    for j, column in enumerate(spec.columns):
        for i, row in enumerate(spec.rows):
            cell = report.table.cells[row, column]
            where = f"{row}, {column}" if len(spec.columns) > 1 else row
            head = f"{where}: {report.text_format.cell(cell)}"
            runs = "\n".join(_run(report, cell, record) for group in cell.by_trial.values() for record in group)
            inner = runs or "<p>No run.</p>"
            parts.append(
                f"<details>\n<summary>{escape(head)}</summary>\n"
                f'<div id="{anchor(i, j)}">\n{inner}\n<p class="back"><a href="#results">Back to the table</a></p>\n'
                f"</div>\n</details>"
            )
    words = (
        "The hash of a run is made of the settings that it computes with, its data and the protocol version. Config: "
        f"SHA-256 of the composed config without {', '.join(_PLACES)}, as JSON with sorted keys and no spaces. Split: "
        "SHA-256 of each part's sorted indices as little-endian int64. Weights and predictions: as in the record."
    )
    return Section("behind", "Behind each number", f"<p>{words}</p>\n" + "\n".join(parts))


def _run(report: ReportData, cell: Cell, record: Record) -> str:
    labels, result = record["tags"], record["result"]
    score = result["test"].get(cell.metric.key)
    value = report.text_format.value(score) if isinstance(score, int | float) else "not defined"
    split: dict[str, Any] = result["split"]  # type: ignore[assignment]
    parts = {name: part["sha256"] for name, part in split.items() if isinstance(part, dict) and "sha256" in part}
    lines = [
        ("trial", f"{labels['trial']}, seed {labels['seed']}: {value}, {result['status']}"),
        ("run", _code(record["run"])),
        ("command", _command(record)),
        ("config", _code(config_digest(record))),
        ("data", _code(split.get("fingerprint", "not in the record"))),
        ("split", _digests(parts)),
        ("weights", _digests(result["weights"])),
        ("predictions", _code(result["predictions"])),
        ("protocol", escape(result["protocol"])),
        ("files here", escape(_files(report, record))),
    ]
    items = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in lines)
    return f'<dl class="run">{items}</dl>'


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _digests(found: Mapping[str, str]) -> str:
    """Digests by name, a line each."""
    return "<br>".join(f"{escape(name)} {_code(found[name])}" for name in sorted(found)) or "not in the record"


def _command(record: Record) -> str:
    """The line that makes this run again, where the record tells."""
    overrides = record["provenance"].get("overrides")
    if not isinstance(overrides, list):
        return "not in the record"
    return _code(" ".join(["trigan run", *(shlex.quote(str(one)) for one in overrides)]))


def config_digest(record: Record) -> str:
    """SHA-256 of the settings that a run computes with."""
    kept = {key: value for key, value in record["config"].items() if key not in _PLACES}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _files(report: ReportData, record: Record) -> str:
    there = [name for name in (METRICS, PREDICTIONS, FEATURES, PICTURES) if report.file(record, name) is not None]
    return join_names(there) or "none"
