"""Tiny stages on real digits: for the tests of training, samples and strategies."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from trigan.datasets.augmentation import Augmentation, ClassicAugmentation, NoAugmentation
from trigan.datasets.discriminator_augmentation import AdaptiveAugment
from trigan.datasets.inputs import Input, Inputs
from trigan.datasets.sources.digits import Digits
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.label_noise import SymmetricNoise
from trigan.datasets.splits.regime import Regime
from trigan.datasets.types import DataSpec, ImageDataset, TrainingView
from trigan.losses.gan_losses import AdversarialLoss, non_saturating, relativistic_average
from trigan.losses.label_transitions import KnownTransition
from trigan.networks.classifiers.classifier import Classifier
from trigan.networks.classifiers.cnn import SmallCNN
from trigan.networks.diffusion.edm import EDM, Heun
from trigan.networks.gans.dcgan import CGAN, DCGAN
from trigan.networks.gans.gan import Architecture, Generator
from trigan.networks.gans.pacgan import PacGAN
from trigan.networks.shapes import ImageSpec
from trigan.training.collapse_watch import CollapseWatch
from trigan.training.fit import FitCallback, FitResult, TrainerSettings, fit
from trigan.training.objectives import (
    ACGAN,
    BadGAN,
    Conditional,
    FeatureMatching,
    GeneratedPseudoLabels,
    TripleGAN,
    VariationalBadGAN,
)
from trigan.training.objectives.objective import ObjectiveFactory, Ramp
from trigan.training.optimizers import EMA, SGD, Adam, OptimizerFactory
from trigan.training.players import PlayersModule
from trigan.training.recipe import Recipe
from trigan.training.stage import Stage, StageContext
from trigan.training.stages.classifier_stage import ClassifierStage
from trigan.training.stages.co_teaching_stage import CoTeachingStage, ForgetRate
from trigan.training.stages.diffusion_stage import DiffusionStage
from trigan.training.stages.gan_regularizers import (
    R1,
    R2,
    Consistency,
    FeatureMatchingTerm,
    GradientPenalty,
    InstanceNoise,
    LeCam,
)
from trigan.training.stages.gan_stage import GANStage
from trigan.training.stages.joint_stage import JointStage
from trigan.training.stages.pretext_stages import AutoencoderStage, SimCLRStage
from trigan.training.terms.loss_terms import LossTerm

torch.set_num_threads(1)

SPEC = DataSpec(1, 8, 10)
DCGAN8, CGAN8 = DCGAN(width=8, latent=8), CGAN(width=8, latent=8, label_embedding_dim=8, joint_units=16)
EDM8 = EDM(width=8, max_multiplier=2, sampler=Heun(steps=4))
CNN8 = SmallCNN(width=8)
#: Delayed terms are active from the first step.
NOW = Ramp(0.0, 0.0)
#: Objectives in which G takes labels.
CONDITIONAL = (Conditional, TripleGAN, ACGAN)
TURNED = ClassicAugmentation(rotate=10, noise=0.1)


@cache
def digits() -> ImageDataset:
    return Digits().load()


@cache
def view(validation: bool = False, labels: int = 4) -> TrainingView:
    """A few labels per class and 200 unlabelled images; with ``validation`` as many labels again for selection."""
    regime = Regime(labels_per_class=labels, unlabelled=200, validation="large" if validation else "none")
    return draw_split(digits(), regime, 0).view


def with_parts(seen: TrainingView, **parts: Any) -> TrainingView:
    """A new view with other parts, by name."""
    names = ("labelled", "validation", "unlabelled", "order", "external")
    return TrainingView(seen.spec, *(parts[name] if name in parts else getattr(seen, name) for name in names))


def inputs_of(seen: TrainingView) -> dict[str, Input]:
    """All inputs that any stage needs, by name."""
    inputs = {"labelled": Input(seen.labelled.images, seen.labelled.labels), "unlabelled": Input(seen.training_images)}
    if seen.validation is not None:
        inputs["validation"] = Input(seen.validation.images, seen.validation.labels)
    return inputs


def partly_labelled(seen: TrainingView) -> Input:
    """L with its labels, and U without."""
    labels = torch.cat([seen.labelled.labels, torch.full((len(seen.unlabelled),), -1)])
    return Input(torch.cat([seen.labelled.images, seen.unlabelled]), labels)


def adams(rate: float = 1e-3) -> dict[str, OptimizerFactory]:
    return {player: Adam(rate, (0.5, 0.999)) for player in ("generator", "discriminator", "classifier")}


def gan_stage(
    steps: int = 6,
    architecture: Architecture = DCGAN8,
    loss: AdversarialLoss | None = None,
    batch: int = 16,
    optimizer: dict[str, OptimizerFactory] | None = None,
    clip: float | None = None,
    augmentation: Augmentation | None = None,
    watch: CollapseWatch | None = None,
) -> GANStage:
    return GANStage(
        architecture,
        loss or non_saturating(),
        optimizer or adams(),
        steps,
        batch,
        EMA(64, 0.5),
        augmentation or NoAugmentation(),
        clip,
        watch=watch or CollapseWatch(),
    )


def diffusion_stage(steps: int = 6, **changes: Any) -> DiffusionStage:
    stage = DiffusionStage(EDM8, Adam(1e-3, (0.9, 0.999)), steps, 16, EMA(64, 0.5))
    return replace(stage, **changes)


def recipe(steps: int = 6, **changes: Any) -> Recipe:
    """C's recipe, with some of its fields changed."""
    return replace(Recipe(CNN8, TURNED, Adam(1e-2, (0.9, 0.999)), steps, batch=16, ema=EMA(64, 0.5)), **changes)


