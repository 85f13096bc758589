"""Re-estimate a network's batch-norm statistics after a fit, and put it in evaluation mode.

Running statistics mix all images of a fit, and averaged weights have no statistics. Before evaluation the statistics of
each network are estimated on one kind of images: real training images for D and C, generated images for G.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trigan.cost import uncounted
from trigan.datasets.inputs import EVALUATION_BATCH, Input, image_batches, random_subset
from trigan.networks.batchnorm import recalibrate_batch_norm
from trigan.networks.gans.gan import Discriminator, Generator
from trigan.rng import Draws
from trigan.training.selection import accuracy

#: Largest number of images from which statistics are estimated.
STATISTICS_IMAGES = 5_000
#: The least share, and the least number, of labelled images that C must lose for statistics of these images alone.
LOST_SHARE, LOST_IMAGES = 0.05, 3


def recalibrate_generator(network: Generator, seed: int) -> None:
    """Estimate G's statistics on latents drawn from its latent distribution."""
    weights, classes = next(network.parameters()), network.classes
    batches: list[tuple[Tensor, Tensor | None]] = []
    for start in range(0, STATISTICS_IMAGES - EVALUATION_BATCH, EVALUATION_BATCH):
        draws = Draws.of_rows(seed, start, start + EVALUATION_BATCH, weights.device)
        z = draws.normal("statistics/z", network.latent).to(weights.dtype)
        batches.append((z, draws.integers("statistics/y", classes) if classes else None))
    recalibrate_batch_norm(network, batches, lambda batch: network(*batch))


def recalibrate_discriminator(network: Discriminator, images: Tensor, seed: int) -> None:
    """Estimate D's statistics on real training images, uint8 (N, C, S, S)."""
    recalibrate_classifier(network, images, seed, network.features)


def recalibrate_classifier(
    network: nn.Module, images: Tensor, seed: int, forward: Callable[[Tensor], Any] | None = None
) -> None:
    """Estimate C's statistics (or those of a network with another ``forward``) on real images, uint8 (N, C, S, S)."""
    weights = next(network.parameters())
    chosen = random_subset(images, STATISTICS_IMAGES, seed)
    recalibrate_batch_norm(network, image_batches(chosen, weights.device, weights.dtype), forward)


@torch.no_grad()
def recalibrate_on_real(network: nn.Module, images: Tensor, labelled: Input, seed: int) -> int:
    """Estimate C's statistics on all real ``images``, or on the labelled ones alone if C needs those.

    C is trained on batches of labelled images. Where their classes have other frequencies than those of all images
    (equal numbers of labels for classes of which one is common), the statistics of all images are not those that C
    was trained with. It then misclassifies even the images whose labels it has learnt: if more than `LOST_SHARE` of
    them are right with their own statistics alone, C gets these. The check uses training labels only, and its
    operations are not counted.

    Returns:
        The number of images of the statistics.
    """
    recalibrate_classifier(network, images, seed)
    if labelled.sampled or len(images) == len(labelled):
        return len(images)
    with uncounted():
        own = copy.deepcopy(network)
        recalibrate_classifier(own, labelled.images, seed)
        lost = round((accuracy(own, labelled) - accuracy(network, labelled)) * len(labelled))
    if lost <= max(LOST_SHARE * len(labelled), LOST_IMAGES - 1):
        return len(images)
    network.load_state_dict(own.state_dict())
    return len(labelled)
