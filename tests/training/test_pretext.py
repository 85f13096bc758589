"""D trained without a GAN: it has the first weights of a GAN's D, and D alone is kept."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from trigan.datasets.augmentation import NoAugmentation
from trigan.datasets.inputs import Input
from trigan.datasets.stream import to_float
from trigan.datasets.types import DataSpec
from trigan.errors import ConfigError
from trigan.losses.pretext_losses import nt_xent
from trigan.networks.gans.dcgan import CGAN, DCGAN
from trigan.networks.pretext_heads import Autoencoder, top_map
from trigan.training.fit import TrainerSettings
from trigan.training.optimizers import Adam
from trigan.training.stages.pretext_stages import AutoencoderStage, DeepSMOTEStage, SimCLRStage
from trigan.training.step import TrainingStep

from .tiny import DCGAN8, SPEC, autoencoder_stage, built, copied, fitted, gan_stage, inputs_for, simclr_stage, view
from .tiny import PRETEXTS as STAGES


def _discriminator(module: Any) -> Any:
    return module.networks["discriminator"].discriminator


@pytest.mark.parametrize("name", STAGES)
def test_it_starts_from_the_first_weights_of_the_gans_discriminator(name: str) -> None:
    first = dict(built(gan_stage()).networks["discriminator"].named_parameters())
    mine = dict(_discriminator(built(STAGES[name]())).named_parameters())
    assert mine.keys() == first.keys()
    assert all(torch.equal(mine[key], value) for key, value in first.items())


@pytest.mark.parametrize("name", STAGES)
def test_all_feature_maps_are_trained_and_the_head_is_not(name: str) -> None:
    stage = STAGES[name]()
    first = copied(dict(_discriminator(built(stage)).named_parameters()))
    module, ending = fitted(stage)
    kept = stage.finish(module, inputs_for(stage))
    assert set(kept) == {"discriminator"} == set(stage.skeleton(SPEC))
    assert (ending.status, ending.step, stage.kind) == ("finished", 6, name)
    for key, value in kept["discriminator"].named_parameters():
        assert torch.equal(value, first[key]) == (not key.startswith("backbone")), key
    assert not kept["discriminator"].training
    stage.skeleton(SPEC)["discriminator"].load_state_dict(kept["discriminator"].state_dict())


@pytest.mark.parametrize("name", STAGES)
def test_the_loss_falls(name: str) -> None:
    """On one batch, over and over, so that it is no matter of luck."""
    stage = STAGES[name](40)
    inputs = {"real": Input(view().training_images[:16])}
    module = built(stage, inputs)
    losses = [float(module.updates[0].loss(TrainingStep(module.step_context, 0, 0, False)).detach())]
    after, _ = fitted(stage, inputs=inputs)
    after.networks.train()
    losses.append(float(after.updates[0].loss(TrainingStep(after.step_context, 0, 0, False)).detach()))
    assert losses[1] < 0.8 * losses[0]


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
@pytest.mark.parametrize("name", STAGES)
def test_precisions_run(name: str, precision: Any) -> None:
    settings = TrainerSettings(precision=precision)
    module, ending = fitted(STAGES[name](), settings)
    assert ending.status == "finished"
    assert module.step_context.dtype == settings.dtype


def test_the_denoising_loss() -> None:
    """Clean images back from noisy ones: without noise the input is the clean image itself."""
    met: list[torch.Tensor] = []
    for noise in (0.0, 0.5):
        module = built(replace(autoencoder_stage(), noise=noise))
        step = TrainingStep(module.step_context, 0, 0, False)
        network = step.network("discriminator")
        network.register_forward_pre_hook(lambda _, given: met.append(given[0]))
        loss = module.updates[0].loss(step)
        clean = step.batch("real").images
        with torch.no_grad():
            assert float(loss.detach()) == pytest.approx(float((network(met[-1]) - clean).square().mean()))
    assert torch.equal(met[0], clean)
    off = (met[2] - clean)[(clean.abs() < 0.5)]  # where nothing is cut off
    assert float(off.std()) == pytest.approx(0.5, rel=0.25)
    assert float(met[2].abs().max()) <= 1.0


def test_images_are_counted() -> None:
    """SimCLR's images in both of their views."""
    assert {name: fitted(stage())[0].images["discriminator"] for name, stage in STAGES.items()} == {
        "autoencoder": 6 * 16,
        "simclr": 6 * 32,
    }


