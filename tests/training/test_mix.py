"""Mixing in C's fit: partners from the single global batch, both labels, and no effect where no row is mixed."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from trigan.datasets.augmentation import NoAugmentation
from trigan.datasets.inputs import Input
from trigan.datasets.mixing import CutMix, Mix, MixUp, Remix
from trigan.training.balance import ClassWeights
from trigan.training.fit import TrainerSettings
from trigan.training.objectives import Conditional, FeatureMatching, GeneratedPseudoLabels
from trigan.training.step import TrainingStep

from .tiny import (
    DESCENT,
    NOW,
    TURNED,
    PlainClassifier,
    built,
    classifier_stage,
    copied,
    fitted,
    inputs_of,
    joint_stage,
    same,
    view,
)

MIXES: dict[str, Mix] = {"mixup": MixUp(0.5), "cutmix": CutMix(1.0, 0.8), "remix": Remix(0.5)}


@pytest.mark.parametrize("name", MIXES)
def test_the_loss_by_hand(name: str) -> None:
    """One image after the other: the row, its partner, their shares and their classes' weights."""
    stage = classifier_stage(classifier=PlainClassifier(), mix=MIXES[name], balance=ClassWeights())
    module = built(stage)
    step = TrainingStep(module.step_context, 2, 0, False)
    loss = module.updates[0].loss(step)
    stream, network = module.streams["labelled"], module.networks["classifier"]
    images, labels = stream.at(2)
    assert labels is not None
    draws = step.draws("labelled", 16)
    order = draws.permutation("partners")
    assert order.sort().values.tolist() == list(range(16))
    own, others = TURNED(images, draws, "augment"), TURNED(images[order], draws, "partner")
    mixed, share = MIXES[name](own, others, draws)
    logs = -network(mixed).log_softmax(1)
    expected = [
        share[row] * logs[row, labels[row]] + (1 - share[row]) * logs[row, labels[order[row]]] for row in range(16)
    ]
    torch.testing.assert_close(loss, torch.stack(expected).mean())  # 4 of each class: all weights are 1
    plain = F.cross_entropy(network(own), labels)
    assert float((loss - plain).detach().abs()) > 1e-3


@pytest.mark.parametrize("name", MIXES)
def test_no_row_mixed_is_no_mixing(name: str) -> None:
    silent = replace(MIXES[name], probability=0.0)  # type: ignore[type-var]
    plain, _ = fitted(classifier_stage(2))
    mixed, _ = fitted(classifier_stage(2, mix=silent))
    other, _ = fitted(classifier_stage(2, mix=MIXES[name]))
    state = copied(plain.state_dict())
    assert same(state, copied(mixed.state_dict()))
    assert not same(state, copied(other.state_dict()))
    assert plain.images == mixed.images == other.images
    assert plain.flops < mixed.flops < 1.001 * plain.flops, "the partners' augmentation is all that is charged"


def test_micro_batches_mix_with_partners_in_others() -> None:
    """The gradient of a batch in four parts is that of the batch in one."""
    stage = classifier_stage(2, classifier=PlainClassifier(), mix=MIXES["mixup"], optimizer=DESCENT, ema=None)
    single, parts = (fitted(stage, TrainerSettings("64-true", accumulate=count))[0] for count in (1, 4))
    for one, other in zip(single.networks.parameters(), parts.networks.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "objective", [FeatureMatching(), GeneratedPseudoLabels(ramp=NOW), Conditional(ramp=NOW)], ids=type
)
def test_every_objective_mixes_labelled_images(
    objective: FeatureMatching | GeneratedPseudoLabels | Conditional,
) -> None:
    losses = []
    for mix in (None, MIXES["mixup"]):
        module = built(joint_stage(objective, augmentation=NoAugmentation(), mix=mix))
        update = next(one for one in module.updates if one.player == "classifier")
        torch.manual_seed(0)
        losses.append(update.loss(TrainingStep(module.step_context, 0, 0, False)).detach())
    assert not torch.equal(*losses)


def test_remix_weighs_labels_by_the_sizes_of_their_classes() -> None:
    """The loss of an imbalanced stage by hand: classes of 40 and 4 images."""
    data = inputs_of(view())["labelled"]
    zeros, ones = (data.images[data.known_labels == k] for k in (0, 1))
    images, labels = torch.cat([zeros.repeat(10, 1, 1, 1), ones]), torch.tensor([0] * 40 + [1] * 4)
    stage = classifier_stage(classifier=PlainClassifier(), augmentation=NoAugmentation(), mix=Remix(), batch=44)
    module = built(stage, {"labelled": Input(images, labels)})
    step = TrainingStep(module.step_context, 0, 0, False)
    loss = module.updates[0].loss(step)
    own, other = step.batch("labelled"), step.permuted_batch("labelled")
    mixed, share = Remix()(own.images, other.images, other.draws)
    logs, terms = -module.networks["classifier"](mixed).log_softmax(1), []
    for row, (a, b) in enumerate(zip(own.known_labels.tolist(), other.known_labels.tolist(), strict=True)):
        lam = float(share[row])
        if (a, b) == (0, 1) and lam < 0.5:
            lam = 0.0
        if (a, b) == (1, 0) and lam > 0.5:
            lam = 1.0
        terms.append(lam * logs[row, a] + (1 - lam) * logs[row, b])
    torch.testing.assert_close(loss, torch.stack(terms).mean())
