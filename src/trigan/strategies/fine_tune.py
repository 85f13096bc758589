"""Fine-tuning: all of D, with a linear layer on its pooled features, trained as a classifier."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from trigan.components import component
from trigan.data.inputs import Inputs
from trigan.data.types import DataSpec
from trigan.errors import ConfigError
from trigan.identity import weights_digest
from trigan.networks.classifiers.classifier import Classifier
from trigan.networks.gans.gan import Architecture, Discriminator
from trigan.networks.shapes import ImageSpec
from trigan.strategies.feature_extraction import FeatureExtractor
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.training.optimizers import LayerWise
from trigan.training.stages.classifier_stage import ClassifierStage


class FineTunedBackbone(Classifier):
    """Images (N, C, S, S) -> logits (N, K): a linear head on the pooled features of a backbone that moves too."""

    def __init__(self, extractor: FeatureExtractor, spec: ImageSpec) -> None:
        with torch.no_grad():
            features = extractor.eval()(torch.zeros(1, spec.channels, spec.size, spec.size)).shape[1]
        super().__init__(extractor, nn.Linear(features, spec.classes))

    @property
    def discriminator(self) -> Discriminator:
        """The backbone."""
        found: Discriminator = self.body.discriminator  # type: ignore[assignment]
        return found


@component("classifier/pretrained_backbone@1")
@dataclass(frozen=True)
class PretrainedBackbone:
    """Classifier factory: D's backbone with given weights and a new head; identified by the weights' digest."""

    architecture: Architecture
    layers: tuple[str, ...]
    grid: int
    weights: str = ""
    state: Mapping[str, Tensor] = field(default_factory=dict, metadata={"identity": False}, compare=False)

    def __call__(self, spec: ImageSpec) -> FineTunedBackbone:
        discriminator = self.architecture.discriminator(spec)
        if self.state:
            discriminator.load_state_dict(self.state)
        return FineTunedBackbone(FeatureExtractor(discriminator, self.layers, self.grid), spec)


@component("probe/fine_tune@1")
@dataclass(frozen=True)
class FineTune:
    """A probe that moves D itself; ``classifier`` gives length, augmentation and optimizer, but not the network.

    Each of D's layers has ``layer_decay`` times the learning rate of what lies above it, the next layer or the head; 1:
    one rate for all.
    """

    classifier: ClassifierStage
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.layer_decay <= 1.0:
            raise ConfigError(f"strategy.probe.layer_decay: {self.layer_decay} must lie in (0, 1]")

    def train(
        self,
        architecture: Architecture,
        discriminator: Discriminator,
        layers: tuple[str, ...],
        grid: int,
        inputs: Inputs,
        runner: StageRunner,
    ) -> TrainedStage:
        """The fine-tuned network, from the discriminator's present weights."""
        state = {name: value.detach().cpu() for name, value in discriminator.state_dict().items()}
        factory = PretrainedBackbone(architecture, layers, grid, weights_digest(state), state)
        return runner.train("classifier", self._stage(factory, runner.spec), inputs)

    def skeleton(self, architecture: Architecture, layers: tuple[str, ...], grid: int, spec: DataSpec) -> nn.Module:
        """A network of the same shapes."""
        return PretrainedBackbone(architecture, layers, grid)(spec)

    def _stage(self, factory: PretrainedBackbone, spec: ImageSpec) -> ClassifierStage:
        stage = replace(self.classifier, classifier=factory)
        if self.layer_decay == 1.0:
            return stage
        factors = tuple(self.layer_decay**depth for depth in layer_depths(factory(spec), spec))
        return replace(stage, optimizer=LayerWise(stage.optimizer, factors))


def layer_depths(network: FineTunedBackbone, spec: ImageSpec) -> list[int]:
    """How far below the head each parameter lies, in the network's order: 1 in D's last layer, 2 in the one before.

    A parameter belongs to the first feature map that it has a part in; those of the head, and of what no map depends
    on, have depth 0.
    """
    parameters = list(network.parameters())
    images = torch.zeros(1, spec.channels, spec.size, spec.size)
    maps = list(network.eval().discriminator.features(images).values())
    found = [0] * len(parameters)
    for depth, feature in enumerate(reversed(maps), start=1):
        slopes = torch.autograd.grad(feature.sum(), parameters, retain_graph=True, allow_unused=True)
        found = [depth if slope is not None else before for slope, before in zip(slopes, found, strict=True)]
    return found
