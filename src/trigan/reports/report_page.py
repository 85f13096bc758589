"""The report's page: a study's claim, its results, the pictures, and the origin of each number."""

import hashlib
import json
import shlex
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from trigan.records.record import Record
from trigan.reports.classifier_section import confusion, feature_map, gains, reliability
from trigan.reports.figures import TEMPLATES, Section, render
from trigan.reports.report_data import FEATURES, METRICS, PICTURES, PREDICTIONS, ReportData
from trigan.reports.risk_section import risk
from trigan.reports.robustness_section import robustness
from trigan.reports.score_section import cost, scores
from trigan.reports.training_section import curves, errors, samples
from trigan.tables.cell import Cell, score_of
from trigan.tables.layout.blocks import blocks
from trigan.tables.layout.footnotes import footnotes, summary_paragraph
from trigan.tables.layout.formatting import join_names
from trigan.tables.layout.templating import render_page

#: Top-level settings that change where and how a run was done, not what it computes.
_NOT_COMPUTED = ("paths", "runtime", "logger", "callbacks", "study", "row")


def render_report(report: ReportData) -> str:
    """The report as one HTML page that fetches nothing: the same bytes for the same records and files."""
    values = {
        "title": report.table.spec.title,
        "missing": missing(report),
        "words": [(name, text) for name, text in report.words if text],
        "sections": [section for make in _SECTIONS if (section := make(report)) is not None],
        "runs": sum(len(cell.records) for cell in report.table.cells.values()),
    }
    return render_page("report.html.j2", values, TEMPLATES)


def _verdict(report: ReportData) -> Section:
    words = summary_paragraph(report.table)
    return Section("verdict", "Results", Markup('<p class="lead">{}</p>').format(words))


def results(report: ReportData) -> Section:
    """The table's blocks; a number of the first is a link to its runs."""
    spec, shown = report.table.spec, blocks(report.table)
    numbers = [place for place, name in enumerate(shown[0].header) if " (n = " in name]  # one for each column
    links = {(i, place): f"#{anchor(i, j)}" for i in range(len(spec.rows)) for j, place in enumerate(numbers)}
    values = {"blocks": shown, "links": links, "footnotes": footnotes(report.table, best_mark="bold")}
    return Section("results", "Table", render("results.html.j2", values))


def missing(report: ReportData) -> list[str]:
    """Each incomplete cell with its missing trials, in words."""
    lines = []
    for (row, column), cell in report.table.cells.items():
        if cell.missing:
            where = f" on {column}" if report.subheading(column) else ""
            why = " (finished, but without this score)" if cell.records and not cell.values else ""
            trials = f"trial{'s' if len(cell.missing) > 1 else ''} {join_names(map(str, cell.missing))}"
            lines.append(f"{row}{where}: {trials}{why}")
    return lines


def failures(report: ReportData) -> Section:
    """Diverged runs, missing trials, and runs without files here."""
    records = [(key, record) for key, cell in report.table.cells.items() for record in cell.records]
    values = {
        "diverged": [
            f"{row}, {column}, trial {r['tags']['trial']}: run {r['run']}"
            for (row, column), r in records
            if r["result"]["status"] == "diverged"
        ],
        "missing": missing(report),
        "without": [r["run"] for _, r in records if report.file(r, PREDICTIONS) is None],
        "file": PREDICTIONS,
        "runs": len(records),
    }
    return Section("failures", "Failures", render("failures.html.j2", values))


def anchor(row: int, column: int) -> str:
    """The anchor of a cell's runs, by the numbers of its row and column."""
    return f"cell-{row + 1}-{column + 1}"


def runs_behind(report: ReportData) -> Section:
    """The runs of each cell, each with the digests of its config, its split and its weights."""
    spec = report.table.spec
    cells = [
        {
            "title": f"{f'{row}, {column}' if report.subheading(column) else row}: {report.text_format.cell(cell)}",
            "anchor": anchor(i, j),
            "runs": [_run(report, cell, record) for group in cell.by_trial.values() for record in group],
        }
        for j, column in enumerate(spec.columns)
        for i, row in enumerate(spec.rows)
        for cell in (report.table.cells[row, column],)
    ]
    values = {"cells": cells, "left_out": _NOT_COMPUTED}
    return Section("behind", "Behind each number", render("behind.html.j2", values))


def _run(report: ReportData, cell: Cell, record: Record) -> dict[str, Any]:
    tags, result = record["tags"], record["result"]
    score = score_of(record, cell.metric)
    value = report.text_format.value(score) if isinstance(score, int | float) else cell.absence or "not defined"
    if (one := report.table.sampling.get(record["run"])) is not None:
        value += f" [{report.text_format.value(one.low)}, {report.text_format.value(one.high)}] on {one.units}"
    overrides = record["provenance"].get("overrides")
    return {
        "record": record,
        "trial": f"{tags['trial']}, seed {tags['seed']}: {value}, {result['status']}",
        "command": shlex.join(["trigan", "run", *map(str, overrides)]) if isinstance(overrides, list) else "",
        "config": config_digest(record),
        "split": {
            name: part["sha256"]
            for name, part in result["split"].items()
            if isinstance(part, dict) and "sha256" in part
        },
        "files": [name for name in (METRICS, PREDICTIONS, FEATURES, PICTURES) if report.file(record, name) is not None],
    }


def config_digest(record: Record) -> str:
    """SHA-256 of the settings that a run computes with."""
    kept = {key: value for key, value in record["config"].items() if key not in _NOT_COMPUTED}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


_SECTIONS: tuple[Callable[[ReportData], Section | None], ...] = (
    *(_verdict, results, scores, gains, confusion, cost, reliability, risk, robustness, feature_map),
    *(errors, curves, samples, failures, runs_behind),
)
