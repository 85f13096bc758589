"""A GAN's samples beside the real images, and the controls that stand in their place."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from trigan.data.inputs import Input
from trigan.data.types import Labelled
from trigan.errors import ConfigError
from trigan.modules.criteria import Extra, class_counts
from trigan.modules.stage import Stage
from trigan.rng import hash64
from trigan.samples.collect import wanted_counts
from trigan.samples.filters import Confidence, Realism
from trigan.samples.generate import generate
from trigan.strategies.augment import PerClass, SampleSettings
from trigan.strategies.baseline import Baseline
from trigan.strategies.workshop import Trained, Workshop

from ..modules.tiny import TURNED, classifier_stage, gan_stage, same, view
from .recipes import CGAN_STAGE, SAMPLES, augment, fitted, shop


class _Stages:
    """A workshop that keeps what it was asked to train."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workshop = shop(root)
        self.asked: dict[str, tuple[Any, dict[str, Input]]] = {}
        train = Workshop.train

        def listening(
            workshop: Workshop, name: str, stage: Stage, inputs: dict[str, Input], seed: int | None = None
        ) -> Trained:
            self.asked[name] = (stage, inputs)
            return train(workshop, name, stage, inputs, seed)

        monkeypatch.setattr(Workshop, "train", listening)


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Stages:
    return _Stages(tmp_path, monkeypatch)


def test_a_conditional_gan_learns_and_gives_labels(stages: _Stages) -> None:
    recipe = augment(gan=CGAN_STAGE, samples=SampleSettings(ratio=2.5, weight=0.25, per_step=0.5))
    outcome = recipe.run(view(), stages.workshop)
    labelled = view().labelled
    _, inputs = stages.asked["gan"]
    assert torch.equal(inputs["real"].images, labelled.images)
    assert torch.equal(inputs["real"].known_labels, labelled.labels)
    stage, inputs = stages.asked["classifier"]
    assert stage.terms == (Extra(TURNED, 0.25, 0.5),)
    assert torch.bincount(inputs["extra"].known_labels).tolist() == [10] * 10
    assert outcome.notes["samples"]["kept"] == 100
    assert outcome.notes["samples"]["looked_at"] == 200
    assert "teacher" not in stages.asked, "nothing asked for a judge"
    assert outcome.generator is not None
    redrawn = generate(outcome.generator, hash64(0, "samples"), 200, torch.arange(10).repeat_interleave(20)).images
    assert torch.equal(inputs["extra"].images, redrawn.view(10, 20, 1, 8, 8)[:, :10].reshape(100, 1, 8, 8))


def test_an_unconditional_gan_sees_all_images_and_a_classifier_labels_its_samples(stages: _Stages) -> None:
    augment(samples=replace(SAMPLES, filters=())).run(view(), stages.workshop)
    _, inputs = stages.asked["gan"]
    assert torch.equal(inputs["real"].images, view().training_images)
    assert inputs["real"].labels is None
    assert set(stages.asked) == {"gan", "teacher", "classifier"}
    assert set(stages.asked["teacher"][1]) == {"labelled"}


def test_one_gan_a_class_sees_one_class_each(stages: _Stages) -> None:
    outcome = augment(labels="per_class").run(view(), stages.workshop)
    labelled = view().labelled
    for label in range(10):
        _, inputs = stages.asked[f"gan-{label}"]
        assert torch.equal(inputs["real"].images, labelled.images[labelled.labels == label])
    generator = outcome.generator
    assert isinstance(generator, PerClass)
    first, second = (member.state_dict()["body.image.weight"] for member in list(generator.generators)[:2])
    assert not torch.equal(first, second)


@pytest.mark.parametrize("source", ["generator", "unlabelled", "labelled", "noise"])
def test_controls_have_the_count_of_what_they_control(source: str, stages: _Stages) -> None:
    gan = CGAN_STAGE if source == "generator" else gan_stage()
    augment(gan=gan, source=source).run(view(), stages.workshop)
    _, inputs = stages.asked["classifier"]
    counts = torch.bincount(inputs["extra"].known_labels, minlength=10)
    if source != "unlabelled":
        assert counts.tolist() == [4] * 10
        return
    # An untrained teacher may see no image of some class among 200: then it is short, and says so.
    assert int(counts.max()) <= 4
    pool = {image.numpy().tobytes() for image in view().unlabelled}
    assert {image.numpy().tobytes() for image in inputs["extra"].images} <= pool


