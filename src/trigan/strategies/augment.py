"""C trained on real images and on labelled samples of a GAN, and the controls that replace the GAN."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from torch import nn

from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.inputs import Input, Inputs
from trigan.datasets.types import DataSpec, TrainingView
from trigan.errors import ConfigError
from trigan.networks.gans.gan_ensembles import DiscriminatorEnsemble, GeneratorMixture, PerClassGenerators
from trigan.rng import hash64
from trigan.samples.candidate_sources import CandidateSource, from_generator, from_labelled, from_noise, from_unlabelled
from trigan.samples.collect import CollectedSamples, collect_sets, wanted_counts
from trigan.samples.filters import Filter, ScoringModels, required_networks
from trigan.samples.generate import LatentTransform
from trigan.strategies.backbones import PretrainedClassifier, saved_weights
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.strategies.strategy import DataUsed, Outcome, Shapes, labelled_inputs, require_unlabelled
from trigan.training.selection import Selection
from trigan.training.stages.classifier_stage import ClassifierStage
from trigan.training.stages.gan_stage import GANStage
from trigan.training.stages.loss_terms import ExtraImages, Resampling, class_counts

_log = logging.getLogger(__name__)


@component("strategy/samples@1")
@dataclass(frozen=True)
class SampleSettings:
    """The samples that C is trained on.

    Attributes:
        ratio: samples per labelled image.
        fill: ``balanced`` over classes, or ``deficit``: first to the classes with the fewest labelled images.
        weight: weight of a sample in C's loss; a labelled image has weight 1.
        per_step: samples per labelled image in each batch.
        filters: filters that keep or reject each sample; a sample must pass all of them.
        sets: number of sample sets of ``ratio`` each, which C's epochs over the samples use in turn; with one set per
            epoch no sample is repeated, as in papers that draw samples in every epoch.
        truncation: bound of the latents' absolute values, or None (see `LatentTransform`).
        latent_scale: factor of the latents.
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
        truncation = self.truncation
        require(self.ratio > 0.0, "strategy.samples.ratio", self.ratio, "above 0")
        require(self.weight >= 0.0, "strategy.samples.weight", self.weight, "0 or more")
        require(self.per_step > 0.0, "strategy.samples.per_step", self.per_step, "above 0")
        require(self.sets >= 1, "strategy.samples.sets", self.sets, "1 or more")
        require(truncation is None or truncation > 0.0, "strategy.samples.truncation", truncation, "above 0, or null")
        require(self.latent_scale > 0.0, "strategy.samples.latent_scale", self.latent_scale, "above 0")


class SampleSchedule(ABC):
    """A division of C's training steps between real images and samples, as a frozen dataclass."""

    @abstractmethod
    def train(
        self, stage: ClassifierStage, inputs: Inputs, samples: Input, extra: ExtraImages, runner: StageRunner
    ) -> TrainedStage:
        """Train C; ``extra`` is the loss term of samples in a mixed batch."""


@component("sample_schedule/mixed@1")
@dataclass(frozen=True)
class MixedSchedule(SampleSchedule):
    """Every batch has real images and samples."""

    def train(
        self, stage: ClassifierStage, inputs: Inputs, samples: Input, extra: ExtraImages, runner: StageRunner
    ) -> TrainedStage:
        """Train C in one fit with a further loss term."""
        mixed = replace(stage, terms=(*stage.terms, extra))
        return runner.train("classifier", mixed, {**inputs, "extra": samples})


