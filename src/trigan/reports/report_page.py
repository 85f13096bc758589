"""The report's page: a study's claim, its results, the pictures, and the origin of each number."""

from collections.abc import Iterator

from markupsafe import Markup

from trigan.reports import (
    class_section,
    cost_section,
    feature_map_section,
    reliability_section,
    runs_section,
    sample_section,
    score_section,
    training_section,
)
from trigan.reports.figures import Section, render, templates
from trigan.reports.report_data import ReportData
from trigan.tables.layout.blocks import blocks
from trigan.tables.layout.footnotes import footnotes, summary_paragraph
from trigan.tables.layout.templating import render_page


def render_report(report: ReportData) -> str:
    """The report as one HTML page that fetches nothing: the same bytes for the same records and files."""
    heading = report.heading
    values = {
        "title": heading.title,
        "missing": runs_section.missing(report),
        "words": [(name, text) for name, text in (("Claim", heading.claim), *heading.words) if text],
        "sections": [section for section in _sections(report) if section is not None],
        "runs": sum(len(cell.records) for cell in report.table.cells.values()),
    }
    return render_page("report.html.j2", values, templates())


def _sections(report: ReportData) -> Iterator[Section | None]:
    words = summary_paragraph(report.table, report.text_format)
    yield Section("verdict", "What came out", Markup('<p class="lead">{}</p>').format(words))
    yield _results(report)
    yield score_section.section(report)
    yield class_section.gains(report)
    yield class_section.confusion(report)
    yield cost_section.section(report)
    yield reliability_section.reliability(report)
    yield feature_map_section.section(report)
    yield training_section.errors(report)
    yield training_section.curves(report)
    yield sample_section.section(report)
    yield runs_section.failures(report)
    yield runs_section.runs_behind(report)


def _results(report: ReportData) -> Section:
    """The table's blocks; a number of the first is a link to its runs."""
    spec, shown = report.table.spec, blocks(report.table, report.text_format)
    # The numbers of a column come first in its group of the block's columns.
    links = {
        (i, shown[0].groups[j][0]): f"#{runs_section.anchor(i, j)}"
        for i in range(len(spec.rows))
        for j in range(len(spec.columns))
    }
    notes = footnotes(report.table, report.text_format, best_mark="bold")
    return Section(
        "results", "Results", render("results.html.j2", {"blocks": shown, "links": links, "footnotes": notes})
    )
