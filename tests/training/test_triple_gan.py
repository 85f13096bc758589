"""Triple-GAN in full against its closed form and its base form, and the pretraining of C."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from trigan.datasets.augmentation import NoAugmentation
from trigan.errors import ConfigError
from trigan.losses.gan_losses import hinge, least_squares, minimax, wasserstein
from trigan.training.fit import TrainerSettings
from trigan.training.objectives import Conditional, TripleGAN
from trigan.training.objectives.objective import Ramp
from trigan.training.optimizers import EMA
from trigan.training.players import PlayersModule
from trigan.training.step import TrainingStep

from .tiny import DCGAN8, NOW, Recorder, built, copied, fitted, joint_stage, same

CONF = Path(__file__).parents[2] / "conf"
DOUBLE = TrainerSettings(precision="64-true")
FULL = TripleGAN(
    alpha=0.3,
    labelled_fraction=0.2,
    classifier_weight=0.7,
    entropy=0.25,
    uniform_marginal=0.15,
    head_decay=0.05,
    pair_weight=0.2,
    ramp=NOW,
    pretrain=0.0,
    pretrain_uniform_marginal=0.9,
)


def _step(module: PlayersModule, index: int = 0) -> TrainingStep:
    module.networks.train()
    return TrainingStep(module.step_context, index, 0, True)


def test_it_equals_its_paper_and_code() -> None:
    """Li et al. 2017, algorithm 1, with the code's weights; every coefficient different from the others."""
    stage = joint_stage(FULL, discriminator_augmentation=NoAugmentation(), augmentation=NoAugmentation())
    module = built(stage, settings=DOUBLE)
    step = _step(module)
    discriminator, classifier = module.networks["discriminator"], module.networks["classifier"]
    labelled, unlabelled, fakes = step.batch("labelled"), step.batch("unlabelled"), step.fakes()
    logits = classifier(unlabelled.images)
    p, predicted, given = logits.softmax(1), logits.argmax(1), fakes.known_labels

    def softplus(sign: int, images: Tensor, labels: Tensor) -> Tensor:
        return F.softplus(sign * discriminator(images, labels)).mean()

    expected = {
        "discriminator": 0.2 * softplus(-1, labelled.images, labelled.known_labels)
        + 0.8 * softplus(-1, unlabelled.images, predicted)
        + 0.3 * softplus(1, unlabelled.images, predicted)
        + 0.7 * softplus(1, fakes.images, given),
        "generator": 0.7 * softplus(-1, fakes.images, given),
        "classifier": F.cross_entropy(classifier(labelled.images), labelled.known_labels)
        + 0.7 * (p.amax(1) * F.softplus(-discriminator(unlabelled.images, predicted))).mean()
        + 0.25 * -(p * p.log()).sum(1).mean()
        + 0.15 * -(p.mean(0).log() / 10).sum()
        + 0.05 * classifier.head.weight.pow(2).sum()  # type: ignore[union-attr, operator]
        + 0.2 * F.cross_entropy(classifier(fakes.images), given),
    }
    for update in module.updates:
        torch.testing.assert_close(update.loss(step), expected[update.player])


@pytest.mark.parametrize(
    ("name", "epoch", "pair"),
    [("triple_gan_cifar10", 199, 0.1), ("triple_gan_svhn", 199, 0.03)],
    ids=["cifar10", "svhn"],
)
def test_the_terms_of_a_data_set_equal_the_authors_code(name: str, epoch: int, pair: float) -> None:
    """C's cost of x2y_yz2x_xy2p_ssl_{cifar10,svhn}.py in numpy, on both sides of epoch_cla_g=200 of 1,000 epochs."""
    settings = OmegaConf.to_container(OmegaConf.load(CONF / "strategy" / "objective" / f"{name}.yaml"))
    objective = instantiate(settings)
    assert isinstance(objective, TripleGAN)
    stage = joint_stage(objective, 1000, discriminator_augmentation=NoAugmentation(), augmentation=NoAugmentation())
    module = built(stage, settings=DOUBLE)
    discriminator, classifier = module.networks["discriminator"], module.networks["classifier"]
    for index in (epoch, epoch + 1):
        step = _step(module, index)
        labelled, unlabelled, fakes = step.batch("labelled"), step.batch("unlabelled"), step.fakes()
        with torch.no_grad():
            p_l, p_u, p_g = (
                classifier(images).softmax(1).numpy() for images in (labelled.images, unlabelled.images, fakes.images)
            )
            truth = discriminator(unlabelled.images, torch.from_numpy(p_u.argmax(1))).sigmoid().numpy()
        rows = np.arange(len(p_l))
        adversarial = (-np.log(truth) * p_u.max(1)).mean()
        cost = 0.01 * 0.5 * adversarial - np.log(p_l[rows, labelled.known_labels.numpy()]).mean()
        if name == "triple_gan_svhn":  # categorical_crossentropy_ssl_separated
            cost += 0.3 * -(p_u * np.log(p_u)).sum(1).mean() + 1e-3 * -np.log(p_u.mean(0)).mean()
            cost += 1e-4 * float(classifier.head.weight.square().sum())  # type: ignore[union-attr, operator, arg-type]
        if index > epoch:
            cost += pair * -np.log(p_g[rows, fakes.known_labels.numpy()]).mean()
        assert float(module.updates[-1].loss(step)) == pytest.approx(cost, rel=1e-9)


