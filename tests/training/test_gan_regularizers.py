"""Regularisers of the GAN stage: each takes steps, R3GAN equals a textbook loop, and what does not fit is refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trigan.config.compose import Composer
from trigan.datasets.discriminator_augmentation import AdaptiveAugment
from trigan.errors import ConfigError
from trigan.losses.gan_losses import (
    AdversarialLoss,
    hinge,
    non_saturating,
    relativistic_average,
    relativistic_paired,
    wasserstein,
)
from trigan.networks.gans.dcgan import CGAN
from trigan.training.fit import TrainerSettings, fit
from trigan.training.objectives import ACGAN, GeneratedPseudoLabels
from trigan.training.stages.gan_memories import AugmentationController, LogitAverages
from trigan.training.stages.gan_regularizers import (
    R1,
    R2,
    Consistency,
    FeatureMatchingTerm,
    GradientPenalty,
    InstanceNoise,
    LabelSmoothing,
    LeCam,
    TopK,
)
from trigan.training.step import TrainingStep

from .test_reference_loop import DOUBLE, _adam, _assert_same, _draws, _latents, _players, to_float
from .tiny import NOW, Plain, Recorder, adams, built, fitted, gan_stage, joint_stage

TERMS = Composer().groups["loss/regularizers"]


def with_terms(loss: AdversarialLoss | None = None, **terms: Any) -> AdversarialLoss:
    return replace(loss or non_saturating(), regularizers=terms)


def losses_of(loss: AdversarialLoss, steps: int = 4, **changes: Any) -> list[dict[str, float]]:
    """The log of a fit, step by step."""
    recorder = Recorder()
    fitted(gan_stage(steps, Plain(), loss, **changes), DOUBLE, callbacks=[recorder])
    return [row for _, row in recorder.rows]


@pytest.mark.parametrize("name", TERMS)
def test_every_choice_trains_a_gan_and_changes_it(name: str) -> None:
    words = ["strategy=features", "loss=non_saturating", "architecture.discriminator_norm=none"]
    words = [*words, f"loss.regularizers={name}"]
    loss = Composer().compose(words).build().strategy.gan.loss
    assert list(loss.regularizers) == ([] if name == "none" else [name])
    critic = replace(gan_stage().architecture, discriminator_norm="none")
    module, ending = fitted(gan_stage(8, critic, loss))
    plain, _ = fitted(gan_stage(8, critic))
    assert ending.status == "finished"
    same = all(torch.equal(a, b) for a, b in zip(module.parameters(), plain.parameters(), strict=True))
    assert same == (name == "none")


def test_r3gan_equals_the_textbook() -> None:
    """Huang et al. 2024: paired losses, R1 and R2 with gamma = 2, on a network without batch norm."""
    loss = with_terms(relativistic_paired(), r1=R1(2.0), r2=R2(2.0))
    stage = gan_stage(4, Plain(), loss, optimizer=adams())
    generator, critic, stream = _players(stage)
    move_generator, move_critic = _adam(generator), _adam(critic)
    for step in range(4):
        real = to_float(stream.images[stream.indices(step)]).double().requires_grad_()
        fake = generator(_latents(step)).detach().requires_grad_()
        penalties = [
            torch.autograd.grad(critic(x).sum(), x, create_graph=True)[0].square().sum((1, 2, 3)).mean()
            for x in (real, fake)
        ]
        critic.zero_grad()
        (F.softplus(-(critic(real) - critic(fake))).mean() + penalties[0] + penalties[1]).backward()
        move_critic.step()
        generator.zero_grad()
        with torch.no_grad():
            real_logits = critic(real)
        F.softplus(-(critic(generator(_latents(step))) - real_logits)).mean().backward()
        move_generator.step()
    module, _ = fitted(stage, DOUBLE)
    _assert_same(module, generator, critic)


def test_a_lazy_term_is_due_every_so_often_with_more_weight_and_costs_less() -> None:
    plain, lazy = with_terms(r1=R1(2.0)), with_terms(r1=R1(2.0, every=3))
    due = [("train/r1" in row) for row in losses_of(lazy, 6)]
    assert due == [True, False, False] * 2
    assert R1(2.0, every=3).factor == 6.0
    flops = [fitted(gan_stage(6, Plain(), one))[0].flops for one in (plain, lazy, non_saturating())]
    assert flops[0] > flops[1] > flops[2]
    assert 3 * (flops[1] - flops[2]) == flops[0] - flops[2]
    assert gan_stage(6, Plain(), with_terms(hinge(), r1=R1(every=4), r2=R2(every=6))).cycle == 60


def test_labels_of_pairs_are_those_of_the_real_images() -> None:
    cgan = CGAN(width=8, latent=8, label_embedding_dim=8, joint_units=16, discriminator_norm="none")
    module = built(gan_stage(1, cgan, relativistic_paired()))
    labels: list[Tensor] = []
    module.networks["discriminator"].register_forward_hook(lambda _, inputs, output: labels.append(inputs[1]))
    fit(module, TrainerSettings())
    labels = [one for one in labels if one is not None]  # the check of memory has none
    assert len(labels) == 4  # D on real and generated images, G on generated and real ones
    assert all(torch.equal(labels[0], one) for one in labels)


def test_consistency_counts_the_images_that_d_sees() -> None:
    shown = [
        fitted(gan_stage(2, Plain(), with_terms(cr=term)))[0].images["discriminator"]
        for term in (Consistency(), Consistency(fake_weight=1.0))
    ]
    assert shown == [2 * 3 * 16, 2 * 4 * 16]


def test_consistency_compares_logits_of_shifted_images() -> None:
    """With T a mirror image alone, half of the rows."""
    term = Consistency(2.0, shift=0.0, flip=True)
    stage = gan_stage(1, Plain(), with_terms(cr=term))
    _, critic, stream = _players(stage)
    real = to_float(stream.images[stream.indices(0)]).double()
    mirrored = _draws("real", 0).uniform("consistency", 3)[:, 2] < 0.5
    moved = torch.where(mirrored[:, None, None, None], real.flip(-1), real)
    expected = 2.0 * (critic(real) - critic(moved)).square().mean()
    assert losses_of(with_terms(cr=term), 1)[0]["train/cr"] == pytest.approx(expected.item(), rel=1e-5)


def _step(index: int, part: int = 0) -> TrainingStep:
    """A micro-batch of one of 100 steps."""
    module = built(gan_stage(100))
    return TrainingStep(module.step_context, index, part, False)


def test_instance_noise_falls_to_zero() -> None:
    term, images = InstanceNoise(0.5, until=0.5), torch.zeros(16, 1, 8, 8)

    class _Rows:
        draws = _draws("real", 0)

    stds = [float(term.view(images, _Rows(), _step(index)).std()) for index in (0, 25, 50, 90)]  # type: ignore[arg-type]
    assert stds == pytest.approx([0.5, 0.25, 0.0, 0.0], abs=0.02)


def test_top_k_shares_fall_linearly() -> None:
    logits = torch.arange(16.0)
    assert [len(TopK(0.5, 0.5).generator_logits(logits, _step(at))) for at in (0, 25, 50, 99)] == [16, 12, 8, 8]
    assert [len(TopK(0.01, 0.5).generator_logits(logits, _step(at))) for at in (49, 50)] == [1, 1]
    assert len(TopK(0.51, 0.5).generator_logits(logits, _step(50))) == 9  # rounded up


def test_lecam_has_moving_averages_of_the_logits() -> None:
    averages = LogitAverages(0.9)
    means = [(1.0, -2.0), (3.0, 0.0), (0.0, 1.0)]
    for index, (real, fake) in enumerate(means):
        averages.begin(_step(index))
        averages.observe(torch.tensor([real - 1, real + 1]), torch.tensor([fake]))
        averages.begin(_step(index, part=1))
        averages.observe(torch.tensor([real]), torch.tensor([fake]))
    averages.begin(_step(3))
    expected = torch.tensor([0.9 * (0.9 * 1 + 0.3) + 0.0, 0.9 * (0.9 * -2 + 0.0) + 0.1]).double()
    torch.testing.assert_close(averages.value, expected)
    log = losses_of(with_terms(lecam=LeCam(0.3)), 4)
    assert log[0]["train/lecam"] == 0.0
    assert all(row["train/lecam"] > 0.0 for row in log[1:])


def test_the_probability_of_ada_follows_the_sign_of_real_logits() -> None:
    """As in the authors' code: sign(r - target) * batch * interval / ramp, every ``interval`` updates."""
    controller = AugmentationController(AdaptiveAugment(interval=2, ramp_images=160), batch=16)
    seen = []
    for index in range(10):
        controller.begin(_step(index))
        seen.append(float(controller.probability))
        positive = 14 if index < 6 else 4  # r = (14 - 2) / 16 = .75, then -.5
        logits = torch.cat([torch.ones(positive), -torch.ones(16 - positive)])
        controller.observe(logits, logits)
    assert seen == pytest.approx([0.0, 0.0, 0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 0.4, 0.4])


