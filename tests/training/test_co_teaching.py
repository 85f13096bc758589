"""Co-teaching against a plain loop of its algorithm 1, its schedule, and the classifier that it starts from."""

import pytest
import torch
import torch.nn.functional as F

from trigan.datasets.augmentation import NoAugmentation
from trigan.datasets.inputs import Input
from trigan.datasets.mixing import MixUp
from trigan.datasets.stream import BatchStream
from trigan.errors import ConfigError
from trigan.rng import hash64
from trigan.training.adversary import PGDTraining
from trigan.training.balance import Balance, ClassWeights
from trigan.training.fit import TrainerSettings
from trigan.training.optimizers import SGD, Constant
from trigan.training.selection import Selection
from trigan.training.stages.co_teaching_stage import CoTeachingStage, ForgetRate, chosen_images

from .tiny import built, classifier_stage, co_teaching_stage, copied, fitted, inputs_for, recipe, same, view

DOUBLE = TrainerSettings(precision="64-true")


def test_a_fit_equals_algorithm_1() -> None:
    """Each network is moved on the images with the smallest losses in the other, both from before the step."""
    stage = CoTeachingStage(
        recipe(
            5,
            augmentation=NoAugmentation(),
            optimizer=SGD(0.1, momentum=0.0, weight_decay=0.0, schedule=Constant()),
            ema=None,
        ),
        forget_rate=ForgetRate(0.5, gradual=0.4),
    )
    labelled = inputs_for(stage)["labelled"]
    networks = built(stage, settings=DOUBLE).networks
    networks.requires_grad_(True).train()
    first, second = networks["classifier"], networks["second"]
    stream = BatchStream(labelled.images, labelled.labels, 16, hash64(0, "labelled"))
    for step, kept in enumerate((16, 12, 8, 8, 8)):
        images, labels = stream.at(step)
        assert labels is not None
        losses = [F.cross_entropy(network(images.double()), labels, reduction="none") for network in (first, second)]
        small = [one.argsort()[:kept] for one in losses]
        networks.zero_grad()
        (losses[0][small[1]].mean() + losses[1][small[0]].mean()).backward()
        with torch.no_grad():
            for weight in networks.parameters():
                weight -= 0.1 * weight.grad  # type: ignore[operator]
    module, _ = fitted(stage, DOUBLE)
    for name, weight in networks.named_parameters():
        torch.testing.assert_close(dict(module.networks.named_parameters())[name], weight)
    assert module.images == {"classifier": 80, "second": 80}


def test_with_nothing_to_forget_the_first_is_the_plain_classifier() -> None:
    """The same initial weights, batches, augmentation and average; and a fit costs twice as much."""
    stage, plain = (kind(recipe()) for kind in (CoTeachingStage, type(classifier_stage())))
    together, _ = fitted(CoTeachingStage(stage.recipe, forget_rate=ForgetRate(0.0)), DOUBLE)
    alone, _ = fitted(plain, DOUBLE)
    for name, weight in alone.averages["classifier"].state_dict().items():
        torch.testing.assert_close(together.averages["classifier"].state_dict()[name], weight)
    assert together.flops == pytest.approx(2 * alone.flops, rel=1e-4)
    kept = stage.finish(together, inputs_for(stage))
    assert set(kept) == {"classifier"}


def test_the_schedule_is_that_of_the_paper() -> None:
    rate = ForgetRate(0.45, gradual=0.1)
    assert [rate.kept(t, 100) for t in (0.0, 0.05, 0.1, 0.9)] == [100, 77, 55, 55]
    assert ForgetRate(0.99).kept(1.0, 4) == 1
    assert chosen_images(torch.tensor([3.0, 1.0, 2.0, 1.0]), 2).tolist() == [False, True, False, True]
    for bad in (1.0, -0.1):
        with pytest.raises(ConfigError, match="rate: "):
            ForgetRate(bad)
    for changes in ({"mix": MixUp(0.5)}, {"adversary": PGDTraining()}):
        with pytest.raises(ConfigError, match=r"mix=none, .* recipe\.adversary=null"):
            co_teaching_stage(**changes)


def test_class_weights_begin_when_they_are_to() -> None:
    whole = inputs_for(co_teaching_stage())["labelled"]
    kept = torch.arange(len(whole)) % (1 + whole.known_labels) == 0  # classes of unequal sizes
    inputs = {"labelled": Input(whole.images[kept], whole.known_labels[kept])}
    never, late, early = (
        fitted(co_teaching_stage(balance=balance), DOUBLE, inputs)[0].networks["classifier"]
        for balance in (Balance(), ClassWeights(0.99), ClassWeights())
    )
    assert same(copied(never.state_dict()), copied(late.state_dict()))
    assert not same(copied(never.state_dict()), copied(early.state_dict()))


def test_a_checkpoint_is_chosen_on_validation_labels() -> None:
    stage = co_teaching_stage(selection=Selection("val", 3))
    inputs = inputs_for(stage, view(validation=True))
    module, _ = fitted(stage, None, inputs)
    assert module.selector is not None
    assert int(module.selector.step) in (2, 4, 6)
    assert not same(copied(module.networks["classifier"].state_dict()), copied(module.networks["second"].state_dict()))
