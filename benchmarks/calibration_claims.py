"""Are a table's claims what they say? Simulated trials without a difference, through whole tables; label equivalents.

Called by benchmarks/calibration.py. Aim: at most 5 % of tables with a false "better" or "worse", also when trials are
added and the table is looked at again; intervals that cover 93 to 97 %.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from trigan.scores import METRICS
from trigan.tables.cell import Cell
from trigan.tables.image_outcomes import ImageOutcomes
from trigan.tables.looks import Look
from trigan.tables.paired_comparison import compare_cells
from trigan.tables.statistics import t_interval
from trigan.tables.table import Family, TableSpec, build_table
from trigan.tables.verdict import LabelCurve, label_equivalent

#: Makes a record: (score, trial, whether trials redraw the test set).
MakeRecord = Callable[..., Any]
#: Trials at which a study is looked at, and its rows.
LOOKS = (10, 15, 20, 30)
GANS, BASELINES = 3, 4
SD = 0.01
PARTS = ("verdicts", "peeking", "correlation", "equivalents")


def claims(
    values: np.ndarray,
    record: MakeRecord,
    looks: Sequence[Look],
    outcomes: Sequence[Sequence[ImageOutcomes]] | None = None,
) -> list[list[str]]:
    """The claims of a table at each level; ``values`` (rows, trials), the first ``GANS`` of them the family's rows."""
    names = tuple(f"row {i}" for i in range(len(values)))
    places, stored = {}, {}
    for index, (name, row) in enumerate(zip(names, values.tolist(), strict=True)):
        made = [record(value, trial, outcomes is not None) for trial, value in enumerate(row)]
        for trial, one in enumerate(made):
            one["run"] = f"{name}, {trial}"
            if outcomes is not None:
                stored[one["run"]] = outcomes[index][trial]
        places[name, "data"] = made
    family, trials = Family(names[:GANS], names[GANS:]), tuple(range(values.shape[1]))
    primary = build_table(places, TableSpec("t", names, ("data",), trials, family=family), outcomes=stored).primary
    found = []
    for look in looks:
        tests = [None if one.tests is None else replace(one.tests, level=look.level) for one in primary]
        found.append([replace(one, tests=test).claim for one, test in zip(primary, tests, strict=True)])
    return found


def verdicts(shape: str, noise: np.ndarray, record: MakeRecord) -> dict[str, Any]:
    """A/A through the whole verdict: ``noise`` (tables, rows, trials) of rows that do not differ in truth."""
    levels = {"counted, first look": Look(1), "not counted": Look()}
    shares = {f"{name}: {word}": 0.0 for name in levels for word in ("better", "worse", "either")}
    for values in noise:
        for name, said in zip(levels, claims(values, record, list(levels.values())), strict=True):
            for word in ("better", "worse"):
                shares[f"{name}: {word}"] += (word in said) / len(noise)
            shares[f"{name}: either"] += bool({"better", "worse"} & set(said)) / len(noise)
    return {"shape": shape, "n": noise.shape[2], "rows": GANS, "baselines": noise.shape[1] - GANS, **shares}


def peeking(noise: np.ndarray, record: MakeRecord) -> dict[str, Any]:
    """The share of studies with a false claim at any of the looks, with and without the correction for looking."""
    corrected = plain = 0
    for values in noise:
        said = [claims(values[:, :n], record, [Look(number), Look()]) for number, n in enumerate(LOOKS, 1)]
        corrected += any({"better", "worse"} & set(look[0]) for look in said)
        plain += any({"better", "worse"} & set(look[1]) for look in said)
    return {"looks": LOOKS, "corrected": corrected / len(noise), "without": plain / len(noise)}


