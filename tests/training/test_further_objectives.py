"""Shared networks, bad GAN, conditional EC-GAN and consistency against their closed forms."""

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.datasets.augmentation import NoAugmentation
from trigan.errors import ConfigError
from trigan.losses.gan_losses import hinge, non_saturating, wasserstein
from trigan.networks.classifiers.classifier import Classifier, TwoHeads
from trigan.training.fit import TrainerSettings
from trigan.training.objectives import (
    ACGAN,
    BadGAN,
    Conditional,
    FeatureMatching,
    GeneratedPseudoLabels,
    SharedNetwork,
    TripleGAN,
    VariationalBadGAN,
)
from trigan.training.objectives.objective import ObjectiveFactory
from trigan.training.players import PlayersModule
from trigan.training.selection import Selection
from trigan.training.step import TrainingStep
from trigan.training.terms.loss_terms import FixMatch

from .tiny import CGAN8, DCGAN8, NOW, SPEC, TURNED, built, copied, fitted, inputs_for, joint_stage, same, view

DOUBLE = TrainerSettings(precision="64-true")
PLAIN = {"discriminator_augmentation": NoAugmentation(), "augmentation": NoAugmentation()}


def _losses(module: PlayersModule, step: TrainingStep) -> dict[str, Tensor]:
    return {update.player: update.loss(step) for update in module.updates}


def _built_step(objective: ObjectiveFactory, **changes: object) -> tuple[PlayersModule, TrainingStep]:
    module = built(joint_stage(objective, **PLAIN, **changes), settings=DOUBLE)
    module.networks.train()
    return module, TrainingStep(module.step_context, 0, 0, True)


def _real_logit(network: nn.Module, images: Tensor) -> Tensor:
    embedded = network.classifier.embed(images)  # type: ignore[union-attr, operator]
    return (embedded @ network.real_head.weight.T + network.real_head.bias).squeeze(1)  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("on_generated", [False, True])
def test_acgan_equals_its_paper(on_generated: bool) -> None:
    """Odena et al. 2017, section 3: L_S + L_C for D, L_C - L_S for G, with the non-saturating L_S."""
    module, step = _built_step(ACGAN(0.6, on_generated))
    network = module.networks["classifier"]
    labelled, real, fakes = step.batch("labelled"), step.batch("unlabelled").images, step.fakes()
    source = F.softplus(-_real_logit(network, real)).mean() + F.softplus(_real_logit(network, fakes.images)).mean()
    of_real = F.cross_entropy(network.classifier(labelled.images), labelled.known_labels)  # type: ignore[union-attr, operator]
    of_fake = F.cross_entropy(network.classifier(fakes.images), fakes.known_labels)  # type: ignore[union-attr, operator]
    found = _losses(module, step)
    torch.testing.assert_close(found["classifier"], source + 0.6 * of_real + (0.6 * of_fake if on_generated else 0.0))
    generator_loss = F.softplus(-_real_logit(network, fakes.images)).mean()
    torch.testing.assert_close(found["generator"], generator_loss + 0.6 * of_fake)


def test_a_shared_network_equals_its_paper() -> None:
    """Haque 2020: lambda (BCE(D(G(z)), 0) + BCE(D(x), 1)) + CE(C(x), y); BCE(D(G(z)), 1) for G."""
    module, step = _built_step(SharedNetwork(0.2))
    network = module.networks["classifier"]
    labelled, real, fake = step.batch("labelled"), step.batch("unlabelled").images, step.fakes().images
    bce = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(16).double(), torch.zeros(16).double()
    adversarial = bce(_real_logit(network, fake), zeros) + bce(_real_logit(network, real), ones)
    found = _losses(module, step)
    named = F.cross_entropy(network(labelled.images), labelled.known_labels)
    torch.testing.assert_close(found["classifier"], 0.2 * adversarial + named)
    torch.testing.assert_close(found["generator"], bce(_real_logit(network, fake), ones))


