"""One network for C and D, the complement generator, conditional EC-GAN, consistency: against their closed forms."""

from dataclasses import replace
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.data.augmentation import NoAugmentation
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
)
from trigan.training.objectives.objective import ObjectiveFactory
from trigan.training.players import PlayersModule
from trigan.training.selection import Selection
from trigan.training.stages.criteria import FixMatch
from trigan.training.step import TrainingStep

from .tiny import CGAN8, DCGAN8, NOW, SPEC, TURNED, built, copied, fitted, inputs_for, joint_stage, same, view

DOUBLE = TrainerSettings(precision="64-true")
PLAIN = {"discriminator_augmentation": NoAugmentation(), "augmentation": NoAugmentation()}


def _losses(module: PlayersModule, step: TrainingStep) -> dict[str, Tensor]:
    return {update.player: update.loss(step) for update in module.updates}


def _at_play(game: ObjectiveFactory, **changes: object) -> tuple[PlayersModule, TrainingStep]:
    module = built(joint_stage(game, **PLAIN, **changes), settings=DOUBLE)
    module.networks.train()
    return module, TrainingStep(module.step_context, 0, 0, True)


def _judge(network: nn.Module, images: Tensor) -> Tensor:
    embedded = network.classifier.embed(images)  # type: ignore[union-attr, operator]
    return (embedded @ network.real_head.weight.T + network.real_head.bias).squeeze(1)  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("on_generated", [False, True])
def test_acgan_is_that_of_its_paper(on_generated: bool) -> None:
    """Odena et al. 2017, section 3: L_S + L_C for D, L_C - L_S for G, with the non-saturating L_S."""
    module, step = _at_play(ACGAN(0.6, on_generated))
    network = module.networks["classifier"]
    labelled, real, fakes = step.batch("labelled"), step.batch("unlabelled").images, step.fakes()
    source = F.softplus(-_judge(network, real)).mean() + F.softplus(_judge(network, fakes.images)).mean()
    of_real = F.cross_entropy(network.classifier(labelled.images), labelled.known_labels)  # type: ignore[union-attr, operator]
    of_fake = F.cross_entropy(network.classifier(fakes.images), fakes.known_labels)  # type: ignore[union-attr, operator]
    found = _losses(module, step)
    torch.testing.assert_close(found["classifier"], source + 0.6 * of_real + (0.6 * of_fake if on_generated else 0.0))
    fooled = F.softplus(-_judge(network, fakes.images)).mean()
    torch.testing.assert_close(found["generator"], fooled + 0.6 * of_fake)


def test_a_shared_network_is_that_of_its_paper() -> None:
    """Haque 2020: lambda (BCE(D(G(z)), 0) + BCE(D(x), 1)) + CE(C(x), y); BCE(D(G(z)), 1) for G."""
    module, step = _at_play(SharedNetwork(0.2))
    network = module.networks["classifier"]
    labelled, real, fake = step.batch("labelled"), step.batch("unlabelled").images, step.fakes().images
    bce = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(16).double(), torch.zeros(16).double()
    adversarial = bce(_judge(network, fake), zeros) + bce(_judge(network, real), ones)
    found = _losses(module, step)
    named = F.cross_entropy(network(labelled.images), labelled.known_labels)
    torch.testing.assert_close(found["classifier"], 0.2 * adversarial + named)
    torch.testing.assert_close(found["generator"], bce(_judge(network, fake), ones))


def test_both_heads_and_the_trunk_learn_and_g_hears_both() -> None:
    """Of AC-GAN's G: without the class head's word its gradient is another."""
    gradients = {}
    for game in (ACGAN(1.0), ACGAN(1e-9)):
        module, step = _at_play(game)
        module.step_context.trainable.switch_to("classifier")
        module.updates[0].loss(step).backward()
        network = module.networks["classifier"]
        if game.weight == 1.0:
            assert all(float(w.grad.abs().sum()) > 0 for w in network.parameters())  # type: ignore[union-attr]
        module.step_context.trainable.switch_to("generator")
        module.updates[1].loss(step).backward()
        found = [w.grad.flatten() for w in module.networks["generator"].parameters() if w.grad is not None]
        gradients[game.weight] = torch.cat(found)
    assert float((gradients[1.0] - gradients[1e-9]).norm()) > 1e-6


