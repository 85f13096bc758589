"""A GAN's labelled samples beside the real ones: C on real + synthetic, and the controls that stand in for G."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from trigan.components import component
from trigan.data.inputs import Input
from trigan.data.types import DataSpec, TrainingView
from trigan.errors import ConfigError
from trigan.rng import hash64
from trigan.samples.candidate_sources import CandidateSource, FromGenerator, FromLabelled, FromNoise, FromUnlabelled
from trigan.samples.collect import CollectedSamples, collect_sets, wanted_counts
from trigan.samples.filters import Filter, ScoringModels, required_networks
from trigan.samples.generate import UNCHANGED_LATENTS, LatentTransform
from trigan.strategies.baseline import require_unlabelled
from trigan.strategies.gan_sets import GANEnsemble
from trigan.strategies.sample_schedules import MixedSchedule, PretrainSchedule, SampleSchedule
from trigan.strategies.stage_runner import StageRunner
from trigan.strategies.strategy import DataUsed, Outcome, labelled_inputs, overall_status, selection_labels
from trigan.training.stages.classifier_stage import ClassifierStage
from trigan.training.stages.criteria import ExtraImages, Resampling, class_counts
from trigan.training.stages.gan_stage import GANStage

_log = logging.getLogger(__name__)


@component("strategy/samples@1")
@dataclass(frozen=True)
class SampleSettings:
    """Which samples C gets: ``ratio`` per labelled image, with ``weight`` in C's loss, through ``filters`` in turn.

    ``fill`` divides them among classes: ``balanced``, or ``deficit`` (small classes first). Each of C's steps shows
    ``per_step`` of them for each labelled image.

    ``sets``: so many sets of ``ratio`` are drawn, of different candidates, and C's passes over the samples show one
    after the other; after the last comes the first again. With as many sets as passes no sample is seen twice, which is
    what papers do that draw anew in every epoch; one set is the fixed sample set of the others. The generator stays as
    it is, so E sets show what a ratio E times as large would show, in another order, and keep each class's share of it.

    ``truncation`` and ``latent_scale`` are those of the latents (:class:`trigan.samples.generate.LatentTransform`).
    """

    ratio: float = 10.0
    fill: Literal["balanced", "deficit"] = "balanced"
    weight: float = 0.5
    per_step: float = 1.0
    filters: tuple[Filter, ...] = ()
    sets: int = 1
    truncation: float | None = None
    latent_scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", tuple(self.filters))
        if self.ratio <= 0.0:
            raise ConfigError(f"strategy.samples.ratio: {self.ratio} must be above 0")
        if self.weight < 0.0:
            raise ConfigError(f"strategy.samples.weight: {self.weight} must be 0 or more")
        if self.per_step <= 0.0:
            raise ConfigError(f"strategy.samples.per_step: {self.per_step} must be above 0")
        if self.sets < 1:
            raise ConfigError(f"strategy.samples.sets: {self.sets} must be 1 or more")
        if self.truncation is not None and not self.truncation > 0.0:
            raise ConfigError(f"strategy.samples.truncation: {self.truncation} must be above 0, or null")
        if not self.latent_scale > 0.0:
            raise ConfigError(f"strategy.samples.latent_scale: {self.latent_scale} must be above 0")

    @property
    def latents(self) -> LatentTransform:
        """How far from the middle latents are drawn."""
        return LatentTransform(self.truncation, self.latent_scale)


@component("strategy/augment@1")
@dataclass(frozen=True)
class Augment:
    """Train a GAN, draw labelled samples, train C on both, as ``schedule`` says.

    ``labels`` of samples: ``condition`` (a conditional G is told), ``classifier`` (C trained on L, where it is sure),
    ``per_class`` (one unconditional GAN a class), or ``auto``: condition if the architecture is conditional, else
    classifier. ``source``: the generator, or real images or noise in its place, through the same filters.
    ``generators``: so many GANs of different seeds are trained, and each sample is drawn from one of them.
    """

    gan: GANStage
    classifier: ClassifierStage
    samples: SampleSettings = field(default_factory=SampleSettings)
    labels: Literal["auto", "condition", "classifier", "per_class"] = "auto"
    source: Literal["generator", "unlabelled", "labelled", "noise"] = "generator"
    label_threshold: float = 0.95
    gan_images: Literal["auto", "labelled", "all"] = "auto"
    generators: int = 1
    schedule: SampleSchedule = field(default_factory=MixedSchedule)

    def __post_init__(self) -> None:
        conditional = self.gan.architecture.conditional
        if not 0.0 <= self.label_threshold <= 1.0:
            raise ConfigError(f"strategy.label_threshold={self.label_threshold}: a probability in [0, 1] is expected")
        if self.labels == "per_class" and "discriminator" in required_networks(self.samples.filters):
            raise ConfigError(
                "strategy.samples.filters: DiscriminatorFilter needs one D, and strategy.labels=per_class has many"
            )
        if self.labels == "condition" and not conditional:
            raise ConfigError("strategy.labels=condition needs a label-conditional G: set architecture=cgan")
        if self.labels in ("classifier", "per_class") and conditional:
            raise ConfigError(f"strategy.labels={self.labels} is for an unconditional G: set architecture=dcgan")
        if self.gan_images == "all" and self.label_source != "classifier":
            raise ConfigError(
                f"strategy.gan_images=all: a GAN with strategy.labels={self.label_source} needs labels, which unlabelled "
                "images have not; set strategy.gan_images=labelled"
            )
        if self.generators < 1:
            raise ConfigError(f"strategy.generators: {self.generators} must be 1 or more")
        if self.source != "generator":
            self._refuse_settings_of_a_generator()
        balanced = isinstance(self.classifier.balance, Resampling)
        if self.samples.sets > 1 and balanced and isinstance(self.schedule, PretrainSchedule):
            raise ConfigError(
                f"strategy.samples.sets={self.samples.sets}: strategy.schedule=pretrain with balance=resampling draws "
                "samples at random, not set by set; set strategy.samples.sets=1 or another balance"
            )

    def _refuse_settings_of_a_generator(self) -> None:
        latents = self.samples.latents
        given = {
            "strategy.generators": (self.generators, 1),
            "strategy.samples.truncation": (latents.truncation, UNCHANGED_LATENTS.truncation),
            "strategy.samples.latent_scale": (latents.scale, UNCHANGED_LATENTS.scale),
        }
        for setting, (value, plain) in given.items():
            if value != plain:
                raise ConfigError(
                    f"{setting}={value}: a setting of a generator, and strategy.source={self.source} has none; leave "
                    f"it at {'null' if plain is None else plain}"
                )

    def _warn_of_settings_of_mixed(self) -> None:
        """A warning, not a refusal: a search draws them whatever the schedule is."""
        for name in ("weight", "per_step") if isinstance(self.schedule, PretrainSchedule) else ():
            value = getattr(self.samples, name)
            if value != getattr(SampleSettings, name):
                _log.warning("strategy.samples.%s=%s has no effect with strategy.schedule=pretrain", name, value)

    def _warn_of_filters_without_a_gan(self) -> None:
        """A warning, not a refusal: a study puts its controls through the filters of the row that they control."""
        if self.source != "generator" and "discriminator" in required_networks(self.samples.filters):
            _log.warning(
                "strategy.samples.filters: DiscriminatorFilter needs D; strategy.source=%s has none: it keeps all",
                self.source,
            )

    @property
    def unused_settings(self) -> tuple[str, ...]:
        """Settings that have no effect beside the others: those of a GAN that is not trained, labels nobody guesses."""
        guessed = self.source == "unlabelled" or (self.source == "generator" and self.label_source == "classifier")
        labels = () if guessed else ("label_threshold",)
        return labels if self.source == "generator" else ("gan", "gan_images", "labels", *labels)

    @property
    def label_source(self) -> Literal["condition", "classifier", "per_class"]:
        """``labels`` with auto resolved."""
        if self.labels != "auto":
            return self.labels
        return "condition" if self.gan.architecture.conditional else "classifier"

    @property
    def resolved_gan_images(self) -> str:
        """``gan_images`` with auto resolved: an unconditional GAN sees L and U, one that needs labels L."""
        if self.gan_images != "auto":
            return self.gan_images
        return "all" if self.label_source == "classifier" else "labelled"

    @property
    def gan_ensemble(self) -> GANEnsemble:
        """The GANs, as they are trained."""
        return GANEnsemble(self.gan, self.label_source, self.resolved_gan_images == "all", self.generators)

    def run(self, view: TrainingView, runner: StageRunner) -> Outcome:
        self._warn_of_settings_of_mixed()
        self._warn_of_filters_without_a_gan()
        inputs = labelled_inputs(view)
        rule = self.classifier.selection.resolve("validation" in inputs)
        looks = self._sees_unlabelled(view)
        networks = self.gan_ensemble.train(view, runner) if self.source == "generator" else {}
        collected = self._collect(view, networks, runner)
        if looks:
            inputs = {**inputs, "statistics": Input(view.training_images)}
        stamps: tuple[str, ...] = ()
        if len(collected.data):
            if collected.n_missing:
                _warn_of_shortage(collected)
            if collected.empty_classes:
                stamps = ("missing-classes",)
            extra = ExtraImages(self.classifier.augmentation, self.samples.weight, self.samples.per_step)
            trained = self.schedule.train(self.classifier, inputs, collected.data, extra, runner)
        else:
            _log.warning(
                "none of %d candidates passed the filters: C is trained on the real images alone (see "
                "strategy.label_threshold, strategy.samples.filters%s)",
                collected.n_candidates,
                ", strategy.gan.steps" if self.source == "generator" else "",
            )
            trained, stamps = runner.train("classifier", self.classifier, inputs), ("no-samples",)
        classifier = trained.networks["classifier"]
        return Outcome(
            classifier,
            {"classifier": classifier, **networks},
            DataUsed(len(view.labelled.labels), len(view.unlabelled) if looks else 0, selection_labels(inputs, rule)),
            rule,
            trained.step,
            overall_status(runner),
            stamps=stamps,
            generator=networks.get("generator"),
            notes=_notes(collected, view.spec.classes),
            snapshots=trained.snapshots,
        )

    def skeleton(self, spec: DataSpec, shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> dict[str, nn.Module]:
        networks: dict[str, nn.Module] = {"classifier": self.classifier.classifier(spec)}
        if self.source == "generator":
            networks["generator"] = self.gan_ensemble.skeleton(spec)
        return networks

    def _sees_unlabelled(self, view: TrainingView) -> bool:
        if self.source == "unlabelled":
            require_unlabelled(view, "strategy.source=unlabelled")
            return True
        return self.source == "generator" and self.resolved_gan_images == "all" and len(view.unlabelled) > 0

    def _collect(self, view: TrainingView, networks: Mapping[str, nn.Module], runner: StageRunner) -> CollectedSamples:
        samples, labels = self.samples, view.labelled.labels
        wanted = wanted_counts(
            class_counts(labels, view.spec.classes),
            max(view.spec.classes, round(samples.ratio * len(labels))),
            samples.fill == "deficit",
        )
        source = self._source(view, networks, hash64(runner.seed, "samples"))
        guesses = not source.label_conditional
        scoring_models = self._judges(view, networks, runner, guesses) if samples.filters or guesses else None

        def draw() -> CollectedSamples:
            return collect_sets(source, wanted, samples.filters, scoring_models, self.label_threshold, samples.sets)

        return runner.run_task("sampling", draw)

    def _source(self, view: TrainingView, networks: Mapping[str, Any], seed: int) -> CandidateSource:
        if self.source == "unlabelled":
            return FromUnlabelled(view.unlabelled, seed)
        if self.source == "labelled":
            return FromLabelled(view.labelled.images, view.labelled.labels, seed)
        if self.source == "noise":
            return FromNoise((view.spec.channels, view.spec.size, view.spec.size), seed)
        return FromGenerator(networks["generator"], seed, self.samples.latents)

    def _judges(
        self, view: TrainingView, networks: Mapping[str, nn.Module], runner: StageRunner, guesses: bool
    ) -> ScoringModels:
        """C trained on the labelled images alone and another one, each if it is asked, and D where there is one."""
        inputs, teacher, second = labelled_inputs(view), None, None
        needed = required_networks(self.samples.filters)
        if guesses or "classifier" in needed:
            teacher = runner.train("teacher", self.classifier, inputs).networks["classifier"]
        if "second" in needed:
            seed = hash64(runner.seed, "second teacher")
            second = runner.train("teacher-second", self.classifier, inputs, seed).networks["classifier"]
        return ScoringModels(teacher, networks.get("discriminator"), second, inputs["labelled"])


def _warn_of_shortage(collected: CollectedSamples) -> None:
    kept = len(collected.data)
    _log.warning(
        "only %d of %d samples wanted passed the filters%s (strategy.samples.filters, strategy.label_threshold)",
        kept,
        kept + collected.n_missing,
        f", and none of classes {', '.join(map(str, collected.empty_classes))}" if collected.empty_classes else "",
    )


def _notes(collected: CollectedSamples, classes: int) -> dict[str, Any]:
    data = collected.data
    counts = class_counts(data.known_labels, classes).tolist()
    notes = {
        "kept": len(data),
        "per_class": counts,
        "n_candidates": collected.n_candidates,
        "n_missing": collected.n_missing,
    }
    return {"samples": {**notes, "sets": list(data.parts)} if data.parts else notes}
