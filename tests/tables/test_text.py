"""The same bytes for the same table, as Markdown, in a terminal and as CSV."""

import csv
import io
from collections.abc import Callable

import pytest

from trigan.errors import ConfigError
from trigan.records.record import Record
from trigan.tables.layout.text import render_brief, render_csv, render_markdown, render_terminal
from trigan.tables.table import Family, Table, TableSpec, build_table

MakeAll = Callable[..., list[Record]]
UNLABELLED = {
    "data_used": {"U": 900},
    "cost": {"flops": 3_400_000_000_000_000, "images": {"generator": 1_280_000, "classifier": 64_000}},
}


@pytest.fixture
def small(records: MakeAll) -> Table:
    """Three trials: a reference, a tie with it, a row that uses more data, one with a missing trial."""
    places = {
        ("bare", "digits"): records([0.8, 0.9, 0.85]),
        ("tied", "digits"): records([0.9, 0.85, 0.8], stamps=["val-large"]),
        ("joint", "digits"): records([0.7, 0.84, 0.8], **UNLABELLED),
        ("short", "digits"): records([0.7, 0.8]),
    }
    places["joint", "digits"][0]["result"]["status"] = "diverged"
    return build_table(places, TableSpec("Small", ("bare", "tied", "joint", "short"), ("digits",), reference="bare"))


MARKDOWN = """\
## Small: test accuracy, %

| row | digits (n = 3) | minus bare |
| --- | --- | --- |
| bare | **85.0 (80.0 to 90.0)** | reference |
| tied | **85.0 (80.0 to 90.0)** | 0.0 (-5.0 to +10.0) |
| joint | 78.0 (70.0 to 84.0); 1 of 3 diverged | not comparable; also uses unlabelled images |
| short | 70.0, 80.0; incomplete, 2 of 3 | incomplete |

### Data used by each row, and its cost

| row | L | U | V | X | train + select | rule | cost per run | images per run |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| bare | 100 | 0 | 0 | 0 | 100 + 0 | last | 1.5 TFLOP | C:64k |
| tied | 100 | 0 | 0 | 0 | 100 + 0 | last | 1.5 TFLOP | C:64k |
| joint | 100 | 900 | 0 | 0 | 100 + 0 | last | 3.4 PFLOP | C:64k, G:1.28M |
| short | 100 | 0 | 0 | 0 | 100 + 0 | last | 1.5 TFLOP | C:64k |

### Every trial

| row | trial 0 | trial 1 | trial 2 |
| --- | --- | --- | --- |
| bare | 80.0 | 90.0 | 85.0 |
| tied | 90.0 | 85.0 | 80.0 |
| joint | 70.0 | 84.0 | 80.0 |
| short | 70.0 | 80.0 | - |

With 3 trials no interval is given: a difference between means may be chance, even where the ranges do not overlap. \
True differences of less than about 28.3 points would mostly go undetected with these trials. Rows that use \
other data than bare: joint; their differences are not due to the method alone. \
Of 4 cells 1 is incomplete and not compared.

- Below 5 trials: mean (lowest to highest) and no interval; below 3, the values only.
- bold: highest mean of its column; no statement about significance.
- No † is given below 5 trials.
- L: labelled training images; U: unlabelled ones; V: labels for selection; X: other images. Rows are compared only \
where all four are equal.
- Cost: counted operations and images of all stages of a run, reused or not (mean over runs).
- Diverged runs stay in the mean, with their last healthy weights (or chance).
- Incomplete cells lack trials; they are neither compared nor marked.
- Minimal detectable differences to bare in points (paired t, 5 % two-sided, power 80 %; each by its own sd and n): \
tied 28.3.
- Trials: 0, 1, 2.
- Selection rule: last = weights at the end of training.
- Not tuned: no row has settings that a search chose.
- Stamp val-large (the weights were chosen on a large validation set, as in most papers): tied.
"""

TERMINAL_TOP = """\
Small: test accuracy, %
row    digits (n = 3)                        minus bare
─────────────────────────────────────────────────────────────────────────────────────────
bare   85.0 (80.0 to 90.0) *                 reference
tied   85.0 (80.0 to 90.0) *                 0.0 (-5.0 to +10.0)
joint  78.0 (70.0 to 84.0); 1 of 3 diverged  not comparable; also uses unlabelled images
short  70.0, 80.0; incomplete, 2 of 3        incomplete

"""


