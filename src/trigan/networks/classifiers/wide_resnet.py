"""Wide residual networks: Zagoruyko & Komodakis 2016 (1605.07146), the usual network of semi-supervised tables."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from trigan.components import component
from trigan.errors import ConfigError
from trigan.networks.batchnorm import BatchNorm2d
from trigan.networks.classifiers.classifier import Classifier
from trigan.networks.initialization import initialize_kaiming
from trigan.networks.random_layers import Dropout, require_probability
from trigan.networks.setting_checks import require_at_least
from trigan.networks.shapes import ImageSpec, require_supported


class PreActivationBlock(nn.Module):
    """x + conv(dropout(act(conv(act(x))))), act = ReLU of batch norm: B(3,3) of the paper's section 2.

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
        active = F.relu(self.norm1(x), inplace=True)
        # The stride is taken before the 1x1 convolution, for the reason that ResNet-18's block tells.
        shortcut = x if self.shortcut is None else self.shortcut(active[:, :, :: self.stride, :: self.stride])
        inner = F.relu(self.norm2(self.conv1(active)), inplace=True)
        return self.conv2(self.dropout(inner)) + shortcut


class _Activated(nn.Module):
    """Batch norm and ReLU behind the last block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(x), inplace=True)


@component("classifier/wide_resnet@1")
@dataclass(frozen=True)
class WideResNet:
    """WRN-depth-widening: three groups of blocks at full, half and a quarter of the size, then the mean over the map.

    Attributes:
        depth: of convolutions along the path, 6 n + 4 for n >= 1 blocks a group.
        widening: the paper's k: the groups have 1, 2 and 4 times ``widening * width`` channels, >= 1.
        width: channels of the first convolution, >= 1; 16 is the paper's.
        dropout: probability of dropping a value between the two convolutions of a block, in [0, 1).
    """

    depth: int = 28
    widening: int = 2
    width: int = 16
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_at_least("classifier.depth", self.depth, 10)
        if self.depth % 6 != 4:
            raise ConfigError(f"classifier.depth={self.depth}: give 6 n + 4: 10, 16, 22, 28, 34, 40, ...")
        require_at_least("classifier.widening", self.widening, 1)
        require_at_least("classifier.width", self.width, 1)
        require_probability("classifier.dropout", self.dropout)

    def __call__(self, spec: ImageSpec) -> Classifier:
        """A new network, drawn from torch's global random numbers; 1.47 M parameters by default."""
        require_supported(spec)
        layers: list[nn.Module] = [nn.Conv2d(spec.channels, self.width, 3, padding=1, bias=False)]
        channels = self.width
        for group in range(3):
            wider = self.width * self.widening * 2**group
            for block in range((self.depth - 4) // 6):
                stride = 2 if group and not block else 1
                layers.append(PreActivationBlock(channels, wider, stride, self.dropout))
                channels = wider
        body = nn.Sequential(*layers, _Activated(channels), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        network = Classifier(body, nn.Linear(channels, spec.classes))
        initialize_kaiming(network)
        return network
