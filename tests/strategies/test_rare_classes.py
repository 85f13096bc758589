"""What is done to a trained C where classes are rare: a new head on the frozen body, and offsets of logits."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_curve
from torch import Tensor, nn

from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.regime import ExplicitCounts, Regime
from trigan.datasets.types import TrainingView
from trigan.errors import ConfigError
from trigan.losses.imbalance_losses import LDAM
from trigan.networks.batchnorm import batch_norms
from trigan.networks.classifiers.cosine_head import CosineHead
from trigan.networks.classifiers.frozen_body import FrozenBody
from trigan.samples.filters import outputs
from trigan.strategies.backbones import FineTune
from trigan.strategies.baseline import Baseline
from trigan.strategies.pretraining import SupervisedPretraining, Untrained
from trigan.strategies.rare_classes.head_refit import HeadRefit
from trigan.strategies.rare_classes.post_hoc import (
    TAUS,
    AdjustedClassifier,
    LogitAdjustment,
    PostHoc,
    ThresholdMoving,
)
from trigan.strategies.sample_schedules import RefitSchedule
from trigan.strategies.sample_settings import SampleSettings, shared_out
from trigan.strategies.strategy import Strategy
from trigan.training.adversary import PGDTraining
from trigan.training.balance import Resampling, mean_recall
from trigan.training.selection import Selection

from ..training.tiny import CNN8, classifier_stage, copied, digits, same, view
from .recipes import augment, features, logits, make_runner, unseen_images

LDAM8 = classifier_stage(criterion=LDAM(CosineHead(CNN8)), classifier=CosineHead(CNN8))


def _fine_tuned() -> Strategy:
    return features(backbone=Untrained(), probe=FineTune(LDAM8))


def _supervised() -> Strategy:
    return features(backbone=SupervisedPretraining(LDAM8), gan_images="labelled")


COUNTS = (60, 40, 30, 20, 15, 12, 10, 8, 6, 5)


def _rare(validation: str = "within") -> TrainingView:
    regime = Regime(validation=validation, imbalance=ExplicitCounts(COUNTS))  # type: ignore[arg-type]
    return draw_split(digits(), regime, 0).view


def test_a_refit_changes_the_head_alone(tmp_path: Path) -> None:
    runner, stage = make_runner(tmp_path), classifier_stage(20, selection=Selection("last"))
    outcome = Baseline(stage, head=HeadRefit(0.3)).run(_rare("none"), runner)
    first, second = runner.trained_stages
    before, after = (copied(one.state_dict()) for one in (first.networks["classifier"], outcome.classifier))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "head.bias"}
    assert (second.name, second.step, outcome.selected_step) == ("classifier-head", 6, 26)
    assert second.cost.images == {"classifier": 6 * 16}
    assert second.cost.flops < 0.5 * first.cost.flops * 6 / 20, "the body has no backward pass"
    body = second.networks["classifier"].body
    assert isinstance(body, FrozenBody)
    assert same(copied(body.body.state_dict()), copied(first.networks["classifier"].body.state_dict()))
    assert all(not layer.training for layer in batch_norms(body.train()))
    assert torch.equal(
        logits(outcome.classifier, unseen_images()), logits(second.networks["classifier"], unseen_images())
    )


def test_a_head_is_refitted_on_attacked_images_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attacked, attack = [], PGDTraining.attacked

    def watch(self: PGDTraining, network: nn.Module, images: Tensor, *rest: Any) -> Tensor:
        found = attack(self, network, images, *rest)
        attacked.append(not torch.equal(found, images))
        return found

    monkeypatch.setattr(PGDTraining, "attacked", watch)
    runner, stage = make_runner(tmp_path), classifier_stage(4, adversary=PGDTraining(0.1, 2))
    outcome = Baseline(stage, head=HeadRefit(0.5)).run(_rare("none"), runner)
    assert attacked == [True] * 6
    first = runner.trained_stages[0].networks["classifier"]
    before, after = copied(first.state_dict()), copied(outcome.classifier.state_dict())
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"head.weight", "head.bias"}


def test_a_refit_draws_classes_equally_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second stage is that of Kang et al. 2019: class-balanced sampling, cross-entropy, no mixing."""
    runner, stage = make_runner(tmp_path), classifier_stage(4, selection=Selection("last"))
    fits = []
    train = type(runner).train
    monkeypatch.setattr(type(runner), "train", lambda *given, **more: fits.append(given[2]) or train(*given, **more))
    Baseline(stage, head=HeadRefit(0.5, 0.1)).run(_rare("none"), runner)
    recipe = fits[1].recipe
    assert recipe.balance == Resampling()
    assert recipe.optimizer.learning_rate == pytest.approx(0.1 * stage.recipe.optimizer.learning_rate)
    assert recipe.mix is None


