"""The resident loader against a PIL + DataLoader pipeline, interleaved, without and with crop and flip.

    python benchmarks/loader.py [--rounds 5] [--out benchmarks/results/loader.json]

Aim: >= 40 times without augmentation, >= 10 times with crop and flip. Images are random, 28x28 grey and 32x32 colour.
"""

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset

from trigan.datasets.augmentation import ClassicAugmentation
from trigan.datasets.stream import BatchStream
from trigan.rng import Draws
from trigan.runs.malloc import keep_freed_memory

BATCH, COUNT = 64, 6400
AIMS = {"plain": 40, "crop and flip": 10}


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
    """Seconds a batch of the PIL pipeline, no worker processes."""
    loader = DataLoader(PILImages(images, augment), batch_size=BATCH, shuffle=True)
    started = time.perf_counter()
    batches = sum(1 for _ in loader)
    return (time.perf_counter() - started) / batches


def resident(images: torch.Tensor, augment: bool) -> float:
    """Seconds a batch of the resident loader, with its stateless randomness."""
    stream = BatchStream(images, torch.zeros(len(images), dtype=torch.int64), BATCH, 0)
    crop_flip = ClassicAugmentation(rotate=0, translate=0, scale=0, crop=4, flip=True, cutout=0, noise=0)
    batches = 5 * len(images) // BATCH
    started = time.perf_counter()
    for step in range(batches):
        batch, _ = stream.at(step)
        if augment:
            crop_flip(batch, Draws(0, step, BATCH, 0, BATCH), "augment")
    return (time.perf_counter() - started) / batches


def measure(name: str, shape: tuple[int, int, int], augment: bool, rounds: int) -> dict[str, Any]:
    images = torch.randint(0, 256, (COUNT, *shape), dtype=torch.uint8)
    slow, fast = [], []
    for _ in range(rounds):
        slow.append(pil(images, augment))
        fast.append(resident(images, augment))
    kind = "crop and flip" if augment else "plain"
    return {
        "images": name,
        "augmentation": kind,
        "pil_ms": round(1e3 * statistics.median(slow), 3),
        "resident_ms": round(1e3 * statistics.median(fast), 4),
        "ratio": round(statistics.median(a / b for a, b in zip(slow, fast, strict=True)), 1),
        "aim": AIMS[kind],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/loader.json"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    sizes = {"28x28 grey": (1, 28, 28), "32x32 colour": (3, 32, 32)}
    found = [
        measure(name, shape, augment, options.rounds) for name, shape in sizes.items() for augment in (False, True)
    ]
    machine = {"torch": torch.__version__, "processor": platform.processor() or platform.machine(), "threads": 1}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    command = f"python benchmarks/loader.py --rounds {options.rounds}"
    options.out.write_text(json.dumps({"command": command, "machine": machine, "results": found}, indent=1) + "\n")
    for row in found:
        print(
            f"{row['images']:13} {row['augmentation']:14} PIL {row['pil_ms']:7.2f} ms a batch   resident "
            f"{row['resident_ms']:7.3f} ms   {row['ratio']:6.1f} times (aim >= {row['aim']})"
        )


if __name__ == "__main__":
    main()
