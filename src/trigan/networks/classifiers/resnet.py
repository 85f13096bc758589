"""ResNet-18: He et al. 2016 (1512.03385), with the stem that small images need."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from trigan.components import component
from trigan.networks.batchnorm import BatchNorm2d
from trigan.networks.classifiers.classifier import Classifier
from trigan.networks.initialization import initialize_kaiming
from trigan.networks.setting_checks import require_at_least
from trigan.networks.shapes import ImageSpec, require_supported

_LARGE_IMAGE = 64


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (figure 5, left); a 1x1 convolution where the shape changes (option B)."""

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
        # The stride is taken before the 1x1 convolution: oneDNN's backward pass of a strided one writes past its
        # workspace where the channels are few and last in memory.
        shortcut = x if self.shortcut is None else self.shortcut(x[:, :, :: self.stride, :: self.stride])
        x = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(x)) + shortcut, inplace=True)


def _stem(channels: int, width: int, size: int) -> list[nn.Module]:
    """A 3x3 convolution under 64 pixels; the paper's 7x7 of stride 2 and max-pool from 64 pixels on."""
    if size < _LARGE_IMAGE:
        return [nn.Conv2d(channels, width, 3, padding=1, bias=False), BatchNorm2d(width), nn.ReLU(inplace=True)]
    conv = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
    return [conv, BatchNorm2d(width), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)]


@component("classifier/resnet18@1")
@dataclass(frozen=True)
class ResNet18:
    """Four pairs of basic blocks of ``width``, 2x, 4x and 8x ``width``, then the mean over the map.

    Attributes:
        width: channels of the first pair, >= 1; 64 is the paper's.
    """

    width: int = 64

    def __post_init__(self) -> None:
        require_at_least("classifier.width", self.width, 1)

    def __call__(self, spec: ImageSpec) -> Classifier:
        """A new network, drawn from torch's global random numbers; 11.2 M parameters at width 64."""
        require_supported(spec)
        layers = _stem(spec.channels, self.width, spec.size)
        channels = self.width
        for level in range(4):
            wider = self.width * 2**level
            layers += [BasicBlock(channels, wider, 2 if level else 1), BasicBlock(wider, wider, 1)]
            channels = wider
        body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        network = Classifier(body, nn.Linear(channels, spec.classes))
        initialize_kaiming(network)
        return network
