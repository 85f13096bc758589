"""Teachers of samples, fresh samples, soft labels, GANs on pseudo-labels, and samples beside an unlabelled method."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from trigan.datasets.augmentation import StrongAugmentation
from trigan.datasets.inputs import Input
from trigan.errors import ConfigError
from trigan.networks.batchnorm import batch_norms
from trigan.samples.filters import AgreementFilter, ClassQuantileFilter, ConfidenceFilter, ScoringModels, outputs
from trigan.strategies import sample_settings
from trigan.strategies.baseline import Baseline, FixMatchTraining, LabelledOnly, SelfTraining
from trigan.strategies.sample_settings import SampleSettings
from trigan.strategies.stage_runner import StageRunner
from trigan.strategies.teachers import AutoTeacher, Gate, TeacherTraining, gate_on_real_images
from trigan.training.terms.loss_terms import ExtraImages, FixMatch

from ..training.tiny import TURNED, classifier_stage, same, view, with_parts
from .recipes import CGAN_STAGE, SAMPLES, augment, make_runner, parameters
from .test_augment import _Stages

FIXMATCH = FixMatchTraining(StrongAugmentation(TURNED), threshold=0.1)
PLAIN = SampleSettings(ratio=1.0)


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Stages:
    return _Stages(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("teacher", "gan", "inputs", "unlabelled"),
    [
        (LabelledOnly(), CGAN_STAGE, {"labelled"}, 0),
        (FIXMATCH, CGAN_STAGE, {"labelled", "consistency", "statistics"}, 200),
        (AutoTeacher(FIXMATCH), CGAN_STAGE, {"labelled"}, 0),
        (AutoTeacher(FIXMATCH), augment().gan, {"labelled", "consistency", "statistics"}, 200),
    ],
)
def test_a_teacher_that_uses_u_is_counted(
    teacher: Any, gan: Any, inputs: set[str], unlabelled: int, stages: _Stages
) -> None:
    """With auto it uses U if the GAN does; its images of U are in the record and in C's batch-norm statistics."""
    seen = with_parts(view())
    augment(gan=gan, teacher=teacher).run(seen, stages.runner)
    assert set(stages.given["teacher"][1]) == inputs
    assert (40, unlabelled) == (seen.taken["L"], seen.taken["U"])
    assert ("statistics" in stages.given["classifier"][1]) == (unlabelled > 0)


def test_a_self_trained_teacher_is_the_second_of_two_fits(stages: _Stages) -> None:
    recipe = augment(gan=CGAN_STAGE, teacher=SelfTraining(threshold=0.0), samples=SAMPLES)
    seen = with_parts(view())
    recipe.run(seen, stages.runner)
    assert set(stages.given) == {"teacher", "teacher-self-trained", "gan", "classifier"}
    assert len(stages.given["teacher-self-trained"][1]["extra"]) == 200
    assert seen.taken["U"] == 200
    assert stages.runner.task_costs["pseudo-labels"].flops > 0
    baseline = Baseline(classifier_stage(), SelfTraining(threshold=0.0)).run(
        view(), make_runner(stages.runner.store.root)
    )
    teacher = stages.trained["teacher-self-trained"].networks["classifier"]
    assert same(parameters(teacher), parameters(baseline.classifier))


def test_a_teacher_without_use_is_not_trained_and_not_counted(stages: _Stages) -> None:
    recipe = augment(gan=CGAN_STAGE, teacher=FIXMATCH, samples=PLAIN)
    seen = with_parts(view())
    recipe.run(seen, stages.runner)
    assert seen.taken["U"] == 0
    assert set(stages.given) == {"gan", "classifier"}
    assert {"teacher", "teacher_folds"} < set(recipe.unused_settings)
    assert "teacher" not in augment(gan=CGAN_STAGE).unused_settings


