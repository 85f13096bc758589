import dataclasses

import pytest

from trigan.errors import ConfigError
from trigan.identity import canonical_json
from trigan.losses import adversarial, gan_losses

GAMES = [
    gan_losses.minimax,
    gan_losses.non_saturating,
    gan_losses.least_squares,
    gan_losses.hinge,
    gan_losses.wasserstein,
]


def test_every_game_has_an_identity_of_its_own() -> None:
    assert len({canonical_json(game()) for game in GAMES}) == len(GAMES)
    assert canonical_json(gan_losses.hinge(betas=[0.0, 0.9])) == canonical_json(gan_losses.hinge())
    assert "loss_term/hinge_generator@1" in canonical_json(gan_losses.hinge())


def test_minimax_and_non_saturating_differ_in_the_generator_alone() -> None:
    changed = dataclasses.replace(gan_losses.minimax(), generator_loss=adversarial.non_saturating_generator)
    assert changed == gan_losses.non_saturating()
    assert changed != gan_losses.minimax()


def test_defaults_are_those_of_the_papers() -> None:
    assert (gan_losses.non_saturating().learning_rate, gan_losses.non_saturating().betas) == (2e-4, (0.5, 0.999))
    assert (gan_losses.hinge().learning_rate, gan_losses.hinge().betas, gan_losses.hinge().discriminator_steps) == (
        2e-4,
        (0.0, 0.9),
        5,
    )
    wgan = gan_losses.wasserstein()
    assert (wgan.gradient_penalty, wgan.discriminator_steps, wgan.learning_rate) == (10.0, 5, 1e-4)
    assert [game().gradient_penalty for game in GAMES[:-1]] == [0.0] * 4


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("gradient_penalty", -1.0),
        ("gradient_penalty", float("nan")),
        ("discriminator_steps", 0),
        ("learning_rate", 0.0),
        ("betas", (0.5, 1.0)),
        ("betas", (0.5,)),
    ],
)
def test_settings_out_of_range_are_named(setting: str, value: object) -> None:
    for game in GAMES:
        with pytest.raises(ConfigError, match=rf"loss\.{setting}="):
            game(**{setting: value})
