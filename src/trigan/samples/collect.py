"""Collects a number of images per class: a strategy's sample set, or a stream of samples for other programs.

The stream comes in portions, so that any number of samples fits into memory.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from trigan.datasets.inputs import Input
from trigan.samples.filters import ConfidenceFilter, Filter, ScoringModels, outputs
from trigan.samples.samplers import Sampler

#: Upper limit of candidates drawn for each requested image.
MAX_CANDIDATES_PER_IMAGE = 20
#: Approximate upper limit of candidates in memory at once.
CANDIDATES_PER_BATCH = 20_000
#: Gives the labels of candidates as `label_and_filter`.
Judge = Callable[[Input], tuple[Tensor, Tensor]]
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

    A set is smaller, possibly empty, if the sampler is exhausted or the limit of candidates is reached. Unlabelled
    candidates get the classifier's label, where its probability is at least ``label_threshold``. Every candidate
    passes through every filter. Both need ``scoring_models``.

    ``data.parts`` are the sizes of the sets that are not empty, or () for a single set.
    """
    judge = partial(label_and_filter, filters=filters, scoring_models=scoring_models, label_threshold=label_threshold)
    ranked = max((criterion.min_candidates for criterion in filters), default=1)
    found: list[CollectedSamples] = []
    if sampler.conditional or ranked > 1:
        surplus = 1 if sampler.passes > 1 and not filters else 2
        for _ in range(sets):
            start = sum(one.n_candidates for one in found)
            found.append(_collect_in_portions(sampler, seed, wanted, judge, start, ranked, surplus))
    else:
        found = _collect_in_order(sampler, seed, wanted, judge, sets)
    parts = tuple(len(one.data) for one in found if len(one.data))
    data = _joined([one.data for one in found], parts if len(parts) > 1 else ())
    missing, before, passed = (
        torch.stack([getattr(one, name) for one in found]).sum(0) for name in ("missing", "before", "passed")
    )
    return CollectedSamples(data, sum(one.n_candidates for one in found), missing, before, passed)


def _collect_in_portions(
    sampler: Sampler, seed: int, wanted: Tensor, judge: Judge, start: int, ranked: int, surplus: int
) -> CollectedSamples:
    """One set from candidates whose labels are given or that are ranked, ``ranked`` at least, from number ``start``.

    A portion has ``surplus`` times as many candidates of each class as are missing, since filters reject: the default
    ones of a quantile keep a half. Of a sampler of many passes there are no more than needed where all are kept.
    """
    quota, kept = Quota(wanted), list[Input]()
    before, passed = torch.zeros_like(wanted), torch.zeros_like(wanted)
    limit = MAX_CANDIDATES_PER_IMAGE * int(wanted.sum())
    while int(quota.missing.sum()) and quota.n_candidates < limit:
        portion = _next_portion(quota.missing, min(ranked, limit - quota.n_candidates), surplus)
        labels = torch.repeat_interleave(torch.arange(len(wanted)), portion)
        candidates = sampler.candidates(start + quota.n_candidates, labels, seed)
        quota.n_candidates += len(candidates)
        if len(candidates) == 0:
            kept.append(Input(candidates.images, torch.empty(0, dtype=torch.int64)))
            break
        kept_labels, all_labels = judge(candidates)
        before += torch.bincount(all_labels, minlength=len(wanted))
        passed += torch.bincount(kept_labels[kept_labels >= 0], minlength=len(wanted))
        rows = quota.take(kept_labels)
        kept.append(Input(candidates.images[rows], kept_labels[rows]))
    return CollectedSamples(_joined(kept), quota.n_candidates, quota.missing, before, passed)


