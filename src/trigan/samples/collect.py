"""Collecting a sample set: so many of each class, from a source, through filters."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.data.inputs import Input
from trigan.samples.candidate_sources import CandidateSource
from trigan.samples.filters import Filter, ScoringModels, outputs

#: At most so many candidates are looked at for each image wanted.
MAX_CANDIDATES_PER_IMAGE = 20
#: So many candidates are drawn at a time, about.
CANDIDATES_PER_BATCH = 20_000


@dataclass(frozen=True)
class CollectedSamples:
    """``data``: the set, of ``n_candidates`` candidates; ``missing`` (K,): images of each class that were not found."""

    data: Input
    n_candidates: int
    missing: Tensor

    @property
    def n_missing(self) -> int:
        """How many images are missing, of all classes."""
        return int(self.missing.sum())

    @property
    def empty_classes(self) -> list[int]:
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
    scoring_models: ScoringModels | None,
    label_threshold: float,
    start: int = 0,
) -> CollectedSamples:
    """Draw candidates until each class has its ``wanted`` (K,) number, or the source or the patience is at an end.

    The set may be smaller than wanted, and empty if nothing passed. The first candidate is number ``start``.

    The labels of a source that is not label-conditional are the classifier's, where its probability is at least
    ``label_threshold``. Every candidate passes through every filter. Both need ``scoring_models``.
    """
    missing = wanted.clone()
    kept_images: list[Tensor] = []
    kept_labels: list[Tensor] = []
    n_candidates, limit = 0, MAX_CANDIDATES_PER_IMAGE * int(wanted.sum())
    min_candidates = max((criterion.min_candidates for criterion in filters), default=1)
    while int(missing.sum()) and n_candidates < limit:
        portion = _next_portion(missing, min(min_candidates, limit - n_candidates))
        asked = torch.repeat_interleave(torch.arange(len(wanted)), portion)
        candidates = source.draw(start + n_candidates, asked)
        n_candidates += len(candidates)
        images, labels = candidates.images, candidates.labels
        if len(candidates) == 0:
            kept_images.append(images)
            kept_labels.append(torch.empty(0, dtype=torch.int64))
            break
        if labels is None and scoring_models is not None:
            sure, labels = outputs(scoring_models.teacher, images).softmax(1).max(1)
            images, labels = images[sure >= label_threshold], labels[sure >= label_threshold]
        if labels is None:
            raise ValueError("candidates without labels need scoring models")
        if filters and scoring_models is None:
            raise ValueError("filters need scoring models")
        for criterion in filters:
            if len(images) and scoring_models is not None:
                keep = criterion.keep(images, labels, scoring_models)
                images, labels = images[keep], labels[keep]
        chosen = _first_of_each(labels, missing)
        kept_images.append(images[chosen])
        kept_labels.append(labels[chosen])
        missing -= torch.bincount(labels[chosen], minlength=len(wanted))
    images, labels = torch.cat(kept_images), torch.cat(kept_labels)
    return CollectedSamples(Input(images, labels), n_candidates, missing)


def collect_sets(
    source: CandidateSource,
    wanted: Tensor,
    filters: Sequence[Filter],
    scoring_models: ScoringModels | None,
    label_threshold: float,
    sets: int,
) -> CollectedSamples:
    """So many sets of ``wanted`` (K,) images, one after the other, of candidates that no earlier set has looked at.

    ``data.parts`` are their sizes, without those that are empty; of one set it is (), as of any other input.
    """
    found: list[CollectedSamples] = []
    for _ in range(sets):
        start = sum(one.n_candidates for one in found)
        found.append(collect(source, wanted, filters, scoring_models, label_threshold, start))
    parts = tuple(len(one.data) for one in found if len(one.data))
    data = Input(
        torch.cat([one.data.images for one in found]),
        torch.cat([one.data.known_labels for one in found]),
        parts if len(parts) > 1 else (),
    )
    return CollectedSamples(
        data, sum(one.n_candidates for one in found), torch.stack([one.missing for one in found]).sum(0)
    )


def _next_portion(missing: Tensor, least: int) -> Tensor:
    """How many candidates of each class to ask for: twice what is missing, or as much of it as memory should hold.

    There are ``least`` of them, of all classes, or more.
    """
    asked = missing.clamp(min=0) * 2
    total = int(asked.sum())
    size = min(max(total, least), CANDIDATES_PER_BATCH)
    return asked if size == total else (asked * size / total).ceil().long()


def _first_of_each(labels: Tensor, missing: Tensor) -> Tensor:
    """Rows of the first ``missing[k]`` occurrences of each label k, in order."""
    rows = [(labels == k).nonzero().squeeze(1)[:count] for k, count in enumerate(missing.tolist()) if count > 0]
    return torch.cat(rows).sort().values if rows else torch.empty(0, dtype=torch.int64)
