"""Methods against wrong labels as choices of the baseline: what they train, what they charge, what they refuse."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from trigan.datasets.inputs import Input, stratified_folds
from trigan.datasets.mixing import MixUp
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.label_noise import SymmetricNoise
from trigan.datasets.splits.regime import Regime
from trigan.errors import ConfigError
from trigan.losses.classifier_losses import CrossEntropy
from trigan.losses.label_noise_losses import ForwardCorrection
from trigan.losses.label_transitions import EstimatedTransition
from trigan.samples.filters import outputs
from trigan.strategies.backbones import FineTune
from trigan.strategies.baseline import Baseline, FixMatchTraining
from trigan.strategies.joint import Joint
from trigan.strategies.noisy_labels.co_teaching import CoTeaching
from trigan.strategies.noisy_labels.label_pruning import ConfidentLearning
from trigan.strategies.sample_schedules import RelabelSchedule
from trigan.strategies.sample_settings import SampleSettings
from trigan.strategies.stage_runner import StageRunner
from trigan.strategies.strategy import labelled_inputs
from trigan.training.objectives import FeatureMatching
from trigan.training.stages.co_teaching_stage import ForgetRate

from ..training.tiny import CGAN8, TURNED, classifier_stage, digits, gan_stage, joint_stage, view
from .recipes import SAMPLES, augment, features, make_runner

ESTIMATED = ForwardCorrection(EstimatedTransition())


def noisy_view() -> tuple[Any, torch.Tensor]:
    """30 labels of each class, of which 20 % are wrong; and which."""
    regime = Regime(30, unlabelled="none", validation="none")
    clean, drawn = (draw_split(digits(), replace(regime, noise=noise), 0) for noise in (None, SymmetricNoise(0.2)))
    return drawn.view, drawn.view.labelled.labels != clean.view.labelled.labels


@pytest.mark.parametrize("action", ["drop", "relabel"])
def test_confident_learning_finds_wrong_labels(action: Any, tmp_path: Path) -> None:
    seen, wrong = noisy_view()
    runner = make_runner(tmp_path)
    stage = classifier_stage(60)
    _, inputs, notes = ConfidentLearning(action, folds=3).prepare(stage, labelled_inputs(seen), runner)
    found = notes["confident_learning"]
    assert [one.name for one in runner.trained_stages] == ["fold-0", "fold-1", "fold-2"]
    labels = inputs["labelled"].known_labels
    if action == "drop":
        kept = {image.numpy().tobytes() for image in inputs["labelled"].images}
        chosen = torch.tensor([image.numpy().tobytes() not in kept for image in seen.labelled.images])
    else:
        chosen = labels != seen.labelled.labels
    assert int(chosen.sum()) == found["labels"]
    hit = int((chosen & wrong).sum())
    assert hit >= 2 / 3 * int(wrong.sum())
    assert hit >= 0.6 * found["labels"]
    assert torch.tensor(found["joint"]).sum() == pytest.approx(300, abs=0.1)


def test_no_image_is_predicted_by_a_fit_that_saw_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, _ = noisy_view()
    fits: list[Input] = []
    train = StageRunner.train

    def recorded(self: StageRunner, name: str, stage: Any, inputs: Any, seed: int | None = None) -> Any:
        fits.append(inputs["labelled"])
        return train(self, name, stage, inputs, seed)

    monkeypatch.setattr(StageRunner, "train", recorded)
    ConfidentLearning(folds=2).prepare(classifier_stage(2), labelled_inputs(seen), make_runner(tmp_path))
    folds = stratified_folds(seen.labelled.labels, 10, 2, 0, "confident learning")
    for fold, fitted_on in enumerate(fits):
        assert torch.equal(fitted_on.images, seen.labelled.images[folds != fold])
        assert torch.equal(fitted_on.known_labels, seen.labelled.labels[folds != fold])


def test_an_estimated_matrix_comes_from_a_first_fit_with_cross_entropy(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    stage = classifier_stage(20, criterion=ESTIMATED)
    outcome = Baseline(stage).run(view(), runner)
    assert [one.name for one in runner.trained_stages] == ["first-fit", "classifier"]
    plain = make_runner(tmp_path)
    Baseline(classifier_stage(20, criterion=CrossEntropy())).run(view(), plain)
    assert plain.trained_stages[0].digest == runner.trained_stages[0].digest, "the baseline's own fit, which is reused"
    matrix = torch.tensor(outcome.notes["transition"])
    torch.testing.assert_close(matrix.sum(1), torch.ones(10), atol=1e-3, rtol=0)
    assert (matrix.argmax(1) == torch.arange(10)).sum() >= 8
    assert runner.total_cost().flops > 2 * plain.total_cost().flops


def test_co_teaching_trains_two_networks_and_keeps_one(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    outcome = Baseline(classifier_stage(), noisy_labels=CoTeaching(ForgetRate(0.2))).run(view(), runner)
    (stage,) = runner.trained_stages
    assert set(stage.networks) == {"classifier"}
    assert stage.cost.images == {"classifier": 96, "second": 96}
    assert outcome.classifier is stage.networks["classifier"]


CLEANED = ConfidentLearning()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (
            lambda: Baseline(classifier_stage(), FixMatchTraining(TURNED), noisy_labels=CLEANED),
            "strategy.unlabelled=none",
        ),
        (lambda: Baseline(classifier_stage(), matched_flops=1e9, noisy_labels=CLEANED), "strategy.matched_flops=null"),
        (lambda: Baseline(classifier_stage(criterion=ESTIMATED), matched_flops=1e9), "an estimated matrix has fits"),
        (lambda: Baseline(classifier_stage(mix=MixUp(0.5)), noisy_labels=CoTeaching(ForgetRate(0.2))), "set mix=none"),
        (
            lambda: features(gan=replace(gan_stage(architecture=CGAN8), transition=EstimatedTransition())),
            "strategy.gan.transition: strategy=features does not estimate",
        ),
        (
            lambda: features(probe=FineTune(classifier_stage(criterion=ESTIMATED))),
            "recipe.criterion: strategy=features",
        ),
        (lambda: ConfidentLearning("repaint"), "action: repaint must be drop or relabel"),  # type: ignore[arg-type]
        (lambda: ConfidentLearning(by="chance"), "by: chance"),  # type: ignore[arg-type]
        (lambda: ConfidentLearning(folds=1), "folds: 1"),
    ],
)
def test_what_does_not_go_together_is_refused(make: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as error:
        make()
    assert "\n" not in str(error.value)


def test_the_labels_of_a_conditional_gan_are_the_noisy_ones_and_its_matrix_is_estimated(tmp_path: Path) -> None:
    seen, wrong = noisy_view()
    assert int(wrong.sum()) == 60
    runner = make_runner(tmp_path)
    gan = replace(gan_stage(architecture=CGAN8), transition=EstimatedTransition())
    given: dict[str, Input] = {}
    train = runner.train
    runner.train = lambda name, stage, inputs, seed=None: (  # type: ignore[method-assign]
        given.update({name: inputs.get("real", inputs.get("labelled"))}) or train(name, stage, inputs, seed)  # type: ignore[func-returns-value]
    )
    outcome = augment(gan=gan, samples=SampleSettings(1.0, targets="hard")).run(seen, runner)
    assert list(given) == ["first-fit", "gan", "classifier"]
    assert torch.equal(given["gan"].known_labels, seen.labelled.labels)
    assert torch.tensor(outcome.notes["transition"]).shape == (10, 10)


def test_augment_and_joint_estimate_the_matrix_of_their_criterion(tmp_path: Path) -> None:
    for strategy in (
        augment(classifier=classifier_stage(criterion=ESTIMATED)),
        Joint(joint_stage(FeatureMatching(), criterion=ESTIMATED)),
    ):
        runner = make_runner(tmp_path)
        outcome = strategy.run(view(), runner)
        assert runner.trained_stages[0].name == "first-fit"
        assert torch.tensor(outcome.notes["transition"]).shape == (10, 10)


def test_labels_from_the_generator_replace_the_given_ones(tmp_path: Path) -> None:
    """C learns from what a classifier of samples says; other given labels of C give the same C."""
    samples = Input(view().labelled.images.flip(-1), view().labelled.labels)
    found = []
    for shift in (0, 1):
        runner = make_runner(tmp_path)
        inputs = labelled_inputs(view())
        inputs["labelled"] = replace(inputs["labelled"], labels=(inputs["labelled"].known_labels + shift) % 10)
        term = SAMPLES.term(TURNED, "extra")
        trained = RelabelSchedule().train(classifier_stage(), inputs, samples, term, runner)
        assert [one.name for one in runner.trained_stages] == ["classifier-synthetic", "classifier"]
        found.append(trained.digest)
    synthetic = runner.trained_stages[0].networks["classifier"]
    labels = outputs(synthetic, inputs["labelled"].images).argmax(1)
    expected = runner.train("x", classifier_stage(), {"labelled": Input(inputs["labelled"].images, labels)})
    assert found == [expected.digest] * 2
