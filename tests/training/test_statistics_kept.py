"""Running statistics come from real batches alone, and kept networks have those of real images."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from trigan.datasets.augmentation import NoAugmentation
from trigan.datasets.inputs import Input
from trigan.datasets.stream import to_float
from trigan.networks.batchnorm import BatchNorm2d
from trigan.training.fit import TrainerSettings, fit
from trigan.training.players import PlayersModule
from trigan.training.selection import Selection
from trigan.training.stage import Stage
from trigan.training.step import TrainingStep
from trigan.training.terms.loss_terms import ExtraImages, FixMatch

from .tiny import OBJECTIVES, TURNED, built, classifier_stage, copied, fitted, inputs_for, view, with_recipe


class _StatisticsLog:
    """The batches that pass through a network, and whether each changes its running statistics."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.seen: list[tuple[Tensor, bool]] = []

    @contextmanager
    def open(self) -> Iterator[None]:
        layers = [layer for layer in self.network.modules() if isinstance(layer, BatchNorm2d)]
        first = next(layer for layer in self.network.modules() if isinstance(layer, nn.Conv2d))
        hooks = [first.register_forward_pre_hook(lambda _, inputs: self.seen.append((inputs[0].detach(), False)))]
        for layer in layers:
            before: list[Tensor] = []
            hooks.append(layer.register_forward_pre_hook(lambda m, _, b=before: b.append(m.running_mean.clone())))
            hooks.append(layer.register_forward_hook(lambda m, *_, b=before: self._after(m, b.pop())))
        yield
        for hook in hooks:
            hook.remove()

    def _after(self, layer: nn.Module, before: Tensor) -> None:
        images, moved = self.seen[-1]
        self.seen[-1] = (images, moved or not torch.equal(before, layer.running_mean))


def _plain(stage: Stage) -> Stage:
    """The stage without augmentation, so that batches can be recognized by their pixels."""
    stage = with_recipe(stage, augmentation=NoAugmentation()) if hasattr(stage, "recipe") else stage
    name = "discriminator_augmentation"
    return replace(stage, **{name: NoAugmentation()}) if hasattr(stage, name) else stage  # type: ignore[type-var]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_generated_batches_change_no_statistics(name: str) -> None:
    stage = _plain(OBJECTIVES[name]())
    module = built(stage)
    fakes: list[Tensor] = []
    module.networks["generator"].register_forward_hook(lambda *given: fakes.append(given[2].detach()))
    logs = {player: _StatisticsLog(module.networks[player]) for player in module.players if player != "generator"}
    with ExitStack() as stack:
        for log in logs.values():
            stack.enter_context(log.open())
        fit(module, TrainerSettings())
    assert fakes
    for player, log in logs.items():
        generated = [any(torch.equal(images, fake) for fake in fakes) for images, _ in log.seen]
        moved = [moved for _, moved in log.seen]
        assert not any(m for m, g in zip(moved, generated, strict=True) if g), player
        if player != "encoder":  # which sees generated images alone
            assert any(m for m, g in zip(moved, generated, strict=True) if not g), player
        assert any(generated), f"{player} met no generated batch, so nothing was shown"


@pytest.mark.parametrize("term", ["extra", "weak view"])
def test_further_images_change_no_statistics_of_the_classifier(term: str) -> None:
    """Weight 0: the same gradients, so the same statistics as without the term, to the last bit."""
    inputs = dict(inputs_for(classifier_stage()))
    noise = torch.randint(0, 256, (64, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    bare, _ = fitted(classifier_stage(), inputs=inputs)
    if term == "extra":
        inputs["extra"] = Input(noise, torch.arange(64) % 10)
        with_term, _ = fitted(classifier_stage(terms=(ExtraImages(TURNED, weight=0.0),)), inputs=inputs)
        assert _equal_statistics(bare, with_term)
        return
    fixmatch = FixMatch(NoAugmentation(), TURNED)
    module = built(classifier_stage(terms=(fixmatch,)), {**inputs, "unlabelled": Input(noise)})
    network, log = module.networks["classifier"], _StatisticsLog(module.networks["classifier"])
    step = TrainingStep(module.step_context, 0, 0, False)
    with log.open():
        fixmatch(step, network)
    weak = [moved for images, moved in log.seen if torch.equal(images, step.batch("unlabelled").images)]
    assert weak == [False]
    assert [moved for _, moved in log.seen] == [False, True]


def _equal_statistics(one: PlayersModule, other: PlayersModule) -> bool:
    first, second = (copied(dict(m.networks["classifier"].named_buffers())) for m in (one, other))
    return bool(first) and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", ["dcgan", "feature_matching", "pseudo_label", "conditional"])
def test_kept_networks_have_the_statistics_of_real_training_images(name: str) -> None:
    """The first layer's running mean is that of its inputs over the training images, in whatever batches they come."""
    stage = OBJECTIVES[name]()
    inputs = inputs_for(stage)
    module, _ = fitted(stage, inputs=inputs)
    kept = stage.finish(module, inputs)
    player = "discriminator" if name == "dcgan" else "classifier"
    real = to_float(inputs["real"].images if name == "dcgan" else inputs["unlabelled"].images)
    layer = next(m for m in kept[player].modules() if isinstance(m, BatchNorm2d))
    met: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: met.append(given[0]))
    with torch.no_grad():
        kept[player](real)
    hook.remove()
    assert not any(network.training for network in kept.values())
    torch.testing.assert_close(layer.running_mean, met[0].mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer.running_var, met[0].var((0, 2, 3)), rtol=1e-5, atol=1e-6)


def test_validation_images_change_no_statistics() -> None:
    seen = view(validation=True)
    stage = classifier_stage()
    inputs = dict(inputs_for(stage, seen))
    other = {**inputs, "validation": Input(255 - inputs["validation"].images, inputs["validation"].labels)}
    results = []
    for given in (inputs, other):
        last = with_recipe(stage, selection=Selection("val", 1))
        module, _ = fitted(last, inputs=given)
        results.append(copied(last.finish(module, given)["classifier"].state_dict()))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
