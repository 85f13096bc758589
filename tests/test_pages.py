"""Pages with numbers: a section names the protocol of its table, an earlier one says so, and archives rebuild them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from trigan.commands.main import main
from trigan.records.record_archive import read_archive
from trigan.version import PROTOCOL_VERSION

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "experiments"
PAGES = [*sorted(STUDIES.glob("*/README.md")), ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Pages that explain protocols and files instead of printing results of ours.
NO_RESULTS = {"docs/protocol.md"}

#: Sections with numbers of an earlier protocol, and why they are still there. The list may only become shorter.
EARLIER = {
    ("experiments/attribution/README.md", "Results"): "an hour on two cores; not run again with one recipe of C",
    ("experiments/d_features/README.md", "Results"): "not run again since probes were calibrated",
    ("experiments/ecgan_fraction/README.md", "Results"): "not run again with one recipe of C",
    ("experiments/factorial/README.md", "Results"): "not run again with one recipe of C",
    ("experiments/label_budget/README.md", "Results"): "not run again with one recipe of C",
    ("experiments/mnist_100/README.md", "Results: all rows, protocol 2"): "hours; not run again with one recipe of C",
    ("experiments/ssl_labels/README.md", "CIFAR-10, 4,000 labels"): "hours; not run again with one recipe of C",
    ("experiments/transfer/README.md", "Results"): "not run again since probes were calibrated",
    ("README.md", "Results so far"): "a sentence on attribution, until that study is run again",
}
#: What such a section says in so many words.
SAYS = "of an earlier protocol"
#: A protocol named as that of numbers, and not as one before or until which something was so.
NAMED = re.compile(r"(?<!until )(?<!before )(?<!table of )\bprotocol (\d+)\b", re.IGNORECASE)
#: A line of a table with a measured number: 97.4, +1.2, 64.9 ± 5.6.
MEASURED = re.compile(r"^\|.*[|\s*+-]\d+\.\d", re.MULTILINE)


def sections(page: Path) -> Iterator[tuple[str, str, str]]:
    """Heading, own text, and the text of it and of the headings that it is under."""
    above: list[tuple[int, str]] = []
    parts = re.split(r"^(#+ .*)\n", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), flags=re.MULTILINE)
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        level = len(heading) - len(heading.lstrip("#"))
        above = [*(one for one in above if one[0] < level), (level, f"{heading}\n{text}")]
        yield heading.lstrip("# "), text, "\n".join(one for _, one in above)


def protocols(text: str) -> set[int]:
    return {int(number) for number in NAMED.findall(" ".join(text.split()))}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def earlier_sections() -> dict[tuple[str, str], str]:
    """The sections that name another protocol than the present one, with their text."""
    return {
        (name(page), heading): text
        for page in PAGES
        if name(page) not in NO_RESULTS
        for heading, text, _ in sections(page)
        if protocols(f"{heading} {text}") - {PROTOCOL_VERSION}
    }


def test_numbers_of_an_earlier_protocol_say_so_and_are_listed() -> None:
    found = earlier_sections()
    new = [f"{page}, {heading}" for page, heading in found.keys() - EARLIER.keys()]
    assert not new, f"run the study again under protocol {PROTOCOL_VERSION}: {new}"
    for place, text in found.items():
        assert SAYS in " ".join(text.split()), f"{place}: say plainly that these numbers are {SAYS}"
    assert found.keys() == EARLIER.keys(), "run again by now: remove these from the list"


@pytest.mark.parametrize("page", sorted(STUDIES.glob("*/README.md")), ids=lambda page: page.parent.name)
def test_a_table_of_results_names_its_protocol(page: Path) -> None:
    for heading, text, with_headings_above in sections(page):
        if len(MEASURED.findall(text)) > 1 and "publish" not in heading.lower():
            assert protocols(with_headings_above) or any(
                protocols(own) for other, own, _ in sections(page) if other.startswith("Results")
            ), f"{name(page)}, {heading}: a table of numbers without a protocol"


ARCHIVES = [
    (path.parent.name, scale, path)
    for path in sorted(STUDIES.glob("*/records.parquet"))
    for scale in read_archive(path).about["tables"]
]


@pytest.mark.parametrize(("study", "scale", "path"), ARCHIVES, ids=[f"{one}-{scale}" for one, scale, _ in ARCHIVES])
def test_an_archive_rebuilds_the_table_of_its_study(
    study: str, scale: str, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All rows and trials are there, and the table beside the page has the same bytes."""
    words = [str(path.parent), "--from", str(path), "--format", "md", "--output", str(tmp_path / "table.md")]
    assert main(["table", *words, *(["--scale", scale] if scale else [])]) == 0
    assert capsys.readouterr().err == f"written: {tmp_path}/table.md\n"  # no missing job
    kept = path.with_name(f"table-{scale}.md" if scale else "table.md")
    assert (tmp_path / "table.md").read_bytes() == kept.read_bytes()
    assert path.stat().st_size < 2_000_000
    assert {f'"protocol":{PROTOCOL_VERSION},' in run.record for run in read_archive(path).runs} == {True}


#: A score or a difference as a cell of a page prints it.
CELL = re.compile(r"(?<!\S)[+-]\d+\.\d(?: [\[(].*?[\])])?|\d+\.\d(?: ± \d+\.\d| \(\d.*?\))")


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*/records.parquet")), ids=lambda path: path.parent.name)
def test_the_numbers_of_a_page_are_those_of_its_archive(path: Path) -> None:
    """Each score, difference and interval of a row in a table of the page stands in that row of the rebuilt table."""
    rebuilt: dict[str, str] = {}
    for file in path.parent.glob("table*.md"):
        for line in file.read_text().splitlines():
            first, _, rest = line.removeprefix("| ").partition(" | ")
            for row in {first, *re.findall(r"\| ([^|]+?) minus ", f"| {rest}")}:
                rebuilt[row] = rebuilt.get(row, "") + f" {rest.replace('**', '')}"
    page, checked = path.with_name("README.md"), 0
    for heading, text, _ in sections(page):
        if (name(page), heading) in EARLIER:
            continue
        for line in text.splitlines():
            row, _, rest = line.removeprefix("| ").partition(" | ")
            for cell in CELL.findall(rest.replace("**", "")) if row in rebuilt else ():
                assert cell in rebuilt[row], f"{heading}, {row}: {cell}"
                checked += 1
    assert checked > 20
