"""Classifiers that start from given weights; the weights' digest is part of their identity."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trigan.components import component
from trigan.identity import weights_digest
from trigan.networks.classifiers.classifier import Classifier, ClassifierFactory
from trigan.networks.gans.gan import Architecture, Discriminator
from trigan.networks.shapes import ImageSpec
from trigan.strategies.feature_extraction import FeatureExtractor


@component("classifier/pretrained@1")
@dataclass(frozen=True)
class PretrainedClassifier:
    """Classifier factory: the network of ``factory`` with the weights of ``state``."""

    factory: ClassifierFactory
    weights: str
    state: Mapping[str, Tensor] = field(metadata={"identity": False}, compare=False)

    @staticmethod
    def of(factory: ClassifierFactory, network: Classifier) -> "PretrainedClassifier":
        """A factory of copies of ``network``, which was made by ``factory``."""
        return PretrainedClassifier(factory, *_weights(network))

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
    """Classifier factory: D with the weights of ``state`` (none: initial weights) and a new linear head."""

    architecture: Architecture
    layers: tuple[str, ...]
    grid: int
    weights: str = ""
    state: Mapping[str, Tensor] = field(default_factory=dict, metadata={"identity": False}, compare=False)

    @staticmethod
    def of(
        architecture: Architecture, discriminator: Discriminator, layers: tuple[str, ...], grid: int
    ) -> "PretrainedBackbone":
        """A factory with the weights of ``discriminator``, which has this ``architecture``."""
        return PretrainedBackbone(architecture, layers, grid, *_weights(discriminator))

    def __call__(self, spec: ImageSpec) -> FineTunedBackbone:
        """Build D, load the weights and add a head."""
        discriminator = self.architecture.discriminator(spec)
        if self.state:
            discriminator.load_state_dict(self.state)
        return FineTunedBackbone(FeatureExtractor(discriminator, self.layers, self.grid), spec)


def _weights(network: nn.Module) -> tuple[str, dict[str, Tensor]]:
    """The digest and a copy of a network's state."""
    state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    return weights_digest(state), state
