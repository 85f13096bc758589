"""What takes the place of a generator in `augment`: controls, attacked images and interpolated ones."""

import logging
from typing import Any, Literal

from torch import nn

from trigan.datasets.inputs import Input
from trigan.datasets.types import TrainingView
from trigan.samples.collect import CollectedSamples
from trigan.samples.samplers import (
    AdversarialSampler,
    LabelledSampler,
    NoiseSampler,
    SampleAttack,
    Sampler,
    UnlabelledSampler,
)
from trigan.samples.smote import SMOTESampler
from trigan.strategies.gans import GeneratorStage
from trigan.strategies.sample_settings import SampleSettings
from trigan.strategies.stage_runner import StageRunner
from trigan.training.stages.pretext_stages import DeepSMOTEStage

_log = logging.getLogger(__name__)

#: Where samples come from.
Source = Literal["generator", "unlabelled", "labelled", "noise", "adversarial", "smote", "deep_smote"]


def sampler_without_generator(
    source: Source,
    view: TrainingView,
    samples: SampleSettings,
    attack: SampleAttack,
    gan: GeneratorStage,
    teacher: nn.Module | None,
    runner: StageRunner,
) -> Sampler:
    """The sampler of any ``source`` but ``generator``.

    Args:
        source: see `Source`.
        view: the images.
        samples: their number of neighbours is that of SMOTE.
        attack: of ``adversarial``.
        gan: its architecture, steps and batch are those of the autoencoder of ``deep_smote``.
        teacher: what ``adversarial`` attacks.
        runner: trains that autoencoder.
    """
    if source == "unlabelled":
        return UnlabelledSampler(view.unlabelled)
    if source == "labelled":
        return LabelledSampler(view.labelled)
    if source == "noise":
        return NoiseSampler((view.spec.channels, view.spec.size, view.spec.size))
    if source == "adversarial":
        assert teacher is not None, "augment trains the teacher that this source attacks"
        return AdversarialSampler(view.labelled, teacher, attack)
    if source == "smote":
        return SMOTESampler(view.labelled, samples.neighbours)
    architecture: Any = gan.architecture
    stage = DeepSMOTEStage(architecture, steps=gan.steps, batch=gan.batch)
    real = {"real": Input(view.labelled.images, view.labelled.labels)}
    codec = runner.train("autoencoder", stage, real).networks["autoencoder"]
    return SMOTESampler(view.labelled, samples.neighbours, codec)


def warn_about_missing(collected: CollectedSamples, source: Source) -> None:
    """Log it if fewer samples than wanted passed the filters."""
    kept, empty = len(collected.data), ", ".join(map(str, collected.empty_classes))
    if not kept:
        _log.warning(
            "none of %d candidates passed the filters: C is trained on the real images alone (see "
            "strategy.label_threshold, strategy.samples.filters%s)",
            collected.n_candidates,
            ", strategy.gan.steps" if source == "generator" else "",
        )
    elif collected.n_missing:
        _log.warning(
            "only %d of the %d requested samples passed the filters%s (strategy.samples.filters, "
            "strategy.label_threshold)",
            kept,
            kept + collected.n_missing,
            f", none of them in classes {empty}" if empty else "",
        )
