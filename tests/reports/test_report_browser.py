"""The pages in headless Chromium, driven by its command line and a script inserted into a copy of the page."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from report_fixture import COLUMNS, small_study

from trigan.reports.report_page import render_report
from trigan.tables.layout.templating import environment
from trigan.tables.layout.text import render_html

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here (Debian: apt-get install chromium)"),
    pytest.mark.timeout(300),
]

#: The result of the inserted script is written into the page, which the browser prints after loading it.
_INSERTED = """<script>addEventListener("load", () => {
  let result;
  try { result = { answer: (() => { %s })() }; } catch (error) { result = { error: String(error) }; }
  const place = document.createElement("pre");
  place.id = "result";
  place.textContent = JSON.stringify(result);
  document.body.append(place);
});</script></body>"""


def evaluate(page: str, script: str, folder: Path, width: int = 1280) -> tuple[Any, list[str]]:
    """What ``script`` returns when it is run on the loaded page, and the lines of the browser's console."""
    path = folder / "page.html"
    path.write_text(page.replace("</body>", _INSERTED % script), encoding="utf-8")
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []
    quiet = ["--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-gpu"]
    command = [CHROMIUM, "--headless=new", *alone, *quiet, f"--user-data-dir={folder / 'profile'}"]
    command += ["--enable-logging=stderr", f"--window-size={width},900", "--dump-dom"]
    done = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=240, check=True)
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    result = json.loads(html.unescape(found[1]))
    assert "error" not in result, result
    return result["answer"], [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    return render_report(small_study(tmp_path_factory.mktemp("runs")))


LOADED = """
  return {
    requests: performance.getEntriesByType("resource").map((entry) => entry.name),
    images: [...document.images].map((image) => [image.naturalWidth, image.naturalHeight]),
    drawings: [...document.querySelectorAll("figure > svg")].map((one) => one.getBoundingClientRect().width),
    page: document.documentElement.scrollWidth, window: innerWidth,
  };"""


@pytest.mark.parametrize("width", [1280, 500])
def test_the_report_loads_without_requests_or_console_errors(report: str, tmp_path: Path, width: int) -> None:
    found, console = evaluate(report, LOADED, tmp_path, width)
    assert console == []
    assert found["requests"] == []
    assert len(found["images"]) == 2 * len(COLUMNS)
    assert all(min(size) > 0 for size in found["images"])
    assert len(found["drawings"]) > 20
    assert all(0 < one <= found["page"] for one in found["drawings"])
    assert found["page"] <= found["window"]


def test_a_page_with_requests_and_errors_is_detected(tmp_path: Path) -> None:
    """The test above can fail: it detects refused requests and script errors."""
    extended = '{% extends "page.html.j2" %}{% block body %}'
    body = '<main id="main"><img alt="" src="https://example.invalid/a.png"></main><script>gone()</script>'
    bad = environment().from_string(f"{extended}{body}{{% endblock %}}").render(title="t")
    _, console = evaluate(bad, "return 1;", tmp_path)
    assert any("Content Security Policy" in line for line in console)
    assert any("gone is not defined" in line for line in console)


SORTED = """
  const table = document.querySelector("table.sortable"), head = table.tHead.rows[0].cells;
  const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
  const states = () => [...head].map((cell) => cell.getAttribute("aria-sort"));
  const seen = [[names(), states()]];
  for (const column of [1, 1, 1, 0, 2]) {
    head[column].querySelector("button").click();
    seen.push([names(), states()]);
  }
  return seen;"""


def test_a_click_on_a_header_sorts(tmp_path: Path) -> None:
    material = small_study(tmp_path / "runs", COLUMNS[:1])
    cells = {row: material.table.cells[row, COLUMNS[0]].summary for row in material.table.spec.rows}
    means = {row: summary.mean for row, summary in cells.items() if summary is not None}
    upwards = sorted(means, key=lambda row: means[row])
    first = list(material.table.spec.rows)
    assert upwards not in (first, first[::-1])
    for page in (render_html(material.table), render_report(material)):
        found, console = evaluate(page, SORTED, tmp_path)
        assert console == []
        names, states = zip(*found, strict=True)
        assert names[0] == first
        assert names[1] == upwards
        assert names[2] == upwards[::-1]
        assert names[3] == first
        assert names[4] == sorted(first)
        assert [state[1] for state in states[:4]] == ["none", "ascending", "descending", "none"]
        assert states[4] == ["ascending", "none", "none"]
        # of the differences one is a number, which comes before the words
        assert names[5][0] == "joint"


OPENED = """
  const link = document.querySelector("#results ~ .wide td a"), aim = document.getElementById(link.hash.slice(1));
  const fold = aim.closest("details"), before = fold.open;
  location.hash = link.hash;
  dispatchEvent(new Event("hashchange"));
  const skip = document.querySelector("a");
  skip.focus();
  const box = skip.getBoundingClientRect();
  dispatchEvent(new Event("beforeprint"));
  const printed = [...document.querySelectorAll("details")].every((one) => one.open);
  dispatchEvent(new Event("afterprint"));
  return { before, after: fold.open, skip: skip.hash, seen: box.left >= 0 && box.top >= 0, printed,
           folded: [...document.querySelectorAll("details")].filter((one) => !one.open).length };"""


def test_a_link_opens_its_runs_and_printing_opens_all(report: str, tmp_path: Path) -> None:
    found, console = evaluate(report, OPENED, tmp_path)
    assert console == []
    assert (found["before"], found["after"]) == (False, True)
    assert (found["skip"], found["seen"]) == ("#main", True)
    assert found["printed"]
    assert found["folded"] == 3 * len(COLUMNS) - 1
