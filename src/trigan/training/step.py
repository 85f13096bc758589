"""One training step as an objective uses it: named batches, their random numbers, and the generated images."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from trigan import distributed
from trigan.datasets.augmentation import Augmentation
from trigan.datasets.stream import BatchStream
from trigan.rng import DeviceStep, Draws, hash64

V = TypeVar("V")
_STEPS_AHEAD = 32  # steps whose random numbers are drawn at once, if they are few


class ScalarMeans:
    """Means of logged scalars, summed on the device and read rarely, because reading waits for the device.

    ``counts``: how often each name was added since the last flush. ``players``: whose update logged a name.
    """

    def __init__(self) -> None:
        self.players: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self._sums: dict[str, Tensor] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Add one scalar, detached; sums are float32 or wider, because a bfloat16 sum of ones stops at 256."""
        if name not in self._sums:
            dtype = torch.float32 if value.dtype.itemsize < 4 else value.dtype
            self._sums[name] = torch.zeros((), dtype=dtype, device=value.device)
        self._sums[name].add_(value.detach())
        self.counts[name] += 1

    def flush(self) -> dict[str, float]:
        """Mean of each name over steps and ranks since the last flush."""
        names = [name for name, count in self.counts.items() if count]
        if not names:
            return {}
        means = torch.stack([self._sums[name].float() / self.counts[name] for name in names])
        result = dict(zip(names, distributed.global_mean(means).tolist(), strict=True))
        for total in self._sums.values():  # in place, because a captured step adds to these tensors
            total.zero_()
        self.counts.clear()
        return result


@dataclass(frozen=True, slots=True)
class Moment:
    """A step on the host: its number, and the finished share of the fit, in [0, 1)."""

    index: int
    progress: float


@dataclass(frozen=True)
class TrainingPlan:
    """Length of a fit: ``steps`` global batches of ``batch`` images, each split into ``accumulate`` micro-batches."""

    steps: int
    batch: int
    accumulate: int = 1
    log_every: int = 100
    seed: int = 0

    def moment(self, index: int) -> Moment:
        """Step number ``index``."""
        return Moment(index, index / self.steps)


class Batch(NamedTuple):
    """``images`` float (n, C, S, S) in [-1, 1]; ``labels`` int64 (n,) or None; ``draws`` for exactly these rows.

    ``note`` is told of each augmentation of the images, with its view and the number of images that it returned anew.
    """

    images: Tensor
    labels: Tensor | None
    draws: Draws
    note: Callable[[Augmentation, str, int], None] | None = None

    def augmented(self, augmentation: Augmentation, view: str) -> Tensor:
        """The images after an augmentation, which is counted; ``view`` names the random numbers."""
        images = augmentation(self.images, self.draws, view)
        if self.note is not None:
            self.note(augmentation, view, 0 if images is self.images else len(images))
        return images

    @property
    def known_labels(self) -> Tensor:
        """The labels of a batch that must have them."""
        if self.labels is None:
            raise ValueError("this batch has no labels")
        return self.labels

    @property
    def detached(self) -> "Batch":
        """The same batch, its images without their autograd graph."""
        return self._replace(images=self.images.detach())


