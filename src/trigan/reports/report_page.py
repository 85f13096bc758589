"""The report's page: a study's claim, its results, the pictures, and the origin of each number."""

from collections.abc import Callable

from markupsafe import Markup

from trigan.reports import class_section, prediction_section, runs_section, score_section, training_section
from trigan.reports.figures import TEMPLATES, Section, render
from trigan.reports.report_data import ReportData
from trigan.tables.layout.blocks import blocks
from trigan.tables.layout.footnotes import footnotes, summary_paragraph
from trigan.tables.layout.templating import render_page


def render_report(report: ReportData) -> str:
    """The report as one HTML page that fetches nothing: the same bytes for the same records and files."""
    values = {
        "title": report.table.spec.title,
        "missing": runs_section.missing(report),
        "words": [(name, text) for name, text in report.words if text],
        "sections": [section for make in _SECTIONS if (section := make(report)) is not None],
        "runs": sum(len(cell.records) for cell in report.table.cells.values()),
    }
    return render_page("report.html.j2", values, TEMPLATES)


def _verdict(report: ReportData) -> Section:
    words = summary_paragraph(report.table)
    return Section("verdict", "What came out", Markup('<p class="lead">{}</p>').format(words))


def _results(report: ReportData) -> Section:
    """The table's blocks; a number of the first is a link to its runs."""
    spec, shown = report.table.spec, blocks(report.table)
    # The numbers of a column come first in its group of the block's columns.
    links = {
        (i, shown[0].groups[j][0]): f"#{runs_section.anchor(i, j)}"
        for i in range(len(spec.rows))
        for j in range(len(spec.columns))
    }
    notes = footnotes(report.table, best_mark="bold")
    return Section(
        "results", "Results", render("results.html.j2", {"blocks": shown, "links": links, "footnotes": notes})
    )


_SECTIONS: tuple[Callable[[ReportData], Section | None], ...] = (
    *(_verdict, _results, score_section.scores, class_section.gains, class_section.confusion, score_section.cost),
    *(prediction_section.reliability, prediction_section.feature_map, training_section.errors),
    *(training_section.curves, training_section.samples, runs_section.failures, runs_section.runs_behind),
)