def test_both_heads_and_the_body_have_gradients_and_g_has_both_terms() -> None:
    """AC-GAN's G has another gradient without the class term."""
    gradients = {}
    for objective in (ACGAN(1.0), ACGAN(1e-9)):
        module, step = _built_step(objective)
        module.step_context.switch_to("classifier")
        module.updates[0].loss(step).backward()
        network = module.networks["classifier"]
        if objective.weight == 1.0:
            assert all(float(w.grad.abs().sum()) > 0 for w in network.parameters())  # type: ignore[union-attr]
        module.step_context.switch_to("generator")
        module.updates[1].loss(step).backward()
        found = [w.grad.flatten() for w in module.networks["generator"].parameters() if w.grad is not None]
        gradients[objective.weight] = torch.cat(found)
    assert float((gradients[1.0] - gradients[1e-9]).norm()) > 1e-6


@pytest.mark.parametrize(("objective", "rule"), [(ACGAN(), "last"), (SharedNetwork(), "val")])
def test_the_kept_classifier_has_no_second_head(objective: ObjectiveFactory, rule: str) -> None:
    stage = joint_stage(objective, 2, selection=Selection(rule, 2))  # type: ignore[arg-type]
    inputs = inputs_for(stage, view(validation=True))
    module, _ = fitted(stage, inputs=inputs)
    trained = module.networks["classifier"]
    assert isinstance(trained, TwoHeads)
    kept = stage.finish(module, inputs)
    assert set(kept) == set(module.networks) == {"classifier", "generator"}
    assert isinstance(kept["classifier"], Classifier)
    skeleton = stage.skeleton(SPEC)
    for player, network in kept.items():
        skeleton[player].load_state_dict(network.state_dict())
        assert not network.training
    images = torch.zeros(2, 1, 8, 8)
    assert torch.equal(skeleton["classifier"](images), kept["classifier"](images))


def test_a_second_head_does_not_change_the_initial_weights_of_c() -> None:
    two, one = (
        built(joint_stage(objective)).networks["classifier"] for objective in (SharedNetwork(), FeatureMatching())
    )
    assert isinstance(two, TwoHeads)
    assert same(copied(two.classifier.state_dict()), copied(one.state_dict()))
    images = torch.randn(3, 1, 8, 8)
    two.eval()
    logits, real_logit = two.class_and_real_logits(images)
    assert torch.equal(logits, two(images))
    assert torch.equal(real_logit, two.real_logits(images))
    assert real_logit.shape == (3,)


@pytest.mark.parametrize("matching", ["absolute", "squares"])
def test_bad_gan_equals_its_paper(matching: Literal["absolute", "squares"]) -> None:
    """Dai et al. 2017, eq. 8 without the halves of its code, which are Salimans's; feature matching and pull-away."""
    module, step = _built_step(BadGAN(unlabelled_weight=2.0, entropy=0.3, pull_away=0.7, matching=matching))
    network = module.networks["classifier"]
    labelled, real, fake = step.batch("labelled"), step.batch("unlabelled").images, step.fakes().images

    def with_generated(images: Tensor) -> Tensor:
        logits = network(images)
        return torch.cat([logits, torch.zeros(16, 1).double()], 1).log_softmax(1)

    p = network(real).softmax(1)
    true, false = with_generated(real), with_generated(fake)
    named = F.cross_entropy(network(labelled.images), labelled.known_labels)
    expected = named - true[:, :10].logsumexp(1).mean() - false[:, 10].mean() - 0.3 * (p * p.log()).sum(1).mean()
    found = _losses(module, step)
    torch.testing.assert_close(found["classifier"], expected)
    features = network.embed(fake)  # type: ignore[operator]
    cosines = F.cosine_similarity(features[:, None], features[None], dim=2)
    apart = (cosines.square().sum() - cosines.diagonal().square().sum()) / (16 * 15)
    apart_means = (features.mean(0) - network.embed(real).mean(0)).abs()  # type: ignore[operator]
    matched = (apart_means if matching == "absolute" else apart_means.square()).mean()
    torch.testing.assert_close(found["generator"], matched + 0.7 * apart)
    assert apart.item() > 0.01


