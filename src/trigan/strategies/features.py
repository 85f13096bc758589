"""D as a feature extractor: a GAN on the training images, a probe on D's features; and the controls of the GAN."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.inputs import Input, Inputs, random_subset
from trigan.datasets.splits.external_data import external_images
from trigan.datasets.types import DataSpec, TrainingView
from trigan.errors import ConfigError
from trigan.samples.filters import outputs
from trigan.strategies.backbones import FeatureExtractor, FineTune, PretrainedBackbone, ProbedBackbone, saved_weights
from trigan.strategies.gans import GeneratorStage, needs_labels, partly_labelled, with_affordable_steps
from trigan.strategies.noisy_labels.estimation import is_to_estimate, needs_first_fit
from trigan.strategies.pretraining import GANPretraining, Pretraining, PretrainingData
from trigan.strategies.probes import Array, FittedProbe, Probe, head_skeleton
from trigan.strategies.stage_runner import StageRunner
from trigan.strategies.strategy import Outcome, Shapes, labelled_inputs, require_unlabelled
from trigan.training.recalibration import STATISTICS_IMAGES, recalibrate_discriminator
from trigan.training.selection import Selection
from trigan.training.stages.classifier_stage import ClassifierStage
from trigan.training.stages.gan_stage import GANStage


@component("strategy/features@1")
@dataclass(frozen=True)
class Features:
    """Fit ``probe`` to features of the D of ``gan``, standardised over the GAN's training images.

    In the place of D a diffusion model has its denoiser, at one noise level and without labels.

    Attributes:
        backbone: how D is trained: in the GAN, or as one of the controls.
        layers: names of D's layers; empty: all.
        grid: the side that feature maps are max-pooled to.
        gan_images: the GAN's training images: ``all`` (L and U), ``labelled``, ``partly_labelled`` (L with labels and U
            without, for a conditional one), or ``auto``: labelled for a conditional GAN, else all.
        selection: with the rule ``val`` probes are tuned on validation images, else on labelled images.
        pretrain: with another data set, D is trained on the view's external images (X) alone. The images that the GAN
            would otherwise use then give the batch-norm statistics and the standardisation.
    """

    gan: GeneratorStage
    probe: Probe | FineTune
    backbone: Pretraining = field(default_factory=GANPretraining)
    layers: tuple[str, ...] = ()
    grid: int = 4
    gan_images: Literal["auto", "labelled", "all", "partly_labelled"] = "auto"
    selection: Selection = field(default_factory=Selection)
    pretrain: PretrainingData = field(default_factory=PretrainingData)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        require(self.grid >= 1, "strategy.grid", self.grid, "at least 1")
        conditional, transfer = needs_labels(self.gan), self.pretrain.data is not None
        if self.gan_images == "all" and conditional:
            raise ConfigError(
                "strategy.gan_images=all: a conditional GAN needs labels, which unlabelled images do not have; set "
                "architecture=dcgan or strategy.gan_images=labelled or partly_labelled"
            )
        if self.gan_images == "partly_labelled" and (not self.gan.architecture.conditional or transfer):
            raise ConfigError(
                "strategy.gan_images=partly_labelled is for a conditional generator of this data set's images: set "
                "architecture=cgan or another with labels, and strategy.pretrain.data=null, or strategy.gan_images=auto"
            )
        self._refuse_estimates()
        if not self.backbone.has_network and isinstance(self.probe, FineTune):
            raise ConfigError(
                "strategy.probe=fine_tune needs a network: set another strategy.backbone, such as trained"
            )
        if self.selection.snapshots is not None:
            raise ConfigError(
                f"selection.snapshots={self.selection.snapshots}: strategy=features fits no classifier on images over "
                "time; leave it at null"
            )
        if transfer and not self.backbone.label_free:
            raise ConfigError(
                "strategy.pretrain.data: nothing is trained on another data set's images with this strategy.backbone; "
                "set strategy.backbone=trained, autoencoder or simclr, or strategy.pretrain.data=null"
            )
        if transfer and conditional:
            raise ConfigError(
                "strategy.pretrain.data: a conditional GAN needs this data set's labels, which another's images do not "
                "have; set architecture=dcgan"
            )

    def _refuse_estimates(self) -> None:
        """No stage of this strategy has a first fit of C that could estimate the label noise."""
        stages = [getattr(part, "classifier", None) for part in (self.probe, self.backbone)]
        by_criterion = any(isinstance(one, ClassifierStage) and needs_first_fit(one.recipe) for one in stages)
        if by_criterion or (isinstance(self.gan, GANStage) and is_to_estimate(self.gan.transition)):
            raise ConfigError(
                f"{'recipe.criterion' if by_criterion else 'strategy.gan.transition'}: strategy=features does not "
                "estimate the matrix of the label noise; set transition=known or none, or another criterion"
            )

    @property
    def unused_settings(self) -> tuple[str, ...]:
        """Settings without effect: of a GAN without use but its architecture; for pixels, layers and grid; shares."""
        network = () if self.backbone.has_network else ("layers", "grid")
        read = self.backbone.reads_gan
        steps = () if self.gan.flops is None else ("gan.steps",)
        shares = () if self.gan_images == "partly_labelled" else ("gan.labelled_share",)
        return (
            *network,
            *steps,
            *shares,
            *(f"gan.{one.name}" for one in fields(self.gan) if one.name != "architecture" and not read),
        )

    def run(self, view: TrainingView, runner: StageRunner) -> Outcome:
        """Train D, then fit the probe or fine-tune D."""
        if self.backbone.reads_gan and self.gan.flops is not None:
            return replace(self, gan=with_affordable_steps(self.gan, view, runner)).run(view, runner)
        if self.gan_images == "partly_labelled":
            require_unlabelled(view, "strategy.gan_images=partly_labelled")
        inputs = labelled_inputs(view, self.selection)
        rule = self.selection.resolve("validation" in inputs)
        if self.layers and self.backbone.has_network:  # an unknown layer is refused before anything is trained
            PretrainedBackbone(self.gan.architecture, self.layers, self.grid)(view.spec)
        networks = self._pretrain(view, runner, inputs)
        step, probabilistic, notes = 0, True, {}
        classifier: nn.Module
        if isinstance(self.probe, FineTune):
            if self._uses_unlabelled:
                inputs["statistics"] = Input(view.training_images)
            weights = saved_weights(networks["discriminator"])
            factory = PretrainedBackbone(self.gan.architecture, self.layers, self.grid, *weights)
            trained = runner.train("classifier", self.probe.stage(factory, view.spec), inputs)
            classifier, step = trained.networks["classifier"], trained.step
        else:
            extractor = FeatureExtractor(networks.get("discriminator"), self.layers, self.grid)
            classifier, fitted = self._fit_probe(self.probe, extractor, view, rule, runner)
            probabilistic, notes = fitted.probabilistic, {"probe": fitted.hyperparameters}
        kept = {"classifier": classifier, **(networks if self.backbone.has_generator else {})}
        return Outcome(kept, rule, step, runner.status, probabilistic, notes=notes)

    def skeleton(self, spec: DataSpec, shapes: Shapes) -> dict[str, nn.Module]:
        """The probed or fine-tuned backbone and, if there is one, the generator."""
        saved, architecture = shapes["classifier"], self.gan.architecture
        classifier: nn.Module
        if isinstance(self.probe, FineTune):
            classifier = PretrainedBackbone(architecture, self.layers, self.grid)(spec)
        else:
            discriminator = architecture.discriminator(spec) if self.backbone.has_network else None
            extractor = FeatureExtractor(discriminator, self.layers, self.grid)
            classifier = ProbedBackbone(extractor, head_skeleton(saved, spec.classes), saved["mean"][0])
        generator = {"generator": architecture.generator(spec)} if self.backbone.has_generator else {}
        return {"classifier": classifier, **generator}

    @property
    def _uses_unlabelled(self) -> bool:
        conditional = needs_labels(self.gan)
        return not conditional if self.gan_images == "auto" else self.gan_images != "labelled"

    def _images(self, view: TrainingView) -> Tensor:
        """The training images that may be used without their labels."""
        return view.training_images if self._uses_unlabelled else view.labelled.images

    def _pretrain(self, view: TrainingView, runner: StageRunner, inputs: Inputs) -> Mapping[str, Any]:
        """Train D, and G where the backbone has one; after a transfer, recalibrate D on this data set."""
        images = self._images(view)
        inputs = {**inputs, "statistics": Input(images)} if self._uses_unlabelled else inputs
        if self.gan_images == "partly_labelled":
            return self.backbone.networks(self.gan, partly_labelled(view), inputs, runner)
        if self.pretrain.data is None:
            labels = view.labelled.labels if needs_labels(self.gan) else None
            return self.backbone.networks(self.gan, Input(images, labels), inputs, runner)
        networks = self.backbone.networks(self.gan, Input(external_images(view)), inputs, runner)
        recalibrate_discriminator(networks["discriminator"], images, runner.seed)
        return networks

    def _fit_probe(
        self, probe: Probe, extractor: FeatureExtractor, view: TrainingView, rule: str, runner: StageRunner
    ) -> tuple[ProbedBackbone, FittedProbe]:
        """Fit ``probe`` to standardised features of the labelled images."""

        def extract(images: Tensor) -> Tensor:
            return runner.run_task("features", lambda: outputs(extractor, images))

        features = extract(view.labelled.images)
        reference = extract(random_subset(self._images(view), STATISTICS_IMAGES, runner.seed))
        mean = reference.mean(0)
        common = (reference - mean).square().mean().sqrt().expand_as(mean)
        scale = reference.std(0) if self.backbone.per_feature_scale else common
        scale = torch.where(scale > 1e-6, scale, torch.ones_like(scale))

        def standardise(raw: Tensor) -> Array:
            return ((raw - mean) / scale).double().numpy()

        holdout = None
        if rule == "val" and view.validation is not None:
            holdout = (standardise(extract(view.validation.images)), view.validation.labels.numpy())
        labels = view.labelled.labels.numpy()
        fitted = probe.fit(standardise(features), labels, view.spec.classes, runner.seed, holdout)
        network = ProbedBackbone(extractor, fitted.head, features.shape[1])
        network.mean.copy_(mean)
        network.scale.copy_(scale)
        return network.to(runner.settings.device).eval(), fitted
