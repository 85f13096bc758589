"""Ways to train D's features before the probe: the GAN, and its controls.

A control with a D starts from the GAN's initial weights of D; if it trains D, it costs as much as the GAN by default.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trigan.component_ids import component
from trigan.datasets.inputs import Input, Inputs
from trigan.datasets.sources.image_source import ImageSource
from trigan.networks.pretext_heads import top_map
from trigan.strategies.backbones import PretrainedBackbone, saved_weights
from trigan.strategies.gans import GeneratorStage, gan_flops
from trigan.strategies.stage_runner import StageRunner
from trigan.training.stages.classifier_stage import ClassifierStage
from trigan.training.stages.diffusion_stage import DiffusionStage
from trigan.training.stages.pretext_stages import PretextStage


class Pretraining(ABC):
    """A way to train D, as a frozen dataclass.

    Attributes:
        has_network: whether there is a D; else the features are the pixels.
        has_generator: whether G is trained too.
        reads_gan: whether settings of the GAN other than its architecture have an effect.
        label_free: whether D is trained on images alone, so that images of another data set can be used.
        per_feature_scale: whether each feature is divided by its own standard deviation; else all by a common one.
    """

    has_network = True
    has_generator = False
    reads_gan = True
    label_free = False
    per_feature_scale = True

    @abstractmethod
    def networks(self, gan: GeneratorStage, real: Input, inputs: Inputs, runner: StageRunner) -> Mapping[str, Any]:
        """``discriminator`` and ``generator``, where they exist, in evaluation mode.

        ``gan`` gives D's architecture and the compute; ``real`` are the GAN's training images. ``inputs`` are
        ``labelled`` and, if they exist, ``validation`` and ``statistics`` (images for batch-norm statistics).
        """


@component("pretraining/images@1")
@dataclass(frozen=True)
class PretrainingData:
    """Pretraining images: the run's own, or those of another data set, ``data`` (the view's external images)."""

    data: ImageSource | None = None


@component("pretraining/gan@1")
@dataclass(frozen=True)
class GANPretraining(Pretraining):
    """D trained against a generator."""

    has_generator = label_free = True

    def networks(self, gan: GeneratorStage, real: Input, inputs: Inputs, runner: StageRunner) -> Mapping[str, Any]:
        """Train the GAN, or the diffusion model."""
        return _with_features(gan, runner.train(gan.kind, gan, {"real": real}).networks)


@component("pretraining/none@1")
@dataclass(frozen=True)
class Untrained(Pretraining):
    """D with its initial weights: the contribution of the architecture."""

    reads_gan = False

    def networks(self, gan: GeneratorStage, real: Input, inputs: Inputs, runner: StageRunner) -> Mapping[str, Any]:
        """Train the GAN for 0 steps."""
        networks = runner.train(f"untrained-{gan.kind}", replace(gan, steps=0), {"real": real}).networks
        return {"discriminator": _with_features(gan, networks)["discriminator"]}


@component("pretraining/pixels@1")
@dataclass(frozen=True)
class Pixels(Pretraining):
    """No network: the features are the pixels, which share one unit and so one standard deviation.

    With ``per_feature_scale`` a nearly constant border has as much weight as the centre, which costs some points.
    """

    per_feature_scale: bool = False

    has_network = reads_gan = False

    def networks(self, gan: GeneratorStage, real: Input, inputs: Inputs, runner: StageRunner) -> Mapping[str, Any]:
        """No networks."""
        return {}


@component("pretraining/supervised@1")
@dataclass(frozen=True)
class SupervisedPretraining(Pretraining):
    """D trained as a classifier of the labelled images: its last feature map and a linear head.

    ``classifier`` gives C's recipe; its network is replaced. With ``match_gan_flops`` the fit costs as many operations
    as the GAN, else it has the recipe's number of steps.
    """

    classifier: ClassifierStage
    match_gan_flops: bool = True

    def networks(self, gan: GeneratorStage, real: Input, inputs: Inputs, runner: StageRunner) -> Mapping[str, Any]:
        """Train the classifier from the initial weights of the GAN's D."""
        initial = Untrained().networks(gan, real, inputs, runner)["discriminator"]
        layers = (top_map(initial, runner.spec)[0],)
        factory = PretrainedBackbone(gan.architecture, layers, runner.spec.size, *saved_weights(initial))
        recipe = self.classifier.recipe.on_backbone(factory)
        stage = self.classifier.with_recipe(recipe)
        if self.match_gan_flops:
            per_step, per_validation = runner.measure_flops(stage, inputs)
            flops = gan_flops(gan, real, runner) - per_validation * recipe.selection.candidates
            stage = stage.with_recipe(replace(recipe, steps=max(1, round(flops / per_step))))
        trained = runner.train("supervised", stage, inputs)
        return {"discriminator": trained.networks["classifier"].body.discriminator}


@component("pretraining/self_supervised@1")
@dataclass(frozen=True)
class SelfSupervisedPretraining(Pretraining):
    """D trained on the GAN's images by a denoising autoencoder or SimCLR.

    With ``match_gan_flops`` the fit costs as many operations as the GAN, else it has the stage's own number of steps.
    """

    stage: PretextStage
    match_gan_flops: bool = True

    label_free = True

    def networks(self, gan: GeneratorStage, real: Input, inputs: Inputs, runner: StageRunner) -> Mapping[str, Any]:
        """Train the stage on the images of ``real``."""
        stage, images = self.stage, {"real": Input(real.images)}
        if self.match_gan_flops:
            per_step, _ = runner.measure_flops(stage, images)
            steps = max(1, round(gan_flops(gan, real, runner) / per_step))
            stage = replace(stage, steps=steps)
        return runner.train(stage.kind, stage, images).networks


def _with_features(gan: GeneratorStage, networks: Mapping[str, Any]) -> Mapping[str, Any]:
    """The networks of a stage; a diffusion model's feature maps take the place of D."""
    if not isinstance(gan, DiffusionStage):
        return networks
    return {**networks, "discriminator": gan.architecture.backbone(networks["generator"]).eval()}
