"""What happens to files on disks: flipped bits, lost ends, strange ends, blocks of zeros, another file in its place."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

#: Damaged files of each kind in `make test`, and in `make test-faults`.
FEW, MANY = 6, 67
#: The number of cases of a test: few always, many where they are asked for.
CASES = [pytest.param(range(FEW), id="few"), pytest.param(range(FEW, MANY), id="many", marks=pytest.mark.faults)]


def damage(path: Path, other: bytes, seed: int) -> str:
    """Damage a file in a way that depends on the seed, and say how; ``other``: another file of its kind."""
    draw, data = random.Random(f"{path.name} {seed}"), bytearray(path.read_bytes())
    kind = ("flip", "flip", "cut", "append", "zeros", "swap")[seed % 6]
    at = draw.randrange(len(data))
    if kind == "flip":
        data[at] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del data[at:]
    elif kind == "append":
        data += draw.randbytes(draw.randrange(1, 100))
    elif kind == "zeros":
        data[at : at + 64] = bytes(len(data[at : at + 64]))
    else:
        data = bytearray(other)
    path.write_bytes(data)
    return f"{kind} at {at}"


def damaged(path: Path, other: bytes, seeds: range) -> Iterator[str]:
    """Damage a file in turn by each seed; it is whole again afterwards."""
    whole = path.read_bytes()
    try:
        for seed in seeds:
            yield f"{path.name}: {damage(path, other, seed)}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(whole)
    finally:
        path.write_bytes(whole)
