"""Residual networks: ResNet-18 (He et al. 2016, 1512.03385) and wide ones (Zagoruyko & Komodakis 2016, 1605.07146)."""

from collections import OrderedDict
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from trigan.checks import require, require_at_least, require_probability
from trigan.component_ids import component
from trigan.networks.batchnorm import BatchNorm2d
from trigan.networks.classifiers.classifier import Classifier, conv_norm_relu, convolutional_classifier
from trigan.networks.random_layers import Dropout
from trigan.networks.shapes import ImageSpec, require_supported

_LARGE_IMAGE = 64


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (1512.03385, figure 5), a 1x1 convolution where the shape changes (B)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.norm1 = BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.norm2 = BatchNorm2d(channels_out)
        self.shortcut: nn.Module | None = None
        if stride != 1 or channels_in != channels_out:
            conv = nn.Conv2d(channels_in, channels_out, 1, bias=False)
            self.shortcut = nn.Sequential(conv, BatchNorm2d(channels_out))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S) -> (N, C', ceil(S / stride), ceil(S / stride))."""
        # The stride is applied before the 1x1 convolution: oneDNN's backward pass of a strided one writes past its
        # workspace where channels are few and last in memory.
        shortcut = x if self.shortcut is None else self.shortcut(x[:, :, :: self.stride, :: self.stride])
        x = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(x)) + shortcut, inplace=True)


@component("classifier/resnet18@1")
@dataclass(frozen=True)
class ResNet18:
    """Four pairs of basic blocks of ``width``, 2x, 4x and 8x ``width``, then the mean over the map.

    The stem is a 3x3 convolution under 64 pixels, else the paper's 7x7 of stride 2 and max-pool.

    Attributes:
        width: channels of the first pair, >= 1; 64 is the paper's.
    """

    width: int = 64

    def __post_init__(self) -> None:
        require_at_least("classifier.width", self.width, 1)

    def __call__(self, spec: ImageSpec) -> Classifier:
        """A new network, 11.2 M parameters by default."""
        require_supported(spec)
        if spec.size < _LARGE_IMAGE:
            layers = conv_norm_relu(spec.channels, self.width)
        else:
            layers = [*conv_norm_relu(spec.channels, self.width, 7, 2), nn.MaxPool2d(3, stride=2, padding=1)]
        channels = self.width
        for level in range(4):
            width = self.width * 2**level
            layers += [BasicBlock(channels, width, 2 if level else 1), BasicBlock(width, width, 1)]
            channels = width
        return convolutional_classifier([*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()], channels, spec.classes)


class PreActivationBlock(nn.Module):
    """x + conv(dropout(act(conv(act(x))))), act = ReLU of batch norm: B(3,3) of 1605.07146, section 2.

    Where the shape changes, the shortcut is a 1x1 convolution of act(x), as in the authors' code.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.norm2 = BatchNorm2d(channels_out)
        self.dropout = Dropout(dropout)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S) -> (N, C', ceil(S / stride), ceil(S / stride))."""
        active = F.relu(self.norm1(x), inplace=True)
        # The stride is applied first for the reason given in BasicBlock.
        shortcut = x if self.shortcut is None else self.shortcut(active[:, :, :: self.stride, :: self.stride])
        inner = F.relu(self.norm2(self.conv1(active)), inplace=True)
        residual: Tensor = self.conv2(self.dropout(inner))
        return residual + shortcut


@component("classifier/wide_resnet@1")
@dataclass(frozen=True)
class WideResNet:
    """WRN-depth-widening: three groups of blocks at full, half and a quarter of the size, then the mean over the map.

    Attributes:
        depth: number of convolutions, 6 n + 4 for n >= 1 blocks per group.
        widening: the paper's k, >= 1: the groups have 1, 2 and 4 times ``widening * width`` channels.
        width: channels of the first convolution, >= 1; 16 is the paper's.
        dropout: probability of dropping a value between the two convolutions of a block, in [0, 1).
    """

    depth: int = 28
    widening: int = 2
    width: int = 16
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_at_least("classifier.depth", self.depth, 10)
        require(self.depth % 6 == 4, "classifier.depth", self.depth, "6 n + 4: 10, 16, 22, 28, 34, 40, ...")
        require_at_least("classifier.widening", self.widening, 1)
        require_at_least("classifier.width", self.width, 1)
        require_probability("classifier.dropout", self.dropout)

    def __call__(self, spec: ImageSpec) -> Classifier:
        """A new network, 1.47 M parameters by default."""
        require_supported(spec)
        layers: list[nn.Module] = [nn.Conv2d(spec.channels, self.width, 3, padding=1, bias=False)]
        channels = self.width
        for group in range(3):
            block_width = self.width * self.widening * 2**group
            for block in range((self.depth - 4) // 6):
                stride = 2 if group and not block else 1
                layers.append(PreActivationBlock(channels, block_width, stride, self.dropout))
                channels = block_width
        last = nn.Sequential(OrderedDict[str, nn.Module](norm=BatchNorm2d(channels), relu=nn.ReLU(inplace=True)))
        layers += [last, nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return convolutional_classifier(layers, channels, spec.classes)
