"""Temperature and vector scaling of C's logits on validation labels: fits, records, refusals and tables."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from few_steps import composer, small
from record_makers import make_record

from trigan.errors import ConfigError
from trigan.evaluation.calibration import fit_vector, negative_log_likelihood, scaled_scores
from trigan.records.record import read_record
from trigan.runs.run import run
from trigan.scores import CALIBRATED_METRICS
from trigan.tables.rows import settings
from trigan.tables.table import TableSpec, build_table


def drawn(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose labels are drawn from softmax(w z + b) with w = (.5, 1, 2) and b = (1, 0, -1)."""
    draw = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, 3, generator=draw, dtype=torch.float64)
    scaled = logits * torch.tensor([0.5, 1.0, 2.0]) + torch.tensor([1.0, 0.0, -1.0])
    return logits, torch.multinomial(scaled.softmax(1), 1, generator=draw)[:, 0]


def test_vector_scaling_finds_the_parameters_that_the_labels_were_drawn_with() -> None:
    logits, labels = drawn(40_000, 0)
    weights, bias = fit_vector(logits, labels)
    assert weights.tolist() == pytest.approx([0.5, 1.0, 2.0], rel=0.05)
    assert bias.tolist() == pytest.approx([1.0, 0.0, -1.0], abs=0.06)


def test_vector_scaling_is_a_minimum_and_no_worse_than_temperature() -> None:
    logits, labels = drawn(300, 1)
    weights, bias = (one.requires_grad_() for one in fit_vector(logits, labels))
    loss = torch.nn.functional.cross_entropy(logits * weights + bias, labels)
    assert all(float(g.abs().max()) < 1e-4 for g in torch.autograd.grad(loss, (weights, bias)))
    by_temperature, _ = scaled_scores("temperature", (logits, labels), logits)
    by_vector, parameters = scaled_scores("vector", (logits, labels), logits)
    plain = negative_log_likelihood(logits, labels)
    assert negative_log_likelihood(by_vector, labels) < negative_log_likelihood(by_temperature, labels) <= plain
    assert sum(parameters["bias"]) == pytest.approx(0.0, abs=1e-9)
    assert json.loads(json.dumps(parameters)) == parameters


def test_labels_that_are_all_right_give_finite_parameters() -> None:
    logits = 5 * torch.eye(3).repeat(4, 1)
    weights, bias = fit_vector(logits, torch.arange(3).repeat(4))
    assert bool(weights.isfinite().all() and bias.isfinite().all())


def test_a_run_has_scaled_scores_and_counts_the_labels(tmp_path: Path) -> None:
    words = ["evaluation.calibration=temperature", "selection.rule=last", "regime.labels_per_class=20"]
    words += ["regime.validation=large", f"paths.outputs={tmp_path}"]
    record: Any = read_record(run(composer().compose(small("strategy=baseline", *words))) / "record.json")
    result = record["result"]
    found, labels = result["calibrated"], result["calibrated"]["labels"]
    assert labels > 0
    assert result["data_used"]["V"] == result["labels"]["selection"] == labels  # though the rule is the last weights
    assert found["accuracy"] == result["test"]["accuracy"]  # a temperature changes no prediction
    assert found["nll"] != result["test"]["nll"]
    assert found["parameters"]["temperature"] > 0


def test_without_validation_labels_it_is_refused_before_training(tmp_path: Path) -> None:
    words = small("strategy=baseline", "evaluation.calibration=vector", "regime.labels_per_class=5")
    with pytest.raises(
        ConfigError, match=r"evaluation\.calibration=vector: it is fitted on validation labels, and there"
    ):
        run(composer().compose([*words, f"paths.outputs={tmp_path}"]))
    assert not list(tmp_path.glob("artifacts/*"))


def test_tables_take_the_scaled_scores_and_tell_these_rows_apart() -> None:
    block = {"method": "vector", "labels": 20, "parameters": {}, "accuracy": 0.9, "aurc": 0.1}
    scores = {"ece": 0.01, "adaptive_ece": 0.02, "nll": 0.3, "brier": 0.4}
    records = [make_record(0.9, trial, calibrated={**block, **scores}) for trial in range(3)]
    for name, metric in CALIBRATED_METRICS.items():
        cell = build_table({("a", "c"): records}, TableSpec("T", ("a",), ("c",), metric=name)).cells["a", "c"]
        assert cell.summary is not None
        assert cell.summary.mean == pytest.approx(scores[name.removeprefix("calibrated_")])
        assert metric.sign == -1.0
    old, now, other = ({"evaluation": one} for one in ({}, {"calibration": "none"}, {"calibration": "vector"}))
    assert settings(make_record(0.9, config=old)) == settings(make_record(0.9, config=now))
    assert settings(make_record(0.9, config=other)) != settings(make_record(0.9, config=now))
