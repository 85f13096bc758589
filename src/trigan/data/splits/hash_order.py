"""Orders that a documented hash fixes, so that no library's shuffle decides who is tested.

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
    """The keys of one data set in one trial."""

    fingerprint: str
    trial: int
    digests: np.ndarray

    def keys(self, purpose: str, rows: np.ndarray) -> np.ndarray:
        """uint64 (len(rows), 2) for source indices ``rows``."""
        base = hashlib.sha256(f"{self.fingerprint}/{self.trial}/{purpose}/".encode())
        blob = self.digests[rows].tobytes()
        out = bytearray()
        for at in range(0, len(blob), 32):
            sha = base.copy()
            sha.update(blob[at : at + 32])
            out += sha.digest()[:16]
        return np.frombuffer(bytes(out), dtype=">u8").astype(np.uint64).reshape(-1, 2)

    def sort(self, purpose: str, rows: np.ndarray, first_copies: np.ndarray) -> np.ndarray:
        """``rows`` in hash order; equal images (the same ``first_copies[row]``) stand side by side, in source order."""
        if not len(rows):
            return rows
        firsts, inverse = np.unique(first_copies[rows], return_inverse=True)
        keys = self.keys(purpose, firsts)[:, 0][inverse]
        return rows[np.lexsort((rows, first_copies[rows], keys))]


def find_first_copies(images: Tensor) -> np.ndarray:
    """For each image uint8 (N, C, S, S) the index of the first image with the same pixels, int64 (N,)."""
    flat = images.reshape(len(images), -1).numpy()
    first: dict[bytes, int] = {}
    return np.array(
        [first.setdefault(hashlib.sha256(row.data).digest(), i) for i, row in enumerate(flat)], dtype=np.int64
    )


def split_at(rows: np.ndarray, size: int, first_copies: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The first ``size`` of ordered ``rows``, the rest, and how many copies of the last one taken were dropped between.

    Equal images must not end up on both sides, so the copies that the border cuts off belong to neither.
    """
    taken, rest = rows[:size], rows[size:]
    if not len(taken) or not len(rest):
        return taken, rest, 0
    same = first_copies[rest] == first_copies[taken[-1]]
    return taken, rest[~same], int(same.sum())
