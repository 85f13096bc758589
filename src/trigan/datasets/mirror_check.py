"""Whether images may be mirrored left to right, by the labels that a run uses for training: ``augmentation.flip=auto``.

Mirroring is right for photographs and wrong for digits, letters, and classes that differ by their side. The check asks
whether a mirrored image still has an image of its own class as its nearest neighbour.
"""

import dataclasses
import logging
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from trigan.datasets.augmentation import ClassicAugmentation
from trigan.datasets.inputs import random_subset
from trigan.datasets.stream import to_float
from trigan.datasets.types import LabelledImages, TrainingView

T = TypeVar("T")
_log = logging.getLogger("trigan")

#: Images that are compared at most, pixels of the side at which they are compared, and the level of the sign test.
LIMIT, SIDE, LEVEL = 1000, 16, 0.05
#: Images with a neighbour of their class that the test needs: if five of five lose it, p is 1/32, of four of four 1/16.
FEWEST = 5


@dataclass(frozen=True)
class MirrorCheck:
    """Counts of the labelled images that were compared with each other.

    Attributes:
        images: compared.
        told_apart: images whose nearest neighbour is of their class.
        lost: of these, images that no longer have such a neighbour once they are mirrored.
        won: images that have one only if they are mirrored.
    """

    images: int
    told_apart: int
    lost: int
    won: int

    @property
    def flip(self) -> bool:
        """Whether images may be mirrored.

        Not if significantly more images lose than win their class (one-sided sign test at the level of 5 %), nor if
        too few are told apart for the test to see anything.
        """
        from scipy.stats import binom  # takes most of a second to import

        p = float(binom.sf(self.lost - 1, self.lost + self.won, 0.5)) if self.lost else 1.0
        return self.told_apart >= FEWEST and p >= LEVEL


def mirror_check(labelled: LabelledImages) -> MirrorCheck:
    """The check on labelled images, or on ``LIMIT`` of them; deterministic.

    Images are compared by the correlation of their pixels, averaged to at most 16 x 16. The neighbours of an image are
    the other images as they are; its own mirror image is none.
    """
    chosen = random_subset(torch.arange(len(labelled)), LIMIT, 0)
    images, labels = labelled.images[chosen], labelled.labels[chosen]
    own, mirrored = _normalised(images), _normalised(images.flip(-1))

    def of_their_class(queries: Tensor) -> Tensor:
        likeness = (queries @ own.T).fill_diagonal_(-2.0)
        return labels[likeness.argmax(1)] == labels

    before, after = of_their_class(own), of_their_class(mirrored)
    return MirrorCheck(len(images), int(before.sum()), int((before & ~after).sum()), int((~before & after).sum()))


def _normalised(images: Tensor) -> Tensor:
    """Pixels float64 (N, F) with mean 0 and norm 1; of a constant image 0."""
    pixels = F.adaptive_avg_pool2d(to_float(images).double(), min(SIDE, images.shape[-1])).flatten(1)
    return F.normalize(pixels - pixels.mean(1, keepdim=True), dim=1, eps=1e-6)


def with_flips_decided(strategy: T, view: TrainingView) -> tuple[T, dict[str, Any]]:
    """The strategy with true or false in the place of each ``flip="auto"``, and the counts for the record.

    A strategy without it is returned as it is, and nothing is read from the view.
    """
    if _with_flips(strategy, False) is strategy:
        return strategy, {}
    check = mirror_check(view.labelled)
    _log.info(
        "augmentation.flip=auto: images are%s mirrored (%d of %d labelled images have a nearest neighbour of their "
        "class; mirrored, %d lose it and %d win it)",
        "" if check.flip else " not",
        *(check.told_apart, check.images, check.lost, check.won),
    )
    noted = {"mirror_check": {"flip": check.flip, **dataclasses.asdict(check)}}
    return _with_flips(strategy, check.flip), noted


def _with_flips(value: Any, flip: bool) -> Any:
    """A copy of a built object with ``flip`` in the place of ``auto``; the object itself where there is none."""
    if isinstance(value, list | tuple):
        items = [_with_flips(item, flip) for item in value]
        return value if all(map(lambda one, other: one is other, items, value)) else type(value)(items)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    if isinstance(value, ClassicAugmentation):
        return replace(value, flip=flip) if value.flip == "auto" else value
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    changed = {name: new for name, old in fields.items() if (new := _with_flips(old, flip)) is not old}
    return replace(value, **changed) if changed else value
