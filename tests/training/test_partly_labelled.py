"""One conditional GAN on images with labels and on images without: its loss, its batches, and what stays as it was."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trigan.datasets.inputs import Input
from trigan.datasets.stream import BatchStream, to_float
from trigan.errors import ConfigError
from trigan.losses.gan_losses import AdversarialLoss, non_saturating, relativistic_paired
from trigan.networks.gans.biggan import BigGANSmall
from trigan.networks.gans.gan import Architecture
from trigan.networks.gans.r3gan import R3GAN
from trigan.networks.gans.sngan import Projection
from trigan.rng import hash64
from trigan.training.fit import FitResult, TrainerSettings, fit
from trigan.training.stages.gan_regularizers import R1, R2, FeatureMatchingTerm
from trigan.training.stages.gan_stage import GANStage

from .test_reference_loop import DOUBLE, _adam, _assert_same, _draws, _latents
from .tiny import (
    CGAN8,
    DCGAN8,
    Recorder,
    built,
    copied,
    fitted,
    gan_stage,
    inputs_for,
    partly_labelled,
    partly_labelled_gan,
    same,
    view,
)

#: Every conditional architecture, with a D whose rows are independent.
ARCHITECTURES: dict[str, Architecture] = {
    "cgan": replace(CGAN8, discriminator_norm="none"),
    "projection": Projection(8, 8, discriminator_norm="none"),
    "biggan_small": BigGANSmall(8, 8, discriminator_norm="none", label_embedding_dim=4),
    "r3gan": R3GAN(8, 8, conditional=True),
}
LOSSES: dict[str, AdversarialLoss] = {
    "single": replace(non_saturating(), regularizers={"r1": R1(2.0), "r2": R2(2.0)}),
    "pairs": relativistic_paired(betas=(0.5, 0.999)),
}


def stage_of(name: str, steps: int = 3, loss: str = "single") -> GANStage:
    return gan_stage(steps, ARCHITECTURES[name], LOSSES[loss])


def in_two_parts(critic: Any, images: Tensor, labels: Tensor) -> Tensor:
    """The logits (N,) of two passes: over the rows with a label, and over the others, without any."""
    known = labels >= 0
    logits = torch.empty(len(images)).double()
    logits = logits.masked_scatter(known, critic(images[known], labels[known])) if known.any() else logits
    return logits.masked_scatter(~known, critic(images[~known], None)) if not known.all() else logits


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_partly_labelled_gan_equals_two_games_by_hand(name: str, loss: str) -> None:
    """(s, 1 - s) are the shares of rows with and without a label; G's labels are drawn in both games."""
    stage, real_input, paired = stage_of(name, 3, loss), partly_labelled(view()), loss == "pairs"
    share = 40 / 240
    weights = torch.where(real_input.known_labels >= 0, 0.5 / share, 0.5 / (1 - share))
    stream = BatchStream(real_input.images, real_input.labels, 16, hash64(0, "real"), weights)
    networks: Any = built(stage, {"real": real_input}, DOUBLE).networks
    generator, critic = networks["generator"], networks["discriminator"]
    move_generator, move_critic = _adam(generator), _adam(critic)
    for step in range(3):
        images, labels = stream.at(step)
        assert labels is not None
        assert 0 < int((labels >= 0).sum()) < 16
        y = _draws("fakes", step).integers("y", 10)
        y = torch.where(labels < 0, y, labels) if paired else y
        shown = torch.where(labels < 0, -1, y)
        real, fakes = images.double().requires_grad_(), generator(_latents(step), y)
        fake = fakes.detach().requires_grad_()
        real_logits, fake_logits = in_two_parts(critic, real, labels), in_two_parts(critic, fake, shown)
        if paired:
            critic_loss = F.softplus(fake_logits - real_logits).mean()
        else:
            parts = [
                labels_of_part.double().mean()
                * (F.softplus(-real_logits[labels_of_part]).mean() + F.softplus(fake_logits[labels_of_part]).mean())
                for labels_of_part in (labels >= 0, labels < 0)
            ]
            slopes = [
                torch.autograd.grad(one.sum(), x, create_graph=True)[0].square().sum((1, 2, 3)).mean()
                for one, x in ((real_logits, real), (fake_logits, fake))
            ]
            critic_loss = parts[0] + parts[1] + slopes[0] + slopes[1]
        critic.zero_grad()
        critic_loss.backward()
        move_critic.step()
        generator.zero_grad()
        fake_logits, opposed = in_two_parts(critic, fakes, shown), torch.zeros(16).double()
        if paired:
            opposed = in_two_parts(critic, images.double(), labels).detach()
        F.softplus(opposed - fake_logits).mean().backward()
        move_generator.step()
    module, _ = fitted(stage, DOUBLE, {"real": real_input})
    _assert_same(module, generator, critic)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_with_all_labels_it_is_the_conditional_gan(name: str) -> None:
    """The textbook's loop over labelled images in the order of epochs, whatever the share."""
    stage, seen = replace(stage_of(name), loss=non_saturating()), view().labelled
    networks: Any = built(stage, settings=DOUBLE).networks
    generator, critic = networks["generator"], networks["discriminator"]
    move_generator, move_critic = _adam(generator), _adam(critic)
    stream = BatchStream(seen.images, seen.labels, 16, hash64(0, "real"))
    for step in range(3):
        images, labels = stream.at(step)
        y = _draws("fakes", step).integers("y", 10)
        fakes = generator(_latents(step), y)
        critic.zero_grad()
        loss = F.softplus(-critic(images.double(), labels)).mean() + F.softplus(critic(fakes.detach(), y)).mean()
        loss.backward()
        move_critic.step()
        generator.zero_grad()
        F.softplus(-critic(fakes, y)).mean().backward()
        move_generator.step()
    module, _ = fitted(stage, DOUBLE)
    _assert_same(module, generator, critic)
    other, _ = fitted(replace(stage, labelled_share=0.9), DOUBLE)
    assert same(copied(module.state_dict()), copied(other.state_dict()))


