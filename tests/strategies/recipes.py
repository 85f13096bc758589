"""Small versions of every strategy, for the tests of this folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from trigan.artifacts.store import Store
from trigan.datasets.augmentation import StrongAugmentation
from trigan.datasets.stream import to_float
from trigan.networks.foreign_layers import with_our_layers
from trigan.samples.filters import ConfidenceFilter, DensityFilter, DiscriminatorFilter
from trigan.strategies.augment import Augment
from trigan.strategies.backbones import FineTune
from trigan.strategies.baseline import Baseline, FixMatchTraining, SelfTraining, TermTraining
from trigan.strategies.features import Features
from trigan.strategies.joint import Joint
from trigan.strategies.pretraining import Pixels, SelfSupervisedPretraining, SupervisedPretraining, Untrained
from trigan.strategies.probes import LinearSVM, LogisticRegression, MLPProbe, NearestNeighbours
from trigan.strategies.rare_classes.head_refit import HeadRefit
from trigan.strategies.rare_classes.post_hoc import LogitAdjustment
from trigan.strategies.sample_schedules import PretrainSchedule, RefitSchedule
from trigan.strategies.sample_settings import SampleSettings
from trigan.strategies.stage_runner import StageRunner
from trigan.strategies.strategy import Outcome, Strategy
from trigan.training.fit import TrainerSettings
from trigan.training.objectives import ACGAN, Conditional, FeatureMatching, GeneratedPseudoLabels
from trigan.training.terms.thresholds import FreeMatch

from ..training.tiny import (
    CGAN8,
    EDM8,
    NOW,
    SPEC,
    TURNED,
    autoencoder_stage,
    classifier_stage,
    diffusion_stage,
    gan_stage,
    joint_stage,
    simclr_stage,
    view,
)

SVM = LinearSVM((1e-3, 1e-1), 2)
NEIGHBOURS = NearestNeighbours((1, 3), 2)
SAMPLES = SampleSettings(ratio=1.0, filters=(ConfidenceFilter(0.0),))
CGAN_STAGE = gan_stage(architecture=CGAN8)


def augment(**changes: object) -> Augment:
    recipe = Augment(gan_stage(), classifier_stage(), SAMPLES, label_threshold=0.0, teacher_folds=0)
    return replace(recipe, **changes)  # type: ignore[arg-type]


def features(**changes: object) -> Features:
    return replace(Features(gan_stage(), SVM), **changes)  # type: ignore[arg-type]


RECIPES: dict[str, Callable[[], Strategy]] = {
    "baseline": lambda: Baseline(classifier_stage()),
    "self-training": lambda: Baseline(classifier_stage(), SelfTraining(threshold=0.0)),
    "fixmatch": lambda: Baseline(classifier_stage(), FixMatchTraining(StrongAugmentation(TURNED), threshold=0.1)),
    "freematch": lambda: Baseline(
        classifier_stage(), TermTraining(FreeMatch(TURNED, StrongAugmentation(TURNED), stream="consistency"))
    ),
    "ensemble": lambda: Baseline(classifier_stage(), matched_flops=2 * 6 * 9.2e6, matched_by="ensemble"),
    "baseline, new head": lambda: Baseline(classifier_stage(), head=HeadRefit(0.5)),
    "ensemble, adjusted": lambda: Baseline(
        classifier_stage(), matched_flops=2 * 6 * 9.2e6, matched_by="ensemble", post_hoc=LogitAdjustment(0.5)
    ),
    "augment, labels by classifier": augment,
    "augment, labels by condition": lambda: augment(
        gan=CGAN_STAGE, samples=replace(SAMPLES, filters=(DiscriminatorFilter(0.5),))
    ),
    "augment, one GAN a class": lambda: augment(labels="per_class"),
    "augment, GAN of labelled images": lambda: augment(gan_images="labelled"),
    "augment, unlabelled": lambda: augment(source="unlabelled"),
    "augment, labelled": lambda: augment(source="labelled", post_hoc=LogitAdjustment()),
    "augment, noise": lambda: augment(source="noise"),
    "augment, two GANs and sets": lambda: augment(
        gan=CGAN_STAGE,
        generators=2,
        samples=replace(SAMPLES, filters=(DiscriminatorFilter(), DensityFilter()), sets=2, truncation=1.0),
    ),
    "augment, diffusion": lambda: augment(gan=diffusion_stage(), generators=2),
    "augment, diffusion without labels": lambda: augment(
        gan=diffusion_stage(architecture=replace(EDM8, conditional=False)), gan_images="labelled"
    ),
    "augment, all that experts do": lambda: augment(
        gan=CGAN_STAGE,
        gan_images="all",
        teacher=FixMatchTraining(StrongAugmentation(TURNED), threshold=0.1),
        unlabelled=SelfTraining(threshold=0.0),
        samples=SampleSettings(1.0, annealing="cosine", until=0.8, targets="soft", batch_norm="separate", sets="auto"),
    ),
    "augment, partly labelled": lambda: augment(gan=CGAN_STAGE, gan_images="partly_labelled"),
    "augment, SMOTE, head last": lambda: augment(source="smote", schedule=RefitSchedule(head=HeadRefit(0.5))),
    "augment, DeepSMOTE": lambda: augment(source="deep_smote"),
    "augment, samples first": lambda: augment(source="noise", schedule=PretrainSchedule()),
    "features": features,
    "features of a conditional D": lambda: features(gan=CGAN_STAGE, layers=("conv2",), grid=2),
    "features, partly labelled": lambda: features(gan=CGAN_STAGE, gan_images="partly_labelled"),
    "features, untrained": lambda: features(backbone=Untrained(), probe=LogisticRegression((1e-2,), 2)),
    "features, diffusion": lambda: features(gan=diffusion_stage()),
    "features, diffusion fine-tuned": lambda: features(gan=diffusion_stage(), probe=FineTune(classifier_stage(), 0.5)),
    "features, diffusion untrained": lambda: features(gan=diffusion_stage(), backbone=Untrained()),
    "features, neighbours": lambda: features(probe=NEIGHBOURS),
    "pixels": lambda: features(backbone=Pixels()),
    "pixels, neighbours": lambda: features(backbone=Pixels(), probe=NEIGHBOURS),
    "features, perceptron": lambda: features(probe=MLPProbe(8, (1.0,), 5, folds=2)),
    "features, fine-tuned": lambda: features(probe=FineTune(classifier_stage())),
    "features, fine-tuned layer by layer": lambda: features(probe=FineTune(classifier_stage(), 0.5)),
    "features, supervised": lambda: features(backbone=SupervisedPretraining(classifier_stage()), gan_images="labelled"),
    "features, autoencoder": lambda: features(backbone=SelfSupervisedPretraining(autoencoder_stage())),
    "features, contrast": lambda: features(
        backbone=SelfSupervisedPretraining(simclr_stage()), probe=NEIGHBOURS, gan_images="labelled"
    ),
    "joint, feature matching": lambda: Joint(joint_stage(FeatureMatching()), LogitAdjustment(0.5)),
    "joint, pseudo-label": lambda: Joint(joint_stage(GeneratedPseudoLabels(threshold=0.0, ramp=NOW))),
    "joint, conditional": lambda: Joint(joint_stage(Conditional(ramp=NOW))),
    "joint, AC-GAN": lambda: Joint(joint_stage(ACGAN())),
}


def make_runner(root: Path, settings: TrainerSettings | None = None, run: str = "run") -> StageRunner:
    """A runner over a store in ``root``."""
    return StageRunner(Store(root / "artifacts"), run, SPEC, 0, settings or TrainerSettings())


def saved(outcome: Outcome) -> dict[str, bytes]:
    """The outcome's networks as the safetensors files of a finished run."""
    networks = {"classifier": outcome.classifier}
    if outcome.generator is not None:
        networks["generator"] = outcome.generator
    states = {player: network.state_dict() for player, network in networks.items()}
    return {
        player: save({name: value.detach().contiguous().clone() for name, value in state.items()})
        for player, state in states.items()
    }


def reloaded(strategy: Strategy, files: dict[str, bytes]) -> dict[str, nn.Module]:
    """Networks with the saved weights, from the strategy's description alone."""
    states = {player: load(data) for player, data in files.items()}
    shapes = {player: {name: tuple(value.shape) for name, value in state.items()} for player, state in states.items()}
    built = strategy.skeleton(SPEC, shapes)
    networks = {player: with_our_layers(player, network) for player, network in built.items()}
    for player, state in states.items():
        networks[player].load_state_dict(state)
        networks[player].eval()
    return networks


def unseen_images() -> Tensor:
    """Images that no strategy was trained on: the validation images of another view, as floats."""
    other = view(validation=True).validation
    assert other is not None
    return to_float(other.images)


@torch.no_grad()
def logits(network: nn.Module, images: Tensor) -> Tensor:
    result: Tensor = network(images)
    return result


def parameters(network: nn.Module) -> dict[str, Tensor]:
    """The fitted parameters, without batch-norm statistics."""
    return dict(network.named_parameters())
