"""Compares every number of a verdict's table, pages and terminal text with one that is computed anew from records."""

import csv
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean, stdev

Values = dict[int, float]


class _Grids(HTMLParser):
    """The rows of all tables of a page, each a list of texts."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._cell = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        self._cell = tag in ("td", "th") or (self._cell and tag != "tr")

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th", "table")

    def handle_data(self, data: str) -> None:
        if self._cell and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def disagreements(folder: Path, runs: Path, terminal: str) -> list[str]:
    """What ``table.csv``, ``verdict.md``, ``verdict.html`` or the terminal say differently from the records' accuracy.

    Every table of each page that has a row's name, the parts of gains and the headline are compared. Whole rows of
    both pages (intervals, label equivalents, verdicts) must be equal, and the intervals those of ``table.csv``.
    """
    lines = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    found = [json.loads(path.read_text()) for path in runs.glob("*/record.json")]
    by_run = {record["run"]: record for record in found}
    scores, flops, wrong = dict[str, Values](), dict[str, float](), list[str]()
    for line in lines:
        records = [next(one for run, one in by_run.items() if run.startswith(start)) for start in line["runs"].split()]
        scores[line["row"]] = {one["tags"]["trial"]: one["result"]["test"]["accuracy"] for one in records}
        flops[line["row"]] = fmean(one["result"]["cost"]["flops"] for one in records)
        for kind in "LUVX":
            used = [int(one["result"]["data_used"][kind]) for one in records]
            told_range = {int(number) for number in line[kind].split(":")}
            wrong += [] if told_range == {min(used), max(used)} else [f"table.csv: {line['row']}: {kind}"]
    for line in lines:
        row, told = (
            line["row"],
            {int(trial): float(value) for trial, value in (p.split(":") for p in line["values"].split())},
        )
        same = told == scores[row] and abs(float(line["mean"]) - fmean(told.values())) < 1e-12
        same &= int(line["n"]) == len(told) and abs(float(line["flops"]) - flops[row]) <= 1e-9 * flops[row]
        if line["difference_mean"]:
            difference = fmean(_minus(scores[row], scores["baseline: classic"]))
            same &= abs(float(line["difference_mean"]) - difference) < 1e-12
        wrong += [] if same else [f"table.csv: {row}"]
    html, markdown = _Grids(), (folder / "verdict.md").read_text()
    html.feed((folder / "verdict.html").read_text())
    grids = [line.strip("| ").split(" | ") for line in markdown.splitlines() if line.startswith("| ")]
    best = max(scores, key=lambda row: fmean(scores[row].values()))
    answer = f"{best} ({100 * fmean(scores[best].values()):.1f} %)"
    for name, rows, text in (
        ("verdict.md", grids, markdown),
        ("verdict.html", html.rows, (folder / "verdict.html").read_text()),
        ("terminal", [], " ".join(terminal.split())),
    ):
        wrong += [f"{name}: {one}" for one in _wrong_rows(rows, scores, flops)]
        wrong += [] if answer in text or "strongest classifier" not in text else [f"{name}: not {answer}"]
    pages = [{tuple(map(_bare, row)) for row in rows if _bare(row[0]) in scores} for rows in (grids, html.rows) if rows]
    wrong += [f"pages: only in Markdown: {' | '.join(row)}" for row in sorted(pages[0] - pages[1])]
    for line, kind in ((line, kind) for line in lines for kind in ("difference", "primary")):
        if line[f"{kind}_kind"] in ("exploratory", "headline"):
            low, high = (_signed(float(line[f"{kind}_{end}"])) for end in ("low", "high"))
            texts = [row[2] for row in pages[0] if row[0] == line["row"] and len(row) > 2 and "[" in row[2]]
            texts = [text for text in texts if text.endswith(f"; {line[f'{kind}_against']}")]
            same = bool(texts) and all(f"[{low}, {high}]" in text for text in texts)
            wrong += [] if same else [f"table.csv: {line['row']}: interval of the {kind}"]
    wrong += [f"terminal: {row}" for row, values in scores.items() if _score(list(values.values())) not in terminal]
    return wrong


def _wrong_rows(rows: Sequence[Sequence[str]], scores: dict[str, Values], flops: dict[str, float]) -> list[str]:
    """Rows of a page's tables with another number than that of the records; or how many tables name no row."""
    wrong, compared = [], 0
    for cells in ([cell.strip().replace("*", "").replace(" †", "") for cell in row] for row in rows):
        if cells[:1] and cells[0] in scores and len(cells) > 2:
            row, texts = cells[0], cells[1:]
            if step := re.fullmatch(r"(.+) minus (.+)", texts[1]):
                same = texts[2].startswith(_difference(_minus(scores[step[1]], scores[step[2]])))
            elif difference := re.fullmatch(r"([+-]?\d.*); (.+)", texts[1]):
                same = difference[1].startswith(_difference(_minus(scores[row], scores[difference[2]])))
                same &= texts[3] == f"{flops[row] / flops['baseline: classic']:.1f} x"
                same &= texts[0] == _score(list(scores[row].values()))
            elif all(re.fullmatch(r"\d+\.\d", text) for text in texts) and len(texts) == len(scores[row]):
                same = texts == [f"{100 * scores[row][trial]:.1f}" for trial in sorted(scores[row])]
            elif re.match(r"[+-]\d|0\.0", texts[1]) and re.match(r"\d", texts[0]) and len(cells) == 3:
                same = texts[1].startswith(_difference(_minus(scores[row], scores["baseline: classic"])))
                same &= texts[0] == _score(list(scores[row].values()))
            else:
                continue
            compared += 1
            wrong += [] if same else [" | ".join(cells)]
    return wrong if compared >= len(scores) or not rows else [*wrong, f"only {compared} rows have numbers"]


def _bare(text: str) -> str:
    """A cell without marks of emphasis and of sorting."""
    return " ".join(text.replace("*", "").replace("\\", "").replace("\u2195", "").split())


def _minus(one: Values, other: Values) -> list[float]:
    return [one[trial] - other[trial] for trial in sorted(one)]


def _score(values: Sequence[float]) -> str:
    """As docs/protocol.md has it: all values, then mean and range, then mean and deviation."""
    texts = [f"{100 * value:.1f}" for value in (fmean(values), min(values), max(values))]
    if len(values) < 3:
        return ", ".join(f"{100 * value:.1f}" for value in values)
    return f"{texts[0]} ({texts[1]} to {texts[2]})" if len(values) < 5 else f"{texts[0]} ± {100 * stdev(values):.1f}"


def _difference(values: Sequence[float]) -> str:
    """The differences, or their mean and range, or the beginning of a mean with an interval."""
    mean, low, high = (_signed(value) for value in (fmean(values), min(values), max(values)))
    if len(values) < 3:
        return ", ".join(map(_signed, values))
    return f"{mean} ({low} to {high})" if len(values) < 5 else f"{mean} ["


def _signed(value: float) -> str:
    number = round(100 * value, 1)
    return f"{number:+.1f}" if number else "0.0"