def test_batches_have_the_share_and_labels_belong_to_their_images() -> None:
    """40 of 240 images have labels."""
    seen = view().labelled
    known = {tuple(image.flatten().tolist()): int(label) for image, label in zip(seen.images, seen.labels, strict=True)}
    for share, expected in ((0.5, 0.5), (0.0, 40 / 240), (0.9, 0.9)):
        stage = replace(stage_of("cgan"), labelled_share=share)
        stream = built(stage, {"real": partly_labelled(view())}).streams["real"]
        batches = [stream.at(index) for index in range(100)]
        labels = torch.cat([one for _, one in batches if one is not None])
        assert abs(float((labels >= 0).float().mean()) - expected) < 0.05
        for images, of_images in batches[:3]:
            pixels = ((images + 1) * 127.5).round().int().flatten(1).tolist()
            assert of_images is not None
            assert [known.get(tuple(one), -1) for one in pixels] == of_images.tolist()


def test_generated_images_are_shown_without_a_label_where_the_real_ones_have_none() -> None:
    module = built(stage_of("cgan", 1, "pairs"), {"real": partly_labelled(view())})
    asked: dict[str, list[Tensor]] = {"generator": [], "discriminator": []}
    for player, labels in asked.items():
        module.networks[player].register_forward_hook(lambda _, given, output, kept=labels: kept.append(given[1]))
    fit(module, TrainerSettings())
    drawn, (real, fake, of_g, real_again) = (
        asked["generator"][-1],
        asked["discriminator"][-4:],
    )  # after the memory check
    assert int(drawn.min()) >= 0
    assert 0 < int((real >= 0).sum()) < 16
    assert torch.equal(drawn[real >= 0], real[real >= 0])
    assert all(torch.equal(real, one) for one in (fake, of_g, real_again))


def test_it_is_resumed_with_all_regularisers(tmp_path: Path) -> None:
    stage, inputs = partly_labelled_gan(11), {"real": partly_labelled(view())}
    settings = TrainerSettings(checkpoint_every=3)
    uninterrupted, ending = fitted(stage, settings, inputs)
    assert ending == FitResult("finished", 11)

    def cut(module: Any, metrics: dict[str, float]) -> None:
        if module.completed_steps == 8:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fitted(stage, settings, inputs, tmp_path, [Recorder(cut)])
    recorder = Recorder()
    resumed, _ = fitted(stage, settings, inputs, tmp_path, [recorder])
    assert recorder.began == [6]
    assert same(copied(uninterrupted.state_dict()), copied(resumed.state_dict()))


def test_it_costs_what_the_conditional_gan_costs_and_keeps_statistics_of_all_images() -> None:
    """D with batch norm: its kept statistics are those of L and U."""
    stage, inputs = gan_stage(6, CGAN8), {"real": partly_labelled(view())}
    (module, _), (plain, _) = fitted(stage, inputs=inputs), fitted(stage)
    assert (module.images, module.flops) == (plain.images, plain.flops)
    kept = stage.finish(module, inputs)["discriminator"]
    backbone: Any = kept.get_submodule("backbone")
    with torch.no_grad():
        first = backbone.stages[1].conv(backbone.stages[0](to_float(inputs["real"].images)))
    norm = backbone.stages[1].norm
    torch.testing.assert_close(norm.running_mean, first.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_trained_is_refused() -> None:
    seen = view()
    for nothing in (Input(seen.unlabelled), Input(seen.unlabelled, torch.full((len(seen.unlabelled),), -1))):
        with pytest.raises(ConfigError, match="a conditional GAN needs images with labels"):
            built(stage_of("cgan"), {"real": nothing})
    with pytest.raises(ConfigError, match=r"labelled_share: 1.0 must be in"):
        replace(stage_of("cgan"), labelled_share=1.0)
    module, _ = fitted(gan_stage(2, DCGAN8), inputs={"real": partly_labelled(seen)})
    images_alone, _ = fitted(gan_stage(2, DCGAN8), inputs={"real": Input(partly_labelled(seen).images)})
    assert same(copied(module.state_dict()), copied(images_alone.state_dict()))
    assert FeatureMatchingTerm in {type(term) for term in partly_labelled_gan().loss.regularizers.values()}
    assert inputs_for(stage_of("cgan"))["real"].known_labels.min() >= 0
