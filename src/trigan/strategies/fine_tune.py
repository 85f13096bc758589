"""Classifiers that start from given weights, and fine-tuning: D with a linear head, trained as a classifier."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from trigan.checks import require
from trigan.component_ids import component
from trigan.identity import weights_digest
from trigan.networks.classifiers.classifier import Classifier, ClassifierFactory
from trigan.networks.gans.gan import Architecture, Discriminator
from trigan.networks.shapes import ImageSpec
from trigan.strategies.feature_extraction import FeatureExtractor
from trigan.training.optimizers import LayerWise
from trigan.training.stages.classifier_stage import ClassifierStage


@component("classifier/pretrained@1")
@dataclass(frozen=True)
class PretrainedClassifier:
    """Classifier factory: the network of ``factory`` with the weights ``state``, whose digest is ``weights``."""

    factory: ClassifierFactory
    weights: str
    state: Mapping[str, Tensor] = field(metadata={"identity": False}, compare=False)

    def __call__(self, spec: ImageSpec) -> Classifier:
        """Build the network and load the weights."""
        network = self.factory(spec)
        network.load_state_dict(self.state)
        return network


class FineTunedBackbone(Classifier):
    """Images (N, C, S, S) -> logits (N, K): D as a trainable backbone, and a linear head on its pooled features."""

    def __init__(self, extractor: FeatureExtractor, spec: ImageSpec) -> None:
        with torch.no_grad():
            features = extractor.eval()(torch.zeros(1, spec.channels, spec.size, spec.size)).shape[1]
        super().__init__(extractor, nn.Linear(features, spec.classes))

    @property
    def discriminator(self) -> Discriminator:
        """The backbone."""
        discriminator: Discriminator = self.body.discriminator  # type: ignore[assignment]
        return discriminator


@component("classifier/pretrained_backbone@1")
@dataclass(frozen=True)
class PretrainedBackbone:
    """Classifier factory: D with the weights ``state`` (empty: initial weights) and a new linear head."""

    architecture: Architecture
    layers: tuple[str, ...]
    grid: int
    weights: str = ""
    state: Mapping[str, Tensor] = field(default_factory=dict, metadata={"identity": False}, compare=False)

    def __call__(self, spec: ImageSpec) -> FineTunedBackbone:
        """Build D, load the weights and add a head."""
        discriminator = self.architecture.discriminator(spec)
        if self.state:
            discriminator.load_state_dict(self.state)
        return FineTunedBackbone(FeatureExtractor(discriminator, self.layers, self.grid), spec)


@component("probe/fine_tune@1")
@dataclass(frozen=True)
class FineTune:
    """A probe that trains D too. ``classifier`` gives steps, augmentation and optimizer; its network is replaced.

    The learning rate of each layer of D is ``layer_decay``, in (0, 1], times that of the layer (or head) after it.
    """

    classifier: ClassifierStage
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        require(0.0 < self.layer_decay <= 1.0, "strategy.probe.layer_decay", self.layer_decay, "in (0, 1]")

    def stage(self, factory: PretrainedBackbone, spec: ImageSpec) -> ClassifierStage:
        """The classifier stage that trains the network of ``factory``."""
        stage = replace(self.classifier, classifier=factory)
        if self.layer_decay == 1.0:
            return stage
        factors = tuple(self.layer_decay**depth for depth in layer_depths(factory(spec), spec))
        return replace(stage, optimizer=LayerWise(stage.optimizer, factors))


def layer_depths(network: FineTunedBackbone, spec: ImageSpec) -> list[int]:
    """The distance of each parameter from the head, in the network's order: 1 in D's last layer, 2 in the layer before.

    A parameter belongs to the first feature map that depends on it. The head, and parameters without effect on any
    map, have depth 0.
    """
    parameters = list(network.parameters())
    images = torch.zeros(1, spec.channels, spec.size, spec.size)
    maps = list(network.eval().discriminator.features(images).values())
    depths = [0] * len(parameters)
    for depth, feature in enumerate(reversed(maps), start=1):
        gradients = torch.autograd.grad(feature.sum(), parameters, retain_graph=True, allow_unused=True)
        depths = [old if gradient is None else depth for gradient, old in zip(gradients, depths, strict=True)]
    return depths


def saved_weights(network: nn.Module) -> tuple[str, dict[str, Tensor]]:
    """The digest and a copy of a network's state."""
    state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    return weights_digest(state), state
