"""FlexMatch, FreeMatch, SoftMatch and UDA: FixMatch's two views, with other thresholds, weights and targets."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from trigan import distributed
from trigan.checks import require, require_probability
from trigan.component_ids import component
from trigan.losses.unlabelled_losses import (
    fairness_loss,
    flexmatch_thresholds,
    freematch_thresholds,
    softmatch_weights,
    uda_loss,
    uniform_alignment,
    weighted_pseudo_labels,
)
from trigan.training.step import TrainingStep
from trigan.training.terms.loss_terms import FitData, StatelessTerm, TermInFit, WeakAndStrong
from trigan.training.terms.memories import BatchAverages, LastLabels


@component("criterion/flexmatch@1")
@dataclass(frozen=True)
class FlexMatch(WeakAndStrong):
    """FlexMatch (Zhang et al. 2021, arXiv 2110.08263, algorithm 1): FixMatch with a threshold for each class.

    Classes of which few images have a prediction at or above ``threshold`` have a lower one (`flexmatch_thresholds`),
    by the last confident prediction of each image.
    """

    threshold: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        require_probability("threshold", self.threshold)

    def in_fit(self, data: FitData) -> TermInFit:
        """See `LossTerm.in_fit`."""
        last = LastLabels(data.images).to(data.zeros().device)
        return TermInFit(partial(self._loss, last), last)

    def _loss(self, last: LastLabels, step: TrainingStep, network: nn.Module) -> Tensor:
        weak, strong = self.logits(step, network)
        confidence, labels = weak.softmax(1).max(1)
        before = last(step, step.image_numbers(self.stream), labels, confidence >= self.threshold)
        counts = confidence.new_zeros(weak.shape[1] + 1)
        counts = counts.scatter_add(0, before + 1, torch.ones_like(before, dtype=counts.dtype))[1:]
        thresholds = flexmatch_thresholds(counts, len(before), self.threshold)
        selected = confidence >= thresholds[labels]
        return self.weighted(step, weighted_pseudo_labels(strong, labels, selected), selected)


@component("criterion/freematch@1")
@dataclass(frozen=True)
class FreeMatch(WeakAndStrong):
    """FreeMatch (Wang et al. 2023, arXiv 2205.07246): thresholds from moving averages of C's predictions.

    ``weight`` (E 1[max q >= t_y] CE(l_strong, y) + ``fairness`` `fairness_loss`), y = argmax q, eq. 8 and 11. The
    averages (eq. 5, 6 and 10) begin at 1 / K and have the share ``momentum`` of their past; the weight of fairness is
    0.01 or 0.05 in the paper. Its limits of thresholds on SVHN are left out.
    """

    momentum: float = 0.999
    fairness: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        require_probability("momentum", self.momentum)
        require(self.fairness >= 0.0, "fairness", self.fairness, "at least 0")

    def in_fit(self, data: FitData) -> TermInFit:
        """See `LossTerm.in_fit`."""
        averages = BatchAverages(data.zeros(1 + 2 * data.classes) + 1.0 / data.classes, self.momentum)
        return TermInFit(partial(self._loss, averages), averages)

    def _loss(self, averages: BatchAverages, step: TrainingStep, network: nn.Module) -> Tensor:
        weak, strong = self.logits(step, network)
        q = weak.softmax(1)
        confidence, labels = q.max(1)
        means = torch.cat([confidence.mean()[None], q.mean(0), _shares(labels, q)])
        threshold, mean, histogram = averages(step, means).split([1, q.shape[1], q.shape[1]])
        selected = confidence >= freematch_thresholds(threshold, mean)[labels]
        loss = weighted_pseudo_labels(strong, labels, selected)
        p = strong.softmax(1)
        strong_mean = distributed.global_mean((p * selected[:, None]).mean(0))
        strong_histogram = distributed.global_mean(_shares(p.detach().argmax(1), p, selected))
        fairness = fairness_loss(mean, histogram, strong_mean, strong_histogram)
        step.log("train/fairness_loss", fairness)
        return self.weighted(step, loss + self.fairness * fairness, selected)


def _shares(labels: Tensor, p: Tensor, weights: Tensor | None = None) -> Tensor:
    """The share of each class among all rows, (K,); with ``weights`` (n,) of those alone that they select."""
    members = labels[:, None] == torch.arange(p.shape[1], device=p.device)
    return (members if weights is None else members & weights[:, None]).to(p.dtype).mean(0)


@component("criterion/softmatch@1")
@dataclass(frozen=True)
class SoftMatch(WeakAndStrong):
    """SoftMatch (Chen et al. 2023, arXiv 2301.10921): all pseudo-labels, with weights by their confidence.

    ``weight`` E w CE(l_strong, argmax q). The weights are a truncated Gaussian (`softmatch_weights`) of the confidence
    after uniform alignment, with moving averages of its mean, from 1 / K, and of its variance, from 1, that have the
    share ``momentum`` of their past. The average of q begins with the first batch's mean.
    """

    momentum: float = 0.999
    sigmas: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_probability("momentum", self.momentum)
        require(self.sigmas > 0.0, "sigmas", self.sigmas, "above 0")

    def in_fit(self, data: FitData) -> TermInFit:
        """See `LossTerm.in_fit`."""
        prediction = BatchAverages(torch.full_like(data.zeros(data.classes), torch.nan), self.momentum)
        start = torch.stack([data.zeros() + 1.0 / data.classes, data.zeros() + 1.0])
        confidence = BatchAverages(start, self.momentum)
        return TermInFit(partial(self._loss, prediction, confidence), nn.ModuleList([prediction, confidence]))

    def _loss(
        self, prediction: BatchAverages, moments: BatchAverages, step: TrainingStep, network: nn.Module
    ) -> Tensor:
        weak, strong = self.logits(step, network)
        q = weak.softmax(1)
        confidence = uniform_alignment(q, prediction(step, q.mean(0))).amax(1)
        mean = distributed.global_mean(confidence.mean())
        rows = len(confidence) * distributed.world_size()
        variance = (confidence - mean).square().mean() * (rows / (rows - 1))
        average, spread = moments(step, torch.stack([mean, variance])).unbind()
        weights = softmatch_weights(confidence, average, spread, self.sigmas)
        return self.weighted(step, weighted_pseudo_labels(strong, q.argmax(1), weights), weights)


@component("criterion/uda@1")
@dataclass(frozen=True)
class UDA(WeakAndStrong, StatelessTerm):
    """UDA (Xie et al. 2020, arXiv 1904.12848, eq. 1): sharpened predictions on the weak view as soft targets.

    ``weight`` times `uda_loss`. Annealing of the labelled loss (their TSA) is left out: it is off in the authors' runs
    on images.
    """

    threshold: float = 0.8
    temperature: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        require_probability("threshold", self.threshold)
        require(self.temperature > 0.0, "temperature", self.temperature, "above 0")

    def __call__(self, step: TrainingStep, network: nn.Module) -> Tensor:
        """The weighted term, shape ()."""
        weak, strong = self.logits(step, network)
        loss = uda_loss(weak, strong, self.threshold, self.temperature)
        return self.weighted(step, loss, weak.softmax(1).amax(1) > self.threshold)
