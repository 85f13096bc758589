"""A small convolutional classifier whose cost grows slower than the image."""

from dataclasses import dataclass

from torch import nn

from trigan.checks import require_at_least, require_probability
from trigan.component_ids import component
from trigan.networks.classifiers.classifier import Classifier, conv_norm_relu, convolutional_classifier
from trigan.networks.random_layers import Dropout
from trigan.networks.shapes import ImageSpec, require_supported

_LARGEST_MAP = 16


def _stem(channels: int, width: int, size: int) -> list[nn.Module]:
    """Strided convolutions until the map is at most 16 pixels wide; at least one convolution."""
    layers = conv_norm_relu(channels, width, stride=2 if size > _LARGEST_MAP else 1)
    size = -(-size // 2)
    while size > _LARGEST_MAP:
        layers += conv_norm_relu(width, width, stride=2)
        size = -(-size // 2)
    return layers


@component("classifier/small_cnn@1")
@dataclass(frozen=True)
class SmallCNN:
    """3x3 convolutions with batch norm and ReLU: stem, blocks of ``width``, 2x and 4x ``width``, mean over the map.

    Attributes:
        width: channels of the first block, >= 1.
        dropout: probability of dropping an embedded value in training, in [0, 1).
    """

    width: int = 32
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_at_least("classifier.width", self.width, 1)
        require_probability("classifier.dropout", self.dropout)

    def __call__(self, spec: ImageSpec) -> Classifier:
        """A new network, about 0.14 M parameters by default."""
        require_supported(spec)
        w = self.width
        layers = [
            *_stem(spec.channels, w, spec.size),
            *conv_norm_relu(w, w),
            nn.MaxPool2d(2),
            *conv_norm_relu(w, 2 * w),
            *conv_norm_relu(2 * w, 2 * w),
            nn.MaxPool2d(2),
            *conv_norm_relu(2 * w, 4 * w),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            *([Dropout(self.dropout)] if self.dropout else []),
        ]
        return convolutional_classifier(layers, 4 * w, spec.classes)
