"""A classifier with a second head, which tells real from generated images on the same embedding."""

from torch import Tensor, nn

from trigan.networks.classifiers.classifier import Classifier


class TwoHeads(nn.Module):
    """C and D as one network: ``classifier``, and ``real_head`` on the same embedding.

    As a network it is the classifier: images (N, C, S, S) -> logits (N, K).
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.real_head = nn.Linear(classifier.head.in_features, 1)

    def embed(self, x: Tensor) -> Tensor:
        """What both heads see, (N, F)."""
        return self.classifier.embed(x)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(x)
        return logits

    def class_and_real_logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the classes (N, K), and of being real (N,), positive for real."""
        embedded = self.embed(x)
        return self.classifier.head(embedded), self.real_head(embedded).squeeze(1)

    def real_logits(self, x: Tensor) -> Tensor:
        """Logits of being real alone, (N,)."""
        return self.real_head(self.embed(x)).squeeze(1)
