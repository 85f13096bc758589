"""Adversarial training: losses by hand, what the attack leaves as it was, its cost, and whose images are attacked."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trigan.datasets.augmentation import NoAugmentation
from trigan.datasets.inputs import Input
from trigan.datasets.mixing import MixUp
from trigan.errors import ConfigError
from trigan.evaluation.robustness.attacks import Ball, cross_entropy, pgd
from trigan.networks.batchnorm import batch_norms
from trigan.networks.classifiers.cnn import SmallCNN
from trigan.rng import Draws
from trigan.strategies.baseline import Baseline, SelfTraining
from trigan.training.adversary import TRADES, Adversary, PGDTraining, evaluation_mode
from trigan.training.objectives import FeatureMatching
from trigan.training.players import PlayersModule
from trigan.training.step import TrainingStep

from ..strategies.recipes import CGAN_STAGE, SAMPLES, augment, make_runner
from .tiny import PlainClassifier, built, classifier_stage, copied, fitted, inputs_for, joint_stage, view

SOME = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
LABELS = torch.arange(16) % 10


def by_image(logits: Tensor) -> Tensor:
    return F.cross_entropy(logits, LABELS, reduction="none")


def draws() -> Draws:
    return Draws(5, 2, 16, 0, 16)


@pytest.fixture
def network() -> nn.Module:
    """A small classifier with batch norm and dropout whose statistics are those of other images."""
    return built(classifier_stage(classifier=SmallCNN(4, dropout=0.5))).networks["classifier"].train()


def test_the_loss_of_pgd_is_that_of_the_attacked_images() -> None:
    network = built(classifier_stage(classifier=PlainClassifier())).networks["classifier"]  # modes do not matter
    adversary = PGDTraining(0.1, 5)
    logits, losses = adversary(network, SOME, by_image, draws())
    ball = Ball("linf", 0.1)
    attacked = pgd(network, SOME, cross_entropy(LABELS), ball, 5, ball.random_start(SOME, draws()))
    torch.testing.assert_close(logits, network(attacked))
    torch.testing.assert_close(losses, by_image(network(attacked)))
    assert float((attacked - SOME).abs().max()) == pytest.approx(0.2)
    assert losses.mean().item() > by_image(network(SOME)).mean().item()


def test_trades_is_the_loss_plus_the_divergence_of_probabilities() -> None:
    network = built(classifier_stage(classifier=PlainClassifier())).networks["classifier"]
    adversary = TRADES(0.1, 5, beta=3.0)
    logits, losses = adversary(network, SOME, by_image, draws())
    clean = network(SOME)
    start = SOME + 0.002 * draws().normal("attack/start", 1, 8, 8)
    ball, target = Ball("linf", 0.1), clean.detach().softmax(1)

    def divergence(logits: Tensor) -> Tensor:
        return F.kl_div(logits.log_softmax(1), target, reduction="none").sum(1)

    attacked = pgd(network, SOME, divergence, ball, 5, ball.project(start, SOME))
    p, q = clean.softmax(1), network(attacked).softmax(1)
    expected = by_image(clean) + 3.0 * (p * (p.log() - q.log())).sum(1)
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(logits, clean)
    # both passes of the divergence have gradients, as in the authors' code
    losses.sum().backward()
    assert all(one.grad is not None for one in network.parameters())


def test_the_attack_sees_evaluation_mode_and_moves_no_statistics(network: nn.Module) -> None:
    modes, seen = [module.training for module in network.modules()], []
    network.register_forward_hook(lambda module, images, logits: seen.append(module.training))
    before = copied(dict(network.named_buffers()))
    with evaluation_mode(network):
        pgd(network, SOME, by_image, Ball("linf", 0.1), 3)
    assert all(torch.equal(before[name], value) for name, value in network.named_buffers())
    assert [module.training for module in network.modules()] == modes
    assert seen == [False] * 3


@pytest.mark.parametrize(("adversary", "passes"), [(PGDTraining(0.1, 3), [True]), (TRADES(0.1, 3), [True, True])])
def test_only_the_passes_of_the_update_move_statistics_and_draw_dropout(
    adversary: Adversary, passes: list[bool]
) -> None:
    module = built(classifier_stage(classifier=SmallCNN(4, dropout=0.5), adversary=adversary))
    network, seen = module.networks["classifier"].train(), []
    norm = batch_norms(network)[0]
    norm.register_forward_hook(lambda layer, given, out: seen.append(layer.training))
    step = TrainingStep(module.step_context, 0, 0, False)
    drawn: list[str] = []

    def layer_draws(layer: str, rows: int) -> Draws:
        drawn.append(layer)
        return TrainingStep.layer_draws(step, layer, rows)

    step.layer_draws = layer_draws  # type: ignore[method-assign]
    _one_update(module, step)
    assert [one for one in seen if one] == passes
    assert len([one for one in seen if not one]) == 3 + (len(passes) - 1)  # TRADES' clean outputs, too
    assert len(drawn) == len(set(drawn)) * len(passes)


def _one_update(module: PlayersModule, step: TrainingStep) -> None:
    from trigan.networks.random_layers import random_layers, use_random_source

    with use_random_source(random_layers(dict(module.networks.items())), step.layer_draws):
        module.updates[0].loss(step).backward()


def test_the_passes_of_the_attack_are_counted() -> None:
    """A step of an update has 3 passes (1 forward, 2 backward), one of the attack 2."""
    plain, _ = fitted(classifier_stage(2, augmentation=NoAugmentation()))
    attacked, _ = fitted(classifier_stage(2, augmentation=NoAugmentation(), adversary=PGDTraining(steps=6)))
    assert attacked.flops / plain.flops == pytest.approx((3 + 2 * 6) / 3, rel=0.1)
    assert attacked.images == plain.images


def test_a_trained_classifier_holds_better_under_attack() -> None:
    inputs = inputs_for(classifier_stage(), view(labels=20))
    images, labels = inputs["labelled"].images.float() / 127.5 - 1.0, inputs["labelled"].known_labels
    held = []
    for adversary in (None, PGDTraining(0.15, 3), TRADES(0.15, 3)):
        stage = classifier_stage(40, augmentation=NoAugmentation(), adversary=adversary)
        module, _ = fitted(stage, inputs=inputs)
        network = stage.finish(module, inputs)["classifier"]
        attacked = pgd(network, images, cross_entropy(labels), Ball("linf", 0.15), 10)
        held.append(float((network(attacked).argmax(1) == labels).float().mean()))
    assert min(held[1:]) > held[0] + 0.1


def test_mixed_images_are_attacked_with_both_labels() -> None:
    module = built(classifier_stage(classifier=PlainClassifier(), mix=MixUp(1.0), adversary=PGDTraining(0.1, 3)))
    plain = built(classifier_stage(classifier=PlainClassifier(), mix=MixUp(1.0)))
    losses = [one.updates[0].loss(TrainingStep(one.step_context, 0, 0, False)).item() for one in (module, plain)]
    assert losses[0] > losses[1] * 1.05


def test_joint_training_attacks_the_labelled_images_of_c() -> None:
    """An adversary that cannot change anything gives the loss of none, and a strong one a larger loss."""
    losses = []
    for adversary in (None, PGDTraining(1e-9, 1), PGDTraining(0.2, 3)):
        module = built(joint_stage(FeatureMatching(), classifier=PlainClassifier(), adversary=adversary))
        step = TrainingStep(module.step_context, 0, 0, False)
        update = next(one for one in module.updates if one.player == "classifier")
        update.loss(step)
        losses.append(module.step_context.scalars.flush()["train/labelled_loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert losses[2] > losses[0] * 1.05


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of images of the attacks in a test, in their order."""
    found: list[int] = []
    attack = PGDTraining.attacked

    def watch(self: PGDTraining, network: nn.Module, images: Tensor, *rest: object) -> Tensor:
        found.append(len(images))
        return attack(self, network, images, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(PGDTraining, "attacked", watch)
    return found


@pytest.mark.parametrize(
    ("source", "changes"),
    [("generator", {"gan": CGAN_STAGE, "samples": replace(SAMPLES, filters=())}), ("unlabelled", {}), ("noise", {})],
)
def test_samples_and_their_controls_are_attacked_and_teachers_are_not(
    source: str, changes: dict[str, object], tmp_path: Path, sizes: list[int]
) -> None:
    samples = replace(SAMPLES, filters=(), per_step=0.5)
    stage = classifier_stage(2, adversary=PGDTraining(0.1, 2))
    augment(**{**changes, "samples": samples, "source": source, "classifier": stage}).run(view(), make_runner(tmp_path))
    assert sizes == [16, 8, 16, 8]  # the labelled images and the samples of two steps, and no others


def test_pseudo_labelled_images_of_the_baseline_are_attacked(tmp_path: Path, sizes: list[int]) -> None:
    stage = classifier_stage(2, adversary=PGDTraining(0.1, 2))
    Baseline(stage, SelfTraining(threshold=0.0)).run(view(), make_runner(tmp_path))
    assert sizes == [16, 16, 16, 16]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"eps": 0.0}, r"adversary\.eps: 0\.0 must be above 0; for clean training set recipe/adversary=null"),
        ({"steps": 0}, r"adversary\.steps: 0 must be an integer of at least 1"),
        ({"step_size": -1.0}, r"adversary\.step_size: -1\.0 must be above 0, or null"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, float], said: str) -> None:
    for kind in (PGDTraining, TRADES):
        with pytest.raises(ConfigError, match=said):
            kind(**change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"adversary\.beta: 0\.0 must be above 0"):
        TRADES(beta=0.0)


def test_soft_labels_of_samples_are_attacked_by_their_cross_entropy() -> None:
    from trigan.training.terms.loss_terms import ExtraImages

    seen = view()
    soft = torch.full((len(seen.labelled.images), 10), 0.02)
    soft.scatter_(1, seen.labelled.labels[:, None], 0.82)
    losses = []
    for adversary in (None, PGDTraining(0.2, 3)):
        term = ExtraImages(NoAugmentation(), adversary=adversary)
        stage = classifier_stage(terms=(term,), classifier=PlainClassifier())
        module = built(stage, {**inputs_for(stage), "extra": Input(seen.labelled.images, soft)})
        losses.append(term(TrainingStep(module.step_context, 0, 0, False), module.networks["classifier"]).item())
    assert losses[1] > losses[0] * 1.05