def test_variational_bad_gan_equals_its_paper() -> None:
    """Dai et al. 2017, section 4.2: G's feature matching and -E log q(z|G(z)) with a normal q, as torch has it."""
    module, step = _built_step(VariationalBadGAN(variational=0.4))
    network, encoder = module.networks["classifier"], module.networks["encoder"]
    real, fakes = step.batch("unlabelled").images, step.fakes()
    latents = fakes.draws.normal("z", DCGAN8.latent).double()
    mean, log_deviation = encoder(fakes.images)
    assert mean.shape == latents.shape
    log_q = torch.distributions.Normal(mean, log_deviation.exp()).log_prob(latents).sum(1).mean()
    bound = -log_q - 0.5 * DCGAN8.latent * math.log(2 * math.pi)
    matched = (network.embed(fakes.images).mean(0) - network.embed(real).mean(0)).abs().mean()  # type: ignore[operator]
    found = _losses(module, step)
    torch.testing.assert_close(found["encoder"], bound)
    torch.testing.assert_close(found["generator"], matched + 0.4 * bound)
    bare = _losses(*_built_step(FeatureMatching()))
    torch.testing.assert_close(found["classifier"], bare["classifier"])
    assert [update.player for update in module.updates] == ["classifier", "encoder", "generator"]


def test_the_encoder_learns_and_g_learns_from_it() -> None:
    gradients = {}
    for weight in (0.0, 1.0):
        module, step = _built_step(VariationalBadGAN(variational=weight))
        for update in module.updates[1:]:
            module.step_context.switch_to(update.player)
            update.loss(step).backward()
        assert all(float(w.grad.abs().sum()) > 0 for w in module.networks["encoder"].parameters())  # type: ignore[union-attr]
        found = [w.grad.flatten() for w in module.networks["generator"].parameters() if w.grad is not None]
        gradients[weight] = torch.cat(found)
    assert float((gradients[0.0] - gradients[1.0]).norm()) > 1e-6


def test_bad_gan_without_its_terms_equals_feature_matching() -> None:
    one, other = (
        _losses(*_built_step(objective)) for objective in (BadGAN(1.0, "squares", 0.0, 0.0), FeatureMatching())
    )
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("threshold", [0.0, 0.1])
def test_ec_gan_with_a_conditional_g_uses_the_label_of_g(threshold: float) -> None:
    objective = GeneratedPseudoLabels(0.5, threshold, NOW)
    module, step = _built_step(objective, architecture=CGAN8)
    network, discriminator = module.networks["classifier"], module.networks["discriminator"]
    labelled, fakes = step.batch("labelled"), step.fakes()
    p = network(fakes.images).softmax(1)[torch.arange(16), fakes.known_labels]
    passed = p > threshold
    assert bool(passed.all()) if threshold == 0.0 else 0 < int(passed.sum()) < 16
    found = _losses(module, step)
    named = F.cross_entropy(network(labelled.images), labelled.known_labels)
    torch.testing.assert_close(found["classifier"], named - 0.5 * (p.log() * passed).sum() / 16)
    real, fake = discriminator(labelled.images, labelled.known_labels), discriminator(fakes.images, fakes.known_labels)
    torch.testing.assert_close(found["discriminator"], F.softplus(-real).mean() + F.softplus(fake).mean())


@pytest.mark.parametrize("threshold", [0.0, 0.105])
def test_ec_gan_uses_the_most_likely_label(threshold: float) -> None:
    """Haque 2020: lambda CE(C(G(z)), argmax C(G(z))) where max p, a probability, is above the threshold."""
    module, step = _built_step(GeneratedPseudoLabels(0.5, threshold, NOW))
    network = module.networks["classifier"]
    labelled, fakes = step.batch("labelled"), step.fakes()
    p = network(fakes.images).softmax(1).amax(1)
    passed = p > threshold
    assert bool(passed.all()) if threshold == 0.0 else 0 < int(passed.sum()) < 16
    named = F.cross_entropy(network(labelled.images), labelled.known_labels)
    torch.testing.assert_close(_losses(module, step)["classifier"], named - 0.5 * (p.log() * passed).sum() / 16)


class _Marked:
    """An augmentation that can be recognized: pixels far outside [-1, 1]."""

    def __call__(self, images: Tensor, draws: object, stream: str) -> Tensor:
        return images + 10.0


