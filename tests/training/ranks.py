"""The program of each process in the tests of process groups, run like ``torchrun -m tests.training.ranks FOLDER``.

Every case is fitted at the same global batch; the whole state, the kept networks, and the counted cost are written
to FOLDER/<case>-<rank>.pt.
"""

import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist

from tests.training.tiny import (
    CNN8,
    DCGAN8,
    NOW,
    SPEC,
    TURNED,
    autoencoder_stage,
    built,
    classifier_stage,
    co_teaching_stage,
    copied,
    diffusion_stage,
    gan_stage,
    inputs_of,
    joint_stage,
    packed_gan,
    partly_labelled,
    partly_labelled_gan,
    rcgan,
    regularised_gan,
    simclr_stage,
    view,
)
from trigan import distributed
from trigan.datasets.inputs import Input, Inputs
from trigan.datasets.mixing import CutMix, MixUp, Remix
from trigan.losses.gan_losses import hinge, wasserstein
from trigan.losses.imbalance_losses import LDAM, Focal, LogitAdjusted
from trigan.losses.label_noise_losses import EarlyLearning
from trigan.networks.classifiers.cosine_head import CosineHead
from trigan.networks.classifiers.mlp import MLP
from trigan.networks.classifiers.resnet import WideResNet
from trigan.networks.gans.biggan import BigGANSmall
from trigan.networks.gans.dcgan import DCGAN
from trigan.networks.gans.r3gan import R3GAN
from trigan.networks.gans.sngan import Projection
from trigan.strategies.rare_classes.head_refit import FrozenBodyClassifier
from trigan.training.adversary import TRADES, PGDTraining
from trigan.training.balance import ClassWeights, EffectiveNumber, Resampling, Undersampling
from trigan.training.callbacks import SampleGrids
from trigan.training.collapse_watch import CollapseWatch, Thresholds
from trigan.training.fit import TrainerSettings, fit
from trigan.training.objectives import BadGAN, Conditional, FeatureMatching, GeneratedPseudoLabels, TripleGAN
from trigan.training.optimizers import Adam
from trigan.training.players import PlayersModule
from trigan.training.selection import Selection
from trigan.training.stage import Stage
from trigan.training.stages.diffusion_stage import DiffusionStage
from trigan.training.stages.gan_regularizers import TopK
from trigan.training.stages.gan_stage import GANStage
from trigan.training.stages.pretext_stages import DeepSMOTEStage
from trigan.training.terms.loss_terms import ExtraImages, FixMatch, PiModel
from trigan.training.terms.mixmatch import MixMatch
from trigan.training.terms.smoothness import VAT, MeanTeacher
from trigan.training.terms.thresholds import FlexMatch, FreeMatch, SoftMatch

CRITIC = DCGAN(width=8, latent=8, discriminator_norm="none")


def watch(action: Literal["rollback", "cure"]) -> CollapseWatch:
    """A look after every step; that after the fourth is an alarm, those before are healthy."""
    falling = Thresholds(0.0, 0.0, math.inf, 0.0, 0.0, 0.0, 1.909, 0.0, math.inf)
    return CollapseWatch(action, looks=6, least_steps=1, images=60, patience=1, start=0.0, thresholds=falling)


LDAM8 = LDAM(CosineHead(CNN8))
FROZEN = FrozenBodyClassifier(
    CNN8, "constants", {n: 0.01 * torch.ones_like(w) for n, w in CNN8(SPEC).state_dict().items()}
)
TERMS = (ExtraImages(TURNED, ratio=0.5), FixMatch(TURNED, TURNED, threshold=0.1))

