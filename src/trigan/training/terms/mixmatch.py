"""MixMatch: C on mixtures of labelled images and of unlabelled ones with guessed labels."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan import distributed
from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.augmentation import Augmentation
from trigan.datasets.mixing import mixing_coefficients
from trigan.losses.classifier_losses import CrossEntropy
from trigan.losses.unlabelled_losses import mixmatch_losses, sharpened
from trigan.networks.batchnorm import frozen_statistics
from trigan.rng import Draws, hash64
from trigan.training.balance import ClassWeights, EffectiveNumber
from trigan.training.recipe import Recipe
from trigan.training.step import Batch, TrainingStep
from trigan.training.terms.loss_terms import StatelessTerm

_VIEWS = ("one", "other")


@component("criterion/mixmatch@1")
@dataclass(frozen=True)
class MixMatch(StatelessTerm):
    """MixMatch (Berthelot et al. 2019, arXiv 1905.02249, algorithm 1), with two views of each unlabelled image.

    The mean prediction on both views, sharpened with ``temperature``, is the label of both. Each image of the batch,
    labelled or not, is mixed with a partner from the whole batch, by max(lam, 1 - lam) with lam ~ Beta(``alpha``,
    ``alpha``), and so are the labels (eq. 8 to 11). The loss is that of `mixmatch_losses`, the second one times
    ``weight`` w(t), with w a linear ramp-up over the first share ``ramp_up`` of the fit. The weight is 75 or 100 in the
    authors' runs on CIFAR-10, after a ramp-up of 16,000 steps, which is longer than most fits here; USB has 40 % of the
    fit. It replaces the loss of labelled images. Partners are of the batch of all
    processes; with trainer.accumulate, of each micro-batch. Both kinds of images are normalised together.
    """

    augmentation: Augmentation
    temperature: float = 0.5
    alpha: float = 0.75
    weight: float = 75.0
    ramp_up: float = 0.4
    ratio: int = 1
    stream: str = "unlabelled"

    views = 4  # two for the guess, and two mixed ones
    replaces_labelled = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.temperature > 0.0, "temperature", self.temperature, "above 0")
        require(0.0 < self.alpha < float("inf"), "alpha", self.alpha, "above 0")
        require(0.0 < self.ramp_up <= 1.0, "ramp_up", self.ramp_up, "in (0, 1]")

    def conflict(self, recipe: Recipe) -> str | None:
        """Parts of the recipe that are for the loss of labelled images alone."""
        criterion, weights = type(recipe.criterion), isinstance(recipe.balance, ClassWeights | EffectiveNumber)
        if criterion is CrossEntropy and not weights and recipe.mix is None and recipe.adversary is None:
            return None
        return (
            "strategy.unlabelled=mixmatch has its own loss of labelled images; set recipe/criterion=cross_entropy, "
            "balance=none or a resampling, mix=none and recipe.adversary=null"
        )

    def __call__(self, step: TrainingStep, network: nn.Module) -> Tensor:
        """Both losses, the second one weighted, shape ()."""
        labelled, unlabelled = step.batch("labelled"), step.batch(self.stream)
        images = [labelled.augmented(self.augmentation, "augment")]
        images += [unlabelled.augmented(self.augmentation, view) for view in _VIEWS]
        with torch.no_grad(), frozen_statistics(network):
            predictions = [network(view).softmax(1) for view in images[1:]]
        guess = sharpened(torch.stack(predictions).mean(0), self.temperature)
        labels = F.one_hot(labelled.known_labels, guess.shape[1]).to(guess.dtype)
        mixed, targets = self._mixed(images, [labels, guess, guess], labelled, unlabelled)
        logits, count = network(mixed), len(labels)
        losses = mixmatch_losses(logits[:count], targets[:count], logits[count:], targets[count:])
        for name, loss in zip(("train/labelled_loss", "train/consistency_loss"), losses, strict=True):
            step.log(name, loss)
        weight = step.scheduled(lambda now: self.weight * min(1.0, now.progress / self.ramp_up))
        both: Tensor = losses[0] + weight * losses[1]
        return both

    def _mixed(
        self, images: list[Tensor], labels: list[Tensor], labelled: Batch, unlabelled: Batch
    ) -> tuple[Tensor, Tensor]:
        """Mixed images and labels of this rank's rows of all parts, (n, C, S, S) and (n, K)."""
        draws = [labelled.draws, *(_of_view(unlabelled.draws, view) for view in _VIEWS)]
        share = torch.cat([mixing_coefficients(one, self.alpha, 1.0) for one in draws]).to(images[0])
        share = torch.maximum(share, 1.0 - share)
        partners = _partners([len(part) for part in images], unlabelled.draws)
        return _mixture(images, partners, share), _mixture(labels, partners, share)


def _of_view(draws: Draws, view: str) -> Draws:
    return replace(draws, seed=hash64(draws.seed, view))


def _partners(rows: list[int], draws: Draws) -> Tensor:
    """For this rank's rows of all parts, int64 (sum of rows,), rows of the parts of all ranks, one after the other."""
    ranks, rank = distributed.world_size(), distributed.rank()
    first = draws.start - rank * (draws.stop - draws.start)  # the same on all ranks
    order = draws.order(ranks * sum(rows), "partners", first)
    parts = torch.split(order, [ranks * count for count in rows])
    return torch.cat([part[rank * count :][:count] for part, count in zip(parts, rows, strict=True)])


def _mixture(parts: list[Tensor], partners: Tensor, share: Tensor) -> Tensor:
    """Mix as share x_i + (1 - share) x_j, with i the rows of this rank's parts and j those of all ranks' parts."""
    everywhere = torch.cat([distributed.all_gather(part.flatten(1)) for part in parts])
    own, share = torch.cat([part.flatten(1) for part in parts]), share[:, None]
    return (share * own + (1.0 - share) * everywhere[partners]).view(-1, *parts[0].shape[1:])