@dataclass
class StepContext:
    """What all steps of a fit share; only the ``weights`` of the player ``trainable`` take gradients."""

    networks: nn.ModuleDict
    weights: Mapping[str, list[nn.Parameter]]
    streams: Mapping[str, BatchStream]
    plan: TrainingPlan
    scalars: ScalarMeans = field(default_factory=ScalarMeans)
    trainable: str = ""

    def switch_to(self, player: str) -> str:
        """Make ``player`` the only trainable player; returns the previous trainable player."""
        before, self.trainable = self.trainable, player
        if player != before:
            for name, parameters in self.weights.items():
                for parameter in parameters:
                    parameter.requires_grad_(name == player)
        return before

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(iter(self.weights.values()))[0].device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights, and so of every image that passes through them."""
        return next(iter(self.weights.values()))[0].dtype

    @property
    def micro_batches(self) -> int:
        """Number of micro-batches, over all ranks, in a global batch."""
        return distributed.world_size() * self.plan.accumulate

    def rows(self, total: int, part: int) -> tuple[int, int]:
        """Rows (start, stop) of a global batch of ``total`` in micro-batch ``part`` of this rank.

        All ranks' rows of a micro-batch are adjacent, so batch norm over ranks equals that of one process.
        """
        share = total // self.micro_batches
        start = (part * distributed.world_size() + distributed.rank()) * share
        return start, start + share


class TrainingStep:
    """One micro-batch, number ``part``, of a training step, with this rank's rows of each global batch.

    ``index``: the number of the step, or its place on the device. What depends on it is asked of `scheduled` and
    `decided`, never computed from the number, so that a step can be captured as a CUDA graph. Batches and generated
    images are made at their first use.
    """

    def __init__(self, context: StepContext, index: int | DeviceStep, part: int, generator_due: bool) -> None:
        self.index, self.part = index, part
        self._context, self._generator_due = context, generator_due
        self._batches: dict[str, Batch] = {}
        self._passes: Counter[str] = Counter()
        self.used: dict[str, set[str]] = {}
        self.augmented: dict[str, list[tuple[str, str, Augmentation, int]]] = {}

    def scheduled(self, function: Callable[[Moment], float]) -> Any:
        """A number that changes over the fit: a float, or a tensor () in a step whose number is on the device."""
        moment = self._context.plan.moment
        if isinstance(self.index, DeviceStep):
            return self.index.real(lambda index: function(moment(index)))
        return function(moment(self.index))

    def decided(self, function: Callable[[Moment], V]) -> V:
        """What this step does, as a value that can be compared: whether a term is due, how many images are kept."""
        moment = self._context.plan.moment
        if isinstance(self.index, DeviceStep):
            return self.index.decided(lambda index: function(moment(index)))
        return function(moment(self.index))

    def network(self, player: str) -> Any:
        """The network of a player."""
        return self._context.networks[player]

    @contextmanager
    def gradients_of(self, player: str) -> Iterator[Any]:
        """The network of a player, whose graph is kept for its own update while another one is updated."""
        before = self._context.switch_to(player)
        try:
            yield self._context.networks[player]
        finally:
            self._context.switch_to(before)

    def batch(self, stream: str) -> Batch:
        """This micro-batch of one of the stage's streams; ``used`` notes which player's update asked for it."""
        self.used.setdefault(self._context.trainable, set()).add(stream)
        if stream not in self._batches:
            source = self._context.streams[stream]
            images, labels = source.at(self.index, *self._context.rows(source.batch, self.part))
            self._batches[stream] = self._batch(stream, images, labels, self.draws(stream, source.batch))
        return self._batches[stream]

    def image_numbers(self, stream: str) -> Tensor:
        """Which images of a stream's data are the rows of `batch`, int64 (n,)."""
        source = self._context.streams[stream]
        return source.indices(self.index, *self._context.rows(source.batch, self.part))

    def permuted_batch(self, stream: str) -> Batch:
        """A partner for each row of `batch`, by a permutation of the rows of the global batch.

        A partner may belong to another rank or micro-batch. ``draws`` are those of the rows of `batch`.
        """
        source = self._context.streams[stream]
        draws = self.draws(stream, source.batch)
        images, labels = source.pick(self.index, draws.permutation("partners"))
        return self._batch(stream, images, labels, draws)

    def same_class_batch(self, stream: str) -> Batch:
        """A partner of the same class for each row of `batch`: the next one of its class in a random order.

        The order is over the global batch, as in `permuted_batch`; an image that is alone is its own partner.
        """
        source = self._context.streams[stream]
        draws = self.draws(stream, source.batch)
        if source.labels is None:
            raise ValueError(f"the stream {stream} has no labels")
        labels = source.labels[source.indices(self.index)]
        order = replace(draws, start=0, stop=draws.total).permutation("class partners")
        ordered = order[labels[order].argsort(stable=True)]
        classes = labels[ordered]
        last = torch.cat([classes[1:] != classes[:-1], classes.new_ones(1, dtype=torch.bool)])
        first_of_class = ordered[torch.searchsorted(classes, classes)]
        partners = torch.empty_like(ordered)
        partners[ordered] = torch.where(last, first_of_class, ordered.roll(-1))
        images, others = source.pick(self.index, partners[draws.start : draws.stop])
        return self._batch(stream, images, others, draws)

    def fakes(self, like: str | None = None) -> Batch:
        """A batch from G, generated once a step and used by all players.

        A conditional G gets random labels, or row by row those of the stream ``like`` where they are known (not -1),
        which the first call decides. Its images have G's autograd graph if G is updated in this step, else none; other
        players use `Batch.detached`.
        ``used`` notes the player as for `batch`.
        """
        self.used.setdefault(self._context.trainable, set()).add("fakes")
        if "fakes" not in self._batches:
            context, generator = self._context, self.network("generator")
            draws = self.draws("fakes", context.plan.batch)
            z = draws.normal("z", generator.latent).to(context.dtype)
            labels = draws.integers("y", generator.classes) if generator.classes else None
            if labels is not None and like is not None:
                given = self.batch(like).known_labels
                labels = torch.where(given < 0, labels, given)
            before = context.switch_to("generator") if self._generator_due else None
            with torch.set_grad_enabled(self._generator_due):
                images = generator(z, labels)
            if before is not None:
                context.switch_to(before)
            self._batches["fakes"] = self._batch("fakes", images, labels, draws)
        return self._batches["fakes"]

    def _batch(self, stream: str, images: Tensor, labels: Tensor | None, draws: Draws) -> Batch:
        """A batch in the weights' precision; ``augmented`` notes, by the player that is updated, what is done to it."""

        def note(augmentation: Augmentation, view: str, images: int) -> None:
            noted = self.augmented.setdefault(self._context.trainable, [])
            noted.append((stream, view, augmentation, images * self._context.micro_batches))

        return Batch(images.to(self._context.dtype), labels, draws, note)

    def draws(self, stream: str, total: int) -> Draws:
        """Random numbers for this rank's rows of a global batch of ``total`` rows; each stream has its own."""
        start, stop = self._context.rows(total, self.part)
        seed = hash64(self._context.plan.seed, stream)
        return Draws(seed, self.index, total, start, stop, self._context.device, ahead=_STEPS_AHEAD)

    def layer_draws(self, layer: str, rows: int) -> Draws:
        """Random numbers for the next pass of a layer, such as dropout, over ``rows`` rows of this step.

        Passes are counted for each player that is updated: they come in the same order on every rank and in every
        micro-batch, and C's own update draws the same numbers whichever players are updated before it.
        """
        use = f"{self._context.trainable}/{layer}"
        self._passes[use] += 1
        return self.draws(f"layer/{use}/{self._passes[use]}", rows * self._context.micro_batches)

    def log(self, name: str, value: Tensor) -> None:
        """Log a scalar, as a mean over the steps until the next flush."""
        self._context.scalars.add(name, value)
        self._context.scalars.players[name] = self._context.trainable
