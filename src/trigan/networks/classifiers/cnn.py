"""Convolutional classifiers: a small one, and the All-CNN with weight norm."""

from dataclasses import dataclass

from torch import nn

from trigan.checks import require_at_least, require_probability, require_std
from trigan.component_ids import component
from trigan.networks.classifiers.classifier import Classifier, conv_norm_relu, convolutional_classifier
from trigan.networks.random_layers import Dropout
from trigan.networks.shapes import ImageSpec, require_supported
from trigan.networks.weight_norm import WeightNormConv2d

_LARGEST_MAP = 16


def _stem(channels: int, width: int, size: int) -> list[nn.Module]:
    """Strided convolutions until the map is at most 16 pixels wide; at least one convolution."""
    layers = conv_norm_relu(channels, width, stride=2 if size > _LARGEST_MAP else 1)
    while (size := -(-size // 2)) > _LARGEST_MAP:
        layers += conv_norm_relu(width, width, stride=2)
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


@component("classifier/all_cnn@1")
@dataclass(frozen=True)
class AllCNN:
    """The CIFAR-10 and SVHN classifier of Salimans et al. 2016 (1606.03498): weight norm and dropout, no batch norm.

    3 convolutions, 3 of twice the width, each third with stride 2; one more, two of 1x1, mean over the map: the
    All-CNN-C of Springenberg et al. 2014 (1412.6806), here before a linear layer. Widths, dropout, leaky ReLU and
    weight norm are those of the paper's released code, except that the last layer has no weight norm and initial
    lengths are as in `trigan.networks.weight_norm`.

    Attributes:
        width: channels of the first three, >= 1; 96 in the paper's code for CIFAR-10, 64 for SVHN.
        input_dropout: probability of dropping a pixel's channel in training, in [0, 1).
        dropout: probability of dropping a value after the third and the sixth convolution, in [0, 1).
        direction_std: standard deviation of the weights' initial directions, > 0; 0.05 in the paper's code.
    """

    width: int = 96
    input_dropout: float = 0.2
    dropout: float = 0.5
    direction_std: float = 0.05

    def __post_init__(self) -> None:
        require_at_least("classifier.width", self.width, 1)
        require_probability("classifier.input_dropout", self.input_dropout)
        require_probability("classifier.dropout", self.dropout)
        require_std("classifier.direction_std", self.direction_std)

    def __call__(self, spec: ImageSpec) -> Classifier:
        """A new network, 1.41 M parameters by default on colour images."""
        require_supported(spec)
        w, map_size = self.width, -(-spec.size // 4)
        layers = [
            Dropout(self.input_dropout),
            *self._convolution(spec.channels, w, padding=1),
            *self._convolution(w, w, padding=1),
            *self._convolution(w, w, stride=2, padding=1),
            Dropout(self.dropout),
            *self._convolution(w, 2 * w, padding=1),
            *self._convolution(2 * w, 2 * w, padding=1),
            *self._convolution(2 * w, 2 * w, stride=2, padding=1),
            Dropout(self.dropout),
            *self._convolution(2 * w, 2 * w, padding=0 if map_size >= 3 else 1),
            *self._convolution(2 * w, 2 * w, kernel=1),
            *self._convolution(2 * w, 2 * w, kernel=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ]
        return convolutional_classifier(layers, 2 * w, spec.classes)

    def _convolution(
        self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1, padding: int = 0
    ) -> list[nn.Module]:
        conv = WeightNormConv2d(channels_in, channels_out, kernel, self.direction_std, stride, padding)
        return [conv, nn.LeakyReLU(0.2, inplace=True)]
