"""C trained on real images and on labelled samples of a GAN, and the controls that replace the GAN."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.inputs import Input, Inputs
from trigan.datasets.types import DataSpec, TrainingView
from trigan.errors import ConfigError
from trigan.losses.label_noise_losses import CorrectedLoss
from trigan.networks.classifiers.separate_batch_norm import SeparateBatchNorm
from trigan.networks.diffusion.edm import refuse_diffusion
from trigan.networks.gans.gan_ensembles import GeneratorMixture, PerClassGenerators
from trigan.rng import hash64
from trigan.samples.collect import CollectedSamples, collect_sets
from trigan.samples.filters import ScoringModels, outputs, required_networks
from trigan.samples.samplers import GeneratorSampler, LatentTransform, SampleAttack, Sampler
from trigan.strategies.baseline import LabelledOnly, SelfTraining, UnlabelledMethod
from trigan.strategies.gans import (
    GeneratorStage,
    affordable_samples,
    needs_labels,
    partly_labelled,
    train_gans,
    with_affordable_steps,
)
from trigan.strategies.noisy_labels.estimation import (
    is_to_estimate,
    needs_first_fit,
    transition_notes,
    with_estimate,
    with_estimated_criterion,
)
from trigan.strategies.rare_classes.post_hoc import PostHoc, adjusted_outcome, adjusted_skeleton, require_validation
from trigan.strategies.sample_schedules import MixedSchedule, SampleSchedule
from trigan.strategies.sample_settings import SampleSettings
from trigan.strategies.sample_sources import Source, sampler_without_generator, warn_about_missing
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.strategies.strategy import Outcome, Shapes, labelled_inputs, require_unlabelled
from trigan.strategies.teachers import (
    Gate,
    TeacherTraining,
    gate_on_real_images,
    pseudo_labelled,
    resolve_teacher,
    sample_notes,
    second_seed,
    smoothed_recalls,
)
from trigan.training.balance import Resampling, class_counts
from trigan.training.stages.classifier_stage import ClassifierStage
from trigan.training.stages.gan_stage import GANStage

_log = logging.getLogger(__name__)


@component("strategy/augment@1")
@dataclass(frozen=True)
class Augment:
    """Train a GAN, draw labelled samples, and train C on real images and samples.

    Attributes:
        labels: the source of a sample's label: ``condition``, the label given to G; ``classifier``, confident
            predictions of C trained on L; ``per_class``, one unconditional GAN per class; ``auto``: condition if the
            architecture is conditional, else classifier.
        source: the generator, or what replaces it, with the same filters: real images or noise as controls; labelled
            images that were attacked (``adversarial``); SMOTE, in pixels or (``deep_smote``) in the codes of an
            autoencoder of the GAN's architecture, steps and batch.
        label_threshold: smallest confidence at which a teacher's prediction is used as label, in [0, 1].
        gan_images: the GAN's training images: ``labelled``; ``all`` (L and U; of a conditional GAN the images of U have
            the teacher's label, where its confidence is at least ``label_threshold``); ``partly_labelled``: L with
            labels and U without, for a conditional generator; ``auto``: of an unconditional one L and U, of a
            conditional diffusion model ``partly_labelled``, of a conditional GAN ``labelled``.
        generators: number of GANs with different seeds; each sample comes from one of them.
        schedule: when C is trained on the samples.
        teacher: how the classifier that labels and filters samples is trained.
        unlabelled: how C itself uses unlabelled images, beside the samples (as in the baseline).
        attack: what makes ``adversarial`` samples.
        teacher_folds: without validation images, the teacher's accuracy in the record is by cross-validation in L with
            as many folds; 0: not at all.
        post_hoc: changes the logits of C.
    """

    gan: GeneratorStage
    classifier: ClassifierStage
    samples: SampleSettings = field(default_factory=SampleSettings)
    labels: Literal["auto", "condition", "classifier", "per_class"] = "auto"
    source: Source = "generator"
    label_threshold: float = 0.95
    gan_images: Literal["auto", "labelled", "all", "partly_labelled"] = "auto"
    generators: int = 1
    schedule: SampleSchedule = field(default_factory=MixedSchedule)
    teacher: UnlabelledMethod = field(default_factory=LabelledOnly)
    unlabelled: UnlabelledMethod = field(default_factory=LabelledOnly)
    teacher_folds: int = 2
    post_hoc: PostHoc | None = None
    attack: SampleAttack = field(default_factory=SampleAttack)

    def __post_init__(self) -> None:
        threshold, samples, conditional = self.label_threshold, self.samples, self.gan.architecture.conditional
        require(0.0 <= threshold <= 1.0, "strategy.label_threshold", threshold, "a probability in [0, 1]")
        require(self.generators >= 1, "strategy.generators", self.generators, "1 or more")
        if self.labels == "per_class" and "discriminator" in required_networks(samples.filters):
            raise ConfigError(
                "strategy.samples.filters: DiscriminatorFilter needs one D, and strategy.labels=per_class has many"
            )
        needs_d = self.source == "generator" and "discriminator" in required_networks(samples.filters)
        if needs_d and self.gan.kind == "diffusion":
            raise ConfigError(
                "strategy.samples.filters: DiscriminatorFilter needs a D, and a diffusion model has none; set another "
                "strategy.filter"
            )
        if self.gan_images == "partly_labelled" and self.label_source != "condition":
            raise ConfigError(
                "strategy.gan_images=partly_labelled is for a conditional generator: set architecture=cgan or another "
                "with labels, or strategy.gan_images=auto"
            )
        if self.labels == "condition" and not conditional:
            raise ConfigError("strategy.labels=condition needs a label-conditional G: set architecture=cgan")
        if self.labels in ("classifier", "per_class") and conditional:
            raise ConfigError(f"strategy.labels={self.labels} is for an unconditional G: set architecture=dcgan")
        folds = self.teacher_folds
        require(folds == 0 or folds >= 2, "strategy.teacher_folds", folds, "2 or more, or 0")
        self._check_source()
        if samples.sets not in (1, "auto") and self._samples_are_resampled:
            raise ConfigError(
                f"strategy.samples.sets={samples.sets}: a fit on samples alone with balance=resampling draws "
                "samples at random, not set by set; set strategy.samples.sets=1 or another balance"
            )
        if samples.targets == "soft" and self.schedule.apart:
            raise ConfigError(
                "strategy.samples.targets=soft goes with strategy.schedule=mixed; with others set it to hard"
            )

    def _check_source(self) -> None:
        if self.source == "deep_smote":
            refuse_diffusion(self.gan.architecture)
        of_a_generator = {
            "generators": (self.generators, 1),
            "samples.truncation": (self.samples.truncation, None),
            "samples.latent_scale": (self.samples.latent_scale, 1.0),
        }
        for setting, (value, default) in of_a_generator.items() if self.source != "generator" else ():
            if value != default:
                raise ConfigError(
                    f"strategy.{setting}={value}: applies to a generator, and "
                    f"strategy.source={self.source} has none; leave it at {'null' if default is None else default}"
                )

    @property
    def unused_settings(self) -> tuple[str, ...]:
        """Settings of a GAN that is not trained, of labels that are all known or all predicted, and of a mixed loss."""
        of_gan = ["gan", "gan_images", "labels", "generators", "samples.truncation", "samples.latent_scale"]
        if self.source == "deep_smote":
            read = ("architecture", "steps", "batch")
            of_gan[:1] = [f"gan.{one.name}" for one in fields(self.gan) if one.name not in read]
        gan = () if self.source == "generator" else tuple(of_gan)
        smote = () if self.source in ("smote", "deep_smote") else ("samples.neighbours",)
        ratio = ("samples.ratio",) if self.samples.fill == "to_largest" else ()
        labels = () if self._labels_are_predicted or self._gan_uses_pseudo_labels else ("label_threshold",)
        teacher = () if self._needs_teacher else ("teacher", "teacher_folds")
        of_mixed = ("weight", "per_step", "annealing", "until", "batch_norm")
        mixed = of_mixed if self.schedule.apart else ()
        attack = ("samples.targets",) if self.source == "adversarial" else ("attack",)
        steps = () if self.gan.flops is None else ("gan.steps",)
        shares = () if self._gan_is_partly_labelled else ("gan.labelled_share",)
        of_samples = (*smote, *ratio, *(f"samples.{name}" for name in mixed))
        return (*gan, *attack, *steps, *labels, *teacher, *shares, *of_samples)

    @property
    def _samples_are_resampled(self) -> bool:
        """Whether C draws samples at random, so that there are no epochs of them."""
        resampled = isinstance(self.classifier.recipe.balance, Resampling)
        return resampled and self.schedule.apart

    @property
    def _labels_are_predicted(self) -> bool:
        return self.source == "unlabelled" or (self.source == "generator" and self.label_source == "classifier")

    @property
    def _gan_uses_pseudo_labels(self) -> bool:
        return self.source == "generator" and self.gan_images == "all" and self.label_source != "classifier"

    @property
    def _needs_teacher(self) -> bool:
        by_filters = "classifier" in required_networks(self.samples.filters)
        predicted = self._labels_are_predicted or self._gan_uses_pseudo_labels
        by_source = self.source == "adversarial" or self.samples.fill == "errors"
        return by_filters or predicted or self.samples.targets == "soft" or by_source

    @property
    def _uses_unlabelled(self) -> bool:
        """Whether the row uses unlabelled images without those of its teacher."""
        by_gan = self.source == "generator" and self._gan_uses_unlabelled
        return by_gan or self.source == "unlabelled" or self.unlabelled.uses_unlabelled

    @property
    def label_source(self) -> Literal["condition", "classifier", "per_class"]:
        """``labels`` with auto resolved."""
        if self.labels != "auto":
            return self.labels
        return "condition" if self.gan.architecture.conditional else "classifier"

    def run(self, view: TrainingView, runner: StageRunner) -> Outcome:
        """Train the GANs, collect the samples and train C; without any sample, C is trained on real images alone."""
        require_validation(self.post_hoc, view)
        self.samples.check(view)
        if self._needs_first_fit:
            return self._with_estimates(view, runner).run(view, runner)
        if self.source == "generator" and self.gan.flops is not None:
            return replace(self, gan=with_affordable_steps(self.gan, view, runner)).run(view, runner)
        if self.source != "generator" and "discriminator" in required_networks(self.samples.filters):
            _log.warning(
                "strategy.samples.filters: DiscriminatorFilter keeps every sample, as strategy.source=%s has no D",
                self.source,
            )
        if self.source == "unlabelled":
            require_unlabelled(view, "strategy.source=unlabelled")
        if self._gan_uses_pseudo_labels or (self.source == "generator" and self.gan_images == "partly_labelled"):
            require_unlabelled(view, f"strategy.gan_images={self.gan_images}")
        stage, inputs = self.unlabelled.prepare(self._stage, view, runner)
        rule = stage.recipe.selection.resolve("validation" in inputs)
        method = resolve_teacher(self.teacher, self._uses_unlabelled and view.sizes.unlabelled > 0)
        training = TeacherTraining(self.classifier.on_clean_images, method, view, runner)
        teacher = training.train("teacher") if self._needs_teacher else None
        networks = self._train_gans(view, runner, teacher) if self.source == "generator" else {}
        models = self._scoring_models(view, networks, training, teacher)
        collected = self._collect(view, self._sampler(view, networks, teacher, runner), models, runner)
        warn_about_missing(collected, self.source)
        unlabelled = self._uses_unlabelled or (self._needs_teacher and method.uses_unlabelled)
        if unlabelled and view.sizes.unlabelled:
            inputs["statistics"] = Input(view.training_images)
        trained, stamps = self._train_classifier(stage, inputs, collected, teacher, runner)
        networks = {"classifier": trained.networks["classifier"], **networks}
        notes: dict[str, Any] = {"samples": sample_notes(collected, view.spec.classes)}
        notes |= self._transition_notes
        if teacher is not None:
            gate = Gate(self.samples.filters, self.label_threshold, self._labels_are_predicted)
            notes["teacher"] = gate_on_real_images(training, gate, models, self.teacher_folds, view.spec.classes)
        outcome = Outcome(
            networks, rule, trained.step, runner.status, stamps=stamps, notes=notes, snapshots=trained.snapshots
        )
        return adjusted_outcome(outcome, self.post_hoc, view, runner)

    @property
    def _needs_first_fit(self) -> bool:
        """Whether the matrix of the label noise is to be estimated, for the criterion of C or for the GAN."""
        gan = isinstance(self.gan, GANStage) and self.source == "generator" and is_to_estimate(self.gan.transition)
        return gan or needs_first_fit(self.classifier.recipe)

    def _with_estimates(self, view: TrainingView, runner: StageRunner) -> "Augment":
        """With the matrices from a first fit, which both share."""
        inputs, gan = labelled_inputs(view, self.classifier.recipe.selection), self.gan
        if isinstance(gan, GANStage) and self.source == "generator":
            transition = with_estimate(gan.transition, self.classifier.recipe, inputs, runner)
            gan = replace(gan, transition=transition)
        recipe, _ = with_estimated_criterion(self.classifier.recipe, inputs, runner)
        return replace(self, gan=gan, classifier=self.classifier.with_recipe(recipe))

    @property
    def _transition_notes(self) -> dict[str, Any]:
        """Estimated matrices, for the record."""
        criterion = self.classifier.recipe.criterion
        owners = (*([self.gan] if isinstance(self.gan, GANStage) else []), criterion)
        found = [transition_notes(one.transition) for one in owners if isinstance(one, GANStage | CorrectedLoss)]
        return {name: matrix for notes in found for name, matrix in notes.items()}

    @property
    def _stage(self) -> ClassifierStage:
        """C's stage, before the terms of unlabelled images and samples."""
        separate = self.samples.batch_norm == "separate" and not self.schedule.apart
        stage, recipe = self.classifier, self.classifier.recipe
        network = SeparateBatchNorm(recipe.classifier)
        return stage.with_recipe(replace(recipe, classifier=network)) if separate else stage

    def _train_classifier(
        self,
        stage: ClassifierStage,
        inputs: Inputs,
        collected: CollectedSamples,
        teacher: nn.Module | None,
        runner: StageRunner,
    ) -> tuple[TrainedStage, tuple[str, ...]]:
        """C, and the stamps of its row."""
        no_pseudo_labels = isinstance(self.unlabelled, SelfTraining) and "extra" not in inputs
        stamps = ("no-pseudo-labels",) if no_pseudo_labels else ()
        samples = collected.data
        if not len(samples):
            return runner.train("classifier", stage, inputs), ("no-samples", *stamps)
        if teacher is not None and self.samples.targets == "soft" and self.source != "adversarial":
            targets = runner.run_task("soft labels", lambda: outputs(teacher, samples.images).softmax(1))
            samples = replace(samples, labels=targets)
        term = self.samples.term(stage.recipe.augmentation, "samples" if "extra" in inputs else "extra")
        extra = replace(term, adversary=stage.recipe.adversary)
        trained = self.schedule.train(stage, inputs, samples, extra, runner)
        return trained, (("missing-classes", *stamps) if collected.empty_classes else stamps)

    def skeleton(self, spec: DataSpec, shapes: Shapes) -> dict[str, nn.Module]:
        """The classifier and, if there is one, the generator."""
        networks: dict[str, nn.Module] = {"classifier": self._stage.recipe.classifier(spec)}
        if self.source == "generator":
            build, per_class = self.gan.architecture.generator, self.label_source == "per_class"
            members = [
                PerClassGenerators([build(spec) for _ in range(spec.classes)]) if per_class else build(spec)
                for _ in range(self.generators)
            ]
            networks["generator"] = members[0] if len(members) == 1 else GeneratorMixture(members)
        return adjusted_skeleton(networks, self.post_hoc, spec.classes)

    @property
    def _gan_uses_unlabelled(self) -> bool:
        free = self.label_source == "classifier" or self._gan_is_partly_labelled
        return self.gan_images == "all" or (self.gan_images != "labelled" and free)

    @property
    def _gan_is_partly_labelled(self) -> bool:
        by_default = self.gan_images == "auto" and self.label_source == "condition" and not needs_labels(self.gan)
        return by_default or self.gan_images == "partly_labelled"

    def _train_gans(self, view: TrainingView, runner: StageRunner, teacher: nn.Module | None) -> dict[str, nn.Module]:
        """Train all GANs; their joint ``generator`` and, except with one GAN per class, ``discriminator``."""
        real = Input(view.labelled.images, view.labelled.labels)
        if teacher is not None and self._gan_uses_pseudo_labels:
            pseudo = partial(pseudo_labelled, view, teacher, self.label_threshold)
            real = runner.run_task("pseudo-labels of the GAN", pseudo)
        elif self._gan_is_partly_labelled:
            real = partly_labelled(view)
        elif self.label_source == "classifier":
            real = Input(view.training_images if self._gan_uses_unlabelled else view.labelled.images)
        classes = view.spec.classes if self.label_source == "per_class" else None
        return train_gans(self.gan, real, classes, self.generators, runner)

    def _collect(
        self, view: TrainingView, sampler: Sampler, models: ScoringModels, runner: StageRunner
    ) -> CollectedSamples:
        samples, seed = self.samples, hash64(runner.seed, "samples")
        recalls = None
        if samples.fill == "errors":
            recalls = runner.run_task("errors of the teacher", lambda: smoothed_recalls(view, models.teacher))
        wanted, sets = self.wanted_samples(view, runner.max_steps, sampler.passes, recalls)
        scoring = models if samples.filters or self._labels_are_predicted else None
        return runner.run_task(
            "sampling",
            lambda: collect_sets(sampler, seed, wanted, samples.filters, scoring, self.label_threshold, sets),
        )

    def wanted_samples(
        self,
        view: TrainingView,
        max_steps: int | None = None,
        passes: int = 1,
        recalls: Tensor | None = None,
    ) -> tuple[Tensor, int]:
        """The samples of each class in a set, int64 (K,), and the number of sets; a sample costs so many ``passes``.

        ``recalls`` (K,) are the teacher's, for ``fill=errors``; without them its classes count as equally hard.
        """
        samples, stage = self.samples, self.classifier
        wanted = samples.wanted(class_counts(view.labelled.labels, view.spec.classes), recalls)
        if self._samples_are_resampled:
            return wanted, 1
        pool = len(view.unlabelled) if self.source == "unlabelled" else None
        if self.source == "generator":
            pool = affordable_samples(self.gan, passes)
        steps = stage.recipe.steps if max_steps is None else min(stage.recipe.steps, max_steps)
        used = self.schedule.samples_used(steps, stage.recipe.batch, samples)
        return wanted, samples.number_of_sets(used, int(wanted.sum()), view.spec, pool)

    def _sampler(
        self, view: TrainingView, networks: Mapping[str, Any], teacher: nn.Module | None, runner: StageRunner
    ) -> Sampler:
        if self.source != "generator":
            return sampler_without_generator(self.source, view, self.samples, self.attack, self.gan, teacher, runner)
        latents = LatentTransform(self.samples.truncation, self.samples.latent_scale)
        return GeneratorSampler(networks["generator"], latents)

    def _scoring_models(
        self,
        view: TrainingView,
        networks: Mapping[str, nn.Module],
        training: TeacherTraining,
        teacher: nn.Module | None,
    ) -> ScoringModels:
        """The models that filters need: one or two teachers, and D where there is one."""
        needed = "second" in required_networks(self.samples.filters)
        second = training.train("teacher-second", second_seed(training.runner.seed)) if needed else None
        labelled = Input(view.labelled.images, view.labelled.labels)
        return ScoringModels(teacher, networks.get("discriminator"), second, labelled)