def test_logit_adjustment_is_its_formula() -> None:
    counts = torch.tensor([80, 15, 5])
    offsets, chosen = LogitAdjustment(1.5).offsets(counts, torch.empty(0, 3), torch.empty(0, dtype=torch.int64))
    expected = [-1.5 * np.log(n / 100) for n in (80, 15, 5)]
    assert offsets.tolist() == pytest.approx(expected, abs=1e-12)
    assert chosen == {"tau": 1.5}


def test_logit_adjustment_of_the_true_posterior_is_the_best_rule_for_equal_classes() -> None:
    """Two normal distributions at -1 and 1: with shares 9:1 tau = 1 moves the boundary back."""
    x = torch.linspace(-3.0, 3.0, 601, dtype=torch.float64)
    likelihoods = torch.stack([-((x + 1) ** 2) / 2, -((x - 1) ** 2) / 2], dim=1)
    prior = torch.tensor([0.9, 0.1], dtype=torch.float64)
    offsets, _ = LogitAdjustment().offsets(torch.tensor([900, 100]), torch.empty(0, 2), torch.empty(0).long())
    posterior = likelihoods + prior.log()
    assert float(x[posterior.argmax(1) == 1].min()) == pytest.approx(np.log(9) / 2, abs=0.01)
    assert float(x[(posterior + offsets).argmax(1) == 1].min()) == pytest.approx(0.0, abs=0.011)


