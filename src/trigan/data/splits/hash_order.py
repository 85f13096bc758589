"""Orders fixed by a documented hash, so that no library's shuffle decides which images test.

Key of an image = the first 16 bytes of SHA-256(fingerprint "/" trial "/" purpose "/" digest of the image), read as two
big-endian 64-bit numbers; images are sorted by the first, equal images by their source index. The digest is that of
the decoded pixels before resizing, so a trial draws the same images at every image size.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True, eq=False)
class HashOrder:
    """The keys of one data set in one trial; ``digests`` are uint8 (N, 32)."""

    fingerprint: str
    trial: int
    digests: np.ndarray

    def keys(self, purpose: str, rows: np.ndarray) -> np.ndarray:
        """uint64 (len(rows), 2) for source indices ``rows``."""
        prefix = f"{self.fingerprint}/{self.trial}/{purpose}/".encode()
        keys = b"".join(hashlib.sha256(prefix + digest.tobytes()).digest()[:16] for digest in self.digests[rows])
        return np.frombuffer(keys, dtype=">u8").astype(np.uint64).reshape(-1, 2)

    def sort(self, purpose: str, rows: np.ndarray, first_copies: np.ndarray) -> np.ndarray:
        """``rows`` in hash order; equal images (same ``first_copies[row]``) are adjacent, in source order."""
        firsts, inverse = np.unique(first_copies[rows], return_inverse=True)
        keys = self.keys(purpose, firsts)[:, 0][inverse]
        return rows[np.lexsort((rows, first_copies[rows], keys))]


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