def test_fresh_samples_are_used_once(stages: _Stages) -> None:
    """Six steps of 16 samples from sets of 40: three sets, and no sample comes twice."""
    outcome = augment(gan=CGAN_STAGE, samples=replace(PLAIN, sets="auto")).run(view(), stages.runner)
    extra = stages.given["classifier"][1]["extra"]
    assert extra.parts == (40, 40, 40)
    assert outcome.notes["samples"]["n_candidates"] == 3 * 80
    assert outcome.generator is not None
    by_hand = augment(gan=CGAN_STAGE, samples=replace(PLAIN, sets=3))
    by_hand.run(view(), stages.runner)
    assert torch.equal(stages.given["classifier"][1]["extra"].images, extra.images)
    augment(gan=CGAN_STAGE, samples=replace(PLAIN, sets="auto", until=0.5)).run(view(), stages.runner)
    assert stages.given["classifier"][1]["extra"].parts == (40, 40)


def test_fresh_samples_stay_within_their_memory_and_the_pool(
    stages: _Stages, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    auto = replace(PLAIN, sets="auto")
    assert auto.number_of_sets(96, 40, view().spec) == 3
    assert auto.number_of_sets(96, 40, view().spec, pool=90) == 2
    monkeypatch.setattr(sample_settings, "FRESH_BYTES", 2 * 40 * 64)
    assert auto.number_of_sets(96, 40, view().spec) == 2
    assert "samples are repeated, as only 2 of 3 sets fit" in caplog.text
    assert replace(PLAIN, sets=7).number_of_sets(96, 40, view().spec) == 7


def test_soft_labels_are_the_teachers_probabilities(stages: _Stages) -> None:
    augment(gan=CGAN_STAGE, samples=replace(PLAIN, targets="soft", weight=0.5)).run(view(), stages.runner)
    extra = stages.given["classifier"][1]["extra"]
    teacher = stages.trained["teacher"].networks["classifier"]
    torch.testing.assert_close(extra.known_labels, outputs(teacher, extra.images).softmax(1))
    assert extra.known_labels.shape == (40, 10)
    assert stages.runner.task_costs["soft labels"].flops > 0


@pytest.mark.parametrize("labels", ["condition", "per_class"])
def test_a_gan_that_needs_labels_has_the_teachers_for_u(labels: Any, stages: _Stages) -> None:
    gan = CGAN_STAGE if labels == "condition" else augment().gan
    recipe = augment(gan=gan, labels=labels, gan_images="all", samples=PLAIN)
    seen = with_parts(view())
    recipe.run(seen, stages.runner)
    assert seen.taken["U"] == 200
    predicted = outputs(stages.trained["teacher"].networks["classifier"], view().unlabelled).argmax(1)
    images = torch.cat([view().labelled.images, view().unlabelled])
    every = torch.cat([view().labelled.labels, predicted])
    if labels == "condition":
        real = stages.given["gan"][1]["real"]
        assert torch.equal(real.images, images)
        assert torch.equal(real.known_labels, every)
    else:
        for label in range(10):
            assert torch.equal(stages.given[f"gan-{label}"][1]["real"].images, images[every == label])
    assert stages.runner.task_costs["pseudo-labels of the GAN"].flops > 0
    replace(recipe, label_threshold=1.0, labels="condition", gan=CGAN_STAGE).run(view(), stages.runner)
    assert torch.equal(stages.given["gan"][1]["real"].images, view().labelled.images)
    with pytest.raises(ConfigError, match=r"strategy.gan_images=all needs unlabelled images"):
        recipe.run(with_parts(view(), unlabelled=view().unlabelled[:0]), stages.runner)


@pytest.mark.parametrize("source", ["generator", "labelled", "unlabelled", "noise"])
def test_samples_beside_fixmatch(source: str, stages: _Stages) -> None:
    """C has both terms and all inputs, the row and its controls use L and U, and statistics come from both."""
    gan = CGAN_STAGE if source == "generator" else augment().gan
    seen = with_parts(view())
    augment(gan=gan, source=source, samples=PLAIN, unlabelled=FIXMATCH).run(seen, stages.runner)
    stage, inputs = stages.given["classifier"]
    assert [type(term) for term in stage.terms] == [FixMatch, ExtraImages]
    assert set(inputs) == {"labelled", "consistency", "extra", "statistics"}
    assert torch.equal(inputs["consistency"].images, view().training_images)
    assert torch.equal(inputs["statistics"].images, view().training_images)
    assert (seen.taken["L"], seen.taken["U"]) == (40, 200)


def test_samples_of_weight_zero_beside_fixmatch_leave_fixmatch(stages: _Stages, tmp_path: Path) -> None:
    outcome = augment(source="noise", samples=replace(PLAIN, weight=0.0), unlabelled=FIXMATCH).run(
        view(), stages.runner
    )
    bare = Baseline(classifier_stage(), FIXMATCH).run(view(), make_runner(tmp_path))
    assert same(parameters(outcome.classifier), parameters(bare.classifier))


def test_samples_beside_pseudo_labels_have_a_stream_of_their_own(stages: _Stages) -> None:
    recipe = augment(source="noise", samples=PLAIN, unlabelled=SelfTraining(threshold=0.0))
    seen = with_parts(view())
    recipe.run(seen, stages.runner)
    assert seen.taken["U"] == 200
    stage, inputs = stages.given["classifier"]
    assert [term.stream for term in stage.terms] == ["extra", "samples"]
    assert (len(inputs["extra"]), len(inputs["samples"])) == (200, 40)
    unsure = replace(recipe, unlabelled=SelfTraining(threshold=1.0)).run(view(), stages.runner)
    assert "no-pseudo-labels" in unsure.stamps


def test_settings_of_the_samples_reach_the_loss(stages: _Stages) -> None:
    samples = replace(PLAIN, weight=0.25, until=0.5, annealing="linear", batch_norm="separate")
    outcome = augment(source="noise", samples=samples).run(view(), stages.runner)
    stage, _ = stages.given["classifier"]
    assert stage.terms == (ExtraImages(TURNED, 0.25, 1.0, "extra", 0.5, "linear", True),)
    assert stages.trained["classifier"].cost.images["classifier"] == 6 * 16 + 3 * 16
    layers = batch_norms(outcome.classifier)
    assert layers
    for layer in layers:
        assert layer.auxiliary_weight is not None
        assert not torch.equal(layer.auxiliary_weight, layer.weight)


def test_a_quantile_of_each_class_is_kept() -> None:
    """A threshold starves the classes of which the teacher is less certain; the quantile keeps half of each."""
    runner_view = view()
    images, labels = runner_view.labelled.images, runner_view.labelled.labels
    teacher = _Biased()
    models = ScoringModels(teacher)
    by_threshold = labels[ConfidenceFilter(0.5).keep(images, labels, models)]
    by_quantile = labels[ClassQuantileFilter(0.5).keep(images, labels, models)]
    assert set(by_threshold.tolist()) == {0}
    assert torch.bincount(by_quantile, minlength=10).tolist() == [2] * 10
    kept = ClassQuantileFilter(0.5).keep(images, labels, models)
    scores = outputs(teacher, images).softmax(1).gather(1, labels[:, None]).squeeze(1)
    for label in range(10):
        rows = labels == label
        assert float(scores[rows & kept].min()) >= float(scores[rows & ~kept].max())


class _Biased(torch.nn.Module):
    """A classifier that is certain of class 0 only; brighter images get less of it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = images.mean((1, 2, 3))
        return torch.stack([self.scale * (6.0 - bright), *(0.1 * k * bright for k in range(1, 10))], dim=1)


def test_the_record_says_what_passes_by_class(stages: _Stages) -> None:
    outcome = augment(gan=CGAN_STAGE, samples=replace(SAMPLES, filters=(ConfidenceFilter(0.12),))).run(
        view(), stages.runner
    )
    notes = outcome.notes["samples"]
    assert sum(notes["candidates_per_class"]) == notes["n_candidates"]
    assert notes["pass_share"] == sum(notes["passed_per_class"]) / notes["n_candidates"]
    assert 0.0 < notes["pass_share"] < 1.0
    for before, passed, kept in zip(
        notes["candidates_per_class"], notes["passed_per_class"], notes["per_class"], strict=True
    ):
        assert before >= passed >= kept


def test_the_teachers_accuracy_is_measured_on_validation_images(stages: _Stages) -> None:
    seen = view(validation=True)
    outcome = augment(gan=CGAN_STAGE).run(seen, stages.runner)
    assert seen.validation is not None
    teacher = stages.trained["teacher"].networks["classifier"]
    correct = outputs(teacher, seen.validation.images).argmax(1) == seen.validation.labels
    expected = {
        "accuracy": float(correct.double().mean()),
        "pass_share": 1.0,
        "images": len(correct),
        "on": "validation",
    }
    assert outcome.notes["teacher"] == expected


def test_without_validation_images_it_is_measured_by_cross_validation(stages: _Stages) -> None:
    """Each image of L is held out once; the folds' fits are neither charged nor part of the run's stages."""
    recipe = augment(gan=CGAN_STAGE, teacher=FIXMATCH, teacher_folds=2)
    outcome = recipe.run(view(), stages.runner)
    notes = outcome.notes["teacher"]
    assert (notes["images"], notes["on"], notes["pass_share"]) == (40, "2-fold cross-validation", 1.0)
    held_out, correct = [], 0
    for fold in range(2):
        stage, inputs = stages.given[f"teacher-fold{fold}"]
        assert stage == stages.given["teacher"][0]
        assert torch.bincount(inputs["labelled"].known_labels).tolist() == [2] * 10
        used = {image.numpy().tobytes() for image in inputs["labelled"].images}
        rows = torch.tensor([image.numpy().tobytes() not in used for image in view().labelled.images])
        pool = {image.numpy().tobytes() for image in inputs["consistency"].images}
        assert len(inputs["consistency"]) == 20 + 200
        assert not pool & {image.numpy().tobytes() for image in view().labelled.images[rows]}
        predicted = outputs(stages.trained[f"teacher-fold{fold}"].networks["classifier"], view().labelled.images[rows])
        correct += int((predicted.argmax(1) == view().labelled.labels[rows]).sum())
        held_out += rows.nonzero().squeeze(1).tolist()
    assert sorted(held_out) == list(range(40))
    assert notes["accuracy"] == correct / 40
    names = {trained.name for trained in stages.runner.trained_stages}
    assert names == {"teacher", "gan", "classifier"}
    without = make_runner(stages.runner.store.root / "other")
    assert replace(recipe, teacher_folds=0).run(view(), without).notes["teacher"] == {"images": 0}
    assert without.total_cost().flops == stages.runner.total_cost().flops


def test_the_gates_share_of_real_images(tmp_path: Path) -> None:
    """Of predicted labels those above the threshold; unknown where a filter needs a second teacher."""
    runner: StageRunner = make_runner(tmp_path)
    training = TeacherTraining(classifier_stage(), LabelledOnly(), view(validation=True), runner)
    teacher = training.train("teacher")
    validation = view(validation=True).validation
    assert validation is not None
    models = ScoringModels(teacher)
    confidence = outputs(teacher, validation.images).softmax(1).amax(1)
    threshold = float(confidence.median())
    notes = gate_on_real_images(training, Gate((), threshold, True), models, 2, 10)
    assert notes["pass_share"] == float((confidence >= threshold).double().mean())
    assert "pass_share" not in gate_on_real_images(training, Gate((AgreementFilter(),), 0.0, False), models, 2, 10)
    assert Gate((), 0.0, False).pass_count(Input(validation.images, validation.labels), ScoringModels()) == len(
        validation
    )
