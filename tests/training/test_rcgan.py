"""A conditional GAN whose generated labels pass through the noise of the real ones (RCGAN)."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from trigan.datasets.splits.label_noise import MatrixNoise, SymmetricNoise
from trigan.datasets.stream import BatchStream
from trigan.errors import ConfigError
from trigan.losses.gan_losses import relativistic_paired
from trigan.losses.label_transitions import EstimatedTransition, KnownTransition
from trigan.rng import Draws, hash64
from trigan.training.stages.gan_stage import noisy_labels

from .test_reference_loop import DOUBLE, _adam, _assert_same, _draws, _latents
from .tiny import CGAN8, DCGAN8, built, copied, fitted, gan_stage, inputs_for, same

STAGE = gan_stage(4, replace(CGAN8, discriminator_norm="none"))
TURNED_BY_3 = KnownTransition(MatrixNoise(tuple(map(tuple, torch.eye(10).roll(3, 1).tolist()))))


def test_with_the_identity_nothing_changes() -> None:
    plain, _ = fitted(STAGE)
    for known in (
        KnownTransition(SymmetricNoise(0.0)),
        EstimatedTransition(values=tuple(map(tuple, torch.eye(10).tolist()))),
    ):
        through, _ = fitted(replace(STAGE, transition=known))
        assert same(copied(plain.state_dict()), copied(through.state_dict()))
    noisy, _ = fitted(replace(STAGE, transition=KnownTransition(SymmetricNoise(0.4))))
    assert not same(copied(plain.state_dict()), copied(noisy.state_dict()))


def test_with_a_permutation_the_discriminator_sees_permuted_labels_of_generated_images() -> None:
    """A plain loop in which D has (G(z, y), y + 3) beside the real pairs, in its own step and in that of G."""
    stage = replace(STAGE, transition=TURNED_BY_3)
    real_input = inputs_for(stage)["real"]
    networks: Any = built(stage, settings=DOUBLE).networks
    generator, critic = networks["generator"], networks["discriminator"]
    stream = BatchStream(real_input.images, real_input.labels, 16, hash64(0, "real"))
    move_generator, move_critic = _adam(generator), _adam(critic)
    for step in range(4):
        images, labels = stream.at(step)
        y = _draws("fakes", step).integers("y", 10)
        fake = generator(_latents(step), y)
        critic.zero_grad()
        loss = F.softplus(-critic(images.double(), labels)).mean()
        (loss + F.softplus(critic(fake.detach(), (y + 3) % 10)).mean()).backward()
        move_critic.step()
        generator.zero_grad()
        F.softplus(-critic(fake, (y + 3) % 10)).mean().backward()
        move_generator.step()
    module, _ = fitted(stage, DOUBLE)
    _assert_same(module, generator, critic)


def test_labels_change_with_the_probabilities_of_their_row() -> None:
    matrix = torch.tensor([[0.5, 0.2, 0.3], [0.0, 1.0, 0.0], [0.25, 0.0, 0.75]], dtype=torch.float64)
    labels = torch.arange(30000) % 3
    found = noisy_labels(labels, matrix, Draws(1, 0, 30000, 0, 30000))
    counts = torch.stack([torch.bincount(found[labels == k], minlength=3) for k in range(3)]) / 10000
    torch.testing.assert_close(counts.double(), matrix, atol=0.015, rtol=0)
    assert torch.equal(counts == 0, matrix == 0)
    later = noisy_labels(labels[100:], matrix, Draws(1, 0, 30000, 100, 30000))
    assert torch.equal(found[100:], later), "a row of the global batch, in whichever process"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"architecture": DCGAN8}, "an unconditional GAN has no labels; set architecture="),
        ({"loss": relativistic_paired()}, "a relativistic loss compares images of equal labels; set loss=hinge"),
    ],
)
def test_games_without_labels_of_their_own_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=f"strategy.gan.transition: {named}"):
        replace(STAGE, transition=TURNED_BY_3, **changes)
    with pytest.raises(ConfigError, match="transition: estimated must be"):
        built(replace(STAGE, transition=EstimatedTransition()))
