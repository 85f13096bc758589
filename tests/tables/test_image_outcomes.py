"""The correlation of trials that share test images, from which test images were right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from record_makers import make_record
from scipy import stats

from trigan.datasets.splits.splitter import index_digest
from trigan.errors import ArtifactError
from trigan.identity import tensor_digest
from trigan.records.file_index import FileIndex
from trigan.records.record import Record
from trigan.tables.image_outcomes import ImageOutcomes, image_covariance, read_outcomes
from trigan.tables.layout.text import render_markdown
from trigan.tables.stored_predictions import PREDICTIONS_FILE
from trigan.tables.table import Table, TableSpec, build_table

MakeAll = Callable[..., list[Record]]
IMAGES, TESTED, TRIALS = 300, 90, 10


def draw(
    rng: np.random.Generator, persistent: float, trials: int = TRIALS, redrawn: bool = True
) -> list[ImageOutcomes]:
    """Paired differences in {-1, 0, 1} on test images; a share of the images is alike in all trials."""
    lasting, kept = rng.choice([-1.0, 0.0, 1.0], IMAGES, p=[0.2, 0.6, 0.2]), rng.random(IMAGES) < persistent
    found = []
    for _ in range(trials):
        rows = np.sort(rng.permutation(IMAGES)[:TESTED]) if redrawn else np.arange(TESTED)
        new = rng.choice([-1.0, 0.0, 1.0], TESTED, p=[0.2, 0.6, 0.2])
        found.append(ImageOutcomes(rows, np.where(kept[rows], lasting[rows], new)))
    return found


def test_the_covariance_equals_a_sum_over_pairs_and_images() -> None:
    trials = draw(np.random.default_rng(0), 0.5, 4)
    total, pairs = 0.0, 0
    for i, first in enumerate(trials):
        for second in trials[:i]:
            left, right = (
                dict(zip(first.rows, first.correct, strict=True)),
                dict(zip(second.rows, second.correct, strict=True)),
            )
            shared = left.keys() & right.keys()
            products = sum(
                (left[row] - np.mean(first.correct)) * (right[row] - np.mean(second.correct)) for row in shared
            )
            total += products / TESTED**2 / (1 - 2 / TESTED + len(shared) / TESTED**2)
            pairs += 1
    assert image_covariance(trials) == pytest.approx(total / pairs)


def test_the_covariance_of_groups_is_unbiased_and_larger_than_that_of_images() -> None:
    """Groups of 1 to 12 images share an effect of variance 0.2; each image has one of its own of variance 0.1."""
    rng, sizes = np.random.default_rng(2), np.tile([1, 2, 5, 12], 15)
    groups, found, images, means = np.repeat(np.arange(60), sizes), [], [], []
    for _ in range(1500):
        lasting = rng.normal(scale=0.2**0.5, size=60)[groups]
        trials = []
        for _ in range(4):
            rows = np.flatnonzero(np.isin(groups, rng.permutation(60)[:25]))
            trials.append(ImageOutcomes(rows, lasting[rows] + rng.normal(scale=0.3, size=len(rows)), groups[rows]))
        found.append(image_covariance(trials))
        images.append(image_covariance([ImageOutcomes(one.rows, one.correct) for one in trials]))
        means.append([one.correct.mean() for one in trials])
    expected = np.cov(np.array(means).T)[np.triu_indices(4, 1)].mean()
    assert np.mean(found) == pytest.approx(expected, rel=0.12)
    assert np.mean(images) < 0.85 * np.mean(found)


@pytest.mark.parametrize(("persistent", "redrawn"), [(0.0, True), (0.5, True), (1.0, True), (0.5, False), (1.0, False)])
def test_the_estimator_is_unbiased_for_the_variance_of_the_mean(persistent: float, redrawn: bool) -> None:
    """Over many data sets, s^2 / n + C is the variance of the mean over trials; C is var(a) / N of N images."""
    rng, means, estimates, covariances = np.random.default_rng(1), [], [], []
    for _ in range(1500):
        trials = draw(rng, persistent, redrawn=redrawn)
        values = [one.correct.mean() for one in trials]
        covariances.append(image_covariance(trials))
        means.append(np.mean(values))
        estimates.append(np.var(values, ddof=1) / TRIALS + covariances[-1])
    images, tolerance = (IMAGES, 4e-5) if redrawn else (TESTED, 1e-4)
    assert np.mean(covariances) == pytest.approx(0.4 * persistent / images, abs=tolerance)
    # A variance of 1500 normal means has a standard error of 3.7 %.
    assert np.mean(estimates) == pytest.approx(np.var(means), rel=0.12)


def table(
    records: MakeAll, persistent: float, stored: bool = True, metric: str = "accuracy", redrawn: bool = True
) -> Table:
    rng = np.random.default_rng(3)
    pairs = draw(rng, persistent, redrawn=redrawn)
    base = [rng.random(TESTED) < 0.5 for _ in pairs]
    own = [np.where(one.correct == 0, b, one.correct > 0) for one, b in zip(pairs, base, strict=True)]
    other = [np.where(one.correct == 0, b, one.correct < 0) for one, b in zip(pairs, base, strict=True)]
    split = {"test_redrawn": redrawn, "n_train": IMAGES - TESTED, "n_test": TESTED}
    places, outcomes = {}, {}
    for name, rights in (("gan", own), ("base", other)):
        made = records([float(right.mean()) for right in rights], split=split, config={"name": name})
        for record in made:
            record["result"]["test"]["balanced_accuracy"] = record["result"]["test"]["accuracy"]
        places[name, "x"] = made
        outcomes |= {
            record["run"]: ImageOutcomes(one.rows, right.astype(float))
            for record, one, right in zip(made, pairs, rights, strict=True)
        }
    spec = TableSpec("t", ("base", "gan"), ("x",), reference="base", metric=metric)
    return build_table(places, spec, outcomes=outcomes if stored else {})


def test_the_interval_uses_the_estimated_correlation(records: MakeAll) -> None:
    """By scipy: t interval with standard error sqrt(s^2 / n + C), C from the same images."""
    built = table(records, 0.6)
    one = built.differences["gan", "x"]
    outcomes = [built.cells["gan", "x"].image_outcomes(t) for t in range(TRIALS)]
    others = [built.cells["base", "x"].image_outcomes(t) for t in range(TRIALS)]
    pairs = [
        ImageOutcomes(a.rows, a.correct - b.correct)
        for a, b in zip(outcomes, others, strict=True)
        if a is not None and b is not None
    ]
    error = np.sqrt(np.var(one.differences, ddof=1) / TRIALS + image_covariance(pairs))
    low, high = stats.t.interval(0.95, TRIALS - 1, np.mean(one.differences), error)
    assert (one.low, one.high) == pytest.approx((low, high))
    assert "estimated from the stored predictions" in render_markdown(built)


@pytest.mark.parametrize("persistent", [0.6, 1.0])
def test_one_test_set_has_the_interval_of_crossed_trials_and_images(records: MakeAll, persistent: float) -> None:
    """By the mean squares of a two-way layout without replication: (MS_trials + MS_images - MS_rest) / (n m)."""
    built = table(records, persistent, redrawn=False)
    one, cells = built.differences["gan", "x"], [built.cells[row, "x"] for row in ("gan", "base")]
    own, other = ([found.correct for t in range(TRIALS) if (found := cell.image_outcomes(t))] for cell in cells)
    x = np.stack(own) - np.stack(other)
    rest = x - x.mean(0) - x.mean(1)[:, None] + x.mean()
    between_trials = TESTED * np.var(x.mean(1), ddof=1)
    between_images, residual = TRIALS * np.var(x.mean(0), ddof=1), (rest**2).sum() / ((TRIALS - 1) * (TESTED - 1))
    assert one.low is not None
    error = (one.mean - one.low) / stats.t.ppf(0.975, TRIALS - 1) if one.mean is not None else 0.0
    floor = max(between_trials / TESTED, 1 / TESTED**2) - between_trials / TESTED  # one image's worth of sd
    squares = (between_trials + between_images - residual) / (TRIALS * TESTED)
    assert error**2 == pytest.approx(squares + floor / TRIALS)
    assert "Intervals are about further trainings, tested on further images." in render_markdown(built)


def test_one_test_set_without_predictions_has_an_interval_about_its_images(records: MakeAll) -> None:
    built = table(records, 1.0, stored=False, redrawn=False)
    one = built.differences["gan", "x"]
    assert one.overlap is None
    assert (one.low, one.high) == pytest.approx((one.mean, one.mean), abs=0.011)
    assert "intervals are about further trainings that are tested on the same images" in render_markdown(built)


def test_independent_errors_need_no_correction_and_equal_ones_all_of_it(records: MakeAll) -> None:
    none, all_alike = (table(records, share).differences["gan", "x"].overlap for share in (0.0, 1.0))
    assert none is not None
    assert all_alike is not None
    assert none.ratio < 0.06
    assert 0.3 < all_alike.ratio <= TESTED / (IMAGES - TESTED), "never above what Nadeau and Bengio assume"


@pytest.mark.parametrize(("stored", "metric"), [(False, "accuracy"), (True, "balanced_accuracy")])
def test_without_predictions_the_assumed_correlation_is_used_and_named(
    records: MakeAll, stored: bool, metric: str
) -> None:
    built = table(records, 0.0, stored, metric)
    found = built.differences["gan", "x"].overlap
    assert found is not None
    assert (found.ratio, found.estimated) == (TESTED / (IMAGES - TESTED), False)
    assert found.correlation == pytest.approx(TESTED / IMAGES)
    assert "is assumed as large as possible: 0.30 to 0.30 (Nadeau and Bengio)" in render_markdown(built)


def test_predictions_of_a_run(tmp_path: Path) -> None:
    file, scores, rows = tmp_path / PREDICTIONS_FILE, np.eye(3), np.array([7, 2, 5])
    record = make_record(2 / 3, predictions=tensor_digest(torch.from_numpy(scores)), split={"test_redrawn": True})
    split: Any = record["result"]["split"]
    split["test"] = {"sha256": index_digest(rows)}

    def read() -> ImageOutcomes | None:
        return read_outcomes(record, tmp_path, FileIndex(tmp_path)).get(record["run"])

    assert read() is None
    np.savez_compressed(file, scores=scores, labels=np.array([0, 1, 0]))
    assert read() is None, "older predictions have no indices"
    np.savez_compressed(file, scores=scores, labels=np.array([0, 1, 0]), rows=rows)
    found = read()
    assert found is not None
    assert (found.rows.tolist(), found.correct.tolist()) == ([2, 5, 7], [1.0, 0.0, 1.0])
    split["test_redrawn"] = False
    assert read() is not None, "the choice of an official test set's images counts, too"
    split["test_redrawn"] = True
    for other in (
        {"scores": np.eye(3)[::-1], "labels": np.array([2, 1, 1]), "rows": rows},
        {"scores": scores, "labels": np.array([0, 0, 0]), "rows": rows},
        {"scores": scores, "labels": np.array([0, 1, 0]), "rows": rows + 1},
    ):
        np.savez_compressed(file, **other)
        with pytest.raises(ArtifactError, match="not the predictions of its record"):
            read()
    for odd in ({"rows": np.array([7, 7, 5])}, {"rows": np.array([1, 2, 10**12])}, {"rows": rows[:2]}):
        np.savez_compressed(file, **{"scores": scores, "labels": np.array([0, 1, 0]), **odd})
        with pytest.raises(ArtifactError, match="cannot be read"):
            read()
    file.write_bytes(b"PK no")
    with pytest.raises(ArtifactError, match="cannot be read"):
        read()
