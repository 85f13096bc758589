"""The controls of a GAN's D: equal operations, equal initial weights, and the declared images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tensor_datasets import from_tensors

from trigan.datasets.inputs import Input
from trigan.datasets.sources.digits import Digits
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.external_data import with_external
from trigan.datasets.splits.regime import Regime
from trigan.datasets.stream import to_float
from trigan.datasets.types import DataSpec, ImageDataset, TrainingView
from trigan.errors import ConfigError, DataError
from trigan.losses.gan_losses import wasserstein
from trigan.networks.batchnorm import BatchNorm2d
from trigan.networks.gans.dcgan import DCGAN
from trigan.strategies.backbones import FeatureExtractor, FineTune, PretrainedBackbone, layer_depths, saved_weights
from trigan.strategies.gans import gan_flops
from trigan.strategies.pretraining import (
    Pixels,
    Pretraining,
    PretrainingData,
    SelfSupervisedPretraining,
    SupervisedPretraining,
    Untrained,
)
from trigan.strategies.strategy import labelled_inputs
from trigan.training.selection import Selection
from trigan.training.stages.gan_stage import GANStage

from ..training.tiny import SPEC, autoencoder_stage, classifier_stage, digits, gan_stage, simclr_stage, view, with_parts
from .recipes import CGAN_STAGE, features, logits, make_runner

CRITIC = gan_stage(13, DCGAN(width=8, latent=8, discriminator_norm="none"), wasserstein(discriminator_steps=5))
BACKBONES: dict[str, Pretraining] = {
    "supervised": SupervisedPretraining(classifier_stage()),
    "supervised, chosen on V": SupervisedPretraining(classifier_stage(selection=Selection("val", 3))),
    "autoencoder": SelfSupervisedPretraining(autoencoder_stage()),
    "simclr": SelfSupervisedPretraining(simclr_stage()),
}


#: The first in every run of the tests, the others in the longer ones: they train twice each.
COUNTED = [*((name, gan_stage(13)) for name in BACKBONES), ("simclr", CRITIC)]


@pytest.mark.parametrize(
    ("name", "gan"), [COUNTED[0], *(pytest.param(*one, marks=pytest.mark.slow) for one in COUNTED[1:])]
)
def test_equal_operations(name: str, gan: GANStage, tmp_path: Path) -> None:
    """What the pretext stage is charged is within a step (half a step, by rounding) of what the GAN is charged."""
    seen = view(validation="V" in name)
    whole, runner = make_runner(tmp_path / "gan"), make_runner(tmp_path)
    budget = whole.train("gan", gan, {"real": Input(seen.training_images)}).cost.flops
    assert gan_flops(gan, Input(seen.training_images), runner) == budget
    BACKBONES[name].networks(gan, Input(seen.training_images), labelled_inputs(seen), runner)
    trained = runner.trained_stages[-1]
    assert trained.kind != "gan"
    assert abs(trained.cost.flops - budget) <= trained.cost.flops / trained.step


@pytest.mark.parametrize("name", ["supervised", "autoencoder", "simclr"])
def test_without_matching_a_stage_has_its_own_length(name: str, tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    features(backbone=replace(BACKBONES[name], match_gan_flops=False)).run(view(), runner)  # type: ignore[type-var]
    assert runner.trained_stages[-1].step == 6


@pytest.mark.parametrize("name", ["supervised", "autoencoder", "simclr"])
def test_the_trained_backbone_is_probed(name: str, tmp_path: Path) -> None:
    """Not the untrained one, and with statistics of real training images; no generator is left."""
    runner, seen = make_runner(tmp_path), with_parts(view())
    outcome = features(backbone=BACKBONES[name]).run(seen, runner)
    first = features(backbone=Untrained()).run(view(), make_runner(tmp_path)).classifier.extractor.discriminator
    probed = dict(outcome.classifier.extractor.discriminator.named_parameters())
    moved = {key for key, value in first.named_parameters() if not torch.equal(value, probed[key])}
    assert moved == {key for key in probed if key.startswith("backbone")}
    layer = next(m for m in outcome.classifier.modules() if isinstance(m, BatchNorm2d))
    met: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: met.append(given[0]))
    logits(outcome.classifier, to_float(view().training_images))
    hook.remove()
    torch.testing.assert_close(layer.running_mean, met[0].mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    assert set(outcome.weights) == {"classifier"}
    assert outcome.generator is None
    assert seen.taken == {"L": 40, "U": 200, "V": 0, "X": 0}
    assert runner.total_cost().flops > gan_flops(gan_stage(), Input(view().training_images), runner) * 0.9


def test_embedded_features_are_those_that_are_probed(tmp_path: Path) -> None:
    """What a run keeps for its map: standardised over the training images, for the controls too."""
    images = to_float(view().training_images)
    for backbone in (Untrained(), Pixels(), BACKBONES["simclr"]):
        classifier = features(backbone=backbone).run(view(), make_runner(tmp_path)).classifier
        with torch.no_grad():
            found = classifier.embed(images)
            assert torch.equal(classifier.head(found), classifier(images))
        assert float(found.mean(0).abs().max()) < 1e-4
        if backbone.per_feature_scale:
            varied = found.std(0) > 0
            torch.testing.assert_close(found.std(0)[varied], torch.ones(int(varied.sum())), rtol=1e-3, atol=0)
        else:
            assert float(found.square().mean()) == pytest.approx(1.0, rel=1e-3)


# Layer by layer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_depths(norm: Any) -> None:
    spec = DataSpec(1, 16, 10)
    network = PretrainedBackbone(DCGAN(width=4, discriminator_norm=norm), (), 4)(spec)
    found = dict(zip((name for name, _ in network.named_parameters()), layer_depths(network, spec), strict=True))
    for name, depth in found.items():
        stage = name.split("stages.")[1][0] if "stages." in name else None
        assert depth == {None: 0, "0": 2, "1": 1}[stage], name
    assert set(found.values()) == {0, 1, 2}


def test_lower_layers_have_smaller_learning_rates(tmp_path: Path) -> None:
    """Adam's first step moves every weight by its rate: by the factor of its layer, that is."""
    network = features(backbone=Untrained()).run(view(), make_runner(tmp_path)).classifier.extractor.discriminator
    stage = classifier_stage(1, ema=None)
    inputs = labelled_inputs(view())
    moved = {}
    for decay in (1.0, 0.1):
        factory = PretrainedBackbone(gan_stage().architecture, (), 4, *saved_weights(network))
        tuned = make_runner(tmp_path).train("classifier", FineTune(stage, decay).stage(factory, SPEC), inputs)
        after = dict(tuned.networks["classifier"].named_parameters())
        first = {f"body.discriminator.{name}": value for name, value in network.named_parameters()}
        moved[decay] = {name: float((after[name] - value).detach().abs().max()) for name, value in first.items()}
    for name, plain in moved[1.0].items():
        factor = 0.01 if "stages.0" in name else 0.1
        if "backbone" in name:
            assert plain == pytest.approx(1e-2, rel=0.02), name
            assert moved[0.1][name] == pytest.approx(factor * 1e-2, rel=0.05), name
        else:
            assert plain == moved[0.1][name] == 0