@component("sample_schedule/pretrain@1")
@dataclass(frozen=True)
class PretrainSchedule(SampleSchedule):
    """First the samples alone, for ``share`` of the steps, then the real images.

    The second fit starts from the weights of the first, with ``learning_rate_factor`` times its learning rate; only the
    second uses validation images. Together the fits have as many steps as `MixedSchedule`; each has its own
    learning-rate schedule and weight average. The samples' ``weight`` and ``per_step`` have no effect.
    """

    share: float = 0.5
    learning_rate_factor: float = 0.1

    def __post_init__(self) -> None:
        factor = self.learning_rate_factor
        require(0.0 < self.share < 1.0, "strategy.schedule.share", self.share, "between 0 and 1")
        require(factor > 0.0, "strategy.schedule.learning_rate_factor", factor, "above 0")

    def train(
        self, stage: ClassifierStage, inputs: Inputs, samples: Input, extra: ExtraImages, runner: StageRunner
    ) -> TrainedStage:
        """Train C in two fits; the step and the images of the result include those of the first fit."""
        recipe = stage.recipe
        steps = self.steps_on_samples(recipe.steps)
        # the intermediate network has batch-norm statistics of real images too
        real = inputs.get("statistics", Input(inputs["labelled"].images))
        pretraining = ClassifierStage(replace(recipe, steps=steps, selection=Selection("last")))
        first = runner.train("classifier-synthetic", pretraining, {"labelled": samples, "statistics": real})
        optimizer: Any = recipe.optimizer
        second_part = replace(
            recipe,
            steps=recipe.steps - steps,
            classifier=PretrainedClassifier(recipe.classifier, *saved_weights(first.networks["classifier"])),
            optimizer=replace(optimizer, learning_rate=self.learning_rate_factor * optimizer.learning_rate),
        )
        second = runner.train("classifier", stage.with_recipe(second_part), inputs)
        return replace(second, step=first.step + second.step, images_before=first.step * recipe.batch)

    def steps_on_samples(self, steps: int) -> int:
        """How many of ``steps`` are on samples; each fit has at least one."""
        require(steps >= 2, "recipe.steps", steps, "2 or more to be divided in two parts")
        return min(max(1, round(self.share * steps)), steps - 1)


