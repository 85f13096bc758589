"""Collecting a sample set: so many of each class, from a source, through filters."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.data.inputs import Input
from trigan.samples.filters import Filter, Judges, outputs
from trigan.samples.sources import CandidateSource

#: At most so many candidates are looked at for each image wanted.
CANDIDATES_PER_IMAGE = 20
#: So many candidates are drawn at a time, about.
PORTION = 20_000


@dataclass(frozen=True)
class Collected:
    """``data``: the set, of ``looked_at`` candidates; ``missing`` (K,): images of each class that were not found."""

    data: Input
    looked_at: int
    missing: Tensor

    @property
    def short(self) -> int:
        """How many images are missing, of all classes."""
        return int(self.missing.sum())

    @property
    def lacking(self) -> list[int]:
        """Classes of which some images were wanted and none was found."""
        found = torch.bincount(self.data.known_labels, minlength=len(self.missing))
        return ((found == 0) & (self.missing > 0)).nonzero().squeeze(1).tolist()


def wanted_counts(counts: Tensor, total: int, fill_deficit: bool) -> Tensor:
    """Images to add per class, int64 (K,), ``total`` in all: the same for each, or first where classes are small.

    ``counts`` (K,) are the labelled images per class. Filling a deficit raises the smallest classes to a common level.
    """
    classes = len(counts)
    if not fill_deficit:
        share = torch.full((classes,), total // classes)
        share[: total % classes] += 1
        return share
    level = counts.clone()
    for _ in range(total):
        level[level.argmin()] += 1
    return level - counts


def collect(
    source: CandidateSource,
    wanted: Tensor,
    filters: Sequence[Filter],
    judges: Judges | None,
    label_threshold: float,
    start: int = 0,
) -> Collected:
    """Draw candidates until each class has its ``wanted`` (K,) number, or the source or the patience is at an end.

    The set may be smaller than wanted, and empty if nothing passed. The first candidate is number ``start``.

    A source that doesn't choose labels has them found by the judges' classifier, which must be sure of them with
    probability ``label_threshold``. Every candidate passes through every filter. ``judges`` are needed for either.
    """
    missing = wanted.clone()
    kept_images: list[Tensor] = []
    kept_labels: list[Tensor] = []
    looked_at, limit = 0, CANDIDATES_PER_IMAGE * int(wanted.sum())
    among = max((criterion.among for criterion in filters), default=1)
    while int(missing.sum()) and looked_at < limit:
        portion = _next_portion(missing, min(among, limit - looked_at))
        asked = torch.repeat_interleave(torch.arange(len(wanted)), portion)
        candidates = source.draw(start + looked_at, asked)
        looked_at += len(candidates)
        images, labels = candidates.images, candidates.labels
        if len(candidates) == 0:
            kept_images.append(images)
            kept_labels.append(torch.empty(0, dtype=torch.int64))
            break
        if labels is None and judges is not None:
            sure, labels = outputs(judges.teacher, images).softmax(1).max(1)
            images, labels = images[sure >= label_threshold], labels[sure >= label_threshold]
        if labels is None:
            raise ValueError("candidates without labels need judges")
        if filters and judges is None:
            raise ValueError("filters need judges")
        for criterion in filters:
            if len(images) and judges is not None:
                keep = criterion.keep(images, labels, judges)
                images, labels = images[keep], labels[keep]
        chosen = _first_of_each(labels, missing)
        kept_images.append(images[chosen])
        kept_labels.append(labels[chosen])
        missing -= torch.bincount(labels[chosen], minlength=len(wanted))
    images, labels = torch.cat(kept_images), torch.cat(kept_labels)
    return Collected(Input(images, labels), looked_at, missing)


def collect_sets(
    source: CandidateSource,
    wanted: Tensor,
    filters: Sequence[Filter],
    judges: Judges | None,
    label_threshold: float,
    sets: int,
) -> Collected:
    """So many sets of ``wanted`` (K,) images, one after the other, of candidates that no earlier set has looked at.

    ``data.parts`` are their sizes, without those that are empty; of one set it is (), as of any other input.
    """
    found: list[Collected] = []
    for _ in range(sets):
        start = sum(one.looked_at for one in found)
        found.append(collect(source, wanted, filters, judges, label_threshold, start))
    parts = tuple(len(one.data) for one in found if len(one.data))
    data = Input(
        torch.cat([one.data.images for one in found]),
        torch.cat([one.data.known_labels for one in found]),
        parts if len(parts) > 1 else (),
    )
    return Collected(data, sum(one.looked_at for one in found), torch.stack([one.missing for one in found]).sum(0))


def _next_portion(missing: Tensor, least: int) -> Tensor:
    """How many candidates of each class to ask for: twice what is missing, or as much of it as memory should hold.

    There are ``least`` of them, of all classes, or more.
    """
    asked = missing.clamp(min=0) * 2
    total = int(asked.sum())
    size = min(max(total, least), PORTION)
    return asked if size == total else (asked * size / total).ceil().long()


def _first_of_each(labels: Tensor, missing: Tensor) -> Tensor:
    """Rows of the first ``missing[k]`` occurrences of each label k, in order."""
    rows = [(labels == k).nonzero().squeeze(1)[:count] for k, count in enumerate(missing.tolist()) if count > 0]
    return torch.cat(rows).sort().values if rows else torch.empty(0, dtype=torch.int64)
