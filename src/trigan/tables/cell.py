"""A cell of a table: the records of one row in one column, and their statistics."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from statistics import fmean
from typing import Any

import numpy as np

from trigan.errors import ConfigError
from trigan.records.record import DATA_KINDS, EXTERNAL, Record
from trigan.scores import (
    BY_RECALL,
    CALIBRATED_METRICS,
    FIGURES_OF_COPIES,
    NOVELTY_METRICS,
    PROBABILITY,
    RANKING,
    ROBUSTNESS_METRICS,
    Metric,
    copies_training_images,
    novelty_score,
    recall_scores,
    robustness_score,
)
from trigan.tables.image_outcomes import ImageOutcomes
from trigan.tables.statistics import ValueSummary, summarise
from trigan.tables.stored_predictions import frequencies

#: What a row used: images or labels of each kind, and labels for training and for selection.
DATA_KEYS = (*DATA_KINDS, "labels_training", "labels_selection")


def score_of(record: Record, metric: Metric) -> Any:
    """A record's value of a metric, or None, as for a figure that copies improve of a generator that copies."""
    if metric.key in ROBUSTNESS_METRICS:
        return robustness_score(record["result"].get("robustness", {}), metric.key)[0]
    if metric.key in NOVELTY_METRICS:
        return novelty_score(record["result"].get("novelty", {}), metric.key)
    if metric.key in CALIBRATED_METRICS:
        return record["result"].get("calibrated", {}).get(metric.key.removeprefix("calibrated_"))
    if not metric.figure:
        test = record["result"]["test"]
        if metric.key in BY_RECALL and metric.key not in test:  # a record from before these scores
            known = frequencies(record)
            return None if known is None else recall_scores(test["recall"], *known)[metric.key]
        return test.get(metric.key)
    found = record["result"].get("generator")
    if found is None or (metric.figure not in FIGURES_OF_COPIES and copies_training_images(found)):
        return None
    return found["figures"].get(metric.figure)


@dataclass(frozen=True)
class GeneratorSummary:
    """Mean figures of ``n`` generators and of real images; ``stamp``: what they compare with.

    If some are ``copying``, a figure that copies improve is None.
    """

    stamp: tuple[str, int, str]
    figures: Mapping[str, float | None]
    floor: Mapping[str, float]
    copying: int
    n: int


