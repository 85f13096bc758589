"""D as feature extractor, and the same recipe on an untrained D and on pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from trigan.datasets.sources.digits import Digits
from trigan.datasets.stream import to_float
from trigan.errors import ConfigError
from trigan.networks.batchnorm import BatchNorm2d
from trigan.networks.classifiers.classifier import Classifier
from trigan.networks.gans.dcgan import DCGAN
from trigan.strategies.backbones import FeatureExtractor, FineTune, ProbedBackbone
from trigan.strategies.pretraining import (
    GANPretraining,
    Pixels,
    Pretraining,
    PretrainingData,
    SelfSupervisedPretraining,
    Untrained,
)
from trigan.strategies.probes import LinearSVM

from ..training.tiny import SPEC, built, classifier_stage, gan_stage, simclr_stage, view, with_parts
from .recipes import CGAN_STAGE, SVM, features, logits, make_runner, unseen_images


def _pool() -> torch.Tensor:
    return view().training_images


def test_the_recipe_by_hand(tmp_path: Path) -> None:
    """Features over all training images, standardised over all of them, an SVM on the labelled ones."""
    outcome = features(probe=LinearSVM((1e-3,), 2)).run(view(), make_runner(tmp_path))
    discriminator = outcome.weights["discriminator"]
    extractor = FeatureExtractor(discriminator, (), 4)
    with torch.no_grad():
        seen, mine, others = (extractor(to_float(i)) for i in (_pool(), view().labelled.images, view().unlabelled))
    mean, scale = seen.mean(0), seen.std(0)
    assert seen.shape[1] == 16 * 8 + 4 * 16
    model = LinearSVC(C=1e-3, dual=True, random_state=0, max_iter=5000)
    model.fit(((mine - mean) / scale).double().numpy(), view().labelled.labels.numpy())
    wanted = model.decision_function(((others - mean) / scale).double().numpy())
    found = logits(outcome.classifier, to_float(view().unlabelled)) * float(outcome.classifier.head.temperature)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-3, atol=1e-3)
    assert outcome.notes["probe"]["penalty"] == 1e-3


def test_statistics_are_those_of_real_training_images(tmp_path: Path) -> None:
    """D's batch norm is held at the statistics of all training images, for the trained and the untrained one alike."""
    for backbone in (GANPretraining(), Untrained()):
        outcome = features(backbone=backbone).run(view(), make_runner(tmp_path))
        assert isinstance(outcome.classifier, ProbedBackbone)
        layer = next(m for m in outcome.classifier.modules() if isinstance(m, BatchNorm2d))
        met: list[torch.Tensor] = []
        hook = layer.register_forward_pre_hook(lambda _, given, met=met: met.append(given[0]))
        logits(outcome.classifier, to_float(_pool()))
        hook.remove()
        torch.testing.assert_close(layer.running_mean, met[0].mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(layer.running_var, met[0].var((0, 2, 3)), rtol=1e-5, atol=1e-6)


def test_the_untrained_discriminator_has_the_first_weights_of_the_trained_one(tmp_path: Path) -> None:
    untrained = features(backbone=Untrained()).run(view(), make_runner(tmp_path)).classifier
    trained = features().run(view(), make_runner(tmp_path)).classifier
    first = built(gan_stage()).networks["discriminator"]
    weights = dict(untrained.extractor.discriminator.named_parameters())
    assert weights.keys() == dict(first.named_parameters()).keys()
    assert all(torch.equal(weights[name], value) for name, value in first.named_parameters())
    moved = dict(trained.extractor.discriminator.named_parameters())
    assert not any(torch.equal(moved[name], value) for name, value in weights.items())


def test_an_untrained_backbone_has_no_cost_and_no_generator(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    outcome = features(backbone=Untrained()).run(view(), runner)
    (stage,) = runner.trained_stages
    assert (stage.cost.flops, stage.step) == (0, 0)
    assert outcome.generator is None
    assert set(outcome.weights) == {"classifier"}
    assert runner.total_cost().flops == runner.task_costs["features"].flops > 0


def test_pixels_train_no_gan(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    outcome = features(backbone=Pixels()).run(view(), runner)
    assert runner.trained_stages == []
    assert set(outcome.weights) == {"classifier"}


@pytest.mark.parametrize(
    "backbone", [Pixels(), Pixels(per_feature_scale=True), Untrained()], ids=["pixels", "each", "D"]
)
def test_pixels_share_one_scale_and_features_have_their_own(backbone: Pretraining, tmp_path: Path) -> None:
    network = features(backbone=backbone).run(view(), make_runner(tmp_path)).classifier
    assert isinstance(network, ProbedBackbone)
    seen = network.extractor(to_float(_pool())).detach()
    torch.testing.assert_close(network.mean, seen.mean(0))
    if backbone.per_feature_scale:
        own = seen.std(0)
        torch.testing.assert_close(network.scale, torch.where(own > 1e-6, own, torch.ones_like(own)))
    else:
        torch.testing.assert_close(network.scale, (seen - seen.mean(0)).square().mean().sqrt().expand(seen.shape[1]))


def test_a_conditional_gan_uses_labelled_images(tmp_path: Path) -> None:
    runner, seen = make_runner(tmp_path), with_parts(view())
    features(gan=CGAN_STAGE).run(seen, runner)
    features(gan=CGAN_STAGE, gan_images="labelled").run(seen, runner)
    assert seen.taken["U"] == 0
    assert len({trained.digest for trained in runner.trained_stages}) == 1


@pytest.mark.parametrize("backbone", [GANPretraining(), Untrained()], ids=["trained", "untrained"])
def test_fine_tuning_moves_all_of_the_discriminator(backbone: Pretraining, tmp_path: Path) -> None:
    outcome = features(backbone=backbone, probe=FineTune(classifier_stage())).run(view(), make_runner(tmp_path))
    tuned = outcome.classifier
    assert isinstance(tuned, Classifier)
    start = features(backbone=backbone).run(view(), make_runner(tmp_path)).classifier.extractor.discriminator
    moved = dict(tuned.body.discriminator.named_parameters())
    for name, value in start.named_parameters():
        if name.startswith("backbone"):  # the real-or-generated layer is not trained
            assert not torch.equal(moved[name], value), name
            assert float((moved[name] - value).detach().norm()) < 2 * float(value.detach().norm()) + 1.0, (
                "it began somewhere else"
            )
        else:
            assert torch.equal(moved[name], value)
    assert outcome.probabilistic
    assert outcome.selected_step == 6


def test_another_discriminator_is_another_fine_tuning(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    for backbone in (GANPretraining(), Untrained(), GANPretraining()):
        features(backbone=backbone, probe=FineTune(classifier_stage())).run(view(), runner)
    tunings = [trained.digest for trained in runner.trained_stages if trained.kind == "classifier"]
    assert tunings[0] == tunings[2] != tunings[1]


def test_three_channels() -> None:
    spec = type(SPEC)(3, 28, 10)
    discriminator = DCGAN(width=32).discriminator(spec).eval()
    found = FeatureExtractor(discriminator, (), 4)(torch.zeros(2, 3, 28, 28))
    assert found.shape == (2, 16 * (32 + 64 + 128))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": 0}, r"strategy.grid: 0 must be at least 1"),
        ({"gan": CGAN_STAGE, "gan_images": "all"}, r"strategy.gan_images=all: a conditional GAN needs labels"),
        ({"gan_images": "partly_labelled"}, r"partly_labelled is for a conditional generator"),
        (
            {"gan": CGAN_STAGE, "pretrain": PretrainingData(Digits())},
            r"strategy.pretrain.data: a conditional GAN needs this data set's",
        ),
        (
            {
                "gan": CGAN_STAGE,
                "pretrain": PretrainingData(Digits()),
                "backbone": SelfSupervisedPretraining(simclr_stage()),
            },
            r"strategy.pretrain.data: a conditional GAN needs this data set's labels.* set architecture=dcgan",
        ),
        ({"backbone": Pixels(), "probe": FineTune(classifier_stage())}, r"strategy.probe=fine_tune needs a network"),
    ],
)
def test_combinations_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        features(**changes)


def test_an_unknown_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"strategy.layers: 'top' is no layer of D"):
        features(backbone=Untrained(), layers=["top"]).run(view(), make_runner(tmp_path))


def test_a_few_labels_suffice(tmp_path: Path) -> None:
    """One label a class: no cross-validation, so no probabilities, but a classifier."""
    seen = view(labels=1)
    outcome = features(backbone=Untrained(), probe=SVM).run(seen, make_runner(tmp_path))
    assert not outcome.probabilistic
    assert logits(outcome.classifier, unseen_images()).shape == (len(unseen_images()), 10)
