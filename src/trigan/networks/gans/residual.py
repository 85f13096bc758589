"""Residual bodies of G and D for every size from 8 pixels on, and the head that adds the label to D's logit.

The blocks are those of Miyato et al. 2018 (1802.05957, appendix) in pre-activation form. Both bodies have the map sizes
of DCGAN's, odd ones rounded up, and at equal ``width`` its channels; the level of the image has half as many.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.networks.batchnorm import BatchNorm2d, ConditionalBatchNorm2d
from trigan.networks.gans.gan import Backbone, GeneratorBody, label_vectors
from trigan.networks.shapes import ImageSpec, channels_per_level, map_sizes


def levels(spec: ImageSpec, width: int, max_multiplier: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Map sizes and channels of each level, image side first: 32, 16, 8, 4 with width/2, width, 2 width, 4 width."""
    sizes = map_sizes(spec.size)
    return sizes, (max(width // 2, 1), *channels_per_level(width, len(sizes) - 1, max_multiplier))


def halve(x: Tensor) -> Tensor:
    """Means of 2x2 pixels, (N, C, S, S) -> (N, C, ceil(S/2), ceil(S/2)); an odd map's last row and column repeat."""
    odd = int(x.shape[-1]) % 2
    return F.avg_pool2d(F.pad(x, (0, odd, 0, odd), mode="replicate") if odd else x, 2)


def double(x: Tensor, size: int) -> Tensor:
    """Each pixel four times, (N, C, ceil(size/2), ceil(size/2)) -> (N, C, size, size)."""
    return F.interpolate(x, scale_factor=2.0)[..., :size, :size]


def _conv(channels_in: int, channels_out: int, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)


class _DownBlock(nn.Module):
    """Activation, conv, activation, conv, and a shortcut; the first block of D has no first activation.

    The shortcut's 1x1 convolution comes after the pooling, which gives the same and costs a quarter.
    """

    def __init__(self, channels_in: int, hidden: int, channels_out: int, first: bool, downsample: bool) -> None:
        super().__init__()
        self.first, self.downsample = first, downsample
        self.conv1, self.conv2 = _conv(channels_in, hidden), _conv(hidden, channels_out)
        self.shortcut = _conv(channels_in, channels_out, 1) if downsample else None

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.downsample:
            x, residual = halve(x), halve(residual)
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(x)
        return residual + shortcut


class SelfAttention(nn.Module):
    """Zhang et al. 2018 (1805.08318), section 3, with pooled keys and values: x + scale * o(softmax(q k^T) v).

    (N, C, S, S) -> the same shape, S >= 2. Queries and keys have C/8 channels, values C/2; ``scale`` starts at 0.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, half = max(channels // 8, 1), max(channels // 2, 1)
        self.query, self.key = (nn.Conv2d(channels, narrow, 1, bias=False) for _ in range(2))
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.output = nn.Conv2d(half, channels, 1, bias=False)
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with attention added."""
        query = self.query(x).flatten(2)
        key, value = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (self.key, self.value))
        weights = (query.transpose(1, 2) @ key).softmax(2)  # (N, S^2, S^2 / 4)
        attended = (value @ weights.transpose(1, 2)).view(-1, self.output.in_channels, *x.shape[2:])
        added: Tensor = self.scale * self.output(attended)
        return x + added


class ResidualBackbone(Backbone):
    """A block for each halving and one at the smallest size, in which D's features are after ReLU.

    ``attention`` is the largest map, in pixels, that self-attention may be on (after the first block with one so
    small); None: no attention.
    """

    stage_name = "block"

    def __init__(self, spec: ImageSpec, width: int, max_multiplier: int, attention: int | None = None) -> None:
        super().__init__()
        sizes, widths = levels(spec, width, max_multiplier)
        stages: list[nn.Module] = []
        for level, (channels_in, channels_out) in enumerate(pairwise(widths)):
            image = level == 0
            stages.append(_DownBlock(spec.channels if image else channels_in, channels_in, channels_out, image, True))
        stages.append(_DownBlock(widths[-1], widths[-1], widths[-1], first=False, downsample=False))
        if attention is not None:
            index, channels = next((i, widths[i + 1]) for i, size in enumerate(sizes[1:]) if size <= attention)
            stages[index] = nn.Sequential(stages[index], SelfAttention(channels))
        self.stages = nn.Sequential(*stages)
        self.channels, self.num_features = widths[-1], widths[-1] * sizes[-1] ** 2

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, channels, size, size) -> the last map after ReLU (N, C, S, S)."""
        return F.relu(self.stages(x))

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """``block1``, ``block2``, ..., each after ReLU; the last is the output of `forward`."""
        return {name: F.relu(feature) for name, feature in super().features(x).items()}


class ProjectionHead(nn.Module):
    """Miyato & Koyama 2018 (1802.05637), eq. 10: psi(phi) + v_y . phi, where phi (N, C) is the sum over the map.

    Without a label it is psi(phi): in the paper's decomposition psi is the ratio of the images' own densities, and
    v_y . phi that of the labels' probabilities given the image, up to normalisers. With ``classes`` 0 labels are
    ignored. The input is the flattened map (N, C * S * S).
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.channels = channels
        self.logit = nn.Linear(channels, 1)
        self.label = nn.Embedding(classes, channels) if classes else None

    def forward(self, features: Tensor, y: Tensor | None) -> Tensor:
        """Logits (N, 1)."""
        phi = features.view(len(features), self.channels, -1).sum(2)
        logits: Tensor = self.logit(phi)
        if self.label is None:
            return logits
        return logits + (label_vectors(self.label, y, phi.new_zeros(())) * phi).sum(1, keepdim=True)


