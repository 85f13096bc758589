"""Tiny data sets on the disk, in the layout that a config's source reads: made for whatever ``conf/data`` holds."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

#: Images per class for training and testing, and how many without a label.
TRAIN, TEST, UNLABELLED = 14, 4, 9


def images(count: int, channels: int, size: int = 16, seed: int = 0) -> np.ndarray:
    """uint8 (count, size, size[, 3]), no two alike."""
    shape = (count, size, size) if channels == 1 else (count, size, size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(root: Path, source: dict[str, Any], classes: int = 3, channels: int = 3) -> Path:
    """``<split>-00000-of-00001.parquet`` for each split of a Hub source's config, with its columns."""
    columns, splits, seed = source["columns"], source["splits"], 0
    root.mkdir(parents=True, exist_ok=True)
    for part, per_class in (("train", TRAIN), ("test", TEST), ("unlabelled", UNLABELLED)):
        if splits.get(part):
            seed += 1
            labels = [k for _ in range(per_class) for k in range(classes)]
            encoded = [{"bytes": png(image), "path": None} for image in images(len(labels), channels, seed=seed)]
            table = {
                columns["image"]: encoded,
                columns["label"]: labels if part != "unlabelled" else [-1] * len(labels),
            }
            pq.write_table(pa.table(table), root / f"{splits[part]}-00000-of-00001.parquet")
    return root


def folder(root: Path, classes: int = 3, channels: int = 3, per_class: int = TRAIN + TEST, size: int = 16) -> Path:
    """``root/CLASS/NUMBER.png``."""
    for k in range(classes):
        (root / f"class{k}").mkdir(parents=True)
        for i, image in enumerate(images(per_class, channels, size, seed=k)):
            Image.fromarray(image).save(root / f"class{k}" / f"{i:03d}.png")
    return root


def npz(path: Path, classes: int = 3, channels: int = 3) -> Path:
    """MedMNIST's layout, with an official test set."""
    arrays = {}
    for seed, (part, per_class) in enumerate((("train", TRAIN), ("val", 2), ("test", TEST))):
        labels = np.array([[k] for _ in range(per_class) for k in range(classes)], dtype=np.uint8)
        arrays |= {f"{part}_images": images(len(labels), channels, seed=seed), f"{part}_labels": labels}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path
