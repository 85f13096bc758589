"""Triple-GAN's base form against its closed form, and the losses that objectives refuse."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trigan.datasets.augmentation import NoAugmentation
from trigan.datasets.stream import to_float
from trigan.errors import ConfigError
from trigan.losses.gan_losses import AdversarialLoss, hinge, least_squares, minimax, non_saturating, wasserstein
from trigan.losses.semi_supervised_losses import feature_matching
from trigan.networks.classifiers.classifier import ClassifierFactory
from trigan.networks.classifiers.cnn import AllCNN, SmallCNN
from trigan.networks.classifiers.mlp import MLP
from trigan.training.fit import TrainerSettings
from trigan.training.objectives import Conditional, FeatureMatching
from trigan.training.objectives.objective import Ramp
from trigan.training.objectives.triple_gan import AdversarialLabels
from trigan.training.step import TrainingStep

from .tiny import CGAN8, NOW, SPEC, built, joint_stage, view


@pytest.mark.parametrize(("alpha", "labels_used"), [(0.5, "all"), (0.3, "all"), (0.3, "argmax")])
def test_the_conditional_objective_equals_its_paper(alpha: float, labels_used: AdversarialLabels) -> None:
    """Li et al. 2017, algorithm 1: alpha of C's pairs against 1 - alpha of G's."""
    stage = joint_stage(
        Conditional(alpha=alpha, pair_weight=0.2, ramp=NOW, adversarial_labels=labels_used),
        discriminator_augmentation=NoAugmentation(),
    )
    module = built(stage, settings=TrainerSettings(precision="64-true"))
    module.networks.train()
    step = TrainingStep(module.step_context, 0, 0, True)
    discriminator, classifier = module.networks["discriminator"], module.networks["classifier"]
    labelled, unlabelled, fakes = step.batch("labelled"), step.batch("unlabelled"), step.fakes()

    def softplus(sign: int, images: Tensor, labels: Tensor) -> Tensor:
        return F.softplus(sign * discriminator(images, labels)).mean()

    logits = classifier(unlabelled.images)
    p, predicted, given = logits.softmax(1), logits.argmax(1), fakes.known_labels
    every = [F.softplus(-discriminator(unlabelled.images, torch.full_like(predicted, label))) for label in range(10)]
    of_all, of_one = torch.stack(every, 1), F.softplus(-discriminator(unlabelled.images, predicted))
    adversarial = (p * of_all).sum(1) if labels_used == "all" else p.amax(1) * of_one
    expected = {
        "discriminator": softplus(-1, labelled.images, labelled.known_labels)
        + alpha * softplus(1, unlabelled.images, predicted)
        + (1 - alpha) * softplus(1, fakes.images, given),
        "generator": (1 - alpha) * softplus(-1, fakes.images, given),
        "classifier": alpha * adversarial.mean() + 0.2 * F.cross_entropy(classifier(fakes.images), given),
    }
    for update in module.updates:
        loss = update.loss(step)
        if update.player == "classifier":  # without its part on labelled images, which every classifier has
            augmented = stage.recipe.augmentation(labelled.images, labelled.draws, "augment")
            loss = loss - F.cross_entropy(classifier(augmented), labelled.known_labels)
        torch.testing.assert_close(loss, expected[update.player])


def test_a_ramp_rises_over_its_length() -> None:
    assert [Ramp(0.3, 0.2)(progress) for progress in (0.0, 0.29, 0.3, 0.4, 0.5, 0.9)] == pytest.approx(
        [0, 0, 0, 0.5, 1, 1]
    )
    assert [Ramp(0.3, 0.0)(progress) for progress in (0.29, 0.3)] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("classifier", "sees"),
    [(SmallCNN(8), False), (MLP((64, 32), 0.0, 0.0), True), (AllCNN(8, 0.0, 0.0), True)],
    ids=["cnn", "mlp", "all_cnn"],
)
def test_batch_norm_hides_contrast_from_feature_matching(classifier: ClassifierFactory, sees: bool) -> None:
    """As in docs/joint.md: for a C with batch norm, paler images are no further away than other real ones."""
    torch.manual_seed(0)
    network, images = classifier(SPEC).train(), to_float(view(labels=4).training_images)
    first, second = images[:64], images[64:128]
    expected, other, paler = (network.embed(x).mean(0).detach() for x in (first, second, 0.3 * first))
    ratio = float(feature_matching(expected, paler) / feature_matching(expected, other))
    assert ratio > 5.0 if sees else ratio < 1.0


@pytest.mark.parametrize("loss", [minimax(), non_saturating(), hinge()])
def test_the_conditional_objective_accepts_losses_on_logits(loss: AdversarialLoss) -> None:
    Conditional().check(CGAN8, loss)


@pytest.mark.parametrize("loss", [least_squares(), wasserstein(), wasserstein(gradient_penalty=0.0)])
def test_the_conditional_objective_refuses_losses_without_logits(loss: AdversarialLoss) -> None:
    with pytest.raises(ConfigError, match=r"^loss: .*objective=conditional.*loss=minimax, non_saturating or hinge$"):
        joint_stage(Conditional(), loss=loss)


def test_the_conditional_objective_has_no_gradient_penalty() -> None:
    with pytest.raises(ConfigError, match=r"^loss: strategy.objective=conditional has no gradient penalty"):
        joint_stage(Conditional(), loss=hinge(gradient_penalty=1.0))


def test_feature_matching_refuses_steps_of_d_that_it_would_ignore() -> None:
    with pytest.raises(ConfigError, match=r"^loss\.discriminator_steps: 5 must be 1 with .*feature_matching"):
        joint_stage(FeatureMatching(), loss=non_saturating(discriminator_steps=5))


def test_logged_bfloat16_losses_are_summed_in_single_precision() -> None:
    notes = built(joint_stage(FeatureMatching())).step_context.scalars
    for _ in range(400):
        notes.add("half", torch.ones((), dtype=torch.bfloat16))
        notes.add("double", torch.full((), 1 + 2**-40, dtype=torch.float64))
    assert notes._sums["double"].dtype == torch.float64
    assert notes.flush()["half"] == 1.0