class _UpBlock(nn.Module):
    """Norm, ReLU, doubling, conv, norm, ReLU, conv, and a shortcut, from maps of ceil(size/2) to maps of ``size``."""

    def __init__(self, channels_in: int, channels_out: int, size: int, code: int) -> None:
        super().__init__()
        self.size = size
        self.norm1, self.norm2 = ConditionalBatchNorm2d(channels_in, code), ConditionalBatchNorm2d(channels_out, code)
        self.conv1, self.conv2 = _conv(channels_in, channels_out), _conv(channels_out, channels_out)
        self.shortcut = _conv(channels_in, channels_out, 1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        residual: Tensor = self.conv1(double(F.relu(self.norm1(x, code)), self.size))
        residual = self.conv2(F.relu(self.norm2(residual, code)))
        shortcut: Tensor = double(self.shortcut(x), self.size)  # before the doubling: the same at a quarter of the cost
        return residual + shortcut


class ResidualUpsampler(GeneratorBody):
    """A projection to the smallest map, a block for each doubling, batch norm, ReLU, conv and tanh.

    The hidden vector is a latent, and ``code`` numbers for the label, which reach the batch norms of all blocks. With
    ``parts`` the latent is cut: the first part is projected, and each of the others joins the code of one block.
    """

    def __init__(
        self, spec: ImageSpec, width: int, max_multiplier: int, parts: Sequence[int], code: int, attention: int | None
    ) -> None:
        super().__init__()
        sizes, widths = levels(spec, width, max_multiplier)
        count = len(sizes) - 1
        self.parts = tuple(parts) if len(parts) > 1 else (parts[0], *[0] * count)
        self.inputs = sum(self.parts) + code
        self.shape = (widths[-1], sizes[-1], sizes[-1])
        self.project = nn.Linear(self.parts[0], widths[-1] * sizes[-1] ** 2)
        steps = list(zip(range(count, 0, -1), self.parts[1:], strict=True))
        self.blocks = nn.ModuleList(_UpBlock(widths[n], widths[n - 1], sizes[n - 1], code + part) for n, part in steps)
        fits = [level for level, size in enumerate(sizes[:-1]) if attention is not None and size <= attention]
        self.attention_after = count - 1 - fits[0] if fits else -1
        self.attention = SelfAttention(widths[fits[0]]) if fits else None
        self.norm = BatchNorm2d(widths[0])
        self.image = _conv(widths[0], spec.channels)

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden vectors (N, ``inputs``) -> images (N, channels, size, size) in [-1, 1]."""
        ends = list(accumulate(self.parts))
        first, label = hidden[:, : ends[0]], hidden[:, ends[-1] :]
        x = self.project(first).view(-1, *self.shape)
        for number, (block, (start, end)) in enumerate(zip(self.blocks, pairwise(ends), strict=True)):
            x = block(x, torch.cat([label, hidden[:, start:end]], dim=1))
            if self.attention is not None and number == self.attention_after:
                x = self.attention(x)
        images: Tensor = self.image(F.relu(self.norm(x)))
        return images.tanh()