@pytest.mark.parametrize(("game", "rule"), [(ACGAN(), "last"), (SharedNetwork(), "val")])
def test_what_is_kept_is_a_classifier_without_its_second_head(game: ObjectiveFactory, rule: str) -> None:
    stage = joint_stage(game, 2, selection=Selection(rule, 2))  # type: ignore[arg-type]
    inputs = inputs_for(stage, view(validation=True))
    module, _ = fitted(stage, inputs=inputs)
    played = module.networks["classifier"]
    assert isinstance(played, TwoHeads)
    kept = stage.finish(module, inputs)
    assert set(kept) == set(module.networks) == {"classifier", "generator"}
    assert isinstance(kept["classifier"], Classifier)
    blank = stage.skeleton(SPEC)
    for player, network in kept.items():
        blank[player].load_state_dict(network.state_dict())
        assert not network.training
    images = torch.zeros(2, 1, 8, 8)
    assert torch.equal(blank["classifier"](images), kept["classifier"](images))


def test_a_second_head_leaves_the_first_weights_of_c_as_they_are() -> None:
    two, one = (built(joint_stage(game)).networks["classifier"] for game in (SharedNetwork(), FeatureMatching()))
    assert isinstance(two, TwoHeads)
    assert same(copied(two.classifier.state_dict()), copied(one.state_dict()))
    images = torch.randn(3, 1, 8, 8)
    two.eval()
    logits, verdict = two.class_and_real_logits(images)
    assert torch.equal(logits, two(images))
    assert torch.equal(verdict, two.real_logits(images))
    assert verdict.shape == (3,)


@pytest.mark.parametrize("matching", ["absolute", "squares"])
def test_bad_gan_is_that_of_its_paper(matching: Literal["absolute", "squares"]) -> None:
    """Dai et al. 2017, eq. 8 without the halves of its code, which are Salimans's; feature matching and pull-away."""
    module, step = _at_play(BadGAN(unlabelled_weight=2.0, entropy=0.3, pull_away=0.7, matching=matching))
    network = module.networks["classifier"]
    labelled, real, fake = step.batch("labelled"), step.batch("unlabelled").images, step.fakes().images

    def with_generated(images: Tensor) -> Tensor:
        logits = network(images)
        return torch.cat([logits, torch.zeros(16, 1).double()], 1).log_softmax(1)

    p = network(real).softmax(1)
    true, false = with_generated(real), with_generated(fake)
    named = F.cross_entropy(network(labelled.images), labelled.known_labels)
    wanted = named - true[:, :10].logsumexp(1).mean() - false[:, 10].mean() - 0.3 * (p * p.log()).sum(1).mean()
    found = _losses(module, step)
    torch.testing.assert_close(found["classifier"], wanted)
    features = network.embed(fake)  # type: ignore[operator]
    cosines = F.cosine_similarity(features[:, None], features[None], dim=2)
    apart = (cosines.square().sum() - cosines.diagonal().square().sum()) / (16 * 15)
    apart_means = (features.mean(0) - network.embed(real).mean(0)).abs()  # type: ignore[operator]
    matched = (apart_means if matching == "absolute" else apart_means.square()).mean()
    torch.testing.assert_close(found["generator"], matched + 0.7 * apart)
    assert apart.item() > 0.01


def test_without_its_further_terms_bad_gan_is_feature_matching() -> None:
    one, other = (_losses(*_at_play(game)) for game in (BadGAN(1.0, 0.0, 0.0, "squares"), FeatureMatching()))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("threshold", [0.0, 0.1])
