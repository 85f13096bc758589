"""Trains the generators of a run: one, several of different seeds, or one per class."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from trigan.datasets.inputs import Input
from trigan.datasets.types import TrainingView
from trigan.errors import ConfigError
from trigan.networks.gans.gan_ensembles import DiscriminatorEnsemble, GeneratorMixture, PerClassGenerators
from trigan.rng import hash64
from trigan.strategies.stage_runner import StageRunner
from trigan.training.stages.diffusion_stage import DiffusionStage
from trigan.training.stages.gan_stage import GANStage

#: What trains a generator.
GeneratorStage = GANStage | DiffusionStage


def needs_labels(stage: GeneratorStage) -> bool:
    """Whether each training image must have a label; a diffusion model's need not, even if it is conditional."""
    return bool(getattr(stage.architecture, "needs_labels", stage.architecture.conditional))


def partly_labelled(view: TrainingView) -> Input:
    """L with its labels, and U without (-1)."""
    labelled, none = view.labelled, torch.full((view.sizes.unlabelled,), -1)
    return Input(torch.cat([labelled.images, view.unlabelled]), torch.cat([labelled.labels, none]))


def affordable_samples(stage: GeneratorStage, passes: int) -> int | None:
    """How many samples cost as many operations as the training; None where drawing costs next to nothing.

    A training image counts as three passes, forward and backward.
    """
    return 3 * stage.steps * stage.batch // passes if passes > 1 else None


def gan_flops(gan: GeneratorStage, real: Input, runner: StageRunner) -> int:
    """The operations of the whole GAN stage, extrapolated from one round of updates, whose result is discarded."""
    every = gan.cycle
    rounds, rest = divmod(gan.steps, every)
    flops = {steps: runner.measure_flops(gan, {"real": real}, steps)[0] for steps in (every, rest) if steps}
    return rounds * flops[every] + flops.get(rest, 0)


def with_affordable_steps(stage: GeneratorStage, view: TrainingView, runner: StageRunner) -> GeneratorStage:
    """The stage with as many whole cycles of updates as ``flops`` pay for; as it is without ``flops``.

    A cycle is measured on labelled images, since operations depend on shapes alone, and discarded.
    """
    if stage.flops is None:
        return stage
    plain = replace(stage, flops=None)
    labels = view.labelled.labels if stage.architecture.conditional else None
    cost = gan_flops(replace(plain, steps=stage.cycle), Input(view.labelled.images, labels), runner)
    if stage.flops < cost:
        raise ConfigError(
            f"strategy.gan.flops={stage.flops:g}: the {stage.cycle} steps after which its updates repeat cost "
            f"{cost:.3g}; expected at least as many"
        )
    return replace(plain, steps=int(stage.flops // cost) * stage.cycle)


def train_gans(
    stage: GeneratorStage, real: Input, classes: int | None, members: int, runner: StageRunner
) -> dict[str, nn.Module]:
    """Train all GANs; their joint ``generator`` and, except with one GAN per class, ``discriminator``.

    Each of the ``members`` is one GAN on ``real``, or with ``classes`` given one GAN for the images of each class.
    """
    trained = [_train_member(stage, real, classes, number, runner) for number in range(members)]
    if len(trained) == 1:
        return trained[0]
    networks: dict[str, nn.Module] = {"generator": GeneratorMixture([m["generator"] for m in trained]).eval()}
    if "discriminator" in trained[0]:
        networks["discriminator"] = DiscriminatorEnsemble([m["discriminator"] for m in trained]).eval()
    return networks


def _train_member(
    stage: GeneratorStage, real: Input, classes: int | None, number: int, runner: StageRunner
) -> dict[str, Any]:
    """Train one GAN (or one per class); number 0 has the runner's seed."""
    seed = hash64(runner.seed, "gan", number) if number else runner.seed
    suffix = f"-seed{number}" if number else ""
    if classes is None:
        return dict(runner.train(f"{stage.kind}{suffix}", stage, {"real": real}, seed).networks)
    generators = []
    for label in range(classes):
        data = {"real": Input(real.images[real.known_labels == label])}
        trained = runner.train(f"{stage.kind}-{label}{suffix}", stage, data, hash64(seed, "class", label))
        generators.append(trained.networks["generator"])
    return {"generator": PerClassGenerators(generators).eval()}