@dataclass(frozen=True)
class Cell:
    """The records of one row in one column.

    The unit is the trial: the seeds of one trial are averaged into that trial's value. Diverged runs keep their value
    and are counted.

    Args:
        expected: the trials that the cell should have; a cell without one of them is incomplete.
        outcomes: by run, which test images it classified correctly, where predictions are stored.
    """

    records: tuple[Record, ...] = field(repr=False)
    expected: tuple[int, ...]
    metric: Metric
    outcomes: Mapping[str, ImageOutcomes] = field(default_factory=dict, repr=False)

    def image_outcomes(self, trial: int) -> ImageOutcomes | None:
        """The test images of a trial and how many of its seeds are right; None if a run's are not stored."""
        found = [self.outcomes.get(record["run"]) for record in self.by_trial.get(trial, ())]
        known = [one for one in found if one is not None]
        if not known or len(known) < len(found) or any(not np.array_equal(one.rows, known[0].rows) for one in known):
            return None
        if len(known) == 1:
            return known[0]
        return replace(known[0], correct=np.mean([one.correct for one in known], axis=0))

    @cached_property
    def by_trial(self) -> dict[int, tuple[Record, ...]]:
        """The records of each trial, trials ascending, seeds ascending within."""
        ordered = sorted(self.records, key=lambda r: (r["tags"]["trial"], r["tags"]["seed"], r["run"]))
        return {trial: tuple(group) for trial, group in groupby(ordered, key=lambda r: r["tags"]["trial"])}

    @cached_property
    def values(self) -> dict[int, float]:
        """The metric of each trial that has it (an SVM may have no ``nll``), ascending."""
        values = {}
        for trial, group in self.by_trial.items():
            scores = [score_of(record, self.metric) for record in group]
            numbers = [float(score) for score in scores if isinstance(score, int | float)]
            if len(numbers) == len(scores):
                values[trial] = fmean(numbers)
        return values

    @cached_property
    def generators(self) -> "GeneratorSummary | None":
        """Mean figures of the generators; None without any, or if their stamps differ."""
        found: list[Any] = [one["generator"] for one in self._results if "generator" in one]
        stamps = {(one["embedding"], one["images"], one["fingerprint"]) for one in found}
        if len(stamps) != 1:
            return None
        figures, floor = (
            {
                name: fmean(one[kind][name] for one in found)
                for name in found[0][kind]
                if all(name in o[kind] for o in found)
            }
            for kind in ("figures", "floor")
        )
        copying = sum(map(copies_training_images, found))
        shown = {name: None if copying and name not in FIGURES_OF_COPIES else one for name, one in figures.items()}
        return GeneratorSummary(stamps.pop(), shown, floor, copying, len(found))

    @cached_property
    def curve(self) -> dict[int, list[float]]:
        """Error during the last fit of C: images seen -> error of each trial with a snapshot there."""
        curve: dict[int, list[float]] = {}
        for group in self.by_trial.values():
            errors: dict[int, list[float]] = {}
            for record in group:
                for point in record["result"].get("curve", ()):
                    errors.setdefault(point["images"], []).append(1.0 - point["accuracy"])
            for images, seeds in errors.items():
                curve.setdefault(images, []).append(fmean(seeds))
        return dict(sorted(curve.items()))

    @property
    def curve_images(self) -> frozenset[str]:
        """What the curves were drawn on: ``validation``, ``hidden_labels`` or ``test``, as in records before."""
        results = [record["result"] for record in self.records]
        return frozenset(one.get("curve_images", "test") for one in results if "curve" in one)

    @property
    def n(self) -> int:
        """Number of trials with a value."""
        return len(self.values)

    @property
    def absence(self) -> str:
        """Why the cell has no value, in words; empty if it has one."""
        if self.values or not self.records:
            return "" if self.values else "no run"
        classes = [EXTERNAL in one["stamps"] and "nll" not in one["test"] for one in self._results]
        if self.metric.figure:
            copying = any("generator" in one and copies_training_images(one["generator"]) for one in self._results)
            return "copies training images" if copying else "no generator's figures"
        if self.metric.key in ROBUSTNESS_METRICS | CALIBRATED_METRICS:
            return "not in the record"
        probable = self.metric.key in PROBABILITY and any("nll" in one["test"] for one in self._results)
        old = (self.metric.key in RANKING or probable) and not any(
            self.metric.key in one["test"] for one in self._results
        )
        return "not in the record" if old and not all(classes) else "not defined"

    @property
    def _results(self) -> list[Any]:
        return [record["result"] for record in self.records]

    @property
    def missing(self) -> tuple[int, ...]:
        """The expected trials without a value."""
        return tuple(trial for trial in self.expected if trial not in self.values)

    @property
    def incomplete(self) -> bool:
        """Whether an expected trial is missing."""
        return bool(self.missing)

    @cached_property
    def summary(self) -> ValueSummary | None:
        """Mean, sd and range of the values; None without any."""
        return summarise(list(self.values.values())) if self.values else None

    def diverged_in(self, trial: int) -> bool:
        """Whether a run of the trial diverged."""
        return any(record["result"]["status"] == "diverged" for record in self.by_trial[trial])

    @property
    def resolution(self) -> float:
        """The change of the score that one test image makes: 1 / n (of the smallest set of images), if in percent."""
        tried = self.metric.key in ROBUSTNESS_METRICS
        sizes = [
            one["robustness"]["images"] if tried else one["split"]["n_test"]
            for one in self._results
            if not tried or "robustness" in one
        ]
        return 1 / min(sizes) if sizes and self.metric.percent and not self.metric.figure else 0.0

    def test_sets(self, trial: int) -> set[tuple[str | None, str | None]]:
        """The test images of a trial's runs: the data set's fingerprint, and the digest of the test set's indices.

        None where a record does not have them.
        """
        splits: list[Any] = [record["result"]["split"] for record in self.by_trial[trial]]
        return {(split.get("fingerprint"), split.get("test", {}).get("sha256")) for split in splits}

    @property
    def diverged(self) -> int:
        """Number of trials in which a run diverged."""
        return sum(map(self.diverged_in, self.by_trial))

    @property
    def several_seeds(self) -> bool:
        """Whether some trial has more than one run."""
        return any(len(group) > 1 for group in self.by_trial.values())

    @property
    def data_used(self) -> dict[str, tuple[int, int]]:
        """Smallest and largest of each of ``DATA_KEYS`` over the records; empty without records."""
        used: list[dict[str, Any]] = [
            {**one["data_used"], **{f"labels_{use}": count for use, count in one["labels"].items()}}
            for one in (record["result"] for record in self.records)
        ]
        return {key: (min(one[key] for one in used), max(one[key] for one in used)) for key in DATA_KEYS if used}

    @property
    def rules(self) -> tuple[str, ...]:
        """The selection rules of the records; usually one."""
        return tuple(sorted({record["result"]["rule"] for record in self.records}))

    @property
    def stamps(self) -> dict[str, int]:
        """Stamp -> number of records that have it."""
        return dict(sorted(Counter(stamp for record in self.records for stamp in record["result"]["stamps"]).items()))

    @property
    def flops(self) -> float | None:
        """Mean counted FLOPs of a run, all its stages included; None without runs, or if a run's are unknown."""
        known = [count for record in self.records if (count := record["result"]["cost"]["flops"]) is not None]
        return fmean(known) if 0 < len(known) == len(self.records) else None

    @property
    def images(self) -> dict[str, float] | None:
        """Mean number of images of a run, by player; None if a run's are unknown."""
        costs = [cost for record in self.records if (cost := record["result"]["cost"]["images"]) is not None]
        if len(costs) < len(self.records):
            return None
        players = sorted({player for cost in costs for player in cost})
        return {player: fmean(cost.get(player, 0) for cost in costs) for player in players}

    @property
    def test_over_train(self) -> float | None:
        """n_test / n_train if trials redraw the test set; None if all trials share one test set."""
        splits = [record["result"]["split"] for record in self.records]
        if not any(split["test_redrawn"] for split in splits):
            return None
        return fmean(split["n_test"] / split["n_train"] for split in splits)


