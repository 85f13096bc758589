"""The body of a classifier with weights from a file, which get images as these weights know them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PretrainedBody(nn.Module):
    """``body`` on images that are resized, in three channels, and normalised as its weights need them.

    Args:
        body: takes images (N, 3, size, size) with mean 0 and standard deviation 1, and gives (N, F).
        read: gives the state dict of the body with the weights of the file.
        digest: gives the SHA-256 of the file.
        mean: of each channel, for values in 0..1.
        std: standard deviation, likewise.
        size: side in pixels.
        interpolation: ``bilinear`` or ``bicubic``.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        read: Callable[[], dict[str, Tensor]],
        digest: Callable[[], str | None],
        mean: Sequence[float],
        std: Sequence[float],
        size: int,
        interpolation: str,
    ) -> None:
        super().__init__()
        self.body, self.size, self.mode = body, size, interpolation if interpolation == "bilinear" else "bicubic"
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self._read: Callable[[], dict[str, Tensor]] | None = read
        self._digest = digest
        self.weights: str | None = None
        self.register_load_state_dict_post_hook(_has_other_weights)  # type: ignore[no-untyped-call]

    def load_weights(self) -> None:
        """Read the file, unless the weights are those of another training; ``weights`` is then the file's SHA-256."""
        if self._read is not None:
            self.body.load_state_dict(self._read())
            self.weights = self._digest()

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 1 or 3, S, S) in [-1, 1] -> embeddings (N, F)."""
        if x.shape[-1] != self.size:
            smaller, side = self.size < x.shape[-1], (self.size, self.size)
            x = F.interpolate(x, side, mode=self.mode, align_corners=False, antialias=smaller).clamp(-1.0, 1.0)
        embedded: Tensor = self.body((x.expand(-1, 3, -1, -1) * 0.5 + 0.5 - self.mean) / self.std)
        return embedded


def _has_other_weights(body: Any, keys: Any) -> None:
    body._read = None


def load_pretrained_weights(network: nn.Module) -> None:
    """Read the files of all pretrained parts of a network that is about to be trained."""
    for module in network.modules():
        if isinstance(module, PretrainedBody):
            module.load_weights()


def pretrained_weights(network: nn.Module) -> list[str]:
    """SHA-256 of the files that parts of a network were read from, each once."""
    parts = (module.weights for module in network.modules() if isinstance(module, PretrainedBody))
    return sorted({digest for digest in parts if digest is not None})