def _drawn(classes: int, images: int, seed: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    shares = 0.3 ** torch.arange(classes)
    labels = torch.cat([torch.arange(classes), torch.multinomial(shares, images - classes, True, generator=source)])
    noise = torch.randn(images, classes, generator=source, dtype=torch.float64)
    return noise + 1.5 * torch.eye(classes, dtype=torch.float64)[labels] + shares.double().log(), labels


def test_tau_is_the_best_on_validation_images() -> None:
    scores, labels = _drawn(4, 200, 0)
    counts = torch.tensor([100, 30, 9, 3])
    _, chosen = LogitAdjustment(None).offsets(counts, scores, labels)
    prior = (counts.double() / counts.sum()).log()
    found = [balanced_accuracy_score(labels, (scores - tau * prior).argmax(1)) for tau in TAUS]
    assert chosen["tau"] == TAUS[int(np.argmax(found))]
    assert mean_recall(scores, labels) == pytest.approx(found[0])


@pytest.mark.parametrize("seed", range(3))
def test_a_threshold_of_two_classes_is_the_best_point_of_the_roc_curve(seed: int) -> None:
    scores, labels = _drawn(2, 60, seed)
    offsets, _ = ThresholdMoving().offsets(torch.tensor([1, 1]), scores, labels)
    false, true, _ = roc_curve(labels, scores[:, 1] - scores[:, 0])
    assert mean_recall(scores + offsets, labels) == pytest.approx(float((true - false).max() + 1) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_no_single_threshold_of_several_classes_can_be_improved(seed: int) -> None:
    scores, labels = _drawn(3, 40, seed)
    offsets, _ = ThresholdMoving().offsets(torch.tensor([1, 1, 1]), scores, labels)
    reached = mean_recall(scores + offsets, labels)
    assert reached >= mean_recall(scores, labels)
    for label, move in itertools.product(range(3), np.linspace(-6, 6, 241)):
        moved = scores + offsets
        moved[:, label] += move
        assert mean_recall(moved, labels) <= reached + 1e-12
    untouched, _ = ThresholdMoving().offsets(torch.ones(3), 10.0 * torch.eye(3, dtype=torch.float64), torch.arange(3))
    assert untouched.tolist() == [0.0, 0.0, 0.0], "nothing is moved for nothing"


@pytest.mark.parametrize(
    ("post_hoc", "labels"), [(LogitAdjustment(), 0), (LogitAdjustment(None), 41), (ThresholdMoving(), 41)], ids=str
)
def test_labels_behind_offsets_count(post_hoc: PostHoc, labels: int, tmp_path: Path) -> None:
    seen, runner = _rare(), make_runner(tmp_path)
    assert seen.sizes.validation == 41
    plain = classifier_stage(6, selection=Selection("last"))
    outcome = Baseline(plain, post_hoc=post_hoc).run(seen, runner)
    assert seen.taken["V"] == labels
    assert isinstance(outcome.classifier, AdjustedClassifier)
    first = runner.trained_stages[0].networks["classifier"]
    found = logits(outcome.classifier, unseen_images()) - logits(first, unseen_images())
    noted = torch.tensor(outcome.notes["post_hoc"]["offsets"])
    torch.testing.assert_close(found, noted.expand_as(found), atol=1e-5, rtol=0)
    if labels:
        notes = outcome.notes["post_hoc"]
        assert notes["validation_balanced_accuracy_after"] >= notes["validation_balanced_accuracy_before"]
        assert runner.task_costs["post-hoc adjustment"].flops > 0


@pytest.mark.parametrize("post_hoc", [LogitAdjustment(None), ThresholdMoving()], ids=str)
def test_without_validation_labels_it_is_refused_before_training(post_hoc: PostHoc, tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    with pytest.raises(
        ConfigError, match=r"^strategy.post_hoc: it is chosen on validation labels, and this regime has"
    ):
        Baseline(classifier_stage(), post_hoc=post_hoc).run(view(), runner)
    assert not runner.trained_stages


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^tau: -1.0 must be 0 or more"):
        LogitAdjustment(-1.0)
    with pytest.raises(ConfigError, match=r"^rounds: 0 must be 1 or more"):
        ThresholdMoving(0)
    with pytest.raises(ConfigError, match=r"^length: 0.0 must be above 0"):
        HeadRefit(0.0)
    with pytest.raises(ConfigError, match=r"strategy.head=none, whose fits"):
        Baseline(classifier_stage(), matched_flops=1e9, head=HeadRefit())


@pytest.mark.parametrize("source", ["smote", "labelled"])
def test_samples_fill_every_class_to_the_largest(source: str, tmp_path: Path) -> None:
    samples = SampleSettings(ratio=1.0, fill="to_largest")
    outcome = augment(source=source, samples=samples).run(_rare("none"), make_runner(tmp_path))
    assert outcome.notes["samples"]["per_class"] == [60 - count for count in COUNTS]
    with pytest.raises(ConfigError, match=r"^strategy.samples.fill=to_largest: all classes have as many labels"):
        augment(source=source, samples=samples).run(view(), make_runner(tmp_path))


def test_samples_go_where_the_teacher_errs_on_validation_images(tmp_path: Path) -> None:
    seen, runner = _rare(), make_runner(tmp_path)
    samples = SampleSettings(ratio=1.0, fill="errors")
    outcome = augment(source="smote", samples=samples).run(seen, runner)
    assert seen.taken["V"] == 41
    assert seen.validation is not None
    teacher = next(one for one in runner.trained_stages if one.name == "teacher").networks["classifier"]
    right = outputs(teacher, seen.validation.images).argmax(1) == seen.validation.labels
    errors = []
    for label in range(10):
        of_class = right[seen.validation.labels == label]
        errors.append(1 - (int(of_class.sum()) + 1) / (len(of_class) + 2))
    exact = np.array(errors) / sum(errors) * 165
    found = np.array(outcome.notes["samples"]["per_class"])
    assert found.sum() == 165
    assert np.abs(found - exact).max() < 1.0
    with pytest.raises(ConfigError, match=r"^strategy.samples.fill=errors: errors are counted on validation labels"):
        augment(source="smote", samples=samples).run(_rare("none"), make_runner(tmp_path / "other"))


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.9, 0.05, 0.05], [0.0, 0.3, 0.7]])
def test_shares_are_whole_numbers_that_add_up(weights: list[float]) -> None:
    found = shared_out(torch.tensor(weights, dtype=torch.float64), 10)
    assert int(found.sum()) == 10
    assert (found - 10 * torch.tensor(weights, dtype=torch.float64) / sum(weights)).abs().max() < 1.0


def test_a_head_after_samples_is_fitted_on_real_images_alone(tmp_path: Path) -> None:
    """SYNAuG: the mixed fit is that of the schedule without the head, bit for bit; then the head."""
    mixed, refit = make_runner(tmp_path / "mixed"), make_runner(tmp_path / "refit")
    augment(source="smote").run(_rare("none"), mixed)
    outcome = augment(source="smote", schedule=RefitSchedule(head=HeadRefit(0.5))).run(_rare("none"), refit)
    stages = {one.name: one for one in refit.trained_stages}
    assert stages["classifier"].digest == next(one.digest for one in mixed.trained_stages if one.name == "classifier")
    last = stages["classifier-head"]
    assert set(last.classifier["images"]) == {"labelled"}
    assert outcome.selected_step == stages["classifier"].step + last.step
    body = {name: value for name, value in outcome.classifier.state_dict().items() if name.startswith("body.")}
    assert same(body, {k: v for k, v in stages["classifier"].networks["classifier"].state_dict().items() if k in body})


@pytest.mark.parametrize("make", [_fine_tuned, _supervised], ids=["fine-tuned", "supervised"])
def test_a_head_on_features_has_no_cosines(make: Callable[[], Strategy], tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^recipe/criterion=ldam needs a head of cosines, and a head on D's features"
    ):
        make().run(view(), make_runner(tmp_path))
