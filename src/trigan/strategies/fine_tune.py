"""Fine-tuning: all of D, with a linear layer on its pooled features, trained as a classifier."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from trigan.artifacts.identity import weights_digest
from trigan.data.inputs import Inputs
from trigan.data.types import DataSpec
from trigan.modules.classifier import ClassifierStage
from trigan.networks.adversaries import Architecture
from trigan.strategies.trunk import FeatureExtractor
from trigan.strategies.workshop import Trained, Workshop


class TunedTrunk(nn.Module):
    """Images (N, C, S, S) -> logits (N, K) = head(pooled features)."""

    def __init__(self, extractor: FeatureExtractor, spec: DataSpec) -> None:
        super().__init__()
        self.extractor = extractor
        with torch.no_grad():
            features = extractor.eval()(torch.zeros(1, spec.channels, spec.size, spec.size)).shape[1]
        extractor.train()
        self.head = nn.Linear(features, spec.classes)

    def embed(self, images: Tensor) -> Tensor:
        """The pooled features, (N, F)."""
        features: Tensor = self.extractor(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.embed(images))


@dataclass(frozen=True)
class PretrainedTrunk:
    """Classifier factory: D's trunk with given weights and a new head; identified by the weights' digest."""

    architecture: Architecture
    layers: tuple[str, ...]
    grid: int
    weights: str = ""
    state: Mapping[str, Tensor] = field(default_factory=dict, metadata={"identity": False}, compare=False)

    def __call__(self, spec: DataSpec) -> TunedTrunk:
        discriminator = self.architecture.discriminator(spec)
        if self.state:
            discriminator.load_state_dict(self.state)
        return TunedTrunk(FeatureExtractor(discriminator, self.layers, self.grid), spec)


@dataclass(frozen=True)
class FineTune:
    """A probe that moves D itself; ``classifier`` gives length, augmentation and optimizer, but not the network."""

    classifier: ClassifierStage

    def train(
        self,
        architecture: Architecture,
        discriminator: nn.Module,
        layers: tuple[str, ...],
        grid: int,
        inputs: Inputs,
        workshop: Workshop,
    ) -> Trained:
        """The fine-tuned network, from the discriminator's present weights."""
        state = {name: value.detach().cpu() for name, value in discriminator.state_dict().items()}
        factory = PretrainedTrunk(architecture, layers, grid, weights_digest(state), state)
        return workshop.train("classifier", self._stage(factory), inputs)

    def blank(self, architecture: Architecture, layers: tuple[str, ...], grid: int, spec: DataSpec) -> nn.Module:
        """A network of the same shapes."""
        return PretrainedTrunk(architecture, layers, grid)(spec)

    def _stage(self, factory: PretrainedTrunk) -> ClassifierStage:
        return replace(self.classifier, classifier=factory)
