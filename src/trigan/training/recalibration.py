"""Batch-norm recalibration: a fitted network's batch-norm statistics are re-estimated, and it is put in evaluation mode.

Running statistics are a mixture of what a network met on its way; weights that are averages have none of their own.
So whatever is evaluated gets its statistics from images of one kind: real training images (D, C), or its own (G).
"""

import torch
from torch import Tensor, nn

from trigan.data.inputs import EVALUATION_BATCH, image_batches, random_subset
from trigan.networks.batchnorm import recalibrate_batch_norm
from trigan.networks.gans.gan import Discriminator, Generator
from trigan.rng import torch_generator

#: Images from which statistics are estimated, at the most.
STATISTICS_IMAGES = 5_000


def recalibrate_generator(network: Generator, seed: int, device: torch.device, dtype: torch.dtype) -> None:
    """Statistics of G over its own latent distribution."""

    def batches() -> list[tuple[Tensor, Tensor | None]]:
        source = torch_generator(seed, "generator statistics")
        pairs: list[tuple[Tensor, Tensor | None]] = []
        for _ in range(STATISTICS_IMAGES // EVALUATION_BATCH):
            z = torch.randn(EVALUATION_BATCH, network.latent, generator=source).to(device, dtype)
            classes = network.classes
            y = torch.randint(classes, (EVALUATION_BATCH,), generator=source).to(device) if classes else None
            pairs.append((z, y))
        return pairs

    recalibrate_batch_norm(network, batches(), lambda batch: network(*batch))


def recalibrate_discriminator(
    network: Discriminator, images: Tensor, seed: int, device: torch.device, dtype: torch.dtype
) -> None:
    """Statistics of D over real training images (uint8)."""
    chosen = random_subset(images, STATISTICS_IMAGES, seed)
    recalibrate_batch_norm(network, image_batches(chosen, device, dtype), lambda batch: network.features(batch))


def recalibrate_classifier(
    network: nn.Module, images: Tensor, seed: int, device: torch.device, dtype: torch.dtype
) -> None:
    """Statistics of C over real training images (uint8), never validation or test images."""
    chosen = random_subset(images, STATISTICS_IMAGES, seed)
    recalibrate_batch_norm(network, image_batches(chosen, device, dtype), network)
