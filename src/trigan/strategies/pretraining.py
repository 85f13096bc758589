"""How D comes by the features that are probed: by a GAN, or by what stands beside one as a control.

Every control has the GAN's D, begins with its first weights, and where it is trained, costs what the GAN would.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from trigan.components import component
from trigan.data.inputs import Input, Inputs
from trigan.data.sources.image_source import ImageSource
from trigan.identity import weights_digest
from trigan.networks.pretext_heads import top_layer_name
from trigan.strategies.fine_tune import PretrainedBackbone
from trigan.strategies.stage_runner import StageRunner
from trigan.training.stages.classifier_stage import ClassifierStage
from trigan.training.stages.gan_stage import GANStage
from trigan.training.stages.pretext_stages import PretextStage


class Pretraining(Protocol):
    """A frozen dataclass that brings D's feature maps to where the probe finds them.

    ``has_network``: there is a D at all. ``has_generator``: a generator is left, too. ``label_free``: it is trained on images alone,
    so that those of another data set will do. ``per_feature_scale``: each feature is divided by a standard deviation of its
    own, else all by that of all of them.
    """

    @property
    def has_network(self) -> bool: ...

    @property
    def has_generator(self) -> bool: ...

    @property
    def label_free(self) -> bool: ...

    @property
    def per_feature_scale(self) -> bool: ...

    def networks(self, gan: GANStage, real: Input, inputs: Inputs, runner: StageRunner) -> Mapping[str, Any]:
        """``discriminator`` and ``generator``, as far as there are any, in evaluation mode.

        Args:
            gan: the GAN whose D it is.
            real: what that GAN would be trained on.
            inputs: ``labelled``, ``validation`` where there is one, and ``statistics`` where more may be looked at.
        """
        ...


@component("pretraining/images@1")
@dataclass(frozen=True)
class PretrainingData:
    """What D is trained on: the run's own images, or those of another data set, ``data`` (the view's external ones)."""

    data: ImageSource | None = None


@component("pretraining/gan@1")
@dataclass(frozen=True)
class GANPretraining:
    """Trained against a generator: the strategy's own way."""

    has_network = has_generator = label_free = per_feature_scale = True

    def networks(self, gan: GANStage, real: Input, inputs: Inputs, runner: StageRunner) -> Mapping[str, Any]:
        return runner.train("gan", gan, {"real": real}).networks


@component("pretraining/none@1")
@dataclass(frozen=True)
class Untrained:
    """The same D with its first weights: what its architecture gives."""

    has_network, has_generator, label_free, per_feature_scale = True, False, False, True

    def networks(self, gan: GANStage, real: Input, inputs: Inputs, runner: StageRunner) -> Mapping[str, Any]:
        found = runner.train("untrained-gan", replace(gan, steps=0), {"real": real}).networks
        return {"discriminator": found["discriminator"]}


@component("pretraining/pixels@1")
@dataclass(frozen=True)
class Pixels:
    """No network: the features are the pixels, which have one unit, so that one standard deviation does for all.

    With one each, the few values of a nearly constant border weigh as much as the middle, at a cost of some points.
    """

    per_feature_scale: bool = False

    has_network = has_generator = label_free = False

    def networks(self, gan: GANStage, real: Input, inputs: Inputs, runner: StageRunner) -> Mapping[str, Any]:
        return {}


@component("pretraining/supervised@1")
@dataclass(frozen=True)
class SupervisedPretraining:
    """The same D as a classifier of the labelled images: its topmost map and a linear head, trained from first weights.

    ``classifier`` gives batch, augmentation and optimizer; with ``match_gan_flops`` it lasts as many steps as cost what the GAN
    would, else its own number.
    """

    classifier: ClassifierStage
    match_gan_flops: bool = True

    has_network, has_generator, label_free, per_feature_scale = True, False, False, True

    def networks(self, gan: GANStage, real: Input, inputs: Inputs, runner: StageRunner) -> Mapping[str, Any]:
        first = Untrained().networks(gan, real, inputs, runner)["discriminator"]
        state = {name: value.detach().cpu() for name, value in first.state_dict().items()}
        layers, whole = (top_layer_name(first, runner.spec),), runner.spec.size
        factory = PretrainedBackbone(gan.architecture, layers, whole, weights_digest(state), state)
        stage = replace(self.classifier, classifier=factory)
        if self.match_gan_flops:
            per_step, per_look = runner.flops_per_step(stage, inputs)
            looks = per_look * stage.selection.candidates
            stage = replace(stage, steps=_steps(gan_flops(gan, real, runner) - looks, per_step))
        trained = runner.train("supervised", stage, inputs)
        return {"discriminator": trained.networks["classifier"].discriminator}


@component("pretraining/self_supervised@1")
@dataclass(frozen=True)
class SelfSupervisedPretraining:
    """Trained on the GAN's images by a stage of another kind: a denoising autoencoder, or SimCLR's contrast.

    With ``match_gan_flops`` it lasts as many steps as cost what the GAN would, else the stage's own number.
    """

    stage: PretextStage
    match_gan_flops: bool = True

    has_network, has_generator, label_free, per_feature_scale = True, False, True, True

    def networks(self, gan: GANStage, real: Input, inputs: Inputs, runner: StageRunner) -> Mapping[str, Any]:
        stage, seen = self.stage, {"real": Input(real.images)}
        if self.match_gan_flops:
            per_step, _ = runner.flops_per_step(stage, seen)
            stage = stage.with_steps(_steps(gan_flops(gan, real, runner), per_step))
        return runner.train(stage.kind, stage, seen).networks


def gan_flops(gan: GANStage, real: Input, runner: StageRunner) -> int:
    """The operations of the whole GAN stage, from a round of its updates; nothing of it is kept."""
    every = gan.loss.discriminator_steps
    rounds, rest = divmod(gan.steps, every)
    total = rounds * runner.flops_of_steps(gan, {"real": real}, every) if rounds else 0
    return total + (runner.flops_of_steps(gan, {"real": real}, rest) if rest else 0)


def _steps(flops: int, per_step: int) -> int:
    return max(1, round(flops / per_step))
