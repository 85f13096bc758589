"""One training step as an objective sees it: named batches, the random numbers that go with them, and the fakes."""

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from trigan.rng import Draws

if TYPE_CHECKING:
    from trigan.training.players import PlayersModule


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


class Step:
    """A micro-batch of training step ``index``; rows are this rank's share of each global batch.

    ``progress`` is the share of the fit that lies behind, in [0, 1). Batches and fakes are made when first asked for.
    """

    def __init__(self, module: "PlayersModule", index: int, part: int, generator_due: bool) -> None:
        self.index = index
        self.progress = index / module.plan.steps
        self._module = module
        self._part = part
        self._generator_due = generator_due
        self._batches: dict[str, Batch] = {}
        self._passes: Counter[str] = Counter()

    def network(self, player: str) -> Any:
        """The network of a player."""
        return self._module.networks[player]

    def batch(self, stream: str) -> Batch:
        """This micro-batch of a stream that the stage feeds."""
        if stream not in self._batches:
            source = self._module.streams[stream]
            start, stop = self._module.rows(source.batch, self._part)
            images, labels = source.at(self.index, start, stop)
            images = self._module.in_flight(images)
            self._batches[stream] = Batch(images, labels, self.draws(stream, source.batch))
        return self._batches[stream]

    def partners(self, stream: str) -> Batch:
        """For each row of :meth:`batch` another of the same global batch, by a permutation of its rows.

        It may lie with another rank or in another micro-batch. ``draws`` are those of the rows that it is a partner to.
        """
        source = self._module.streams[stream]
        draws = self.draws(stream, source.batch)
        images, labels = source.pick(self.index, draws.permutation("partners"))
        return Batch(self._module.in_flight(images), labels, draws)

    def fakes(self) -> Batch:
        """One batch from G, drawn once a step and shared by all players.

        It carries G's graph when G moves in this step, and none otherwise; other players take ``images.detach()``.
        """
        if "fakes" not in self._batches:
            module, generator = self._module, self.network("generator")
            draws = self.draws("fakes", module.plan.batch)
            z = draws.normal("z", generator.latent).to(module.weights_dtype)
            classes = generator.classes
            labels = draws.integers("y", classes) if classes else None
            mover = module.let_move("generator") if self._generator_due else None
            with torch.set_grad_enabled(self._generator_due):
                images = generator(z, labels)
            if mover is not None:
                module.let_move(mover)
            self._batches["fakes"] = Batch(images, labels, draws)
        return self._batches["fakes"]

    def draws(self, stream: str, total: int) -> Draws:
        """Random numbers for this rank's rows of a global batch of ``total`` rows; each stream has its own."""
        start, stop = self._module.rows(total, self._part)
        return Draws(self._module.stream_seed(stream), self.index, total, start, stop, self._module.device)

    def layer_draws(self, layer: str, rows: int) -> Draws:
        """Random numbers for a layer's next pass over ``rows`` rows of this step, such as those that dropout needs.

        Passes are counted, because all players' passes of a step come in the same order on every rank and in every
        micro-batch; rows lie in the global batch as :meth:`batch` has them.
        """
        self._passes[layer] += 1
        return self.draws(f"layer/{layer}/{self._passes[layer]}", rows * self._module.shares)

    def note(self, name: str, value: Tensor) -> None:
        """Remember a scalar for the log, as a mean over the steps until the next line of it."""
        self._module.notes.add(name, value)
