"""Orders fixed by a documented hash, so that no library's shuffle decides which images test.

Key of an image = the first 16 bytes of SHA-256(fingerprint "/" trial "/" purpose "/" digest of the image), read as two
big-endian 64-bit numbers; images are sorted by the first, equal images by their source index. The digest is that of
the decoded pixels before resizing, so a trial draws the same images at every image size.
"""

import hashlib

import numpy as np
from torch import Tensor

from trigan.datasets.types import ImageDataset


def hash_keys(source: ImageDataset, trial: int, purpose: str, rows: np.ndarray) -> np.ndarray:
    """Keys uint64 (n, 2) of the images with source indices ``rows`` (n,)."""
    prefix = f"{source.fingerprint}/{trial}/{purpose}/".encode()
    digests = source.digests.numpy()[rows]
    keys = b"".join(hashlib.sha256(prefix + digest.tobytes()).digest()[:16] for digest in digests)
    return np.frombuffer(keys, dtype=">u8").astype(np.uint64).reshape(-1, 2)


def find_first_copies(images: Tensor) -> np.ndarray:
    """For each image uint8 (N, C, S, S) the index of the first image with the same pixels, int64 (N,)."""
    first: dict[bytes, int] = {}
    digests = (hashlib.sha256(row.data).digest() for row in images.flatten(1).numpy())
    return np.array([first.setdefault(digest, i) for i, digest in enumerate(digests)], dtype=np.int64)


def split_at(rows: np.ndarray, size: int, first_copies: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The first ``size`` of ordered ``rows``, the rest, and the number of dropped rows.

    Equal images must not end up on both sides, so copies of the last row taken are dropped from the rest.
    """
    taken, rest = rows[:size], rows[size:]
    if not len(taken):
        return taken, rest, 0
    copies = first_copies[rest] == first_copies[taken[-1]]
    return taken, rest[~copies], int(copies.sum())
