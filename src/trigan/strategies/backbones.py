"""D as a backbone, under a probe's head or fine-tuned with a linear one; classifiers that start from given weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trigan.checks import require
from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.identity import weights_digest
from trigan.networks.classifiers.classifier import Classifier, ClassifierFactory
from trigan.networks.diffusion.edm import EDM, DenoiserBackbone
from trigan.networks.foreign_layers import with_our_layers
from trigan.networks.gans.gan import Architecture, Discriminator
from trigan.networks.shapes import ImageSpec
from trigan.training.optimizers import LayerWise
from trigan.training.stages.classifier_stage import ClassifierStage


class FeatureExtractor(nn.Module):
    """Images (N, C, S, S) -> (N, F): the map of each layer, max-pooled to ``grid`` x ``grid`` where it is larger.

    Without a discriminator the features are the pixels. Empty ``layers`` are all layers.
    Radford et al. 2015 (arXiv 1511.06434), section 5: all layers, a 4x4 grid.
    """

    def __init__(
        self, discriminator: Discriminator | DenoiserBackbone | None, layers: Sequence[str], grid: int
    ) -> None:
        super().__init__()
        self.discriminator, self.layers, self.grid = discriminator, tuple(layers), grid

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, F), layer by layer."""
        if self.discriminator is None:
            return images.flatten(1)
        maps = self.discriminator.features(images)
        unknown = [layer for layer in self.layers if layer not in maps]
        if unknown:
            raise ConfigError(f"strategy.layers: {unknown[0]!r} is no layer of D; choose from {', '.join(maps)}")
        features = [maps[layer] for layer in self.layers or maps]
        pooled = [F.adaptive_max_pool2d(one, self.grid) if one.shape[-1] > self.grid else one for one in features]
        return torch.cat([one.flatten(1) for one in pooled], dim=1)


class ProbedBackbone(nn.Module):
    """Images -> logits: extractor, standardisation by ``mean`` and ``scale`` (F,), head."""

    mean: Tensor
    scale: Tensor

    def __init__(self, extractor: FeatureExtractor, head: nn.Module, features: int) -> None:
        super().__init__()
        self.extractor, self.head = extractor, head
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def embed(self, images: Tensor) -> Tensor:
        """The standardised features, (N, F)."""
        features: Tensor = self.extractor(images).to(self.mean.dtype)
        return (features - self.mean) / self.scale

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        logits: Tensor = self.head(self.embed(images))
        return logits


@component("classifier/pretrained@1")
@dataclass(frozen=True)
class PretrainedClassifier:
    """Classifier factory: the network of ``factory`` with the weights ``state``, whose digest is ``weights``."""

    factory: ClassifierFactory
    weights: str
    state: Mapping[str, Tensor] = field(metadata={"identity": False}, compare=False)

    def __call__(self, spec: ImageSpec) -> Classifier:
        """Build the network and load the weights."""
        network = with_our_layers("classifier", self.factory(spec))
        network.load_state_dict(self.state)
        return network


@component("classifier/pretrained_backbone@1")
@dataclass(frozen=True)
class PretrainedBackbone:
    """Classifier factory: D with the weights ``state`` (empty: initial weights) and a new linear head.

    The head is on D's pooled features; ``body.discriminator`` of the classifier is D.
    """

    architecture: Architecture | EDM
    layers: tuple[str, ...]
    grid: int
    weights: str = ""
    state: Mapping[str, Tensor] = field(default_factory=dict, metadata={"identity": False}, compare=False)

    def __call__(self, spec: ImageSpec) -> Classifier:
        """Build D, load the weights and add a head."""
        discriminator = with_our_layers("discriminator", self.architecture.discriminator(spec))
        if self.state:
            discriminator.load_state_dict(self.state)
        extractor = FeatureExtractor(discriminator, self.layers, self.grid)
        with torch.no_grad():
            features = extractor.eval()(torch.zeros(1, spec.channels, spec.size, spec.size)).shape[1]
        return Classifier(extractor, nn.Linear(features, spec.classes))


@component("probe/fine_tune@1")
@dataclass(frozen=True)
class FineTune:
    """A probe that trains D too. ``classifier`` gives C's recipe; its network is replaced.

    The learning rate of each layer of D is ``layer_decay``, in (0, 1], times that of the layer (or head) after it.
    """

    classifier: ClassifierStage
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        require(0.0 < self.layer_decay <= 1.0, "strategy.probe.layer_decay", self.layer_decay, "in (0, 1]")

    def stage(self, factory: PretrainedBackbone, spec: ImageSpec) -> ClassifierStage:
        """The classifier stage that trains the network of ``factory``."""
        recipe = self.classifier.recipe.on_backbone(factory)
        if self.layer_decay != 1.0:
            factors = tuple(self.layer_decay**depth for depth in layer_depths(factory(spec), spec))
            recipe = replace(recipe, optimizer=LayerWise(recipe.optimizer, factors))
        return self.classifier.with_recipe(recipe)


def layer_depths(network: Classifier, spec: ImageSpec) -> list[int]:
    """The distance of each parameter from the head, in the network's order: 1 in D's last layer, 2 in the layer before.

    A parameter belongs to the first feature map that depends on it. The head, and parameters without effect on any
    map, have depth 0.
    """
    parameters = list(network.parameters())
    images = torch.zeros(1, spec.channels, spec.size, spec.size)
    discriminator: Any = network.eval().body.discriminator
    maps = list(discriminator.features(images).values())
    depths = [0] * len(parameters)
    for depth, feature in enumerate(reversed(maps), start=1):
        gradients = torch.autograd.grad(feature.sum(), parameters, retain_graph=True, allow_unused=True)
        depths = [old if gradient is None else depth for gradient, old in zip(gradients, depths, strict=True)]
    return depths


def saved_weights(network: nn.Module) -> tuple[str, dict[str, Tensor]]:
    """The digest and a copy of a network's state."""
    state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    return weights_digest(state), state
