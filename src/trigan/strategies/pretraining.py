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
from trigan.networks.pretext_heads import topmost
from trigan.strategies.fine_tune import PretrainedTrunk
from trigan.strategies.stage_runner import Workshop
from trigan.training.stages.classifier_stage import ClassifierStage
from trigan.training.stages.gan_stage import GANStage
from trigan.training.stages.pretext_stages import PretextStage


class Pretraining(Protocol):
    """A frozen dataclass that brings D's feature maps to where the probe finds them.

    ``has_network``: there is a D at all. ``draws``: a generator is left, too. ``blind``: it is trained on images alone,
    so that those of another data set will do. ``per_feature``: each feature is divided by a standard deviation of its
    own, else all by that of all of them.
    """

    @property
    def has_network(self) -> bool: ...

    @property
    def draws(self) -> bool: ...

    @property
    def blind(self) -> bool: ...

    @property
    def per_feature(self) -> bool: ...

    def networks(self, gan: GANStage, real: Input, inputs: Inputs, workshop: Workshop) -> Mapping[str, Any]:
        """``discriminator`` and ``generator``, as far as there are any, in evaluation mode.

        Args:
            gan: the GAN whose D it is.
            real: what that GAN would be trained on.
            inputs: ``labelled``, ``validation`` where there is one, and ``statistics`` where more may be looked at.
        """
        ...


@component("pretraining/images@1")
@dataclass(frozen=True)
class Ground:
    """What D is trained on: the run's own images, or those of another data set, ``data`` (the view's external ones)."""

    data: ImageSource | None = None


@component("pretraining/gan@1")
@dataclass(frozen=True)
class Adversarial:
    """Trained against a generator: the strategy's own way."""

    has_network = draws = blind = per_feature = True

    def networks(self, gan: GANStage, real: Input, inputs: Inputs, workshop: Workshop) -> Mapping[str, Any]:
        return workshop.train("trained-gan", gan, {"real": real}).networks


@component("pretraining/none@1")
@dataclass(frozen=True)
class Untrained:
    """The same D with its first weights: what its architecture gives."""

    has_network, draws, blind, per_feature = True, False, False, True

    def networks(self, gan: GANStage, real: Input, inputs: Inputs, workshop: Workshop) -> Mapping[str, Any]:
        found = workshop.train("untrained-gan", replace(gan, steps=0), {"real": real}).networks
        return {"discriminator": found["discriminator"]}


@component("pretraining/pixels@1")
@dataclass(frozen=True)
class Pixels:
    """No network: the features are the pixels, which have one unit, so that one standard deviation does for all.

    With one each, the few values of a nearly constant border weigh as much as the middle, at a cost of some points.
    """

    per_feature: bool = False

    has_network = draws = blind = False

    def networks(self, gan: GANStage, real: Input, inputs: Inputs, workshop: Workshop) -> Mapping[str, Any]:
        return {}


@component("pretraining/supervised@1")
@dataclass(frozen=True)
class Supervised:
    """The same D as a classifier of the labelled images: its topmost map and a linear head, trained from first weights.

    ``classifier`` gives batch, augmentation and optimizer; with ``matched`` it lasts as many steps as cost what the GAN
    would, else its own number.
    """

    classifier: ClassifierStage
    matched: bool = True

    has_network, draws, blind, per_feature = True, False, False, True

    def networks(self, gan: GANStage, real: Input, inputs: Inputs, workshop: Workshop) -> Mapping[str, Any]:
        first = Untrained().networks(gan, real, inputs, workshop)["discriminator"]
        state = {name: value.detach().cpu() for name, value in first.state_dict().items()}
        layers, whole = (topmost(first, workshop.spec),), workshop.spec.size
        factory = PretrainedTrunk(gan.architecture, layers, whole, weights_digest(state), state)
        stage = replace(self.classifier, classifier=factory)
        if self.matched:
            per_step, per_look = workshop.flops_per_step(stage, inputs)
            looks = per_look * stage.selection.candidates
            stage = replace(stage, steps=_steps(gan_flops(gan, real, workshop) - looks, per_step))
        trained = workshop.train("supervised", stage, inputs)
        return {"discriminator": trained.networks["classifier"].discriminator}


@component("pretraining/self_supervised@1")
@dataclass(frozen=True)
class SelfSupervised:
    """Trained on the GAN's images by a stage of another kind: a denoising autoencoder, or SimCLR's contrast.

    With ``matched`` it lasts as many steps as cost what the GAN would, else the stage's own number.
    """

    stage: PretextStage
    matched: bool = True

    has_network, draws, blind, per_feature = True, False, True, True

    def networks(self, gan: GANStage, real: Input, inputs: Inputs, workshop: Workshop) -> Mapping[str, Any]:
        stage, seen = self.stage, {"real": Input(real.images)}
        if self.matched:
            per_step, _ = workshop.flops_per_step(stage, seen)
            stage = stage.lasting(_steps(gan_flops(gan, real, workshop), per_step))
        return workshop.train(stage.kind, stage, seen).networks


def gan_flops(gan: GANStage, real: Input, workshop: Workshop) -> int:
    """The operations of the whole GAN stage, from a round of its updates; nothing of it is kept."""
    every = gan.loss.discriminator_steps
    rounds, rest = divmod(gan.steps, every)
    total = rounds * workshop.flops_of_steps(gan, {"real": real}, every) if rounds else 0
    return total + (workshop.flops_of_steps(gan, {"real": real}, rest) if rest else 0)


def _steps(flops: int, per_step: int) -> int:
    return max(1, round(flops / per_step))
