"""The U-Net of a diffusion model: an image, a noise level and a label -> an image of the same shape."""

import math
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.networks.shapes import ImageSpec, channels_per_level, map_sizes

#: Frequencies of the noise level's embedding, in radians per unit of ln(sigma) / 4.
_FREQUENCIES = tuple(2.0**k for k in range(-1, 6))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, channels), channels)


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with zeros as its weights: its branch is off at the start."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class _Attention(nn.Module):
    """Self-attention of one head over the positions of a map (N, C, S, S), with a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = _zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).flatten(2).chunk(3, dim=1)
        weights = (q.transpose(1, 2) @ k * q.shape[1] ** -0.5).softmax(2)  # (N, queries, keys)
        changed: Tensor = x + self.out((v @ weights.transpose(1, 2)).view(x.shape))
        return changed


class _Block(nn.Module):
    """A residual block whose second norm is scaled and shifted by the embedding; attention where it is wanted."""

    def __init__(self, channels_in: int, channels_out: int, embedding: int, attention: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(channels_in), _norm(channels_out)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.conv2 = _zeroed(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.modulation = nn.Linear(embedding, 2 * channels_out)
        self.skip = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()
        self.attention = _Attention(channels_out) if attention else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h) * (1.0 + scale) + shift))
        images: Tensor = self.attention(self.skip(x) + h)
        return images


class UNet(nn.Module):
    """Residual blocks at each map size of `map_sizes`, down and up again, with connections between equal sizes.

    Ho et al. 2020 (2006.11239) with the adaptive group norm of Dhariwal & Nichol 2021 (2105.05233). Odd sizes round up
    on the way down. Maps smaller than the image and of at most ``attention_size`` pixels have attention. The last layer
    starts at 0.
    ``widths`` are the channels next to the image, doubled at every level, and how many times as many there are at most.
    ``classes`` labels have an embedding each, and there is one for no label.
    """

    def __init__(
        self, spec: ImageSpec, widths: tuple[int, int], blocks: int, attention_size: int, classes: int
    ) -> None:
        super().__init__()
        width, max_multiplier = widths
        self.sizes, embedding = map_sizes(spec.size), 4 * width
        channels = channels_per_level(width, len(self.sizes), max_multiplier)
        self.embed_noise = nn.Sequential(
            nn.Linear(2 * len(_FREQUENCIES), embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.embed_label = nn.Embedding(classes + 1, embedding)
        self.classes = classes

        def level(inputs: int, outputs: int, size: int) -> nn.ModuleList:
            wide = [inputs, *[outputs] * blocks]
            attention = size <= attention_size and size < spec.size
            return nn.ModuleList(_Block(*pair, embedding, attention) for pair in pairwise(wide))

        self.first = nn.Conv2d(spec.channels, channels[0], 3, padding=1)
        self.down = nn.ModuleList(level(c, c, size) for c, size in zip(channels, self.sizes, strict=True))
        self.halve = nn.ModuleList(nn.Conv2d(*pair, 3, stride=2, padding=1) for pair in pairwise(channels))
        self.widen = nn.ModuleList(nn.Conv2d(below, c, 1) for c, below in pairwise(channels))
        upper = zip(channels, self.sizes[:-1], strict=False)
        self.up = nn.ModuleList(level(2 * c, c, size) for c, size in upper)
        self.norm = _norm(channels[0])
        self.last = _zeroed(nn.Conv2d(channels[0], spec.channels, 3, padding=1))

    def forward(self, x: Tensor, noise: Tensor, y: Tensor | None) -> Tensor:
        """Images (N, C, S, S), ``noise`` (N,) = ln(sigma) / 4 and labels (N,), -1 for none -> (N, C, S, S)."""
        last = list(self.features(x, noise, y).values())[-1]
        images: Tensor = self.last(F.silu(self.norm(last)))
        return images

    def features(self, x: Tensor, noise: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        """The output of each level: ``down1``, ``down2``, ... to the smallest map, then ``up...``, ``up2``, ``up1``."""
        embedding, maps = F.silu(self._embedding(noise, y)), dict[str, Tensor]()
        x = self.first(x)
        for number, blocks in enumerate(self.down, start=1):
            x = self.halve[number - 2](x) if number > 1 else x
            for block in cast(nn.ModuleList, blocks):
                x = block(x, embedding)
            maps[f"down{number}"] = x
        for number in range(len(self.up), 0, -1):
            skip = maps[f"down{number}"]
            x = F.interpolate(self.widen[number - 1](x), size=skip.shape[-2:])
            x = torch.cat([x, skip], dim=1)
            for block in cast(nn.ModuleList, self.up[number - 1]):
                x = block(x, embedding)
            maps[f"up{number}"] = x
        return maps

    def _embedding(self, noise: Tensor, y: Tensor | None) -> Tensor:
        """Of noise level and label, (N, E)."""
        exponents = torch.arange(len(_FREQUENCIES), dtype=noise.dtype, device=noise.device)
        angles = noise[:, None] * (_FREQUENCIES[0] * 2.0**exponents)
        code: Tensor = self.embed_noise(torch.cat([angles.cos(), angles.sin()], dim=1))
        labels = torch.full_like(noise, self.classes, dtype=torch.int64) if y is None else y
        code = code + self.embed_label(torch.where(labels < 0, self.classes, labels))
        return code