@pytest.mark.parametrize("source", ["unlabelled", "labelled", "noise"])
def test_controls_pass_through_the_same_filters(source: str, stages: _Stages) -> None:
    outcome = augment(source=source, samples=replace(SAMPLES, filters=(Confidence(1.0),))).run(view(), stages.workshop)
    assert outcome.stamps == ("no-samples",)
    assert "gan" not in stages.asked


def test_deficits_are_filled(stages: _Stages) -> None:
    labelled = view().labelled
    keep = torch.cat([(labelled.labels == k).nonzero().squeeze(1)[: 1 + k % 4] for k in range(10)])
    seen = replace(view(), labelled=Labelled(labelled.images[keep], labelled.labels[keep]))
    samples = SampleSettings(ratio=1.0, fill="deficit")
    augment(gan=CGAN_STAGE, samples=samples).run(seen, stages.workshop)
    _, inputs = stages.asked["classifier"]
    counts = class_counts(seen.labelled.labels, 10)
    expected = wanted_counts(counts, len(keep), True)
    assert torch.bincount(inputs["extra"].known_labels, minlength=10).tolist() == expected.tolist()
    after = counts + expected
    assert int(after.max() - after.min()) <= 1


def test_no_sample_passed(stages: _Stages, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """The row stands, stamped, and is C on the real images alone, but for statistics over the U that the GAN saw."""
    with caplog.at_level(logging.WARNING):
        outcome = augment(label_threshold=1.0).run(view(), stages.workshop)
    assert outcome.stamps == ("no-samples",)
    assert outcome.notes["samples"] == {"kept": 0, "per_class": [0] * 10, "looked_at": 800, "short": 40}
    assert "none of 800 candidates passed the filters" in caplog.text
    bare = Baseline(classifier_stage()).run(view(), shop(tmp_path))
    assert same(fitted(outcome.classifier), fitted(bare.classifier))


def test_realism_asks_the_discriminator(stages: _Stages) -> None:
    filters = (Realism(0.5),)
    with_filter = augment(gan=CGAN_STAGE, samples=replace(SAMPLES, filters=filters)).run(view(), stages.workshop)
    assert "discriminator" in with_filter.weights
    assert with_filter.notes["samples"]["kept"] == 40
    kept = stages.asked["classifier"][1]["extra"].images
    augment(gan=CGAN_STAGE, samples=replace(SAMPLES, filters=())).run(view(), stages.workshop)
    assert not torch.equal(kept, stages.asked["classifier"][1]["extra"].images)


def test_sampling_is_charged(stages: _Stages) -> None:
    augment(gan=CGAN_STAGE, samples=SAMPLES).run(view(), stages.workshop)
    assert stages.workshop.work["sampling"].flops > 0
    spent = sum(trained.cost.flops for trained in stages.workshop.ledger)
    assert stages.workshop.total().flops == spent + stages.workshop.work["sampling"].flops


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": "condition"}, r"strategy.labels=condition .*architecture=cgan"),
        ({"gan": CGAN_STAGE, "labels": "classifier"}, r"strategy.labels=classifier .*architecture=dcgan"),
        ({"gan": CGAN_STAGE, "labels": "per_class"}, r"strategy.labels=per_class .*architecture=dcgan"),
        ({"gan": CGAN_STAGE, "gan_sees": "all"}, r"strategy.gan_sees=all.*strategy.gan_sees=labelled"),
        ({"labels": "per_class", "gan_sees": "all"}, r"strategy.gan_sees=all.*strategy.gan_sees=labelled"),
    ],
)
def test_combinations_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        augment(**changes)
    with pytest.raises(ConfigError, match=r"strategy.samples.ratio: 0.0 must be above 0"):
        SampleSettings(ratio=0.0)


def test_without_unlabelled_images_the_control_is_refused(tmp_path: Path) -> None:
    seen = replace(view(), unlabelled=view().unlabelled[:0])
    with pytest.raises(ConfigError, match=r"strategy.source=unlabelled needs unlabelled images"):
        augment(source="unlabelled").run(seen, shop(tmp_path))
