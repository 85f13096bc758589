"""A small convolutional classifier whose cost grows slower than the image."""

from dataclasses import dataclass

from torch import nn

from trigan.components import component
from trigan.errors import ConfigError
from trigan.networks.batchnorm import BatchNorm2d
from trigan.networks.classifiers.classifier import Classifier
from trigan.networks.initialization import initialize_kaiming
from trigan.networks.random_layers import Dropout
from trigan.networks.setting_checks import require_at_least
from trigan.networks.shapes import ImageSpec, require_supported

_LARGEST_MAP = 16


def _convolution(channels_in: int, channels_out: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
    return [conv, BatchNorm2d(channels_out), nn.ReLU(inplace=True)]


def _stem(channels: int, width: int, size: int) -> list[nn.Module]:
    """Strided convolutions until the map is at most 16 pixels wide; at least one convolution."""
    layers = _convolution(channels, width, 2 if size > _LARGEST_MAP else 1)
    size = -(-size // 2)
    while size > _LARGEST_MAP:
        layers += _convolution(width, width, 2)
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
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"classifier.dropout={self.dropout}: give a probability in [0, 1)")

    def __call__(self, spec: ImageSpec) -> Classifier:
        """A new network, drawn from torch's global random numbers; about 0.14 M parameters at width 32."""
        require_supported(spec)
        w = self.width
        body = nn.Sequential(
            *_stem(spec.channels, w, spec.size),
            *_convolution(w, w),
            nn.MaxPool2d(2),
            *_convolution(w, 2 * w),
            *_convolution(2 * w, 2 * w),
            nn.MaxPool2d(2),
            *_convolution(2 * w, 4 * w),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            *([Dropout(self.dropout)] if self.dropout else []),
        )
        network = Classifier(body, nn.Linear(4 * w, spec.classes))
        initialize_kaiming(network)
        return network