@pytest.mark.parametrize("loss", [minimax(), hinge()])
def test_without_its_further_terms_it_equals_the_base_form(loss: object) -> None:
    zero = dict.fromkeys(("entropy", "uniform_marginal", "head_decay", "pretrain"), 0.0)
    bare = TripleGAN(0.3, 0.2, NOW, labelled_fraction=1.0, classifier_weight=0.3, **zero)
    losses = []
    for objective in (bare, Conditional(0.3, 0.2, NOW, "argmax")):
        module = built(joint_stage(objective, loss=loss), settings=DOUBLE)
        step = _step(module)
        losses.append([update.loss(step) for update in module.updates])
    for one, other in zip(*losses, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("setting", ["classifier_weight", "entropy", "uniform_marginal", "head_decay", "pair_weight"])
def test_every_term_of_c_has_a_gradient_of_its_own(setting: str) -> None:
    """A regularizer that is always zero would leave C's gradient as it is."""
    gradients = []
    for objective in (FULL, replace(FULL, **{setting: 0.0})):
        module = built(joint_stage(objective), settings=DOUBLE)
        module.step_context.switch_to("classifier")
        module.updates[-1].loss(_step(module)).backward()
        for player in ("generator", "discriminator"):
            assert all(weight.grad is None for weight in module.networks[player].parameters())
        gradients.append(torch.cat([w.grad.flatten() for w in module.networks["classifier"].parameters()]))  # type: ignore[union-attr]
    assert float((gradients[0] - gradients[1]).norm()) > 1e-6


def test_only_c_is_updated_at_first_and_r_p_is_active_last() -> None:
    """In two steps of six G and D are neither updated nor charged; then all three are; in the last two with R_P."""
    stage = joint_stage(replace(FULL, pretrain=0.3, ramp=Ramp(0.6, 0.0)))
    first = copied(built(stage).state_dict())
    moved: list[set[str]] = []
    images: list[dict[str, int]] = []
    flops = [0]

    def look(module: PlayersModule, metrics: dict[str, float]) -> None:
        now = copied(module.state_dict())
        moved.append({name.split(".")[1] for name in first if not torch.equal(first[name], now[name])})
        images.append(dict(module.images))
        flops.append(module.flops)
        assert ("train/adversarial_loss" in metrics) == (module.completed_steps > 2)
        assert ("train/generated_loss" in metrics) == (module.completed_steps > 4)

    fitted(stage, callbacks=[Recorder(look)])
    assert moved == [{"classifier"}] * 2 + [{"classifier", "generator", "discriminator"}] * 4
    assert images[1] == {"discriminator": 0, "generator": 0, "classifier": 2 * 48}
    assert images[5] == {"discriminator": 4 * 48, "generator": 4 * 16, "classifier": 6 * 48}
    alone, other, base, again, full, last = (after - before for before, after in itertools.pairwise(flops))
    assert (alone, base, full) == (other, again, last)
    assert 0 < alone < base < full


def test_pretraining_uses_labels_and_the_predictions_of_c() -> None:
    stage = joint_stage(
        replace(FULL, pretrain=0.5), discriminator_augmentation=NoAugmentation(), augmentation=NoAugmentation()
    )
    module = built(stage, settings=DOUBLE)
    step, classifier = _step(module), module.networks["classifier"]
    labelled, p = step.batch("labelled"), classifier(step.batch("unlabelled").images).softmax(1)
    expected = (
        F.cross_entropy(classifier(labelled.images), labelled.known_labels)
        - 0.25 * (p * p.log()).sum(1).mean()
        - 0.9 * (p.mean(0).log() / 10).sum()
        + 0.05 * classifier.head.weight.pow(2).sum()  # type: ignore[union-attr, operator]
    )
    torch.testing.assert_close(module.updates[-1].loss(step), expected)


def test_the_average_of_a_player_counts_from_its_first_update() -> None:
    """G's average after its first update has the decay of a first update, at any step."""
    ema = EMA(10_000, 0.5)
    stage = joint_stage(replace(FULL, pretrain=0.5), 2, ema=ema)
    weights: dict[int, tuple[Tensor, Tensor]] = {}

    def look(module: PlayersModule, metrics: dict[str, float]) -> None:
        pair = module.networks["generator"], module.averages["generator"]
        weights[module.completed_steps] = tuple(torch.cat([w.detach().flatten() for w in n.parameters()]) for n in pair)  # type: ignore[assignment]

    fitted(stage, DOUBLE, callbacks=[Recorder(look)])
    assert torch.equal(*weights[1])
    expected = torch.lerp(weights[1][1], weights[2][0], 1 - ema.decay(16, 16))
    torch.testing.assert_close(weights[2][1], expected)


def test_ema_of_the_stage_is_the_average_of_c_and_can_be_left_out() -> None:
    bare, _ = fitted(joint_stage(FULL, 2, ema=None))
    assert list(bare.averages) == []
    assert bare.evaluation_network("classifier") is bare.networks["classifier"]
    averaged, _ = fitted(joint_stage(FULL, 2, ema=EMA(16, 1.0)))
    assert list(averaged.averages) == ["generator", "classifier"]
    assert same(copied(averaged.networks.state_dict()), copied(bare.networks.state_dict()))
    weights = [copied(dict(module.evaluation_network("classifier").named_parameters())) for module in (bare, averaged)]
    assert not same(*weights)


@pytest.mark.parametrize("loss", [least_squares(), wasserstein(), wasserstein(gradient_penalty=0.0)])
def test_it_refuses_losses_without_logits(loss: object) -> None:
    with pytest.raises(ConfigError, match=r"^loss: .*objective=triple_gan.*loss=minimax, non_saturating or hinge$"):
        joint_stage(TripleGAN(), loss=loss)


def test_it_refuses_a_generator_without_labels() -> None:
    with pytest.raises(ConfigError, match=r"objective=triple_gan needs .* set architecture=cgan or projection$"):
        joint_stage(TripleGAN(), architecture=DCGAN8)
