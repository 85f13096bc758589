"""The table as a page: nothing is taken for markup, and columns know what they are sorted by."""

from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from trigan.records.record import Record
from trigan.tables.layout.blocks import Block
from trigan.tables.layout.html import document, escape, grid, render_html
from trigan.tables.table import Table, TableSpec, build_table

MakeAll = Callable[..., list[Record]]


class Outline(HTMLParser):
    """The tags of a page in order, and those that were closed by another's end."""

    VOID = ("meta", "br", "img", "wbr", "rect", "path", "circle")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.crossed: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID or tag in ("circle", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)


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
    assert '<th scope="row">&lt;b&gt;joint&lt;/b&gt; &amp; &quot;co&quot;</th>' in page
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
def test_what_a_text_is_sorted_by(text: str, key: str | None) -> None:
    found = grid(Block("t", ("row", "x"), (("a", text),)))
    assert ("data-key" in found) == (key is not None)
    assert key is None or f'data-key="{key}"' in found


def test_links_and_headers() -> None:
    found = grid(Block("t", ("row", "x"), (("a", "1"),)), {(0, 1): "#there"})
    assert '<td data-key="1"><a href="#there">1</a></td>' in found
    assert '<th scope="col"><button type="button">x</button></th>' in found


def test_characters_that_html_has_none_for() -> None:
    assert escape("a\x00b\x1b[1m\ud800") == "a\ufffdb\ufffd[1m\ufffd"
    assert escape("it's <i>&\n") == "it&#x27;s &lt;i&gt;&amp;\n"


def test_a_page_holds_all_that_it_needs() -> None:
    page = document("t", "<main id='main'></main>")
    assert "default-src 'none'" in page
    for outside in ("http:", "https:", "url(", "@import", "<link", " src="):
        assert outside not in page
