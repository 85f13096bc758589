"""What every classifier is: a body that embeds images, and a linear head."""

from typing import Protocol

from torch import Tensor, nn

from trigan.networks.shapes import ImageSpec


class Classifier(nn.Module):
    """Images (N, C, S, S) -> logits (N, K) = ``head(embed(x))``; ``embed`` gives (N, F)."""

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body, self.head = body, head

    def embed(self, x: Tensor) -> Tensor:
        """The values that the head sees, (N, F)."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class EmbeddingNetwork(nn.Module):
    """What a classifier's last layer sees, as a network: images (N, C, S, S) -> ``classifier.embed(x)``, (N, F)."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.classifier.embed(x)  # type: ignore[operator]
        return features


class ClassifierFactory(Protocol):
    """What makes a classifier; any frozen dataclass with this, named by a config, is one."""

    def __call__(self, spec: ImageSpec) -> Classifier: ...
