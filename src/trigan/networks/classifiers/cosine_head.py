"""A classifier whose logits are scaled cosines."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.checks import require
from trigan.component_ids import component
from trigan.networks.classifiers.classifier import Classifier, ClassifierFactory
from trigan.networks.shapes import ImageSpec


class CosineLinear(nn.Linear):
    """s cos(w_k, x) for each class: inputs and the rows of the weight are normalised, and there is no bias."""

    def __init__(self, features: int, classes: int, scale: float) -> None:
        super().__init__(features, classes, bias=False)
        self.scale = scale
        with torch.no_grad():
            self.weight.copy_(F.normalize(torch.randn_like(self.weight)))

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings (N, F) -> logits (N, K) in [-s, s]."""
        return self.scale * F.linear(F.normalize(x), F.normalize(self.weight))


@component("classifier/cosine_head@1")
@dataclass(frozen=True)
class CosineHead:
    """``classifier`` with the head s cos(w_k, x) (Wang et al. 2018, 1801.05599; the head of LDAM, 1906.07413).

    Attributes:
        scale: s.
    """

    classifier: ClassifierFactory
    scale: float = 30.0

    def __post_init__(self) -> None:
        require(self.scale > 0.0, "scale", self.scale, "above 0")

    def __call__(self, spec: ImageSpec) -> Classifier:
        """A new classifier for images of shape ``spec``."""
        network = self.classifier(spec)
        network.head = CosineLinear(network.head.in_features, spec.classes, self.scale)
        return network
