"""The table as an HTML page: names are escaped, and columns have sort keys."""

from collections.abc import Callable

import pytest
from html_outline import Outline

from trigan.records.record import Record
from trigan.tables.layout.blocks import Block
from trigan.tables.layout.templating import environment, render_page
from trigan.tables.layout.text import render_html
from trigan.tables.table import Table, TableSpec, build_table

MakeAll = Callable[..., list[Record]]


def grid(block: Block, links: dict[tuple[int, int], str] | None = None) -> str:
    """A block as the grid of a page."""
    return environment().get_template("grid.html.j2").module.grid(block, links or {})  # type: ignore[attr-defined]


@pytest.fixture
def table(records: MakeAll) -> Table:
    places = {
        ("bare", "digits"): records([0.8, 0.9, 0.85]),
        ('<b>joint</b> & "co"', "digits"): records([0.7, 0.84, 0.8]),
    }
    places["bare", "digits"][0]["result"]["status"] = "diverged"
    spec = TableSpec("A <script>", ("bare", '<b>joint</b> & "co"'), ("digits",), reference="bare")
    return build_table(places, spec)


def test_the_page_of_a_table(table: Table) -> None:
    page = render_html(table)
    assert page == render_html(table)
    assert "<h1>A &lt;script&gt;</h1>" in page
    assert "<caption><span>A &lt;script&gt;: test accuracy, %</span></caption>" in page
    assert '<th scope="row">&lt;b&gt;joint&lt;/b&gt; &amp; &#34;co&#34;</th>' in page
    bold = '<td class="tight" data-key="85"><strong>85.0 (80.0 to 90.0)</strong>;<wbr> 1 of 3 diverged</td>'
    assert bold in page
    assert "<li>Trials: 0, 1, 2.</li>" in page
    assert "With 3 trials no interval is given" in page
    outline = Outline(page)
    assert not outline.crossed
    assert not outline.open
    assert [tag for tag, _ in outline.tags].count("script") == 1


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("92.7 (91.7 to 93.7)", "92.7"),
        ("-2.3 [-3.7, -0.7]", "-2.3"),
        ("+0.2 (0.0 to +0.7)", "0.2"),
        ("429 GFLOP", "429000000000"),
        ("1.5 PFLOP", "1.5e+15"),
        ("0 FLOP", "0"),
        ("< 0.001", "0.001"),
        ("5 to 20", "5"),
        ("100 + 20", "100"),
        ("70.0, 80.0; incomplete, 2 of 3", "70"),
        ("not comparable; also uses unlabelled images", None),
        ("-", None),
        ("C:64k", None),
        ("3rd", None),
    ],
)
def test_sort_keys(text: str, key: str | None) -> None:
    found = grid(Block("t", ("row", "x"), (("a", text),)))
    assert ("data-key" in found) == (key is not None)
    assert key is None or f'data-key="{key}"' in found


def test_links_and_headers() -> None:
    found = grid(Block("t", ("row", "x"), (("a", "1"),)), {(0, 1): "#there"})
    assert '<td data-key="1"><a href="#there">1</a></td>' in found
    assert '<th scope="col"><button type="button">x</button></th>' in found


def test_names_are_escaped_and_characters_that_html_lacks_are_replaced(records: MakeAll) -> None:
    name = "it's <i>& a\x00b\x1b[1m\ud800"
    page = render_html(build_table({(name, "x"): records([0.5])}, TableSpec("t", (name,), ("x",))))
    assert '<th scope="row">it&#39;s &lt;i&gt;&amp; a\ufffdb\ufffd[1m\ufffd</th>' in page


def test_a_page_is_self_contained() -> None:
    page = render_page("page.html.j2", {"title": "t"})
    assert "default-src 'none'" in page
    for outside in ("http:", "https:", "url(", "@import", "<link", " src="):
        assert outside not in page
