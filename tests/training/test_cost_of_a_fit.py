"""The operations charged to a fit: linear in steps, and the same after a resume."""

from pathlib import Path

import pytest
import torch

from trigan.cost import count_flops
from trigan.datasets.inputs import Input
from trigan.losses.gan_losses import non_saturating, wasserstein
from trigan.networks.gans.dcgan import DCGAN
from trigan.training.fit import TrainerSettings
from trigan.training.objectives import Conditional
from trigan.training.objectives.objective import Ramp
from trigan.training.players import PlayersModule
from trigan.training.terms.loss_terms import FixMatch

from .tiny import (
    OBJECTIVES,
    PRETEXTS,
    SPEC,
    TURNED,
    Recorder,
    built,
    classifier_stage,
    fitted,
    gan_stage,
    inputs_for,
    joint_stage,
    named,
    with_steps,
)

STAGES = {**OBJECTIVES, **PRETEXTS}
CRITIC = DCGAN(width=8, latent=8, discriminator_norm="none")


@pytest.mark.parametrize("name", named(STAGES))
def test_linear_in_steps(name: str) -> None:
    short, long = (fitted(with_steps(STAGES[name](), steps))[0].flops for steps in (4, 12))
    assert short > 0
    assert long == 3 * short


def test_an_update_that_is_not_due_costs_nothing() -> None:
    every = [fitted(gan_stage(steps, loss=non_saturating(discriminator_steps=5)))[0].flops for steps in (4, 5, 10)]
    per_step = every[0] // 4
    generator_move = every[1] - 5 * per_step
    assert generator_move > 0
    assert every[2] == 10 * per_step + 2 * generator_move


def test_a_term_is_charged_from_the_step_it_becomes_active() -> None:
    off = fitted(joint_stage(Conditional(pair_weight=0.0), 10))[0].flops
    late = fitted(joint_stage(Conditional(ramp=Ramp(0.5, 0.0)), 10))[0].flops
    on = fitted(joint_stage(Conditional(ramp=Ramp(0.0, 0.0)), 10))[0].flops
    assert off < late < on
    assert 2 * (late - off) == on - off


def test_one_step_by_hand() -> None:
    """C's step is its forward pass and its backward pass, counted outside any module."""
    stage = classifier_stage(1, augmentation=TURNED)
    module, _ = fitted(stage)
    network = built(stage).networks["classifier"].train()
    images = torch.zeros(16, SPEC.channels, SPEC.size, SPEC.size)
    by_hand = count_flops(lambda: network(images).logsumexp(1).sum().backward())
    assert module.flops == pytest.approx(by_hand, rel=0.02)  # turning the images is a small matrix product beside it


def test_the_gradient_penalty_is_counted() -> None:
    """Another pass through D, forward, backward to the image, and backward through both for the weights."""
    without = fitted(gan_stage(1, CRITIC, wasserstein(gradient_penalty=0.0, discriminator_steps=5)))[0].flops
    with_penalty = fitted(gan_stage(1, CRITIC, wasserstein(discriminator_steps=5)))[0].flops
    critic = CRITIC.discriminator(SPEC)
    images = torch.zeros(16, 1, 8, 8)

    def by_hand() -> None:
        between = images.clone().requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        slope.square().sum().backward()

    assert with_penalty - without == count_flops(by_hand)


def test_fixmatch_is_charged_for_both_views() -> None:
    inputs = dict(inputs_for(classifier_stage()))
    inputs["unlabelled"] = Input(inputs["labelled"].images)
    bare = fitted(classifier_stage(2), inputs=inputs)[0]
    term = FixMatch(TURNED, TURNED, ratio=2)
    module = fitted(classifier_stage(2, terms=(term,)), inputs=inputs)[0]
    assert module.images["classifier"] == bare.images["classifier"] + 2 * 2 * 2 * 16
    # a labelled batch: forward and backward (3 passes); two weak ones forward only, two strong ones both
    assert module.flops / bare.flops == pytest.approx((3 + 2 + 6) / 3, rel=0.05)


@pytest.mark.parametrize("name", named(STAGES))
def test_a_resumed_fit_counts_what_an_uninterrupted_one_does(name: str, tmp_path: Path) -> None:
    settings = TrainerSettings(checkpoint_every=1)
    uninterrupted, _ = fitted(STAGES[name](), settings)

    def stop(module: PlayersModule, metrics: object) -> None:
        if module.completed_steps == 4:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fitted(STAGES[name](), settings, checkpoints=tmp_path, callbacks=[Recorder(stop)])
    resumed, _ = fitted(STAGES[name](), settings, checkpoints=tmp_path)
    assert (resumed.flops, resumed.images) == (uninterrupted.flops, uninterrupted.images)