def test_without_decay_the_optimizer_is_unchanged() -> None:
    factory = PretrainedBackbone(gan_stage().architecture, (), 4)
    assert FineTune(classifier_stage()).stage(factory, SPEC) == classifier_stage(classifier=factory)
    for decay in (0.0, 1.5):
        with pytest.raises(ConfigError, match=rf"strategy.probe.layer_decay: {decay} must be in \(0, 1\]"):
            FineTune(classifier_stage(), decay)


# Transfer ----------------------------------------------------------------------------------------------------------


def other(size: int = 12, channels: int = 3, count: int = 90) -> ImageDataset:
    """Coloured noise, a third of it an official test set."""
    images = torch.randint(0, 256, (count, channels, size, size), generator=torch.Generator().manual_seed(1))
    labels = torch.arange(count) % 3
    return from_tensors("noise", images.to(torch.uint8), labels, torch.arange(count) >= 2 * count // 3)


def transferred() -> TrainingView:
    regime = Regime(labels_per_class=4, unlabelled=200, validation="none")
    return with_external(draw_split(digits(), regime, 0), digits(), other()).view


def test_a_transfer_trains_on_the_other_images_alone(tmp_path: Path) -> None:
    seen, runner = transferred(), make_runner(tmp_path)
    assert seen.external is not None
    assert tuple(seen.external.shape) == (60, 1, 8, 8)
    outcome = features(pretrain=PretrainingData(Digits())).run(seen, runner)
    (gan,) = runner.trained_stages
    alone = make_runner(tmp_path / "alone").train("gan", gan_stage(), {"real": Input(seen.external)})
    assert gan.digest == alone.digest
    assert seen.taken == {"L": 40, "U": 200, "V": 0, "X": 60}
    first = dict(alone.networks["discriminator"].named_parameters())
    assert all(torch.equal(first[k], v) for k, v in outcome.classifier.extractor.discriminator.named_parameters())


def test_after_a_transfer_statistics_are_of_this_data_set(tmp_path: Path) -> None:
    classifier = features(pretrain=PretrainingData(Digits())).run(transferred(), make_runner(tmp_path)).classifier
    layer = next(m for m in classifier.modules() if isinstance(m, BatchNorm2d))
    met: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: met.append(given[0]))
    logits(classifier, to_float(view().training_images))
    hook.remove()
    torch.testing.assert_close(layer.running_mean, met[0].mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer.running_var, met[0].var((0, 2, 3)), rtol=1e-5, atol=1e-6)
    assert isinstance(classifier.extractor, FeatureExtractor)


@pytest.mark.parametrize("backbone", [BACKBONES["autoencoder"], BACKBONES["simclr"]], ids=["autoencoder", "simclr"])
def test_pretexts_transfer_too(backbone: Pretraining, tmp_path: Path) -> None:
    runner, elsewhere = make_runner(tmp_path), make_runner(tmp_path)
    seen, own = transferred(), with_parts(view())
    features(backbone=backbone, pretrain=PretrainingData(Digits()), gan_images="labelled").run(seen, runner)
    assert (seen.taken["U"], seen.taken["X"]) == (0, 60)
    features(backbone=backbone).run(own, elsewhere)
    assert own.taken["X"] == 0
    assert runner.trained_stages[0].digest != elsewhere.trained_stages[0].digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": Pixels()}, "nothing is trained on another data set's images with this strategy.backbone"),
        (
            {"backbone": SupervisedPretraining(classifier_stage())},
            "set strategy.backbone=trained, autoencoder or simclr",
        ),
        ({"gan": CGAN_STAGE}, "a conditional GAN needs this data set's labels"),
    ],
)
def test_transfers_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        features(pretrain=PretrainingData(Digits()), **changes)


def test_a_view_without_the_other_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images of another data set"):
        features(pretrain=PretrainingData(Digits())).run(view(), make_runner(tmp_path))
