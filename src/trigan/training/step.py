"""One training step as an objective sees it: named batches, the random numbers that go with them, and the fakes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trigan.data.stream import BatchStream
from trigan.rng import Draws, hash64
from trigan.training import distributed
from trigan.training.scalars import ScalarMeans


@dataclass(frozen=True)
class TrainingPlan:
    """How long a fit lasts: ``steps`` global batches of ``batch`` images, each in ``accumulate`` micro-batches."""

    steps: int
    batch: int
    accumulate: int = 1
    log_every: int = 100
    seed: int = 0


class TrainablePlayer:
    """Which player's weights take gradients: exactly one player's at a time.

    Args:
        weights: the parameters of each player.
    """

    def __init__(self, weights: Mapping[str, list[nn.Parameter]]) -> None:
        self._weights = weights
        self._player = ""

    def switch_to(self, player: str) -> str:
        """Make ``player`` the only one whose weights take gradients; returns the one before."""
        before, self._player = self._player, player
        if player != before:
            for name, parameters in self._weights.items():
                for parameter in parameters:
                    parameter.requires_grad_(name == player)
        return before


class Batch(NamedTuple):
    """``images`` float (n, C, S, S) in [-1, 1]; ``labels`` int64 (n,) or None; ``draws`` for exactly these rows."""

    images: Tensor
    labels: Tensor | None
    draws: Draws

    @property
    def known_labels(self) -> Tensor:
        """The labels of a batch that must have them."""
        if self.labels is None:
            raise ValueError("this batch has no labels")
        return self.labels


@dataclass(frozen=True)
class StepContext:
    """What all steps of a fit share.

    Attributes:
        networks: one per player.
        weights: the parameters of each player; never empty.
        streams: the batches that feed the objective, by name.
        scalars: what the objective records for the log.
    """

    networks: nn.ModuleDict
    weights: Mapping[str, list[nn.Parameter]]
    streams: Mapping[str, BatchStream]
    plan: TrainingPlan
    trainable: TrainablePlayer
    scalars: ScalarMeans

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return next(iter(self.weights.values()))[0].device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, hence of everything that passes through them."""
        return next(iter(self.weights.values()))[0].dtype

    @property
    def micro_batches(self) -> int:
        """Into how many micro-batches, of all ranks together, a global batch is divided."""
        return distributed.world_size() * self.plan.accumulate

    def rows(self, total: int, part: int) -> tuple[int, int]:
        """Rows of a global batch of ``total`` that micro-batch ``part`` of this rank takes.

        All ranks' rows of a micro-batch lie side by side, so that batch norm over ranks sees what one process would.
        """
        share = total // self.micro_batches
        start = (part * distributed.world_size() + distributed.rank()) * share
        return start, start + share

    def in_dtype(self, images: Tensor) -> Tensor:
        """Images in the precision of the weights."""
        return images if images.dtype == self.dtype else images.to(self.dtype)


class TrainingStep:
    """A micro-batch of training step ``index``; rows are this rank's share of each global batch.

    ``progress`` is the share of the fit that lies behind, in [0, 1). Batches and fakes are made when first asked for.
    """

    def __init__(self, context: StepContext, index: int, part: int, generator_due: bool) -> None:
        self.index = index
        self.progress = index / context.plan.steps
        self._context = context
        self._part = part
        self._generator_due = generator_due
        self._batches: dict[str, Batch] = {}
        self._passes: Counter[str] = Counter()

    def network(self, player: str) -> Any:
        """The network of a player."""
        return self._context.networks[player]

    def batch(self, stream: str) -> Batch:
        """This micro-batch of a stream that the stage feeds."""
        if stream not in self._batches:
            source = self._context.streams[stream]
            start, stop = self._context.rows(source.batch, self._part)
            images, labels = source.at(self.index, start, stop)
            images = self._context.in_dtype(images)
            self._batches[stream] = Batch(images, labels, self.draws(stream, source.batch))
        return self._batches[stream]

    def permuted_batch(self, stream: str) -> Batch:
        """For each row of :meth:`batch` another of the same global batch, by a permutation of its rows.

        It may lie with another rank or in another micro-batch. ``draws`` are those of the rows that it is a partner to.
        """
        source = self._context.streams[stream]
        draws = self.draws(stream, source.batch)
        images, labels = source.pick(self.index, draws.permutation("partners"))
        return Batch(self._context.in_dtype(images), labels, draws)

    def fakes(self) -> Batch:
        """One batch from G, drawn once a step and shared by all players.

        It carries G's graph when G moves in this step, and none otherwise; other players take ``images.detach()``.
        """
        if "fakes" not in self._batches:
            context, generator = self._context, self.network("generator")
            draws = self.draws("fakes", context.plan.batch)
            z = draws.normal("z", generator.latent).to(context.dtype)
            classes = generator.classes
            labels = draws.integers("y", classes) if classes else None
            before = context.trainable.switch_to("generator") if self._generator_due else None
            with torch.set_grad_enabled(self._generator_due):
                images = generator(z, labels)
            if before is not None:
                context.trainable.switch_to(before)
            self._batches["fakes"] = Batch(images, labels, draws)
        return self._batches["fakes"]

    def draws(self, stream: str, total: int) -> Draws:
        """Random numbers for this rank's rows of a global batch of ``total`` rows; each stream has its own."""
        start, stop = self._context.rows(total, self._part)
        return Draws(hash64(self._context.plan.seed, stream), self.index, total, start, stop, self._context.device)

    def layer_draws(self, layer: str, rows: int) -> Draws:
        """Random numbers for a layer's next pass over ``rows`` rows of this step, such as those that dropout needs.

        Passes are counted, because all players' passes of a step come in the same order on every rank and in every
        micro-batch; rows lie in the global batch as :meth:`batch` has them.
        """
        self._passes[layer] += 1
        return self.draws(f"layer/{layer}/{self._passes[layer]}", rows * self._context.micro_batches)

    def log(self, name: str, value: Tensor) -> None:
        """Remember a scalar for the log, as a mean over the steps until the next line of it."""
        self._context.scalars.add(name, value)