@component("strategy/augment@1")
@dataclass(frozen=True)
class Augment:
    """Train a GAN, draw labelled samples, and train C on real images and samples.

    Attributes:
        labels: the source of a sample's label: ``condition``, the label given to G; ``classifier``, confident
            predictions of C trained on L; ``per_class``, one unconditional GAN per class; ``auto``: condition if the
            architecture is conditional, else classifier.
        source: the generator, or a control that replaces it: real images or noise, with the same filters.
        label_threshold: smallest confidence at which a classifier's prediction is used as label, in [0, 1].
        gan_images: the GAN's training images: ``labelled``, ``all`` (L and U), ``auto``: all if it needs no label.
        generators: number of GANs with different seeds; each sample comes from one of them.
        schedule: when C is trained on the samples.
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
        threshold, samples, conditional = self.label_threshold, self.samples, self.gan.architecture.conditional
        require(0.0 <= threshold <= 1.0, "strategy.label_threshold", threshold, "a probability in [0, 1]")
        require(self.generators >= 1, "strategy.generators", self.generators, "1 or more")
        if self.labels == "per_class" and "discriminator" in required_networks(samples.filters):
            raise ConfigError(
                "strategy.samples.filters: DiscriminatorFilter needs one D, and strategy.labels=per_class has many"
            )
        if self.labels == "condition" and not conditional:
            raise ConfigError("strategy.labels=condition needs a label-conditional G: set architecture=cgan")
        if self.labels in ("classifier", "per_class") and conditional:
            raise ConfigError(f"strategy.labels={self.labels} is for an unconditional G: set architecture=dcgan")
        if self.gan_images == "all" and self.label_source != "classifier":
            raise ConfigError(
                f"strategy.gan_images=all: a GAN with strategy.labels={self.label_source} needs labels, which "
                "unlabelled images do not have; set strategy.gan_images=labelled"
            )
        of_a_generator = {
            "generators": (self.generators, 1),
            "samples.truncation": (samples.truncation, None),
            "samples.latent_scale": (samples.latent_scale, 1.0),
        }
        for setting, (value, default) in of_a_generator.items() if self.source != "generator" else ():
            if value != default:
                raise ConfigError(
                    f"strategy.{setting}={value}: applies to a generator, and "
                    f"strategy.source={self.source} has none; leave it at {'null' if default is None else default}"
                )
        resampled = isinstance(self.classifier.recipe.balance, Resampling) and isinstance(
            self.schedule, PretrainSchedule
        )
        if samples.sets > 1 and resampled:
            raise ConfigError(
                f"strategy.samples.sets={samples.sets}: strategy.schedule=pretrain with balance=resampling draws "
                "samples at random, not set by set; set strategy.samples.sets=1 or another balance"
            )

    @property
    def unused_settings(self) -> tuple[str, ...]:
        """Settings of a GAN that is not trained, of labels that no classifier predicts, and of a mixed loss."""
        gan = () if self.source == "generator" else ("gan", "gan_images", "labels")
        labels = () if self._labels_are_predicted else ("label_threshold",)
        mixed = ("samples.weight", "samples.per_step") if isinstance(self.schedule, PretrainSchedule) else ()
        return (*gan, *labels, *mixed)

    @property
    def _labels_are_predicted(self) -> bool:
        return self.source == "unlabelled" or (self.source == "generator" and self.label_source == "classifier")

    @property
    def label_source(self) -> Literal["condition", "classifier", "per_class"]:
        """``labels`` with auto resolved."""
        if self.labels != "auto":
            return self.labels
        return "condition" if self.gan.architecture.conditional else "classifier"

    def run(self, view: TrainingView, runner: StageRunner) -> Outcome:
        """Train the GANs, collect the samples and train C; without any sample, C is trained on real images alone."""
        if self.source != "generator" and "discriminator" in required_networks(self.samples.filters):
            _log.warning(
                "strategy.samples.filters: DiscriminatorFilter keeps every sample, as strategy.source=%s has no D",
                self.source,
            )
        inputs = labelled_inputs(view)
        rule = self.classifier.recipe.selection.resolve("validation" in inputs)
        if self.source == "unlabelled":
            require_unlabelled(view, "strategy.source=unlabelled")
        unlabelled = self.source == "unlabelled" or (self.source == "generator" and self._gan_uses_unlabelled)
        networks = self._train_gans(view, runner) if self.source == "generator" else {}
        collected = self._collect(view, networks, runner)
        self._warn_about_missing_samples(collected)
        if unlabelled and len(view.unlabelled):
            inputs["statistics"] = Input(view.training_images)
        if len(collected.data):
            stamps = ("missing-classes",) if collected.empty_classes else ()
            extra = ExtraImages(self.classifier.recipe.augmentation, self.samples.weight, self.samples.per_step)
            trained = self.schedule.train(self.classifier, inputs, collected.data, extra, runner)
        else:
            trained, stamps = runner.train("classifier", self.classifier, inputs), ("no-samples",)
        networks = {"classifier": trained.networks["classifier"], **networks}
        used, notes = DataUsed.of(view, rule, unlabelled), _notes(collected, view.spec.classes)
        return Outcome(
            networks, used, rule, trained.step, runner.status, stamps=stamps, notes=notes, snapshots=trained.snapshots
        )

    def skeleton(self, spec: DataSpec, shapes: Shapes) -> dict[str, nn.Module]:
        """The classifier and, if there is one, the generator."""
        networks: dict[str, nn.Module] = {"classifier": self.classifier.recipe.classifier(spec)}
        if self.source == "generator":
            build, per_class = self.gan.architecture.generator, self.label_source == "per_class"
            members = [
                PerClassGenerators([build(spec) for _ in range(spec.classes)]) if per_class else build(spec)
                for _ in range(self.generators)
            ]
            networks["generator"] = members[0] if len(members) == 1 else GeneratorMixture(members)
        return networks

    def _warn_about_missing_samples(self, collected: CollectedSamples) -> None:
        kept, empty = len(collected.data), ", ".join(map(str, collected.empty_classes))
        if not kept:
            _log.warning(
                "none of %d candidates passed the filters: C is trained on the real images alone (see "
                "strategy.label_threshold, strategy.samples.filters%s)",
                collected.n_candidates,
                ", strategy.gan.steps" if self.source == "generator" else "",
            )
        elif collected.n_missing:
            _log.warning(
                "only %d of the %d requested samples passed the filters%s (strategy.samples.filters, "
                "strategy.label_threshold)",
                kept,
                kept + collected.n_missing,
                f", none of them in classes {empty}" if empty else "",
            )

    @property
    def _gan_uses_unlabelled(self) -> bool:
        return self.gan_images == "all" or (self.gan_images == "auto" and self.label_source == "classifier")

    def _train_gans(self, view: TrainingView, runner: StageRunner) -> dict[str, nn.Module]:
        """Train all GANs; their joint ``generator`` and, except with one GAN per class, ``discriminator``."""
        members = [self._train_gan(view, runner, number) for number in range(self.generators)]
        if len(members) == 1:
            return members[0]
        networks: dict[str, nn.Module] = {"generator": GeneratorMixture([m["generator"] for m in members]).eval()}
        if "discriminator" in members[0]:
            networks["discriminator"] = DiscriminatorEnsemble([m["discriminator"] for m in members]).eval()
        return networks

    def _train_gan(self, view: TrainingView, runner: StageRunner, number: int) -> dict[str, Any]:
        """Train one GAN (or one per class); number 0 has the runner's seed."""
        seed = hash64(runner.seed, "gan", number) if number else runner.seed
        suffix = f"-seed{number}" if number else ""
        images, labels = view.labelled.images, view.labelled.labels
        if self.label_source == "per_class":
            generators = []
            for label in range(view.spec.classes):
                data = {"real": Input(images[labels == label])}
                trained = runner.train(f"gan-{label}{suffix}", self.gan, data, hash64(seed, "class", label))
                generators.append(trained.networks["generator"])
            return {"generator": PerClassGenerators(generators).eval()}
        conditions = labels if self.label_source == "condition" else None
        real = Input(view.training_images if self._gan_uses_unlabelled else images, conditions)
        return dict(runner.train(f"gan{suffix}", self.gan, {"real": real}, seed).networks)

    def _collect(self, view: TrainingView, networks: Mapping[str, nn.Module], runner: StageRunner) -> CollectedSamples:
        samples, labels = self.samples, view.labelled.labels
        wanted = wanted_counts(
            class_counts(labels, view.spec.classes),
            max(view.spec.classes, round(samples.ratio * len(labels))),
            samples.fill == "deficit",
        )
        source = self._source(view, networks, hash64(runner.seed, "samples"))
        needed = {*required_networks(samples.filters), *(("classifier",) if self._labels_are_predicted else ())}
        models = self._scoring_models(view, networks, runner, needed) if samples.filters or needed else None
        return runner.run_task(
            "sampling",
            lambda: collect_sets(source, wanted, samples.filters, models, self.label_threshold, samples.sets),
        )

    def _source(self, view: TrainingView, networks: Mapping[str, Any], seed: int) -> CandidateSource:
        if self.source == "unlabelled":
            return partial(from_unlabelled, view.unlabelled, seed)
        if self.source == "labelled":
            return partial(from_labelled, view.labelled, seed)
        if self.source == "noise":
            return partial(from_noise, (view.spec.channels, view.spec.size, view.spec.size), seed)
        latents = LatentTransform(self.samples.truncation, self.samples.latent_scale)
        return partial(from_generator, networks["generator"], seed, latents)

    def _scoring_models(
        self, view: TrainingView, networks: Mapping[str, nn.Module], runner: StageRunner, needed: set[str]
    ) -> ScoringModels:
        """The models that filters need: one or two classifiers trained on L alone, and D where there is one."""
        inputs, teacher, second = labelled_inputs(view), None, None
        if "classifier" in needed:
            teacher = runner.train("teacher", self.classifier, inputs).networks["classifier"]
        if "second" in needed:
            seed = hash64(runner.seed, "second teacher")
            second = runner.train("teacher-second", self.classifier, inputs, seed).networks["classifier"]
        return ScoringModels(teacher, networks.get("discriminator"), second, inputs["labelled"])


def _notes(collected: CollectedSamples, classes: int) -> dict[str, Any]:
    data = collected.data
    notes = {
        "kept": len(data),
        "per_class": class_counts(data.known_labels, classes).tolist(),
        "n_candidates": collected.n_candidates,
        "n_missing": collected.n_missing,
    }
    return {"samples": {**notes, "sets": list(data.parts)} if data.parts else notes}