def test_ada_reaches_d_and_is_the_identity_at_probability_zero() -> None:
    plain, _ = fitted(gan_stage(3, Plain()))
    never, _ = fitted(gan_stage(3, Plain(), augmentation=AdaptiveAugment(interval=10)))
    assert all(torch.equal(a, b) for a, b in zip(never.parameters(), plain.parameters(), strict=True))
    recorder = Recorder()
    half, _ = fitted(gan_stage(3, Plain(), augmentation=AdaptiveAugment(initial=0.5)), callbacks=[recorder])
    assert [row["train/augmentation_probability"] for _, row in recorder.rows] == [0.5] * 3
    assert not all(torch.equal(a, b) for a, b in zip(half.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize(
    ("message", "make"),
    [
        ("discriminator_norm=batch: loss.regularizers=r2, a", lambda: gan_stage(loss=with_terms(r2=R2()))),
        ("discriminator_norm=batch: loss.regularizers=gp, a", lambda: gan_stage(loss=with_terms(gp=GradientPenalty()))),
        (
            "beside loss.gradient_penalty=10",
            lambda: gan_stage(1, Plain(), with_terms(wasserstein(), gp=GradientPenalty())),
        ),
        ("label_smoothing needs a loss with targets", lambda: gan_stage(loss=with_terms(hinge(), s=LabelSmoothing()))),
        ("top_k takes logits of single", lambda: gan_stage(loss=with_terms(relativistic_average(), k=TopK()))),
        ("objective=acgan takes logits of single", lambda: joint_stage(ACGAN(), loss=relativistic_average())),
        (
            "objective=generated_pseudo_labels has none",
            lambda: joint_stage(GeneratedPseudoLabels(ramp=NOW), loss=with_terms(fm=FeatureMatchingTerm())),
        ),
        (
            "discriminator_augmentation=ada adapts",
            lambda: joint_stage(ACGAN(), discriminator_augmentation=AdaptiveAugment()),
        ),
        ("every: 0 must be", lambda: R1(every=0)),
        ("weight: -1 must be", lambda: LeCam(-1)),
        ("shift: 0.0 must be above 0, or flip", lambda: Consistency(shift=0.0)),
        ("share: 0.0 must be", lambda: TopK(0.0)),
        ("smoothing: 0.6 must be", lambda: LabelSmoothing(0.6)),
        ("until: 0 must be", lambda: InstanceNoise(until=0)),
        ("target: 2 must be in 0..1", lambda: AdaptiveAugment(target=2)),
    ],
)
def test_what_does_not_go_together_is_refused(message: str, make: Any) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_pseudo_labels_take_a_loss_of_pairs() -> None:
    _, ending = fitted(joint_stage(GeneratedPseudoLabels(threshold=0.0, ramp=NOW), loss=relativistic_paired()))
    assert ending.status == "finished"
