"""LaTeX that compiles: escaping is checked always, the fragment itself where there is a TeX."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from trigan.records.record import Record
from trigan.tables.layout.latex import MAX_FLOATS, escape, render_latex
from trigan.tables.table import Family, Table, TableSpec, build_table

MakeAll = Callable[..., list[Record]]
ODD = "[x] & % $ # _ { } ~ ^ \\ < > | \" ` ' * -- † ± \u2212 é ł 中"


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a & b, 5 % of $3, #1_x", r"a \& b, 5 \% of \$3, \#1\_x"),
        ("{~^\\}", r"\{\textasciitilde{}\textasciicircum{}\textbackslash{}\}"),
        ("p < 0.05 > |x|", "p $<$ 0.05 $>$ $|$x$|$"),
        ("95.1 ± 0.3 †", r"95.1 $\pm$ 0.3 $\dagger$"),
        ("-2.3 [-3.7, +0.7]", "$-$2.3 {[}$-$3.7, +0.7{]}"),
        ("2\u2212x, 1e-4, 2020-11-23, self-training", "2$-$x, 1e-4, 2020-11-23, self-training"),
        ("a--b --- c", "a-{}-b -{}-{}- c"),
        ('"one, two" (`x\')', "``one, two'' ({\\`{}}x')"),
        ("* a\nb\x07", "{*} a b "),
        ("Şölçüm, naïve, Łódź", None),
        ("中", r"{\ttfamily U+4E2D}"),
        ("e\u0301", r"\'{e}"),
    ],
)
def test_everything_is_escaped(text: str, latex: str | None) -> None:
    made = escape(text)
    assert made.isascii()
    if latex is not None:
        assert made == latex


def table(records: MakeAll, rows: tuple[str, ...], columns: tuple[str, ...], trials: int = 10) -> Table:
    places = {
        (row, column): records([0.7 + 0.02 * i + 0.01 * ((7 * t + i * j) % 5) for t in range(trials)])
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    }
    family = Family(rows[1:], rows[:1])
    return build_table(places, TableSpec("A_table & more", rows, columns, reference=rows[0], family=family))


@pytest.fixture
def wide(records: MakeAll) -> Table:
    rows = ("baseline, augmented (classifier=resnet18)", "features (layers=last, probe=svm)", ODD, "* a star")
    return table(records, rows, ("digits, 10 labels per class", "mnist, 10 labels per class", "cifar10_x"))


def test_every_block_is_a_booktabs_table(wide: Table, records: MakeAll) -> None:
    text = render_latex(wide)
    for words in (
        "A\\_table \\& more: test accuracy, \\%",
        "Primary comparisons",
        "Data used by each row",
        "Every trial",
    ):
        assert f"\\caption{{{words}" in text
    assert text.count("\\begin{table}") == text.count("\\toprule") == text.count("\\end{table}")
    assert text.count("\\begin{table}[!htbp]") == 3 + 3 * 4, (
        "three results, and of each column p apart from differences"
    )
    assert "\\textbf{76.0~$\\pm$~1.5}" in text or "\\textbf{78.0~$\\pm$~1.5}" in text
    assert "are better." in text
    assert "\\item bold: highest mean of its column" in text
    assert "\\item $\\dagger$: not worse than the best" in text
    assert render_latex(wide) == text
    assert "\\caption{A\\_table \\& more: test accuracy, \\% (continued)}" in text
    assert "(continued) (continued)" not in render_latex(table(records, tuple(f"{ODD} {i}" for i in range(60)), ("x",)))


def test_a_grid_over_several_pages_has_all_rows(records: MakeAll) -> None:
    rows = tuple(f"row {i} of sixty" for i in range(60))
    text = render_latex(table(records, rows, ("x",), trials=3))
    results = text[: text.index("Primary comparisons")]
    assert [line.split(" & ")[0] for line in results.splitlines() if line.startswith("row ") and "&" in line] == [
        *("row", *rows[:45]),
        *("row", *rows[45:]),
    ]


def compiled(folder: Path, *fragments: str) -> str:
    """The log of an article with nothing but booktabs in its preamble."""
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on this machine (Debian: texlive-latex-base and texlive-latex-recommended)")
    body = "\n".join(fragments)
    (folder / "a.tex").write_text(
        f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "a.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    log = (folder / "a.log").read_text(encoding="latin-1")
    assert done.returncode == 0, [line for line in log.splitlines() if line.startswith(("!", "l."))]
    return log


def test_it_compiles_and_stays_on_the_page(
    wide: Table, records: MakeAll, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXMFVAR", str(tmp_path))
    tall = table(records, tuple(f"row {i}: a name that says what it is, and some more" for i in range(50)), ("x",), 3)
    many = table(records, ("a", "b"), tuple(f"column {i}" for i in range(24)), 3)
    assert render_latex(many).count("\\begin{table}") > 4 * MAX_FLOATS
    log = compiled(tmp_path, *map(render_latex, (wide, tall, many)))
    assert not re.findall(r"Overfull \\hbox.*|.*Float too large.*", log)
    assert (tmp_path / "a.pdf").stat().st_size > 10_000