def classifier_stage(steps: int = 6, terms: tuple[LossTerm, ...] = (), **changes: Any) -> ClassifierStage:
    """A classifier stage; ``changes`` are fields of its recipe."""
    return ClassifierStage(recipe(steps, **changes), terms)


def co_teaching_stage(steps: int = 6, **changes: Any) -> CoTeachingStage:
    """Two classifiers that leave out up to half of each other's images; ``changes`` are fields of their recipe."""
    return CoTeachingStage(recipe(steps, **changes), forget_rate=ForgetRate(0.5, gradual=0.4))


def joint_stage(objective: ObjectiveFactory, steps: int = 6, **changes: Any) -> JointStage:
    """A joint stage; ``changes`` are its fields or its recipe's, ``optimizer`` of all players, ``ema`` of G and C."""
    optimizer = dict(changes.pop("optimizer", adams()))
    average = changes.setdefault("ema", EMA(64, 0.5))
    own = {one.name for one in fields(JointStage)}
    of_recipe = {name: value for name, value in changes.items() if name not in own}
    made = recipe(steps, optimizer=optimizer.pop("classifier"), **{**of_recipe, "ema": average})
    architecture = CGAN8 if isinstance(objective, CONDITIONAL) else DCGAN8
    crop = ClassicAugmentation(crop=1)
    stage = JointStage(made, architecture, non_saturating(), objective, optimizer, discriminator_augmentation=crop)
    return replace(stage, **{name: value for name, value in changes.items() if name in own})


def with_steps(stage: Stage, steps: int) -> Any:
    """The stage with another length."""
    return with_recipe(stage, steps=steps) if hasattr(stage, "recipe") else replace(stage, steps=steps)  # type: ignore[type-var]


def with_recipe(stage: Stage, **changes: Any) -> Any:
    """The stage with some fields of its recipe changed."""
    assert isinstance(stage, ClassifierStage | JointStage)
    return replace(stage, recipe=replace(stage.recipe, **changes))


def autoencoder_stage(steps: int = 6) -> AutoencoderStage:
    return AutoencoderStage(DCGAN8, Adam(1e-3, (0.9, 0.999)), steps, batch=16)


def simclr_stage(steps: int = 6) -> SimCLRStage:
    return SimCLRStage(DCGAN8, Adam(1e-3, (0.9, 0.999)), steps, 16, augmentation=TURNED, hidden=8, projection=4)


def regularised_gan(steps: int = 6) -> GANStage:
    """All regularisers that go together, with a loss of pairs and ADA, whose probability moves every other step."""
    terms = {
        "dragan": GradientPenalty(1.0, "dragan"),
        "r1": R1(1.0, every=2),
        "r2": R2(0.5),
        "lecam": LeCam(0.5, decay=0.5),
        "consistency": Consistency(1.0, fake_weight=0.5),
        "feature_matching": FeatureMatchingTerm(),
        "instance_noise": InstanceNoise(),
    }
    loss = replace(relativistic_average(), regularizers=terms)
    ada = AdaptiveAugment(target=0.0, interval=2, ramp_images=160, initial=0.5, rotate=20.0, flip=True, cutout=0.3)
    return gan_stage(steps, replace(DCGAN8, discriminator_norm="none"), loss, augmentation=ada)


def partly_labelled_gan(steps: int = 6) -> GANStage:
    """The same with labels, for images of which some have none."""
    return replace(regularised_gan(steps), architecture=replace(CGAN8, discriminator_norm="none"))


def rcgan(steps: int = 6) -> GANStage:
    """A conditional GAN whose generated labels pass through known noise."""
    return replace(gan_stage(steps, CGAN8), transition=KnownTransition(SymmetricNoise(0.4)))


def packed_gan(steps: int = 6) -> GANStage:
    """Packs of two images, in groups of two packs, with a penalty on D's gradient."""
    inner = replace(DCGAN8, discriminator_norm="none", minibatch_std=2)
    return gan_stage(steps, PacGAN(inner, 2), replace(non_saturating(), regularizers={"r1": R1(1.0)}))