def correlation(
    persistent: float, n: int, redrawn: bool, replicates: int, record: MakeRecord, seed: int
) -> dict[str, Any]:
    """Test sets image by image: coverage and width of the interval with predictions, and without.

    A share ``persistent`` of the images behaves alike in all trials. The truth, 0, is over all images there could be.
    Without predictions the correlation of trials is assumed where they redraw the test set, and else left out.
    """
    rng, tested = np.random.default_rng([seed, n, round(10 * persistent)]), 539
    images = 1797 if redrawn else tested
    share = tested * SD**2 / 2
    hits, widths, ratios = np.zeros(2), np.zeros(2), []
    for _ in range(replicates):
        lasting, kept = rng.random(images), rng.random(images) < persistent
        own, other, stored = [], [], {}
        for trial in range(n):
            rows = np.sort(rng.permutation(images)[:tested])
            drawn = np.where(kept[rows], lasting[rows], rng.random(tested))
            for cell, right, name in ((own, drawn >= share, "own"), (other, drawn <= 1 - share, "other")):
                one = record(float(right.mean()), trial, redrawn)
                one["run"] = f"{name} {trial}"
                stored[one["run"]] = ImageOutcomes(rows, right.astype(float))
                cell.append(one)
        for i, outcomes in enumerate((stored, {})):
            cells = [Cell(tuple(part), tuple(range(n)), METRICS["accuracy"], outcomes) for part in (own, other)]
            found = compare_cells("own", "other", "x", *cells)
            assert found.low is not None
            assert found.high is not None
            hits[i] += found.low <= 0 <= found.high
            widths[i] += found.high - found.low
            if i == 0 and found.overlap is not None:
                ratios.append(found.overlap.ratio)
    names = ("estimated", "assumed" if redrawn else "left out")
    coverage = {f"coverage, {name}": float(hit) / replicates for name, hit in zip(names, hits, strict=True)}
    return {
        "redrawn": redrawn,
        "persistent": persistent,
        "n": n,
        **coverage,
        "ratio": float(np.mean(ratios)),
        "width": widths[0] / widths[1],
    }


def equivalents(n: int, labels: float, noise: float, replicates: int, seed: int) -> dict[str, Any]:
    """How often the interval of a label equivalent covers the true number of labels."""
    rng = np.random.default_rng([seed, n, round(labels), round(1e4 * noise)])
    budgets, curve = (5, 10, 20, 40), np.array([0.70, 0.80, 0.86, 0.89])
    truth = np.interp(np.log(labels), np.log(budgets), curve)
    hits = finite = 0
    for _ in range(replicates):
        common = 0.02 * rng.standard_normal((n, 1))
        scores = curve + common + noise * rng.standard_normal((n, 4))
        own = truth + common[:, 0] + noise * rng.standard_normal(n)
        rows = {trial: tuple(row) for trial, row in enumerate(scores.tolist())}
        found = label_equivalent(LabelCurve(budgets, rows), dict(enumerate(own.tolist())))
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= labels * (1 + 1e-9) and found.high >= labels * (1 - 1e-9)
        finite += found.low > 0 and np.isfinite(found.high)
    return {"n": n, "labels": labels, "noise": noise, "coverage": hits / replicates, "finite": finite / replicates}


def simulated(part: str, replicates: int, shapes: dict[str, Any], record: MakeRecord, seed: int = 0) -> dict[str, Any]:
    """The cases of one of ``PARTS``, as plain values."""

    def noise(shape: str, n: int) -> np.ndarray:
        rng = np.random.default_rng([seed, n, len(shape)])
        size = (replicates, GANS + BASELINES, n)
        common: np.ndarray = 0.9 + SD * rng.standard_normal((replicates, 1, n))
        return common + SD / np.sqrt(2) * shapes[shape](rng, size)

    if part == "verdicts":
        return {"cases": [verdicts(shape, noise(shape, 10), record) for shape in shapes]}
    if part == "peeking":
        return {"cases": [{"shape": shape, **peeking(noise(shape, max(LOOKS)), record)} for shape in shapes]}
    if part == "correlation":
        grid = [(p, n, redrawn) for redrawn in (True, False) for p in (0.0, 0.5, 1.0) for n in (5, 10)]
        return {"cases": [correlation(*case, replicates, record, seed) for case in grid]}
    p = t_interval([1 / 500] * 5, resolution=1 / 500).p
    budgets = [(n, labels, sd) for n in (5, 10) for labels in (7, 10, 30) for sd in (0.005, 0.02)]
    return {
        "cases": [equivalents(n, labels, sd, replicates, seed) for n, labels, sd in budgets],
        "p of five equal differences of one image of 500": p,
    }


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The results as lines of text."""
    for part, rows in found.items():
        yield f"\n{part}"
        for row in rows if isinstance(rows, list) else [rows]:
            if isinstance(row, dict):
                texts = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
                yield "  " + "; ".join(texts)
            else:
                yield f"  {row:.4g}"