def _collect_in_order(sampler: Sampler, seed: int, wanted: Tensor, judge: Judge, sets: int) -> list[CollectedSamples]:
    """Each set has the first images of every class that follow the set before, and ends with the last one it needs."""
    limit, found, waiting = MAX_CANDIDATES_PER_IMAGE * int(wanted.sum()), list[CollectedSamples](), _Waiting()
    for _ in range(sets):
        more = True
        while more:
            quota = Quota(wanted)
            rows = quota.take(waiting.labels[:limit])
            lacking, known = int(quota.missing.sum()), min(limit, len(waiting.labels))
            count = max(2 * lacking, _BLOCK)
            more = lacking > 0 and known < limit and waiting.draw(sampler, seed, count, judge)
        found.append(waiting.taken(rows, known if lacking else int(rows[-1]) + 1, quota.missing))
    return found


class _Waiting:
    """Candidates that were judged and belong to no set yet, in their order.

    They are drawn many at a time: where a teacher seldom predicts a class, a set takes thousands.
    """

    def __init__(self) -> None:
        none = torch.empty(0, dtype=torch.int64)
        self.images, self.labels, self._all_labels, self._drawn = torch.empty(0), none, none, 0

    def draw(self, sampler: Sampler, seed: int, count: int, judge: Judge) -> bool:
        """Add ``count`` candidates, fewer at the sampler's end; whether there was one."""
        new = sampler.candidates(self._drawn, torch.zeros(min(count, CANDIDATES_PER_BATCH), dtype=torch.int64), seed)
        self._drawn += len(new)
        self.images = torch.cat([self.images, new.images]) if len(self.images) else new.images
        if len(new):
            labels, all_labels = judge(new)
            self.labels, self._all_labels = torch.cat([self.labels, labels]), torch.cat([self._all_labels, all_labels])
        return len(new) > 0

    def taken(self, rows: Tensor, used: int, missing: Tensor) -> CollectedSamples:
        """The set of these rows, of the first ``used``, which wait no longer."""
        data = Input(self.images[rows], self.labels[rows])
        seen = (one[:used] for one in (self._all_labels, self.labels))
        before, passed = (torch.bincount(one[one >= 0], minlength=len(missing)) for one in seen)
        self.images, self.labels, self._all_labels = (
            one[used:] for one in (self.images, self.labels, self._all_labels)
        )
        return CollectedSamples(data, used, missing, before, passed)


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
        kept, _ = label_and_filter(candidates, filters, models, threshold or 0.0)
        rows = quota.take(kept)
        if len(rows):
            yield candidates.images[rows], kept[rows]


def label_and_filter(
    candidates: Input, filters: Sequence[Filter], scoring_models: ScoringModels | None, label_threshold: float
) -> tuple[Tensor, Tensor]:
    """Labels (N,) of the candidates, -1 of those that do not pass, and of all of them, as given or as predicted."""
    labels = candidates.labels
    if scoring_models is None:
        if labels is None or filters:
            raise ValueError("filters and candidates without labels need scoring models")
        return labels, labels
    if labels is None:
        confidence, labels = outputs(scoring_models.teacher, candidates.images).softmax(1).max(1)
        rows = (confidence >= label_threshold).nonzero().squeeze(1)
    else:
        rows = torch.arange(len(labels))
    for criterion in filters:
        if len(rows):
            rows = rows[criterion.keep(candidates.images[rows], labels[rows], scoring_models)]
    kept = torch.full_like(labels, -1)
    kept[rows] = labels[rows]
    return kept, labels


def _joined(inputs: list[Input], parts: tuple[int, ...] = ()) -> Input:
    return Input(torch.cat([one.images for one in inputs]), torch.cat([one.known_labels for one in inputs]), parts)


def _next_portion(missing: Tensor, min_candidates: int, surplus: int) -> Tensor:
    """Candidates to draw per class: ``surplus`` times the missing number, at least ``min_candidates``, at most a batch.

    Drawing fewer of a conditional GAN would move every number: the portions of the classes decide which latents get
    which label, and where the next set starts.
    """
    requested = missing * surplus
    total = int(requested.sum())
    size = min(max(total, min_candidates), CANDIDATES_PER_BATCH)
    return requested if size == total else (requested * size / total).ceil().long()
