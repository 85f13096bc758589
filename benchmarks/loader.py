"""The resident loader over a PIL + DataLoader pipeline, without and with crop and flip.

    python benchmarks/loader.py [--rounds 9] [--quick]

Aim: <= 1/40 of the time without augmentation, <= 1/10 with crop and flip. Images are random, 28x28 grey and 32x32
colour; no worker processes on either side.
"""

import functools
import random
import time

import numpy as np
import torch
from paired import Row, Size, compare, interleave, run_part
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset

from trigan.datasets.augmentation import ClassicAugmentation
from trigan.datasets.stream import BatchStream
from trigan.rng import Draws

BATCH, COUNT = 64, 6400
SHAPES = {"28x28 grey": (1, 28, 28), "32x32 colour": (3, 32, 32)}
AIMS = {"plain": "<= 0.025", "crop and flip": "<= 0.1"}


class PILImages(Dataset[tuple[torch.Tensor, int]]):
    """Image by image, as most training scripts do it: array, PIL, transforms, tensor, normalise."""

    def __init__(self, images: torch.Tensor, augment: bool) -> None:
        self.images = [Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy()) for image in images]
        self.augment = augment

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = self.images[index]
        if self.augment:
            padded, size = ImageOps.expand(image, border=4), image.width
            left, top = random.randint(0, 8), random.randint(0, 8)
            image = padded.crop((left, top, left + size, top + size))
            if random.random() < 0.5:
                image = ImageOps.mirror(image)
        array = np.atleast_3d(np.array(image))
        tensor = torch.from_numpy(array).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
        return tensor.sub(0.5).div(0.5), 0


def pil(images: torch.Tensor, augment: bool) -> float:
    """Processor seconds a batch of the PIL pipeline."""
    loader = DataLoader(PILImages(images, augment), batch_size=BATCH, shuffle=True)
    started = time.process_time()
    batches = sum(1 for _ in loader)
    return (time.process_time() - started) / batches


def resident(images: torch.Tensor, augment: bool) -> float:
    """Processor seconds a batch of the resident loader, with its stateless randomness."""
    stream = BatchStream(images, torch.zeros(len(images), dtype=torch.int64), BATCH, 0)
    crop_flip = ClassicAugmentation(rotate=0, translate=0, scale=0, crop=4, flip=True, cutout=0, noise=0)
    batches = 5 * len(images) // BATCH
    started = time.process_time()
    for step in range(batches):
        batch, _ = stream.at(step)
        if augment:
            crop_flip(batch, Draws(0, step, BATCH, 0, BATCH), "augment")
    return (time.process_time() - started) / batches


def measure(size: Size) -> list[Row]:
    """A row for each kind of image, without and with augmentation."""
    rows = []
    for name, shape in SHAPES.items():
        images = torch.randint(0, 256, (size.of(COUNT, BATCH), *shape), dtype=torch.uint8)
        for kind, aim in AIMS.items():
            augment = kind != "plain"
            ways = {way.__name__: functools.partial(way, images, augment) for way in (resident, pil)}
            found = interleave(ways, size.rounds)
            rows.append(compare(f"loader, {name}, {kind}, over PIL", found["resident"], found["pil"], aim))
    return rows


if __name__ == "__main__":
    run_part(__doc__, "loader", measure)