def test_the_contrastive_loss_is_between_two_views_of_the_same_images() -> None:
    module = built(simclr_stage())
    step = TrainingStep(module.step_context, 0, 0, False)
    network, real = step.network("discriminator"), step.batch("real")
    turned = simclr_stage().augmentation
    first, second = (turned(real.images, real.draws, f"{name} view") for name in ("first", "second"))
    assert not torch.equal(first, second)
    with torch.no_grad():
        projected = network(torch.cat([first, second]))
    expected = nt_xent(projected[:16], projected[16:], 0.5)
    assert float(module.updates[0].loss(step).detach()) == pytest.approx(float(expected))
    plain = built(replace(simclr_stage(), augmentation=NoAugmentation()))
    assert float(plain.updates[0].loss(TrainingStep(plain.step_context, 0, 0, False)).detach()) < float(expected)


@pytest.mark.parametrize("architecture", [DCGAN(width=4, latent=6), CGAN(width=4, latent=6, label_embedding_dim=5)])
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 13)])
def test_any_architecture_restores_images_of_its_shape(architecture: DCGAN, channels: int, size: int) -> None:
    spec = DataSpec(channels, size, 10)
    network = Autoencoder(architecture.discriminator(spec), architecture, spec)
    images = torch.rand(3, channels, size, size) * 2 - 1
    restored = network(images)
    assert restored.shape == images.shape
    assert float(restored.detach().abs().max()) <= 1.0
    assert network.bottleneck.out_features == (11 if architecture.conditional else 6)
    assert top_map(network.discriminator, spec)[0] == "conv2"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: replace(autoencoder_stage(), noise=-0.1), r"noise: -0.1 must be at least 0"),
        (lambda: autoencoder_stage(0), r"steps: 0 must be at least 1"),
        (lambda: replace(simclr_stage(), temperature=0.0), r"temperature: 0.0 must be above 0"),
        (lambda: replace(simclr_stage(), batch=1), r"batch: 1 must be at least 2"),
        (lambda: replace(simclr_stage(), projection=0), r"projection: 0 must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(bad: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bad()


def test_more_steps_are_another_stage() -> None:
    for stage in (autoencoder_stage(), simclr_stage()):
        longer: AutoencoderStage | SimCLRStage = replace(stage, steps=9)
        assert (longer.steps, replace(longer, steps=6)) == (9, stage)


def _rare() -> dict[str, Input]:
    labelled = view(labels=8).labelled
    kept = (labelled.labels < 3) | (torch.arange(len(labelled)) % 5 == 0)
    return {"real": Input(labelled.images[kept], labelled.labels[kept])}


DEEP = DeepSMOTEStage(DCGAN8, Adam(1e-2, (0.9, 0.999)), 6, batch=16)


def test_deep_smote_is_punished_for_codes_of_other_images_of_the_class() -> None:
    """Both terms by hand; a partner has the same label, and every image is a partner once."""
    module = built(DEEP, _rare())
    step = TrainingStep(module.step_context, 1, 0, False)
    own, other = step.batch("real"), step.same_class_batch("real")
    assert torch.equal(own.known_labels, other.known_labels)
    assert sorted(own.images.sum((1, 2, 3)).tolist()) == sorted(other.images.sum((1, 2, 3)).tolist())
    counts = torch.bincount(own.known_labels)
    moved = (own.images != other.images).flatten(1).any(1)
    assert torch.equal(moved, counts[own.known_labels] > 1)
    network = module.networks["discriminator"].eval()
    expected = (network(own.images) - own.images).square().mean() + (network(other.images) - own.images).square().mean()
    torch.testing.assert_close(module.updates[0].loss(step), expected)


def test_deep_smote_keeps_encoder_and_decoder() -> None:
    fresh = built(DEEP, _rare())
    before = float(fresh.updates[0].loss(TrainingStep(fresh.step_context, 0, 0, False)).detach())
    module, ending = fitted(replace(DEEP, steps=40), inputs=_rare())
    kept = DEEP.finish(module, _rare())["autoencoder"]
    assert ending.status == "finished"
    assert module.images == {"discriminator": 2 * 16 * 40}
    images = to_float(_rare()["real"].images)
    assert float((kept(images) - images).square().mean().detach()) < 0.3 * before
    assert torch.equal(kept(images), kept.decode(kept.encode(images)))
    DEEP.skeleton(SPEC)["autoencoder"].load_state_dict(kept.state_dict())
