"""Labelled images after an attack on the teacher as samples of `augment`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from trigan.errors import ConfigError
from trigan.samples.samplers import AdversarialSampler, LabelledSampler, SampleAttack
from trigan.strategies.stage_runner import StageRunner

from ..training.tiny import classifier_stage, fitted, view
from .recipes import SAMPLES, augment, make_runner


def test_samples_are_labelled_images_within_eps_that_the_teacher_gets_wrong() -> None:
    stage = classifier_stage(40)
    module, _ = fitted(stage)
    teacher, real = stage.finish(module, {"labelled": _labelled()})["classifier"], view().labelled
    sampler, labels = AdversarialSampler(real, teacher, SampleAttack(0.1, 5)), torch.arange(30) % 10
    found = sampler.sample(torch.arange(30), labels, 3)
    clean = LabelledSampler(real).sample(torch.arange(30), labels, 3)
    assert found.dtype == torch.uint8
    assert 0 < int((found.int() - clean.int()).abs().max()) <= 26  # .1 of 255, rounded
    losses = [float(F.cross_entropy(teacher(images / 127.5 - 1.0), labels).detach()) for images in (found, clean)]
    assert losses[0] > 2 * losses[1]
    rows = torch.tensor([17, 4])
    assert (sampler.sample(rows, labels[rows], 3).int() - found[rows].int()).abs().max() <= 1  # rounding of batches
    assert len(sampler.sample(torch.arange(0), labels[:0], 3)) == 0


def _labelled() -> Any:
    from trigan.datasets.inputs import Input

    return Input(view().labelled.images, view().labelled.labels)


def test_c_is_trained_on_them_with_hard_labels_and_pays_for_the_attack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    train = StageRunner.train

    def recording(runner: StageRunner, name: str, stage: Any, inputs: Any, seed: int | None = None) -> Any:
        given[name] = inputs
        return train(runner, name, stage, inputs, seed)

    monkeypatch.setattr(StageRunner, "train", recording)
    samples = replace(SAMPLES, filters=(), targets="soft")
    costs = []
    for name, changes in {"a": {"source": "adversarial"}, "b": {"source": "labelled"}}.items():
        runner = make_runner(tmp_path / name)
        outcome = augment(samples=samples, **changes).run(view(), runner)
        costs.append(runner.total_cost().flops)
        assert set(outcome.weights) == {"classifier"}
        extra = given["classifier"]["extra"]
        assert extra.known_labels.is_floating_point() == (name == "b")  # an attacked teacher's labels are wrong
    assert costs[0] > costs[1]


def test_its_settings_are_checked_and_named_as_unused_elsewhere() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.attack\.eps: 0\.0 must be above 0"):
        SampleAttack(eps=0.0)
    with pytest.raises(ConfigError, match=r"strategy\.attack\.steps: 0 must be an integer of at least 1"):
        SampleAttack(steps=0)
    assert "attack" in augment(source="noise").unused_settings
    assert "attack" not in augment(source="adversarial").unused_settings