def require_comparable(column: str, metric: Metric, records: Sequence[Record]) -> None:
    """Refuse records of a column whose figures of generators, or whose attacks, are not comparable."""
    if metric.figure:
        _check_generators(column, records)
    if metric.key in ROBUSTNESS_METRICS:
        _check_attacks(column, metric.key, records)


def _check_generators(column: str, records: Sequence[Record]) -> None:
    """Refuse figures that were not measured alike."""
    found = [one["result"]["generator"] for one in records if "generator" in one["result"]]
    stamps = sorted({(one["embedding"], one["images"], one["fingerprint"][:8]) for one in found})
    if len(stamps) > 1:
        (*first, _), (*second, _) = stamps[:2]
        raise ConfigError(
            f"column {column}: figures of generators with different stamps are not comparable ({first} and {second}: "
            "embedding, images); choose runs with one evaluation.generator_images, on one data set"
        )


def _check_attacks(column: str, metric: str, records: Sequence[Record]) -> None:
    """Refuse rows that were not attacked alike, or on other numbers of images."""
    kinds = set()
    for one in records:
        block = one["result"].get("robustness")
        if block is None or robustness_score(block, metric)[0] is None:
            continue
        size, steps = robustness_score(block, metric)[1], block["steps"]
        images = (one["config"].get("evaluation") or {}).get("robustness_images")
        kinds.add((size, None if size is None else steps, images))
    if len(kinds) > 1:
        first, second = sorted(kinds, key=str)[:2]
        raise ConfigError(
            f"column {column}: {metric} of {first} and of {second} (eps, steps, images) are not comparable; choose "
            "runs with one evaluation.eps, evaluation.eps_l2, evaluation.attack_steps and evaluation.robustness_images"
        )