STAGES: dict[str, Callable[[], Stage]] = {
    "dcgan": gan_stage,
    "penalty": lambda: gan_stage(architecture=CRITIC, loss=wasserstein(discriminator_steps=5)),
    "r3gan": lambda: gan_stage(architecture=R3GAN(8, 8), loss=wasserstein()),
    "sngan_projection": lambda: joint_stage(Conditional(ramp=NOW), architecture=Projection(8, 8)),
    "biggan": lambda: joint_stage(Conditional(ramp=NOW), architecture=BigGANSmall(8, 8), loss=hinge()),
    "regularised": regularised_gan,
    "rollback": lambda: gan_stage(watch=watch("rollback")),
    "cure": lambda: gan_stage(watch=watch("cure")),
    "packs": packed_gan,
    "rcgan": rcgan,
    "partly_labelled": partly_labelled_gan,
    "top_k": lambda: gan_stage(loss=replace(hinge(), discriminator_steps=2, regularizers={"top_k": TopK()})),
    "feature_matching": lambda: joint_stage(FeatureMatching(), selection=Selection("val", 3)),
    "conditional": lambda: joint_stage(Conditional(ramp=NOW)),
    "pseudo_label": lambda: joint_stage(GeneratedPseudoLabels(threshold=0.0, ramp=NOW)),
    "triple_gan": lambda: joint_stage(
        TripleGAN(ramp=NOW, pretrain=0.3), consistency=PiModel(TURNED, stream="two views")
    ),
    "bad_gan": lambda: joint_stage(BadGAN()),
    "autoencoder": autoencoder_stage,
    "simclr": simclr_stage,
    "deep_smote": lambda: DeepSMOTEStage(DCGAN8, Adam(1e-3, (0.9, 0.999)), 4, batch=16),
    "diffusion": diffusion_stage,
    "classifier": lambda: classifier_stage(terms=TERMS, clip=0.5, selection=Selection("val", 3)),
    "noise": lambda: joint_stage(FeatureMatching(), classifier=MLP((16, 8))),
    "dropout": lambda: classifier_stage(classifier=WideResNet(10, 1, 2, dropout=0.3)),
    "mixup": lambda: classifier_stage(4, mix=MixUp(0.5)),
    "flexmatch": lambda: classifier_stage(terms=(FlexMatch(TURNED, TURNED, threshold=0.15),)),
    "freematch": lambda: classifier_stage(terms=(FreeMatch(TURNED, TURNED, momentum=0.5),)),
    "softmatch": lambda: classifier_stage(terms=(SoftMatch(TURNED, TURNED, momentum=0.5),)),
    "vat": lambda: classifier_stage(4, terms=(VAT(TURNED, entropy=1.0),)),
    "mean_teacher": lambda: joint_stage(FeatureMatching(), consistency=MeanTeacher(TURNED, stream="two views")),
    "mixmatch": lambda: classifier_stage(terms=(MixMatch(TURNED),)),
    "early_learning": lambda: classifier_stage(criterion=EarlyLearning()),
    "co_teaching": co_teaching_stage,
    "cutmix": lambda: classifier_stage(4, mix=CutMix()),
    "remix": lambda: classifier_stage(4, mix=Remix(), balance=ClassWeights(0.5)),
    "deferred": lambda: classifier_stage(4, balance=EffectiveNumber(0.5), criterion=LDAM8, classifier=LDAM8.network),
    "deferred_resampling": lambda: classifier_stage(4, balance=Resampling(0.5), criterion=LogitAdjusted()),
    "frozen_body": lambda: classifier_stage(4, classifier=FROZEN),
    "undersampling": lambda: classifier_stage(2, balance=Undersampling(), criterion=Focal()),
    "adversary": lambda: classifier_stage(
        3, terms=(ExtraImages(TURNED, ratio=0.5, adversary=PGDTraining(steps=2)),), adversary=TRADES(steps=2)
    ),
}
#: Stages of which each kind of mechanics has one, for tests that are quick; the others are for slow ones.
QUICK = frozenset(
    (
        *("dcgan", "penalty", "regularised", "rollback", "packs", "partly_labelled", "feature_matching", "conditional"),
        *("triple_gan", "diffusion", "classifier", "noise", "flexmatch", "mixmatch", "early_learning", "cutmix"),
        *("deferred_resampling", "adversary"),
    )
)
DOUBLE, SINGLE = TrainerSettings(precision="64-true"), TrainerSettings()
#: Case -> (stage, settings): everything in double precision, some in single, and one in micro-batches.
CASES: dict[str, tuple[Callable[[], Stage], TrainerSettings]] = {
    **{f"{name}-64": (stage, DOUBLE) for name, stage in STAGES.items() if name != "dropout"},
    **{f"{name}-32": (STAGES[name], SINGLE) for name in ("dcgan", "feature_matching", "conditional", "classifier")},
    "dropout-accumulated-64": (STAGES["dropout"], replace(DOUBLE, accumulate=2)),
    "early_learning-accumulated-64": (STAGES["early_learning"], replace(DOUBLE, accumulate=2)),
    "flexmatch-accumulated-64": (STAGES["flexmatch"], replace(DOUBLE, accumulate=2)),
    "softmatch-accumulated-64": (STAGES["softmatch"], replace(DOUBLE, accumulate=2)),
    "mixmatch-accumulated-64": (STAGES["mixmatch"], replace(DOUBLE, accumulate=2)),
    "cutmix-accumulated-64": (STAGES["cutmix"], replace(DOUBLE, accumulate=2)),
    "penalty-accumulated-64": (STAGES["penalty"], replace(DOUBLE, accumulate=2)),
}


def module_of(stage: Stage, settings: TrainerSettings) -> tuple[PlayersModule, Inputs]:
    """What is to be fitted, and on what."""
    seen = view(validation=True)
    inputs = inputs_of(seen)
    inputs["extra"] = Input(seen.labelled.images.flip(-1), seen.labelled.labels)
    conditional = isinstance(stage, DiffusionStage | GANStage) and stage.architecture.conditional
    inputs["real"] = partly_labelled(seen) if conditional else inputs["unlabelled"]
    if isinstance(stage, DeepSMOTEStage):
        inputs["real"] = inputs["labelled"]
    return built(stage, inputs, settings), inputs


def fit_case(case: str, folder: Path) -> dict[str, Any]:
    """Fit the case in this process; its state, kept networks and counted cost."""
    make, settings = CASES[case]
    stage = make()
    module, inputs = module_of(stage, settings)
    # Only rank 0 has a callback: a grid of samples must not make it wait for the others.
    callbacks = [SampleGrids(folder / f"{case}-grids", 2, 2)] if distributed.rank() == 0 else []
    ending = fit(module, settings, None, callbacks)
    kept = {name: copied(network.state_dict()) for name, network in stage.finish(module, inputs).items()}
    account: dict[str, Any] = {"step": ending.step, "images": module.images, "flops": module.flops}
    if module.watch is not None:
        account["events"] = [(one["step"], one["signal"], one["action"], one.get("to")) for one in module.watch.events]
    return {"state": copied(module.state_dict()), "kept": kept, "account": account}


def is_quick(case: str) -> bool:
    """Whether a case or stage is part of the quick tests."""
    return case.split("-")[0] in QUICK and not case.endswith("32")


def main(folder: Path, cases: Sequence[str]) -> None:
    """The cases, one after the other, as one rank."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for case in cases:
        torch.save(fit_case(case, folder), folder / f"{case}-{os.environ['RANK']}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
