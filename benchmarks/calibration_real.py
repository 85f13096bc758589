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
SETTINGS = (
    "strategy=baseline",
    "augmentation=none",
    "classifier=mlp",
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


def study(replicates: int, record: MakeRecord, trials: int = 30, seed: int = 0) -> dict[str, Any]:
    """Fit, then draw tables of the fits."""
    logging.disable(logging.INFO)
    started = time.perf_counter()
    with TemporaryDirectory(prefix="trigan-") as folder:
        usual = fits(trials, USUAL, SEEDS, Path(folder))
        others = {budget: fits(trials, budget, 1, Path(folder))[0] for budget in BUDGETS if budget != USUAL}
    seconds, rng = time.perf_counter() - started, np.random.default_rng(seed)
    accuracy = np.array([[one.correct.mean() for one in row] for row in usual])
    return {
        "fits": len(usual) * trials + len(others) * trials,
        "seconds": round(seconds),
        "mean accuracy": float(accuracy.mean()),
        "sd of a paired difference, points": float(100 * np.std(accuracy[0] - accuracy[1], ddof=1)),
        "false claims": _false_claims(usual, replicates, record, rng),
        "intervals": _intervals(usual, replicates, record, rng),
        "label equivalents of 10 labels": _equivalents(usual, others, replicates, rng),
    }


def _shuffled(usual: list[list[ImageOutcomes]], rng: np.random.Generator) -> list[list[ImageOutcomes]]:
    """All trials in random order, and in each the fits under random names."""
    rows: list[list[ImageOutcomes]] = [[] for _ in usual]
    for trial in rng.permutation(len(usual[0])):
        for row, seed in zip(rows, rng.permutation(len(usual)), strict=True):
            row.append(usual[seed][trial])
    return rows


def _false_claims(
    usual: list[list[ImageOutcomes]], replicates: int, record: MakeRecord, rng: np.random.Generator
) -> dict[str, float]:
    """A/A through the whole verdict: the share of tables, and of studies with several looks, with any false claim."""
    sizes = [n for n in LOOKS if n <= len(usual[0])]
    counts = np.zeros(4)
    for _ in range(replicates):
        rows = _shuffled(usual, rng)
        values = np.array([[one.correct.mean() for one in row] for row in rows])
        looks = []
        for number, n in enumerate(sizes, 1):
            said = claims(values[:, :n], record, [Look(number), Look()], [row[:n] for row in rows])
            looks.append([bool({"better", "worse"} & set(one)) for one in said])
        first, every = looks[0], np.array(looks).any(0)
        counts += [first[0], first[1], every[0], every[1]]
    names = ("ten trials, first look", "ten trials, not counted", f"looks at {sizes}", f"looks at {sizes}, not counted")
    return dict(zip(names, (counts / replicates).tolist(), strict=True))


def _intervals(
    usual: list[list[ImageOutcomes]], replicates: int, record: MakeRecord, rng: np.random.Generator
) -> dict[str, float]:
    """Coverage of zero by the interval of two rows in ten trials, with the estimated and the assumed correlation."""
    hits, widths, ratios = np.zeros(2), np.zeros(2), []
    for _ in range(replicates):
        pair, stored, made = _shuffled(usual, rng)[:2], {}, []
        for name, row in zip("ab", pair, strict=True):
            records = []
            for trial, one in enumerate(row[:10]):
                kept = record(float(one.correct.mean()), trial, True)
                kept["run"] = f"{name} {trial}"
                stored[kept["run"]] = one
                records.append(kept)
            made.append(tuple(records))
        for i, outcomes in enumerate((stored, {})):
            cells = [Cell(records, tuple(range(10)), METRICS["accuracy"], outcomes) for records in made]
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
        for trial in rng.permutation(len(usual[0]))[:10]:
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
