"""Wrong labels of a regime: exact numbers of labels, chosen by hash, become other classes."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from trigan.checks import require
from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.rng import Draws, hash64

#: The probabilities of visible labels given true ones, K rows that add up to 1.
Matrix = tuple[tuple[float, ...], ...]
ValidationLabels = Literal["noisy", "clean"]


class LabelNoise(ABC):
    """Base of the noises, as frozen dataclasses; ``validation`` says whether it reaches labels for validation."""

    validation: ValidationLabels

    def __post_init__(self) -> None:
        require(self.validation in get_args(ValidationLabels), "validation", self.validation, "noisy or clean")

    @abstractmethod
    def __call__(self, labels: np.ndarray, keys: np.ndarray, classes: int, images: Callable[[], Tensor]) -> np.ndarray:
        """The noisy labels of a part, int64 (N,), in the order of the given ones.

        Args:
            labels: int64 (N,).
            keys: uint64 (N, 2), the hash of each image in this trial.
            classes: K.
            images: gives the images, uint8 (N, C, S, S).
        """

    @abstractmethod
    def transition(self, classes: int) -> Matrix:
        """T: T[i][j] is the probability that a label of class i is seen as j.

        Raises:
            ConfigError: the noise depends on more than the class.
        """


@dataclass(frozen=True)
class _RateNoise(LabelNoise):
    """Moves round(rate * N) labels of a part to other classes.

    Attributes:
        rate: fraction of the labels that change, 0 to 1.
    """

    rate: float
    validation: ValidationLabels = "noisy"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.rate <= 1, "rate", self.rate, "in 0..1 (0.4 changes 40 % of the labels)")

    def __call__(self, labels: np.ndarray, keys: np.ndarray, classes: int, images: Callable[[], Tensor]) -> np.ndarray:
        """See `LabelNoise`."""
        rows = np.argsort(keys[:, 0], kind="stable")[: round(self.rate * len(keys))]
        noisy = labels.copy()
        noisy[rows] = (labels[rows] + self.steps(keys[rows, 1], classes)) % classes
        return noisy

    @abstractmethod
    def steps(self, keys: np.ndarray, classes: int) -> np.ndarray | int:
        """By how many classes each label moves: keys uint64 (n,) -> 1..K-1."""

    def transition(self, classes: int) -> Matrix:
        """See `LabelNoise`."""
        return tuple(
            tuple(
                1.0 - self.rate if i == j else self.rate * self.share((j - i) % classes, classes)
                for j in range(classes)
            )
            for i in range(classes)
        )

    @abstractmethod
    def share(self, step: int, classes: int) -> float:
        """The share of the changed labels that move by ``step``, 1..K-1, classes."""


@component("label_noise/symmetric@1")
@dataclass(frozen=True)
class SymmetricNoise(_RateNoise):
    """A changed label becomes any of the other K - 1 classes with equal probability."""

    def steps(self, keys: np.ndarray, classes: int) -> np.ndarray:
        """1 + key mod (K - 1)."""
        return 1 + (keys % np.uint64(classes - 1)).astype(np.int64)

    def share(self, step: int, classes: int) -> float:
        """1 / (K - 1)."""
        return 1.0 / (classes - 1)


@component("label_noise/pair@1")
@dataclass(frozen=True)
class PairNoise(_RateNoise):
    """A changed label becomes the next class, k -> k + 1 mod K (Han et al. 2018, co-teaching, arXiv 1804.06872)."""

    def steps(self, keys: np.ndarray, classes: int) -> int:
        """Always 1."""
        return 1

    def share(self, step: int, classes: int) -> float:
        """All of them move by 1."""
        return float(step == 1)


@component("label_noise/matrix@1")
@dataclass(frozen=True)
class MatrixNoise(LabelNoise):
    """Of the n labels of class i in a part, n T_ij become class j, up to less than one label.

    The counts are floor(c_j + u) - floor(c_(j-1) + u) with c the cumulative n T_i and u uniform in [0, 1), from the
    hash of the class in this trial: their mean over trials is n T_ij, also for a few labels.

    Attributes:
        matrix: T, K rows of K numbers in [0, 1] that add up to 1.
    """

    matrix: Matrix
    validation: ValidationLabels = "noisy"

    def __post_init__(self) -> None:
        super().__post_init__()
        for number, row in enumerate(self.matrix):
            if len(row) != len(self.matrix):
                raise ConfigError(
                    f"matrix: row {number} has {len(row)} numbers, expected {len(self.matrix)}, one a row"
                )
            if not all(0 <= value <= 1 for value in row) or abs(math.fsum(row) - 1) > 1e-6:
                raise ConfigError(
                    f"matrix: row {number}, {list(row)}, must be numbers in [0, 1] that add up to 1, the shares of the "
                    f"labels of class {number} that become each class"
                )

    def __call__(self, labels: np.ndarray, keys: np.ndarray, classes: int, images: Callable[[], Tensor]) -> np.ndarray:
        """See `LabelNoise`."""
        noisy = labels.copy()
        for number, row in enumerate(self.transition(classes)):
            of_class = np.flatnonzero(labels == number)
            ordered = of_class[np.argsort(keys[of_class, 0], kind="stable")]
            if len(ordered):
                upper = np.cumsum(row)
                ends = np.floor(upper / upper[-1] * len(ordered) + keys[ordered[0], 1] / 2.0**64).astype(np.int64)
                noisy[ordered] = np.repeat(np.arange(classes), np.diff(ends, prepend=0))
        return noisy

    def transition(self, classes: int) -> Matrix:
        """The given matrix, if it is that of K classes."""
        if len(self.matrix) != classes:
            raise ConfigError(
                f"regime.noise.matrix: {len(self.matrix)} rows, but the data have {classes} classes; give {classes} "
                f"rows of {classes} numbers"
            )
        return tuple(tuple(float(value) for value in row) for row in self.matrix)


@component("label_noise/instance@1")
@dataclass(frozen=True)
class InstanceDependentNoise(LabelNoise):
    """Noise that depends on the image (Xia et al. 2020, 2006.07836, algorithm 2), with an exact rate.

    As there, image i changes its label with a probability q_i from N(rate, spread^2), truncated to [0, 1], and becomes
    class j with probability softmax_{j != y}(x_i W_y)_j, x_i being its pixels in [-1, 1] and W_y (D, K) standard normal
    projections. Instead of a toss for each image, the round(rate * N) images with the largest q_i - u_i change, with
    u_i uniform: those that would change if all q_i were moved by the one number that gives this count.

    Attributes:
        rate: fraction of the labels that change, 0 to 1.
        spread: standard deviation of q, above 0.
        seed: of W, which is the same in all trials.
    """

    rate: float
    validation: ValidationLabels = "noisy"
    spread: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.rate <= 1, "rate", self.rate, "in 0..1 (0.4 changes 40 % of the labels)")
        require(self.spread > 0, "spread", self.spread, "above 0")

    def __call__(self, labels: np.ndarray, keys: np.ndarray, classes: int, images: Callable[[], Tensor]) -> np.ndarray:
        """See `LabelNoise`."""
        count = round(self.rate * len(labels))
        if not count:
            return labels.copy()
        first, second, third = (
            keys[:, 0] / 2.0**64,
            (keys[:, 1] >> np.uint64(32)) / 2.0**32,
            keys[:, 1] % 2**32 / 2.0**32,
        )
        rows = np.argsort(second - self._probabilities(first), kind="stable")[:count]
        pixels = images().flatten(1).double() / 127.5 - 1.0
        noisy = labels.copy()
        for number in np.unique(labels[rows]):
            of_class = rows[labels[rows] == number]
            scores = pixels[torch.from_numpy(of_class)] @ self._projection(int(number), pixels.shape[1], classes)
            scores[:, number] = -torch.inf
            upper = scores.softmax(1).cumsum(1).numpy()
            noisy[of_class] = (third[of_class, None] * upper[:, -1:] >= upper).sum(1)
        return noisy

    def _probabilities(self, uniform: np.ndarray) -> np.ndarray:
        """The probabilities q for uniform numbers (N,)."""
        ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
        low, high = torch.special.ndtr((ends - self.rate) / self.spread).numpy()
        quantiles = torch.special.ndtri(torch.from_numpy(low + uniform * (high - low))).numpy()
        return np.asarray(np.clip(self.rate + self.spread * quantiles, 0.0, 1.0))

    def _projection(self, label: int, pixels: int, classes: int) -> Tensor:
        """W_y, float64 (D, K)."""
        seed = hash64(self.seed, "instance noise", label)
        return Draws.of_rows(seed, 0, pixels).normal("projection", classes).double()

    def transition(self, classes: int) -> Matrix:
        """See `LabelNoise`."""
        raise ConfigError(
            "regime.noise=instance has no matrix T, since it depends on the image; estimate one "
            "(transition=estimated), or take regime.noise=symmetric, pair or matrix"
        )
