"""A table as a self-contained HTML page that fetches nothing: the same bytes for the same table."""

from trigan.tables.layout.blocks import blocks
from trigan.tables.layout.footnotes import footnotes, summary_paragraph
from trigan.tables.layout.formatting import TextFormat
from trigan.tables.layout.templating import render_page
from trigan.tables.table import Table


def render_html(table: Table, decimals: int = 1) -> str:
    """The table as a page: its blocks, the summary and the footnotes."""
    fmt = TextFormat(table.metric, decimals)
    values = {
        "title": table.spec.title,
        "summary": summary_paragraph(table, fmt),
        "blocks": blocks(table, fmt),
        "footnotes": footnotes(table, fmt, best_mark="bold"),
    }
    return render_page("table.html.j2", values)