#: Every objective, each with every term switched on, and the inputs of its stage.
OBJECTIVES: dict[str, Callable[[], Stage]] = {
    "dcgan": gan_stage,
    "cgan": lambda: gan_stage(architecture=CGAN8),
    "feature_matching": lambda: joint_stage(FeatureMatching()),
    "pseudo_label": lambda: joint_stage(GeneratedPseudoLabels(threshold=0.0, ramp=NOW)),
    "conditional": lambda: joint_stage(Conditional(ramp=NOW)),
    "triple_gan": lambda: joint_stage(TripleGAN(ramp=NOW, pretrain=0.0, labelled_fraction=0.2)),
    "bad_gan": lambda: joint_stage(BadGAN()),
    "variational_bad_gan": lambda: joint_stage(VariationalBadGAN()),
    "acgan": lambda: joint_stage(ACGAN(on_generated=True)),
}
#: Stages that train D without a GAN.
PRETEXTS: dict[str, Callable[[], Stage]] = {"autoencoder": autoencoder_stage, "simclr": simclr_stage}


#: Objectives that share their parts with others; tests with several fits use them in the long suite only.
FURTHER = ("triple_gan", "bad_gan", "acgan")


def named(cases: Iterable[str], slow: Sequence[str] = FURTHER) -> list[Any]:
    """The names as parameters of a test, some of them marked slow."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else pytest.param(name) for name in cases]


def inputs_for(stage: Stage, seen: TrainingView | None = None) -> Inputs:
    """The inputs that a stage takes, of the view."""
    seen = seen or view()
    if isinstance(stage, DiffusionStage):
        return {"real": partly_labelled(seen)}
    if isinstance(stage, GANStage | AutoencoderStage | SimCLRStage):
        labelled = seen.labelled
        if stage.architecture.conditional:
            return {"real": Input(labelled.images, labelled.labels)}
        return {"real": Input(seen.training_images)}
    inputs = inputs_of(seen)
    if isinstance(stage, ClassifierStage):
        del inputs["unlabelled"]
    return inputs


def built(
    stage: Stage, inputs: Inputs | None = None, settings: TrainerSettings | None = None, seed: int = 0
) -> PlayersModule:
    """The stage's module at its first step."""
    context = StageContext(SPEC, seed, settings or TrainerSettings())
    return stage.build(context, inputs if inputs is not None else inputs_for(stage))


def fitted(
    stage: Stage,
    settings: TrainerSettings | None = None,
    inputs: Inputs | None = None,
    checkpoints: Path | None = None,
    callbacks: Sequence[FitCallback] = (),
) -> tuple[PlayersModule, FitResult]:
    """The stage's module after its fit."""
    settings = settings or TrainerSettings()
    module = built(stage, inputs, settings)
    return module, fit(module, settings, checkpoints, callbacks)


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two state dicts are equal to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@dataclass
class Recorder:
    """A callback that records its calls, and calls ``then`` with (module, metrics)."""

    then: Callable[[PlayersModule, dict[str, float]], None] = lambda module, metrics: None
    began: list[int] = field(default_factory=list)
    rows: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    endings: int = 0

    def on_fit_start(self, module: PlayersModule) -> None:
        self.began.append(module.completed_steps)

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        self.rows.append((module.completed_steps, metrics))
        self.then(module, metrics)

    def on_fit_end(self) -> None:
        self.endings += 1


class _Linear(nn.Module):
    """The body of G in :class:`Plain`, without batch norm."""

    def __init__(self, shapes: ImageSpec, latent: int) -> None:
        super().__init__()
        self.shape = (shapes.channels, shapes.size, shapes.size)
        self.layers = nn.Sequential(nn.Linear(latent, 16), nn.Tanh(), nn.Linear(16, shapes.channels * shapes.size**2))

    def forward(self, hidden: Tensor) -> Tensor:
        return self.layers(hidden).tanh().view(-1, *self.shape)


class _First(nn.Module):
    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        return z


class _Critic(nn.Module):
    def __init__(self, shapes: ImageSpec) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(shapes.channels * shapes.size**2, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(x.flatten(1)).squeeze(1)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        return {"flat": x}


@dataclass(frozen=True)
class Plain:
    """An architecture without batch norm: rows are independent."""

    latent: int = 8
    discriminator_norm: str = "none"
    conditional: ClassVar[bool] = False

    def generator(self, spec: ImageSpec) -> Generator:
        return Generator(_First(), _Linear(spec, self.latent), self.latent, 0)  # type: ignore[arg-type]

    def discriminator(self, spec: ImageSpec) -> Any:
        return _Critic(spec)


@dataclass(frozen=True)
class PlainClassifier:
    """A classifier without batch norm."""

    def __call__(self, spec: ImageSpec) -> Classifier:
        body = nn.Sequential(nn.Flatten(), nn.Linear(spec.channels * spec.size**2, 16), nn.Tanh())
        return Classifier(body, nn.Linear(16, spec.classes))


#: Plain gradient descent: a step is the gradient itself.
DESCENT = SGD(1.0, momentum=0.0, weight_decay=0.0)