def test_ec_gan_with_a_conditional_g_gates_by_the_label_it_drew_for(threshold: float) -> None:
    game = GeneratedPseudoLabels(0.5, threshold, NOW)
    module, step = _at_play(game, architecture=CGAN8)
    network, judge = module.networks["classifier"], module.networks["discriminator"]
    labelled, fakes = step.batch("labelled"), step.fakes()
    p = network(fakes.images).softmax(1)[torch.arange(16), fakes.known_labels]
    passed = p > threshold
    assert bool(passed.all()) if threshold == 0.0 else 0 < int(passed.sum()) < 16
    found = _losses(module, step)
    named = F.cross_entropy(network(labelled.images), labelled.known_labels)
    torch.testing.assert_close(found["classifier"], named - 0.5 * (p.log() * passed).sum() / 16)
    real, fake = judge(labelled.images, labelled.known_labels), judge(fakes.images, fakes.known_labels)
    torch.testing.assert_close(found["discriminator"], F.softplus(-real).mean() + F.softplus(fake).mean())


@pytest.mark.parametrize("threshold", [0.0, 0.105])
def test_ec_gan_gates_by_the_likeliest_label(threshold: float) -> None:
    """Haque 2020: lambda CE(C(G(z)), argmax C(G(z))) where max p, a probability, is above the threshold."""
    module, step = _at_play(GeneratedPseudoLabels(0.5, threshold, NOW))
    network = module.networks["classifier"]
    labelled, fakes = step.batch("labelled"), step.fakes()
    p = network(fakes.images).softmax(1).amax(1)
    passed = p > threshold
    assert bool(passed.all()) if threshold == 0.0 else 0 < int(passed.sum()) < 16
    named = F.cross_entropy(network(labelled.images), labelled.known_labels)
    torch.testing.assert_close(_losses(module, step)["classifier"], named - 0.5 * (p.log() * passed).sum() / 16)


class _Marked:
    """A view that nothing else could be mistaken for: pixels far outside [-1, 1]."""

    def __call__(self, images: Tensor, draws: object, stream: str) -> Tensor:
        return images + 10.0


JUDGED_BY_D = (TripleGAN(pretrain=0.0), Conditional(), GeneratedPseudoLabels(ramp=NOW))
JUDGED_BY_C = (FeatureMatching(), BadGAN(), ACGAN(on_generated=True), SharedNetwork())


@pytest.mark.parametrize("game", [*JUDGED_BY_D, *JUDGED_BY_C], ids=lambda game: type(game).__name__)
def test_real_and_generated_images_are_judged_in_the_same_view(game: ObjectiveFactory) -> None:
    """A view of real images alone would tell D which are real (Zhao et al. 2020, section 3.1)."""
    module = built(joint_stage(game, discriminator_augmentation=_Marked(), augmentation=NoAugmentation()))
    module.networks.train()
    step = TrainingStep(module.step_context, 0, 0, True)
    apart = "discriminator" in game.players
    judge = module.networks["discriminator" if apart else "classifier"]
    body = judge.backbone if apart else getattr(judge, "classifier", judge).body  # type: ignore[union-attr]
    bare: list[bool] = []
    body.register_forward_pre_hook(lambda _, given: bare.append(bool((given[0] < 5.0).any())))  # type: ignore[union-attr, operator]
    for update in module.updates:
        bare.clear()
        update.loss(step)
        labelled = 0 if apart or update.player == "generator" else 1  # C learns names from images as they are
        assert bare.count(True) == labelled
        assert len(bare) > labelled or (apart and update.player == "classifier")


GAMES = (TripleGAN(pretrain=0.0), ACGAN(), FeatureMatching(), GeneratedPseudoLabels())


@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_consistency_is_one_more_summand_of_cs_loss(game: ObjectiveFactory) -> None:
    term = FixMatch(TURNED, TURNED, threshold=0.0, weight=0.5, stream="consistency")
    module, step = _at_play(game, consistency=term)
    bare, bare_step = _at_play(game)
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
def test_what_a_game_cannot_be_played_with_is_refused_in_one_line(
    line: str, bad: tuple[ObjectiveFactory, dict[str, object]]
) -> None:
    game, changes = bad
    with pytest.raises(ConfigError, match=line) as caught:
        replace(joint_stage(game), **changes)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
