"""The report's page: what the study asks, what came out, the pictures, and where each number comes from."""

from collections.abc import Iterator

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
from trigan.reports.report_data import ReportData, Section
from trigan.tables.layout.blocks import blocks
from trigan.tables.layout.footnotes import summary_paragraph
from trigan.tables.layout.html import document, escape, grid, notes_list


def render_report(report: ReportData) -> str:
    """The report as one HTML page that fetches nothing: the same bytes for the same records and files."""
    heading, sections = report.heading, list(_sections(report))
    links = "".join(f'<li><a href="#{one.anchor}">{escape(one.title)}</a></li>' for one in sections)
    body = "\n".join(_section(one) for one in sections)
    runs = sum(len(cell.records) for cell in report.table.cells.values())
    return document(
        heading.title,
        f"<header>\n<h1>{escape(heading.title)}</h1>\n{_heading(report)}\n</header>\n"
        f'<nav aria-label="Sections">\n<ul>{links}</ul>\n</nav>\n'
        f'<main id="main">\n{body}\n</main>\n'
        f"<footer>\n<p>Made by trigan from the records of {runs} runs; nothing on this page is fetched.</p>\n</footer>",
    )


def _section(one: Section) -> str:
    head = f'<h2 id="{one.anchor}">{escape(one.title)}</h2>'
    return f'<section aria-labelledby="{one.anchor}">\n{head}\n{one.body}\n</section>'


def _heading(report: ReportData) -> str:
    lines = [("Claim", report.heading.claim), *report.heading.words]
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in lines if text)
    parts = [f"<dl>{items}</dl>"] if items else []
    missing = runs_section.missing(report)
    if missing:
        few = "".join(f"<li>{escape(one)}</li>" for one in missing)
        parts.insert(0, f'<div class="warning">\n<p>This study is not finished. Missing:</p>\n<ul>{few}</ul>\n</div>')
    return "\n".join(parts)


def _sections(report: ReportData) -> Iterator[Section]:
    words = summary_paragraph(report.table, report.text_format)
    yield Section("verdict", "What came out", f'<p class="lead">{escape(words)}</p>')
    yield _results(report)
    yield score_section.section(report)
    gained = class_section.gains(report)
    if gained is not None:
        yield gained
    yield class_section.confusion(report)
    yield cost_section.section(report)
    yield reliability_section.reliability(report)
    yield feature_map_section.section(report)
    along = training_section.errors(report)
    if along is not None:
        yield along
    yield training_section.curves(report)
    yield sample_section.section(report)
    yield runs_section.failures(report)
    yield runs_section.runs_behind(report)


def _results(report: ReportData) -> Section:
    """The table's blocks; a number of the first leads to the runs behind it."""
    table = report.table
    first, *others = blocks(table, report.text_format)
    # The numbers of a column stand first in its group of the block's columns.
    links = {
        (i, first.groups[j][0]): f"#{runs_section.anchor(i, j)}"
        for i in range(len(table.spec.rows))
        for j in range(len(table.spec.columns))
    }
    grids = "\n".join([grid(first, links), *(grid(block) for block in others)])
    words = "<p>A press on a header sorts. Each number leads to the runs behind it.</p>"
    return Section("results", "Results", f"{words}\n{grids}\n{notes_list(table, report.text_format)}")
