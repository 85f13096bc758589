"""The same claims on real fits: one classifier, trained with many seeds in many trials of the digits, under many names.

Called by benchmarks/calibration.py. The rows of a table are the fits of one trial in random order, so that no row is
better than another in truth; any claim is false. Trials redraw the test set, as they do for digits.
"""

import logging
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from calibration_claims import LOOKS, MakeRecord, claims

from trigan.artifacts.store import Store
from trigan.config.compose import Composer
from trigan.datasets.splits.draw_split import draw_split
from trigan.samples.filters import outputs
from trigan.scores import METRICS
from trigan.strategies.stage_runner import StageRunner
from trigan.tables.cell import Cell
from trigan.tables.image_outcomes import ImageOutcomes
from trigan.tables.looks import Look
from trigan.tables.paired_comparison import compare_cells
from trigan.tables.verdict import LabelCurve, label_equivalent

SEEDS, BUDGETS, USUAL = 7, (5, 10, 20), 10
#: Trials in a verdict, and trials that have a fit for each of ``BUDGETS``.
VERDICT, CURVES = 10, 100
SETTINGS = (
    "strategy=baseline",
    "augmentation=none",
    "classifier=mlp",
    "classifier.widths=[64]",
    "data.suggested.steps=60",
    "logger=none",
)


def fits(trials: int, budget: int, seeds: int, folder: Path) -> list[list[ImageOutcomes]]:
    """Which test images each fit classifies correctly: [seed][trial]."""
    composed = Composer().compose([*SETTINGS, f"regime.labels_per_class={budget}", f"paths.outputs={folder}"])
    built, dataset = composed.build(), composed.load_data()
    store = Store(composed.paths.artifacts)
    found: list[list[ImageOutcomes]] = [[] for _ in range(seeds)]
    for trial in range(trials):
        split = draw_split(dataset, built.regime, trial)
        test = split.test.open("calibration")
        for seed in range(seeds):
            runner = StageRunner(
                store,
                f"{budget}-{trial}-{seed}",
                split.view.spec,
                1000 * trial + seed,
                built.trainer,
                None,
                lambda stage, directory: [],
                lambda stage: None,
            )
            scores = outputs(built.strategy.run(split.view, runner).classifier, test.images)
            right = (scores.argmax(1) == test.labels).double().numpy()
            found[seed].append(ImageOutcomes(split.parts.test, right))
    return found


