"""The settings of the samples that C is trained on."""

import logging
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.augmentation import Augmentation
from trigan.datasets.types import DataSpec, TrainingView
from trigan.errors import ConfigError
from trigan.samples.collect import wanted_counts
from trigan.samples.filters import Filter
from trigan.training.balance import class_counts
from trigan.training.terms.loss_terms import Annealing, ExtraImages

_log = logging.getLogger(__name__)

#: Largest memory of all sample sets together with ``sets=auto``, in bytes.
FRESH_BYTES = 2**31


@component("strategy/samples@1")
@dataclass(frozen=True)
class SampleSettings:
    """The samples that C is trained on.

    Attributes:
        ratio: samples per labelled image.
        fill: ``balanced`` over classes; ``deficit``: first to the classes with the fewest labelled images;
            ``to_largest``: n_max - n_k to class k, whatever the ratio; ``errors``: in proportion to the teacher's
            errors on validation images, 1 - `trigan.strategies.teachers.smoothed_recalls`.
        weight: weight of a sample in C's loss; a labelled image has weight 1.
        per_step: samples per labelled image in each batch.
        filters: filters that keep or reject each sample; a sample must pass all of them.
        sets: number of sample sets of ``ratio`` each, which C's epochs over the samples use in turn; ``auto``: one per
            epoch, so that no sample is repeated, as in papers that draw samples in every epoch; of a diffusion model at
            most as many as cost what its training cost, and at least one; one where C draws samples at random
            (resampling in ``pretrain``).
        truncation: bound of the latents' absolute values, or None (see `LatentTransform`).
        latent_scale: factor of the latents.
        annealing: how the weight falls to 0 at the share ``until`` of C's steps: ``none`` (constant), ``linear`` or
            ``cosine``.
        until: share of C's steps with samples; the others are on real images alone.
        targets: ``hard``: the sample's label; ``soft``: the teacher's probabilities.
        batch_norm: ``separate``: C's batch norm has an auxiliary weight and bias for samples (AdvProp).
        neighbours: of an image of its class between which and itself SMOTE draws a sample.
    """

    ratio: float = 10.0
    fill: Literal["balanced", "deficit", "to_largest", "errors"] = "balanced"
    weight: float = 0.5
    per_step: float = 1.0
    filters: tuple[Filter, ...] = ()
    sets: int | Literal["auto"] = 1
    truncation: float | None = None
    latent_scale: float = 1.0
    annealing: Annealing = "none"
    until: float = 1.0
    targets: Literal["hard", "soft"] = "hard"
    batch_norm: Literal["shared", "separate"] = "shared"
    neighbours: int = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", tuple(self.filters))
        truncation, sets = self.truncation, self.sets
        require(self.ratio > 0.0, "strategy.samples.ratio", self.ratio, "above 0")
        require(self.weight >= 0.0, "strategy.samples.weight", self.weight, "0 or more")
        require(self.per_step > 0.0, "strategy.samples.per_step", self.per_step, "above 0")
        require(self.neighbours >= 1, "strategy.samples.neighbours", self.neighbours, "1 or more")
        valid = sets == "auto" if isinstance(sets, str) else sets >= 1
        require(valid, "strategy.samples.sets", sets, "1 or more, or auto")
        require(truncation is None or truncation > 0.0, "strategy.samples.truncation", truncation, "above 0, or null")
        require(self.latent_scale > 0.0, "strategy.samples.latent_scale", self.latent_scale, "above 0")
        require(0.0 < self.until <= 1.0, "strategy.samples.until", self.until, "a share in (0, 1]")
        choices = {"annealing": get_args(Annealing), "targets": ("hard", "soft"), "batch_norm": ("shared", "separate")}
        choices["fill"] = ("balanced", "deficit", "to_largest", "errors")
        for name, known in choices.items():
            value = getattr(self, name)
            require(value in known, f"strategy.samples.{name}", value, f"one of {', '.join(known)}")

    def check(self, view: TrainingView) -> None:
        """Raise a ConfigError if ``fill`` needs validation labels and there are none, or classes are equal."""
        if self.fill == "errors" and not view.sizes.validation:
            raise ConfigError(
                "strategy.samples.fill=errors: errors are counted on validation labels, and this regime has none; set "
                "regime.validation=within or large, or another fill"
            )
        counts = class_counts(view.labelled.labels, view.spec.classes)
        if self.fill == "to_largest" and int(counts.min()) == int(counts.max()):
            raise ConfigError(
                "strategy.samples.fill=to_largest: all classes have as many labels as the largest one, so there is "
                "nothing to fill; set strategy.samples.fill=balanced"
            )

    def wanted(self, counts: Tensor, recalls: Tensor | None = None) -> Tensor:
        """The samples of each class in a set, int64 (K,), for the labelled images ``counts`` (K,) of each class."""
        if self.fill == "to_largest":
            return counts.max() - counts
        total = max(len(counts), round(self.ratio * int(counts.sum())))
        if self.fill != "errors" or recalls is None:
            return wanted_counts(counts, total, self.fill == "deficit")
        return shared_out(1.0 - recalls, total)

    def term(self, augmentation: Augmentation, stream: str) -> ExtraImages:
        """The loss term of the samples in a mixed batch, whose input is ``stream``."""
        separate = self.batch_norm == "separate"
        return ExtraImages(
            augmentation, self.weight, self.per_step, stream, self.until, self.annealing, separate_batch_norm=separate
        )

    def number_of_sets(self, used: int, size: int, spec: DataSpec, pool: int | None = None) -> int:
        """The number of sets of ``size`` samples for a fit that uses ``used``: with auto one per epoch.

        They fit into `FRESH_BYTES`, and into a ``pool``: the number of images to be drawn at most.
        """
        if not isinstance(self.sets, str):
            return self.sets
        epochs, largest = -(-used // size), FRESH_BYTES // (spec.channels * spec.size**2 * size)
        if pool is not None:
            return max(1, min(epochs, largest, pool // size))
        if largest < epochs:
            _log.warning(
                "strategy.samples.sets=auto: samples are repeated, as only %d of %d sets fit into %d GiB",
                max(1, largest),
                epochs,
                FRESH_BYTES // 2**30,
            )
        return max(1, min(epochs, largest))


def shared_out(weights: Tensor, total: int) -> Tensor:
    """``total`` in proportion to ``weights`` (K,) as integers, int64 (K,), by the largest remainders."""
    exact = weights * (total / weights.sum())
    counts = exact.floor().long()
    missing = total - int(counts.sum())
    counts[(exact - counts).argsort(descending=True, stable=True)[:missing]] += 1
    return counts