def test_markdown_is_these_bytes(small: Table) -> None:
    assert render_markdown(small) == MARKDOWN


def test_terminal_text_starts_with_these_bytes(small: Table) -> None:
    assert render_terminal(small).startswith(TERMINAL_TOP)
    assert "*: highest mean of its column" in render_terminal(small)


@pytest.mark.parametrize("render", [render_markdown, render_csv, render_terminal])
def test_the_same_bytes_twice_whatever_the_terminal(
    small: Table, render: Callable[[Table], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = render(small)
    for name, value in (("COLUMNS", "37"), ("TERM", "dumb"), ("NO_COLOR", "1"), ("FORCE_COLOR", "1")):
        monkeypatch.setenv(name, value)
    assert render(small) == first
    assert "\x1b" not in first


def test_colour_is_optional(small: Table) -> None:
    assert "\x1b[1m85.0" in render_terminal(small, colour=True)


@pytest.fixture
def wide(records: MakeAll) -> Table:
    """Ten trials, three columns, long names."""
    names = (
        "baseline, augmented (classifier=resnet18)",
        "features (layers=last, probe=svm)",
        "joint (feature_matching)",
    )
    columns = ("digits, 10 labels per class", "mnist, 10 labels per class", "cifar10, 400 labels per class")
    places = {
        (name, column): records([0.7 + 0.05 * i + 0.01 * ((7 * t + i * j) % 5) for t in range(10)])
        for i, name in enumerate(names)
        for j, column in enumerate(columns)
    }
    family = Family(names[2:], names[:1])
    return build_table(places, TableSpec("Wide", names, columns, reference=names[0], family=family))


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_page_is_never_too_wide_and_breaks_no_number(wide: Table, width: int) -> None:
    text = render_terminal(wide, width)
    assert max(map(len, text.splitlines())) <= width
    for cell in wide.cells.values():
        assert cell.summary is not None
        assert f"{100 * cell.summary.mean:.1f} ± {100 * (cell.summary.sd or 0):.1f}" in text
    one = wide.primary[0]
    assert one.low is not None
    assert one.high is not None
    assert f"[+{100 * one.low:.1f}, +{100 * one.high:.1f}]" in text
    assert "p < 0.001" in text
    # Each row's three images columns are still there.
    assert text.count("C:64k") == 9


def test_three_trials_print_no_interval_and_ten_print_p(small: Table, wide: Table) -> None:
    for text in (render_markdown(small), render_terminal(small)):
        assert "[" not in text
        assert "±" not in text
        assert " p " not in text
    assert "p (t, Holm)" in render_markdown(wide)
    assert "± " in render_markdown(wide)


def test_csv_is_unrounded_and_long(small: Table) -> None:
    lines = list(csv.DictReader(io.StringIO(render_csv(small))))
    assert [line["row"] for line in lines] == ["bare", "tied", "joint", "short"]
    assert float(lines[2]["mean"]) == pytest.approx(0.78)
    assert lines[2]["values"] == "0:0.7 1:0.84 2:0.8"
    assert (lines[2]["U"], lines[2]["diverged"], lines[2]["difference_reason"]) == (
        "900",
        "1",
        "not comparable; also uses unlabelled images",
    )
    assert (lines[3]["incomplete"], lines[3]["difference_mean"]) == ("1", "")
    assert lines[1]["stamps"] == "val-large"
    assert [line["best"] for line in lines] == ["1", "1", "0", "0"]


def test_markdown_marks_in_names_are_escaped(records: MakeAll) -> None:
    table = build_table({("a|b_*", "x"): records([0.5])}, TableSpec("t", ("a|b_*",), ("x",)))
    assert "| a\\|b\\_\\* | **50.0** |" in render_markdown(table)


def test_an_empty_table_says_so(records: MakeAll) -> None:
    table = build_table({}, TableSpec("t", ("a",), ("x",), trials=(0, 1), reference="a"))
    for text in (render_markdown(table), render_terminal(table)):
        assert "no run" in text
        assert "No run of this table is finished yet." in text
    assert render_csv(table).count("\n") == 2


def test_a_search_that_chose_settings_is_named(records: MakeAll) -> None:
    tuned = {"tuned": {"search": "joint-3f", "trials": 20, "labels": 40}}
    places = {("found", "all"): records([0.8, 0.9], config=tuned), ("bare", "all"): records([0.7, 0.8])}
    text = render_markdown(build_table(places, TableSpec("t", ("found", "bare"), ("all",))))
    assert "- Settings chosen by the search joint-3f (20 trials on 40 validation labels): found." in text


def test_a_gain_is_divided_into_steps(records: MakeAll) -> None:
    seen = {"L": 100, "U": 900, "V": 0, "X": 0}
    places = {
        ("bare", "x"): records([0.70, 0.72, 0.74]),
        ("classic", "x"): records([0.80, 0.83, 0.83]),
        ("game", "x"): records([0.81, 0.83, 0.82], data_used=seen),
    }
    ablations = {"game": (("augmentation", "bare"), ("the game, and U", "classic"))}
    table = build_table(
        places, TableSpec("t", ("bare", "classic", "game"), ("x",), reference="bare", ablations=ablations)
    )
    text = render_markdown(table)
    assert "| game | augmentation | classic minus bare | +10.0 (+9.0 to +11.0) |" in text
    assert "| game | the game, and U | game minus classic | 0.0 (-1.0 to +1.0) |" in text, "a step may add data"
    total = sum(one.mean for _, one in table.steps["game", "x"])  # type: ignore[misc]
    assert total == pytest.approx(0.82 - 0.72)
    with pytest.raises(ConfigError, match="'other' is no row"):
        TableSpec("t", ("a",), ("x",), ablations={"a": (("all", "other"),)})


def test_curves_of_test_error_by_images_seen(records: MakeAll, record: Callable[..., Record]) -> None:
    def point(images: int, accuracy: float) -> dict[str, object]:
        return {"images": images, "accuracy": accuracy, "weights": "ab"}

    found = [record(0.9 + t / 100, t, curve=[point(64, 0.5 + t / 10), point(1280, 0.9 + t / 100)]) for t in range(3)]
    found.append(record(0.96, 1, seed=9, curve=[point(64, 0.4), point(1280, 0.96)]))
    table = build_table({("a", "x"): found, ("b", "x"): records([0.5] * 3)}, TableSpec("t", ("a", "b"), ("x",)))
    assert table.cells["a", "x"].curve == {
        64: pytest.approx([0.5, 0.5, 0.3]),
        1280: pytest.approx([0.1, 0.065, 0.08]),
    }
    text = render_markdown(table)
    assert "| a | 64: 43.3 (30.0 to 50.0); 1.28k: 8.2 (6.5 to 10.0) |" in text
    other = build_table({("a", "x"): found}, TableSpec("t", ("a",), ("x",), metric="macro_f1"))
    assert "by images seen" not in render_markdown(other)


def test_one_screen_has_every_row_beside_its_strongest_baseline(records: MakeAll) -> None:
    """A baseline without an equal has a dash; from ten trials on the claims are shown."""
    both = {"data_used": {"U": 900}}
    for n, shown in ((3, False), (10, True)):
        gains = [0.001 * trial for trial in range(n)]
        places = {
            ("bare", "digits"): records([0.8 + gain for gain in gains]),
            ("classic", "digits"): records([0.85 + gain for gain in gains]),
            ("FixMatch", "digits"): records([0.9 + gain for gain in gains], **both),
            ("joint", "digits"): records([0.95 + gain for gain in gains], **both),
        }
        family = Family(("joint",), ("bare", "classic", "FixMatch"))
        rows = ("bare", "classic", "FixMatch", "joint")
        built = build_table(places, TableSpec("Small", rows, ("digits",), reference="bare", family=family))
        lines = render_brief(built, 120).rstrip().splitlines()[-4:]
        assert [line.split()[0] for line in lines] == list(rows)
        assert "-5.0" in lines[0]
        assert "; classic" in lines[0]
        assert "; bare" in lines[1]
        assert lines[2].split()[-1] == "-"
        assert "+5.0" in lines[3]
        assert "; FixMatch" in lines[3]
        assert lines[3].endswith("better") == shown