def study(replicates: int, record: MakeRecord, trials: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Fit, then make verdicts that share no trial, and draw ``replicates`` pairs of rows of the fits."""
    logging.disable(logging.INFO)
    started = time.perf_counter()
    with TemporaryDirectory(prefix="trigan-") as folder:
        usual = fits(trials, USUAL, SEEDS, Path(folder))
        curves = min(trials, CURVES)
        others = {budget: fits(curves, budget, 1, Path(folder))[0] for budget in BUDGETS if budget != USUAL}
    seconds, rng = time.perf_counter() - started, np.random.default_rng(seed)
    accuracy = np.array([[one.correct.mean() for one in row] for row in usual])
    return {
        "fits": len(usual) * trials + len(others) * curves,
        "seconds": round(seconds),
        "mean accuracy": float(accuracy.mean()),
        "sd of a paired difference, points": float(100 * np.std(accuracy[0] - accuracy[1], ddof=1)),
        "false claims": _false_claims(usual, record, rng),
        "intervals": _intervals(usual, replicates, record, rng),
        "label equivalents of 10 labels": _equivalents(usual, others, replicates, rng),
    }


def _shuffled(usual: list[list[ImageOutcomes]], rng: np.random.Generator, count: int) -> list[list[ImageOutcomes]]:
    """So many trials in random order, and in each the fits under random names."""
    rows: list[list[ImageOutcomes]] = [[] for _ in usual]
    for trial in rng.permutation(len(usual[0]))[:count]:
        for row, seed in zip(rows, rng.permutation(len(usual)), strict=True):
            row.append(usual[seed][trial])
    return rows


def _false_claims(
    usual: list[list[ImageOutcomes]], record: MakeRecord, rng: np.random.Generator
) -> dict[str, dict[str, float]]:
    """A/A through the whole verdict: how many verdicts, and studies with several looks, make any false claim.

    No two verdicts share a trial, and no two studies.
    """
    rows, looks = _shuffled(usual, rng, len(usual[0])), [n for n in LOOKS if n <= len(usual[0])]
    found = {"verdicts of ten trials": [VERDICT], f"studies looked at with {looks} trials": looks}
    return {name: _claimed(rows, sizes, record) for name, sizes in found.items()}


def _claimed(rows: list[list[ImageOutcomes]], looks: list[int], record: MakeRecord) -> dict[str, float]:
    """The number of tables of disjoint trials, and the shares with a claim at any look, corrected for looks or not."""
    counts = np.zeros(2)
    starts = range(0, len(rows[0]) - max(looks) + 1, max(looks))
    for start in starts:
        table = [row[start : start + max(looks)] for row in rows]
        values = np.array([[one.correct.mean() for one in row] for row in table])
        said = [
            claims(values[:, :n], record, [Look(number), Look()], [row[:n] for row in table])
            for number, n in enumerate(looks, 1)
        ]
        counts += [any({"better", "worse"} & set(at_look[kind]) for at_look in said) for kind in (0, 1)]
    return {"tables": len(starts), "counted": counts[0] / len(starts), "not counted": counts[1] / len(starts)}


def _intervals(
    usual: list[list[ImageOutcomes]], replicates: int, record: MakeRecord, rng: np.random.Generator
) -> dict[str, float]:
    """Coverage of zero by the interval of two rows in ten trials, with the estimated and the assumed correlation."""
    hits, widths, ratios = np.zeros(2), np.zeros(2), []
    for _ in range(replicates):
        pair, stored, made = _shuffled(usual, rng, VERDICT)[:2], {}, []
        for name, row in zip("ab", pair, strict=True):
            records = []
            for trial, one in enumerate(row):
                kept = record(float(one.correct.mean()), trial, True)
                kept["run"] = f"{name} {trial}"
                stored[kept["run"]] = one
                records.append(kept)
            made.append(tuple(records))
        for i, outcomes in enumerate((stored, {})):
            cells = [Cell(records, tuple(range(VERDICT)), METRICS["accuracy"], outcomes) for records in made]
            found = compare_cells("a", "b", "x", *cells)
            assert found.low is not None
            assert found.high is not None
            hits[i] += found.low <= 0 <= found.high
            widths[i] += found.high - found.low
            ratios += [found.overlap.ratio] if i == 0 and found.overlap is not None else []
    return {
        "coverage, estimated": float(hits[0]) / replicates,
        "coverage, assumed": float(hits[1]) / replicates,
        "ratio": float(np.mean(ratios)),
        "width": float(widths[0] / widths[1]),
    }


def _equivalents(
    usual: list[list[ImageOutcomes]], others: dict[int, list[ImageOutcomes]], replicates: int, rng: np.random.Generator
) -> dict[str, float]:
    """A fit with 10 labels a class against the curve of the same classifier: ten trials, its equivalent is 10."""
    hits = 0
    for _ in range(replicates):
        rows: dict[int, tuple[float, ...]] = {}
        own: dict[int, float] = {}
        for trial in rng.permutation(len(next(iter(others.values()))))[:VERDICT]:
            row, middle = rng.permutation(len(usual))[:2]
            points = {**{n: one[trial] for n, one in others.items()}, USUAL: usual[middle][trial]}
            rows[int(trial)] = tuple(float(points[n].correct.mean()) for n in BUDGETS)
            own[int(trial)] = float(usual[row][trial].correct.mean())
        found = label_equivalent(LabelCurve(BUDGETS, rows), own)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= USUAL * (1 + 1e-9) and found.high >= USUAL * (1 - 1e-9)
    return {"coverage": hits / replicates}
