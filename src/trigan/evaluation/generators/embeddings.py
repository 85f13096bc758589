"""Embeddings of images in which generators are scored; each has a stamp, by which figures are comparable or not."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.datasets.inputs import image_batches
from trigan.errors import ConfigError
from trigan.rng import Draws

#: The widest map behind the first layer; larger ones are averaged down.
_LARGEST_MAP = 16


@dataclass(frozen=True, eq=False)
class Embedding:
    """Maps images to vectors.

    Attributes:
        stamp: identifies the function: its name, with a digest where it has weights that are not fixed here.
        function: float (N, C, S, S) in [-1, 1] -> (N, F).
    """

    stamp: str
    function: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Images uint8 (N, C, S, S) -> features float32 (N, F) on the CPU, N >= 1."""
        module = self.function if isinstance(self.function, nn.Module) else None
        parameter = next(module.parameters(), torch.empty(0)) if module is not None else torch.empty(0)
        batches = image_batches(images, parameter.device, torch.float32)
        features = torch.cat([self.function(batch).flatten(1).float().cpu() for batch in batches])
        if not bool(features.isfinite().all()):
            raise ConfigError(f"embedding {self.stamp}: features of some images are not finite; give other weights")
        return features


class RandomConv(nn.Module):
    """Three convolutions with fixed random filters: images of any size of 8 or more, 1 or 3 channels -> (N, 256).

    Filters are N(0, 2 / fan-in) of a fixed seed, the same on every machine; grey images count as three equal channels.
    No layer depends on other images. Random filters are a sound embedding for images far from ImageNet (Naeem et al.
    2020, arXiv 2002.09797, section 4.2), need no labels and no download, and know nothing of the test set.

    Example:
        >>> RandomConv()(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 256])
    """

    def __init__(self) -> None:
        super().__init__()
        shapes = {"first": (32, 3), "second": (64, 32), "third": (64, 64)}
        for name, (wide, deep) in shapes.items():
            filters = Draws.of_rows(0, 0, wide).normal(f"random_conv/{name}", deep, 3, 3)
            self.register_buffer(name, filters * (2.0 / (9 * deep)) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Images in [-1, 1] -> four means, over the quarters of the last map, of 64 features."""
        x = x.expand(-1, 3, -1, -1)
        x = F.leaky_relu(F.conv2d(x, self.get_buffer("first"), padding=1), 0.2)
        if x.shape[-1] > _LARGEST_MAP:
            x = F.adaptive_avg_pool2d(x, _LARGEST_MAP)
        x = F.leaky_relu(F.conv2d(x, self.get_buffer("second"), stride=2, padding=1), 0.2)
        x = F.leaky_relu(F.conv2d(x, self.get_buffer("third"), stride=2, padding=1), 0.2)
        return F.adaptive_avg_pool2d(x, 2).flatten(1)


def random_conv() -> Embedding:
    """The embedding ``random_conv``, which needs no data: the only one that a selection or a stopping rule may use."""
    return Embedding("random_conv@1", RandomConv())


def of_classifier(classifier: nn.Module, digest: str) -> Embedding:
    """Inputs of the last layer of a classifier; ``digest`` identifies its weights."""
    embed: Callable[[Tensor], Tensor] = classifier.embed  # type: ignore[assignment]
    return Embedding(f"classifier-{digest[:12]}", embed)


def from_file(path: Path, size: int = 0) -> Embedding:
    """A network saved as TorchScript, such as FID's Inception or DINOv2: its output is the embedding.

    Args:
        path: written by ``torch.jit.save``; it gets images float (N, 3, S, S) in [-1, 1].
        size: the side to which images are resized first (bilinear, antialiased); 0: as they are.

    Raises:
        ConfigError: there is no such file, or it holds no such network.
    """
    if not path.is_file():
        raise ConfigError(
            f"--weights={path}: no such file; give a TorchScript file (torch.jit.save) of a network without its head, "
            "e.g. Inception or DINOv2; nothing is downloaded"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        network = torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ConfigError(
            f"--weights={path}: not a TorchScript file ({reason}); a state dict alone has no network: name your module "
            "by --embedding MODULE.FUNCTION, or save the network by torch.jit.save"
        ) from error

    def embed(x: Tensor) -> Tensor:
        x = x.expand(-1, 3, -1, -1)
        if size:
            x = F.interpolate(x, (size, size), mode="bilinear", antialias=True)
        features = network(x)
        if not isinstance(features, Tensor):
            raise ConfigError(f"--weights={path}: its output is a {type(features).__name__}, expected a tensor (N, F)")
        return features

    return Embedding(f"file-{digest[:12]}" + (f"-{size}" if size else ""), embed)
