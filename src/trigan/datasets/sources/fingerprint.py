"""Identity of images and data sets: SHA-256 of decoded pixels, before resizing and channel conversion.

The digest of an image covers its height, its width and its pixels as RGB bytes (a grey pixel counts as three equal
ones), so a picture has one digest whether it came as PNG, Parquet or an array, grey or not. The fingerprint of a data
set covers those digests, the labels and the official test marks, in source order; so the hub's copy and a local copy
agree.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor


def image_digest(pixels: np.ndarray) -> bytes:
    """32 bytes for decoded pixels uint8 (H, W, 1 or 3)."""
    height, width, channels = pixels.shape
    sha = hashlib.sha256(f"{height}x{width};".encode())
    sha.update(np.ascontiguousarray(pixels if channels == 3 else np.repeat(pixels, 3, axis=2)).data)
    return sha.digest()


def digests_of(images: Tensor) -> Tensor:
    """`image_digest` of each image: uint8 (N, C, H, W) -> uint8 (N, 32)."""
    return stack_digests([image_digest(image) for image in images.movedim(1, 3).numpy()])


def stack_digests(digests: list[bytes]) -> Tensor:
    """Digests as a tensor uint8 (N, 32)."""
    return torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8).view(-1, 32)


def fingerprint_of(digests: Tensor, labels: Tensor, official_test: Tensor | None) -> str:
    """64 hexadecimal characters for digests (N, 32), labels (N,) and test marks (N,) or None."""
    sha = hashlib.sha256(digests.numpy().tobytes())
    sha.update(labels.numpy().astype("<i8").tobytes())
    sha.update(b"no test set" if official_test is None else official_test.numpy().astype(np.uint8).tobytes())
    return sha.hexdigest()
