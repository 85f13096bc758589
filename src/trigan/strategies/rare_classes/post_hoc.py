"""Changes of a trained classifier's logits by a constant for each class, for rare classes.

Notation: l are logits (N, K), pi_k = n_k / N the share of class k among the labelled images.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.types import TrainingView
from trigan.errors import ConfigError
from trigan.samples.filters import outputs
from trigan.strategies.stage_runner import StageRunner
from trigan.strategies.strategy import Outcome, validation_input
from trigan.training.balance import class_counts, mean_recall

#: Candidates of tau, where validation labels choose it.
TAUS = tuple(round(0.1 * step, 1) for step in range(26))


class AdjustedClassifier(nn.Module):
    """l + b: the logits of ``network`` and an offset for each class (K,)."""

    offsets: Tensor

    def __init__(self, network: nn.Module, offsets: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("offsets", offsets)

    def embed(self, x: Tensor) -> Tensor:
        """Images (N, C, S, S) -> the inputs of the head, (N, F)."""
        embedded: Tensor = self.network.embed(x)  # type: ignore[operator]
        return embedded

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, S, S) -> logits (N, K)."""
        logits: Tensor = self.network(x)
        return logits + self.offsets


class PostHoc(ABC):
    """Finds the offsets of a trained classifier, as a frozen dataclass."""

    #: Whether it reads validation labels, which then count as V.
    needs_validation: bool

    @abstractmethod
    def offsets(self, counts: Tensor, logits: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Offsets float64 (K,), and what was chosen, for the record.

        Args:
            counts: labelled images per class, int64 (K,).
            logits: of the validation images, float64 (V, K); without such images V is 0.
            labels: theirs, int64 (V,).
        """

    def adjust(self, outcome: Outcome, view: TrainingView, runner: StageRunner) -> Outcome:
        """The outcome with the adjusted classifier."""
        classes, network = view.spec.classes, outcome.classifier
        logits, labels = torch.empty(0, classes, dtype=torch.float64), torch.empty(0, dtype=torch.int64)
        if self.needs_validation:
            held_out = validation_input(view)
            labels = held_out.known_labels
            logits = runner.run_task("post-hoc adjustment", lambda: outputs(network, held_out.images)).double()
        found, notes = self.offsets(class_counts(view.labelled.labels, classes), logits, labels)
        weight = next(network.parameters())
        offsets = found.to(weight)

        def adjusted(plain: nn.Module) -> nn.Module:
            return AdjustedClassifier(plain, offsets.clone()).eval()

        if len(labels):
            pairs = (("before", logits), ("after", logits + found))
            notes |= {f"validation_balanced_accuracy_{name}": mean_recall(one, labels) for name, one in pairs}
        return replace(
            outcome,
            weights={**outcome.weights, "classifier": adjusted(network)},
            snapshots={images: adjusted(one) for images, one in outcome.snapshots.items()},
            notes={**outcome.notes, "post_hoc": {**notes, "offsets": found.tolist()}},
        )


def require_validation(post_hoc: PostHoc | None, view: TrainingView) -> None:
    """Raise a ConfigError, before anything is trained, if ``post_hoc`` needs validation labels and there are none."""
    if post_hoc is not None and post_hoc.needs_validation and not view.sizes.validation:
        raise ConfigError(
            "strategy.post_hoc: it is chosen on validation labels, and this regime has none; set "
            "regime.validation=within or large, or strategy.post_hoc=logit_adjustment with a number as tau"
        )


def adjusted_outcome(outcome: Outcome, post_hoc: PostHoc | None, view: TrainingView, runner: StageRunner) -> Outcome:
    """The outcome with its classifier adjusted, if at all."""
    return outcome if post_hoc is None else post_hoc.adjust(outcome, view, runner)


def adjusted_skeleton(networks: dict[str, nn.Module], post_hoc: PostHoc | None, classes: int) -> dict[str, nn.Module]:
    """The networks with the classifier as `adjusted_outcome` leaves it, to load weights into."""
    if post_hoc is None:
        return networks
    return {**networks, "classifier": AdjustedClassifier(networks["classifier"], torch.zeros(classes))}


def unadjusted_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes of a saved classifier's tensors without the offsets."""
    return {name.removeprefix("network."): shape for name, shape in shapes.items() if name != "offsets"}


@component("post_hoc/logit_adjustment@1")
@dataclass(frozen=True)
class LogitAdjustment(PostHoc):
    """l_k - tau log pi_k (Menon et al. 2020, 2007.07314, section 4.1).

    Attributes:
        tau: 0: as it was; 1: for classes that are equally frequent at test time; None: of `TAUS` the one with the best
            balanced accuracy on validation images, the smallest of equals.
    """

    tau: float | None = 1.0

    def __post_init__(self) -> None:
        expected = "0 or more, or null"
        require(self.tau is None or self.tau >= 0.0, "tau", self.tau, expected)

    @property
    def needs_validation(self) -> bool:  # type: ignore[override]
        """See `PostHoc`."""
        return self.tau is None

    def offsets(self, counts: Tensor, logits: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """See `PostHoc.offsets`."""
        log_prior = (counts.clamp(min=1).double() / counts.sum()).log()
        tau = self.tau
        if tau is None:
            tau = max(TAUS, key=lambda one: mean_recall(logits - one * log_prior, labels))
        return -tau * log_prior, {"tau": tau}


@component("post_hoc/thresholds@1")
@dataclass(frozen=True)
class ThresholdMoving(PostHoc):
    """Offsets with the best balanced accuracy on validation images, found class by class.

    With two classes this moves the threshold of p_1 (Provost 2000, AAAI workshop on imbalanced data sets). With more,
    each class's offset in turn takes its best value given the others, until none gains or after ``rounds`` rounds. Of
    intervals of equally good offsets the nearest one counts, and of an interval its middle.

    Attributes:
        rounds: over all classes.
    """

    rounds: int = 10

    needs_validation = True

    def __post_init__(self) -> None:
        require(self.rounds >= 1, "rounds", self.rounds, "1 or more")

    def offsets(self, counts: Tensor, logits: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """See `PostHoc.offsets`."""
        offsets = torch.zeros(logits.shape[1], dtype=torch.float64)
        for _ in range(self.rounds):
            before = offsets.clone()
            for label in range(len(offsets)):
                offsets[label] = _best_offset(logits + offsets, labels, label) + offsets[label]
            if torch.equal(offsets, before):
                break
        return offsets - offsets.mean(), {}


def _best_offset(logits: Tensor, labels: Tensor, label: int) -> float:
    """What to add to the logits (N, K) of a class for the best mean recall; 0 if nothing is better."""
    others = logits.clone()
    others[:, label] = -torch.inf
    rival, gap = others.max(1).indices, others.max(1).values - logits[:, label]
    edges = torch.unique(gap)  # above an image's gap it is given the label
    middles = (edges[1:] + edges[:-1]) / 2
    candidates = torch.cat([torch.zeros(1), edges[:1] - 1.0, middles, edges[-1:] + 1.0]).to(gap)
    taken = candidates[:, None] > gap
    present = class_counts(labels, logits.shape[1])
    right = torch.where(taken, labels == label, rival == labels)
    recalls = (right.double() / present[labels]).sum(1) / (present > 0).sum()
    best = (recalls >= recalls.max() - 1e-12).nonzero().squeeze(1)
    if 0 in best:
        return 0.0
    return float(candidates[best[candidates[best].abs().argmin()]])
