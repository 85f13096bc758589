"""Fine-tuning: all of D, with a linear head on its pooled features, trained as a classifier."""

from dataclasses import dataclass, replace

import torch

from trigan.components import component
from trigan.networks.shapes import ImageSpec
from trigan.strategies.pretrained import FineTunedBackbone, PretrainedBackbone
from trigan.training.optimizers import LayerWise
from trigan.training.range_checks import require
from trigan.training.stages.classifier_stage import ClassifierStage


@component("probe/fine_tune@1")
@dataclass(frozen=True)
class FineTune:
    """A probe that trains D too. ``classifier`` gives length, augmentation and optimizer; its network is replaced.

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
    """The distance of each parameter from the head, in the network's order: 1 in D's last layer, 2 in the one before.

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
