"""Collects a number of images per class: a strategy's sample set, or a stream of samples for other programs.

The stream comes in portions, so that any number of samples fits into memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trigan.datasets.inputs import Input
from trigan.samples.filters import ConfidenceFilter, Filter, ScoringModels, outputs
from trigan.samples.samplers import Sampler

#: Upper limit of candidates drawn for each requested image.
MAX_CANDIDATES_PER_IMAGE = 20
#: Approximate upper limit of candidates in memory at once.
CANDIDATES_PER_BATCH = 20_000
#: A stream's candidates are drawn in such portions, of whole blocks: another size may differ in the last bit.
_BLOCK, _PORTION = 256, 1024


@dataclass
class Quota:
    """The images still ``missing`` by class, int64 (K,), and the number of candidates drawn for them."""

    missing: Tensor
    n_candidates: int = 0

    def take(self, labels: Tensor) -> Tensor:
        """Rows (m,) of those candidates with ``labels`` (n,) that are missing, in order; counts them as found."""
        found = [(labels == k).nonzero().squeeze(1)[:count] for k, count in enumerate(self.missing.tolist())]
        rows = torch.cat(found).sort().values
        self.missing = self.missing - torch.bincount(labels[rows], minlength=len(self.missing))
        return rows


@dataclass(frozen=True)
class CollectedSamples:
    """A sample set ``data``, selected from ``n_candidates``; ``missing`` (K,) counts the images not found per class.

    ``before`` and ``passed`` (K,) count the candidates by class before and after the filters.
    """

    data: Input
    n_candidates: int
    missing: Tensor
    before: Tensor
    passed: Tensor

    @property
    def n_missing(self) -> int:
        """Number of missing images over all classes."""
        return int(self.missing.sum())

    @property
    def empty_classes(self) -> list[int]:
        """Classes with requested images of which none was found."""
        found = torch.bincount(self.data.known_labels, minlength=len(self.missing))
        return ((found == 0) & (self.missing > 0)).nonzero().squeeze(1).tolist()


def wanted_counts(counts: Tensor, total: int, fill_deficit: bool) -> Tensor:
    """Images to add per class, int64 (K,), ``total`` in all: equally many, or first to the smallest classes.

    ``counts`` (K,) are the labelled images per class. Filling a deficit raises the smallest classes to a common level.
    """
    level = counts.clone() if fill_deficit else torch.zeros_like(counts)
    before = level.clone()
    for _ in range(total):
        level[level.argmin()] += 1
    return level - before


def collect(
    sampler: Sampler,
    seed: int,
    wanted: Tensor,
    filters: Sequence[Filter],
    scoring_models: ScoringModels | None,
    label_threshold: float,
    start: int = 0,
) -> CollectedSamples:
    """Draw candidates of the seed, from number ``start``, until each class has its ``wanted`` (K,) number.

    The set is smaller, possibly empty, if the sampler is exhausted or the limit of candidates is reached. Unlabelled
    candidates get the classifier's label, where its probability is at least ``label_threshold``. Every candidate
    passes through every filter. Both need ``scoring_models``.
    """
    quota, kept = Quota(wanted), list[Input]()
    before, passed = torch.zeros_like(wanted), torch.zeros_like(wanted)
    limit = MAX_CANDIDATES_PER_IMAGE * int(wanted.sum())
    min_candidates = max((criterion.min_candidates for criterion in filters), default=1)
    while int(quota.missing.sum()) and quota.n_candidates < limit:
        # of a sampler of many passes only as many as needed, where all are kept
        surplus = 1 if sampler.passes > 1 and sampler.conditional and not filters else 2
        portion = _next_portion(quota.missing, min(min_candidates, limit - quota.n_candidates), surplus)
        labels = torch.repeat_interleave(torch.arange(len(wanted)), portion)
        candidates = sampler.candidates(start + quota.n_candidates, labels, seed)
        quota.n_candidates += len(candidates)
        if len(candidates) == 0:
            kept.append(Input(candidates.images, torch.empty(0, dtype=torch.int64)))
            break
        images, labels, all_labels = label_and_filter(candidates, filters, scoring_models, label_threshold)
        before += torch.bincount(all_labels, minlength=len(wanted))
        passed += torch.bincount(labels, minlength=len(wanted))
        rows = quota.take(labels)
        kept.append(Input(images[rows], labels[rows]))
    return CollectedSamples(_joined(kept), quota.n_candidates, quota.missing, before, passed)


def collect_sets(
    sampler: Sampler,
    seed: int,
    wanted: Tensor,
    filters: Sequence[Filter],
    scoring_models: ScoringModels | None,
    label_threshold: float,
    sets: int,
) -> CollectedSamples:
    """``sets`` consecutive sets of ``wanted`` (K,) images; no candidate is drawn for two of them.

    ``data.parts`` are the sizes of the sets that are not empty, or () for a single set.
    """
    found: list[CollectedSamples] = []
    for _ in range(sets):
        start = sum(one.n_candidates for one in found)
        found.append(collect(sampler, seed, wanted, filters, scoring_models, label_threshold, start))
    parts = tuple(len(one.data) for one in found if len(one.data))
    data = _joined([one.data for one in found], parts if len(parts) > 1 else ())
    missing, before, passed = (
        torch.stack([getattr(one, name) for one in found]).sum(0) for name in ("missing", "before", "passed")
    )
    return CollectedSamples(data, sum(one.n_candidates for one in found), missing, before, passed)


def labelled_samples(
    sampler: Sampler, classifier: nn.Module, seed: int, quota: Quota, threshold: float | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images uint8 (n, C, S, S) and labels int64 (n,), until the quota or the limit of candidates is reached.

    Candidate i is a function of (sampler, seed, i) alone. The label of a conditional sampler's candidate is ``i % K``,
    that of an unconditional one's is the classifier's prediction. A candidate counts if the classifier gives its label
    a probability of ``threshold`` (None: always). The limit is about ``MAX_CANDIDATES_PER_IMAGE`` candidates for each
    image of the class that lacks most, times K.
    """
    conditional, models = sampler.conditional, ScoringModels(classifier)
    filters = () if threshold is None or not conditional else (ConfidenceFilter(threshold),)
    classes = len(quota.missing)
    limit = int(quota.missing.max()) * classes
    if filters or not conditional:
        limit *= MAX_CANDIDATES_PER_IMAGE
    limit = -(-limit // _BLOCK) * _BLOCK
    while int(quota.missing.sum()) and quota.n_candidates < limit:
        start = quota.n_candidates
        labels = torch.arange(start, min(start + _PORTION, limit)) % classes
        candidates = sampler.candidates(start, labels, seed)
        quota.n_candidates += len(labels)
        images, kept, _ = label_and_filter(candidates, filters, models, threshold or 0.0)
        rows = quota.take(kept)
        if len(rows):
            yield images[rows], kept[rows]


def label_and_filter(
    candidates: Input, filters: Sequence[Filter], scoring_models: ScoringModels | None, label_threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Images and labels of the candidates that pass, and the labels (N,) of all, as given or as predicted."""
    images, labels = candidates.images, candidates.labels
    if scoring_models is None:
        if labels is None or filters:
            raise ValueError("filters and candidates without labels need scoring models")
        return images, labels, labels
    if labels is None:
        confidence, all_labels = outputs(scoring_models.teacher, images).softmax(1).max(1)
        images, labels = images[confidence >= label_threshold], all_labels[confidence >= label_threshold]
    else:
        all_labels = labels
    for criterion in filters:
        if len(images):
            keep = criterion.keep(images, labels, scoring_models)
            images, labels = images[keep], labels[keep]
    return images, labels, all_labels


def _joined(inputs: list[Input], parts: tuple[int, ...] = ()) -> Input:
    return Input(torch.cat([one.images for one in inputs]), torch.cat([one.known_labels for one in inputs]), parts)


def _next_portion(missing: Tensor, min_candidates: int, surplus: int) -> Tensor:
    """Candidates to draw per class: ``surplus`` times the missing number, at least ``min_candidates``, at most a batch.

    Usually twice, because filters reject: the default ones of a quantile keep a half, the others often less. Without a
    filter half of the candidates with given labels are left over. Drawing fewer of a GAN would move every number: the
    portions of the classes decide which latents get which label, and where the next set starts.
    """
    requested = missing * surplus
    total = int(requested.sum())
    size = min(max(total, min_candidates), CANDIDATES_PER_BATCH)
    return requested if size == total else (requested * size / total).ceil().long()
