"""The GAN stage against a plain training loop with the same batches and the same noise."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.datasets.stream import BatchStream, to_float
from trigan.losses.gan_losses import non_saturating, wasserstein
from trigan.rng import Draws, hash64
from trigan.training.fit import TrainerSettings

from .tiny import DCGAN8, Plain, Recorder, adams, built, fitted, gan_stage, inputs_for

DOUBLE = TrainerSettings(precision="64-true")
CPU = torch.device("cpu")


def _draws(stream: str, step: int) -> Draws:
    return Draws(hash64(0, stream), step, 16, 0, 16, CPU)


def _players(stage: object) -> tuple[nn.Module, nn.Module, BatchStream]:
    networks = built(stage, settings=DOUBLE).networks  # type: ignore[arg-type]
    images = inputs_for(stage)["real"].images  # type: ignore[arg-type]
    return networks["generator"], networks["discriminator"], BatchStream(images, None, 16, hash64(0, "real"))


def _adam(network: nn.Module) -> torch.optim.Optimizer:
    network.requires_grad_(True)
    return torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.5, 0.999))


def _latents(step: int) -> Tensor:
    return _draws("fakes", step).normal("z", 8).double()


def _mixing(step: int) -> Tensor:
    return _draws("real", step).uniform("penalty", 1, 1, 1).double()


def _assert_same(module: nn.Module, generator: nn.Module, discriminator: nn.Module) -> None:
    hand = {"generator": generator, "discriminator": discriminator}
    for player, network in hand.items():
        reached = dict(module.networks[player].named_parameters())  # type: ignore[union-attr, index]
        for name, weight in network.named_parameters():
            torch.testing.assert_close(reached[name], weight, rtol=1e-9, atol=1e-11)


def test_dcgan_equals_the_textbook() -> None:
    """Radford et al. 2015 in Goodfellow's alternation: D on a real and a fake batch, then G against the new D."""
    stage = gan_stage(5, architecture=DCGAN8)
    generator, discriminator, stream = _players(stage)
    move_generator, move_discriminator = _adam(generator), _adam(discriminator)
    for step in range(5):
        real = to_float(stream.images[stream.indices(step)]).double()
        fake = generator(_latents(step))
        loss = F.binary_cross_entropy_with_logits(discriminator(real), torch.ones(16).double())
        loss = loss + F.binary_cross_entropy_with_logits(discriminator(fake.detach()), torch.zeros(16).double())
        discriminator.zero_grad()
        loss.backward()
        move_discriminator.step()
        generator.zero_grad()
        F.binary_cross_entropy_with_logits(discriminator(fake), torch.ones(16).double()).backward()
        move_generator.step()
    module, _ = fitted(stage, DOUBLE)
    _assert_same(module, generator, discriminator)


def test_gradient_penalty_equals_the_textbook() -> None:
    """Gulrajani et al. 2017, algorithm 1, with two steps of D for one of G."""
    stage = gan_stage(5, architecture=Plain(), loss=wasserstein(discriminator_steps=2), optimizer=adams())
    generator, critic, stream = _players(stage)
    move_generator, move_critic = _adam(generator), _adam(critic)
    for step in range(5):
        real = to_float(stream.images[stream.indices(step)]).double()
        fake = generator(_latents(step))
        mixing = _mixing(step)
        between = (mixing * real + (1 - mixing) * fake.detach()).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        penalty = ((slope.flatten(1).square().sum(1).sqrt() - 1) ** 2).mean()
        critic.zero_grad()
        (critic(fake.detach()).mean() - critic(real).mean() + 10 * penalty).backward()
        move_critic.step()
        if step % 2 == 1:
            generator.zero_grad()
            (-critic(fake).mean()).backward()
            move_generator.step()
    module, _ = fitted(stage, DOUBLE)
    _assert_same(module, generator, critic)


def test_losses_of_the_log_are_the_losses_of_the_loop() -> None:
    recorder = Recorder()
    stage = gan_stage(1, loss=non_saturating())
    generator, discriminator, stream = _players(stage)
    fitted(stage, DOUBLE, callbacks=[recorder])
    with torch.no_grad():
        real, fake = to_float(stream.images[stream.indices(0)]).double(), generator(_latents(0))
        expected = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake)).mean()
    ((step, row),) = recorder.rows
    assert step == 1
    assert abs(row["train/discriminator_loss"] - float(expected)) < 1e-6
    assert set(row) == {f"train/{key}" for key in ("discriminator_loss", "generator_loss", "real_logit", "fake_logit")}