WITH_DISCRIMINATOR = (TripleGAN(pretrain=0.0), Conditional(), GeneratedPseudoLabels(ramp=NOW))
WITHOUT_DISCRIMINATOR = (FeatureMatching(), BadGAN(), VariationalBadGAN(), ACGAN(on_generated=True), SharedNetwork())


@pytest.mark.parametrize(
    "objective", [*WITH_DISCRIMINATOR, *WITHOUT_DISCRIMINATOR], ids=lambda objective: type(objective).__name__
)
def test_d_gets_real_and_generated_images_through_the_same_augmentation(objective: ObjectiveFactory) -> None:
    """Otherwise D could recognize real images by it (Zhao et al. 2020, section 3.1)."""
    module = built(joint_stage(objective, discriminator_augmentation=_Marked(), augmentation=NoAugmentation()))
    module.networks.train()
    step = TrainingStep(module.step_context, 0, 0, True)
    apart = "discriminator" in objective.players
    discriminator = module.networks["discriminator" if apart else "classifier"]
    body = discriminator.backbone if apart else getattr(discriminator, "classifier", discriminator).body  # type: ignore[union-attr]
    bare: list[bool] = []
    body.register_forward_pre_hook(lambda _, given: bare.append(bool((given[0] < 5.0).any())))  # type: ignore[union-attr, operator]
    for update in module.updates:
        bare.clear()
        update.loss(step)
        labelled = int(not apart and update.player == "classifier")  # C learns names from images as they are
        assert bare.count(True) == labelled
        assert len(bare) > labelled or update.player == ("classifier" if apart else "encoder")


WITH_CONSISTENCY = (TripleGAN(pretrain=0.0), ACGAN(), FeatureMatching(), GeneratedPseudoLabels())


@pytest.mark.parametrize("objective", WITH_CONSISTENCY, ids=lambda objective: type(objective).__name__)
def test_consistency_is_added_to_the_loss_of_c(objective: ObjectiveFactory) -> None:
    term = FixMatch(TURNED, TURNED, threshold=0.0, weight=0.5, stream="consistency")
    module, step = _built_step(objective, consistency=term)
    bare, bare_step = _built_step(objective)
    update, without = module.updates[-1 if "discriminator" in module.players else 0], _losses(bare, bare_step)
    added = term(step, module.networks["classifier"])
    assert added.item() > 0
    torch.testing.assert_close(update.loss(step), without["classifier"] + added)
    assert len(step.batch("consistency").images) == 32
    assert torch.equal(step.batch("unlabelled").images, bare_step.batch("unlabelled").images)
    charged = {u.player: u.images for u in bare.updates}
    assert {u.player: u.images for u in module.updates} == {**charged, "classifier": charged["classifier"] + 64}


REFUSED = {
    "objective=bad_gan needs an unconditional G: set architecture=dcgan": (BadGAN(), {"architecture": CGAN8}),
    "objective=shared_network needs an unconditional G": (SharedNetwork(), {"architecture": CGAN8}),
    "objective=acgan needs a label-conditional G and D: set": (ACGAN(), {"architecture": DCGAN8}),
    "objective=bad_gan has losses of its own .* leave loss=non_saturating": (BadGAN(), {"loss": hinge()}),
    "loss.discriminator_steps: 5 must be 1 with .*bad_gan": (
        BadGAN(),
        {"loss": non_saturating(discriminator_steps=5)},
    ),
    "loss: strategy.objective=acgan has no gradient penalty": (ACGAN(), {"loss": wasserstein()}),
    "loss: strategy.objective=shared_network has no gradient penalty": (SharedNetwork(), {"loss": wasserstein()}),
}


@pytest.mark.parametrize(("line", "bad"), REFUSED.items(), ids=REFUSED)
def test_unusable_architectures_and_losses_are_refused_in_one_line(
    line: str, bad: tuple[ObjectiveFactory, dict[str, object]]
) -> None:
    objective, changes = bad
    with pytest.raises(ConfigError, match=line) as caught:
        replace(joint_stage(objective), **changes)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
