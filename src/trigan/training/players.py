"""The mechanics of manual optimization, once: who moves, on which loss, how often.

An objective is an ordered list of updates; in each step every update that is due freezes all players but its own,
sums gradients over micro-batches, averages them over ranks, clips, steps, and moves the average weights.
"""

from bisect import bisect_left
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from trigan.cost import count_flops
from trigan.data.stream import BatchStream
from trigan.errors import DivergedError
from trigan.networks.random_layers import random_layers, use_random_source
from trigan.training import distributed
from trigan.training.ema import EMA, AveragedNetwork
from trigan.training.optimizers import OptimizerFactory
from trigan.training.range_checks import require_clip
from trigan.training.scalars import ScalarMeans
from trigan.training.selection import Recalibrate, Selector
from trigan.training.snapshots import Snapshots
from trigan.training.step import StepContext, TrainablePlayer, TrainingPlan, TrainingStep


@dataclass(frozen=True)
class Player:
    """A network with the settings by which it moves; ``clip`` (above 0, or None) bounds the norm of its gradient."""

    network: nn.Module
    optimizer: OptimizerFactory
    ema: EMA | None = None
    clip: float | None = None

    def __post_init__(self) -> None:
        require_clip(self.clip)


@dataclass(frozen=True)
class Update:
    """Move ``player`` on ``loss`` in every ``every``-th step; ``images``, real and generated, are charged to it.

    ``start``, a share of the fit in [0, 1): before it, the player rests.
    """

    player: str
    loss: Callable[[TrainingStep], Tensor]
    images: int
    every: int = 1
    start: float = 0.0

    def due(self, index: int, progress: float = 0.0) -> bool:
        """Whether the update takes place in step ``index``, before which ``progress`` of the fit lies."""
        return progress >= self.start and index % self.every == self.every - 1

    def first_step(self, steps: int) -> int:
        """The first of ``steps`` in which the player does not rest any more."""
        return bisect_left(range(steps), self.start, key=lambda index: index / steps)


class Objective(Protocol):
    """What the players play."""

    def updates(self) -> tuple[Update, ...]:
        """The updates, in the order in which they take place within a step."""
        ...

    def phase(self, progress: float) -> Hashable:
        """Names which terms are switched on at ``progress``: steps of one phase cost the same."""
        ...


class PlayersModule(pl.LightningModule):
    """Players, an objective, and the streams that feed them; ``training_step`` takes the number of the step."""

    def __init__(
        self,
        players: Mapping[str, Player],
        objective: Objective,
        streams: Mapping[str, BatchStream],
        plan: TrainingPlan,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.players = dict(players)
        self.networks = nn.ModuleDict({name: player.network for name, player in players.items()})
        self._averages = {name: AveragedNetwork(p.network, p.ema) for name, p in players.items() if p.ema is not None}
        self.averages = nn.ModuleDict({name: average.network for name, average in self._averages.items()})
        self.objective = objective
        self.updates = objective.updates()
        self.streams = dict(streams)
        self.plan = plan
        self.scalars = ScalarMeans()
        self.completed_steps = 0
        self.images = dict.fromkeys(self.players, 0)
        self.flops = 0
        self._flops_of: dict[Hashable, int] = {}
        self._weights = {name: list(network.parameters()) for name, network in self.networks.items()}
        self._random = random_layers(dict(self.networks.items()))
        trainable = TrainablePlayer(self._weights)
        self.step_context = StepContext(self.networks, self._weights, self.streams, plan, trainable, self.scalars)
        for network in self.networks.values():
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a quarter faster on the CPU, the same numbers to rounding
        self.selector: Selector | None = None
        self.snapshots: Snapshots | None = None
        self._recalibrate: Recalibrate = nn.Module.eval

    # Lightning's side -------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One optimizer a player, in the players' order."""
        return [player.optimizer.build(self._weights[name]) for name, player in self.players.items()]

    def on_train_start(self) -> None:
        """Take the optimizers as they are: precision and devices are settled, so no wrapper is needed per step."""
        optimizers = self.optimizers(use_pl_optimizer=False)
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        self._steppers = dict(zip(self.players, optimizers, strict=True))
        self.networks.train()
        self.averages.eval()

    def training_step(self, batch: int, batch_idx: int) -> None:
        """Step number ``batch``: every update that is due, in order."""
        index = int(batch)
        progress = index / self.plan.steps
        due = tuple(update for update in self.updates if update.due(index, progress))
        pattern = (tuple(update.player for update in due), self.objective.phase(progress))
        self._charge(pattern, lambda: self._play(index, due), distributed.world_size())
        self.completed_steps = index + 1
        if self.selector is not None and self.completed_steps in self.selector.due_steps:
            choose = partial(self._show, self.selector.update)
            self._charge("choice", choose, 1)  # every rank looks at all images; what one does is charged
        if self.snapshots is not None and self.completed_steps in self.snapshots.due_steps:
            self._show(self.snapshots.record)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counters travel with the weights: primitives only."""
        checkpoint["counters"] = {
            "completed_steps": self.completed_steps,
            "images": dict(self.images),
            "flops": self.flops,
        }

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Take weights and counters from a checkpoint; the fit restores the optimizers once they exist."""
        self.load_state_dict(checkpoint["state_dict"])
        counters = checkpoint["counters"]
        self.completed_steps, self.images, self.flops = (
            counters["completed_steps"],
            dict(counters["images"]),
            counters["flops"],
        )

    def _charge(self, kind: Hashable, work: Callable[[], None], ranks: int) -> None:
        """Do ``work`` and add its operations, counted the first time and remembered by ``kind``."""
        if kind in self._flops_of:
            work()
        else:
            self._flops_of[kind] = count_flops(work) * ranks
        self.flops += self._flops_of[kind]

    # The game ---------------------------------------------------------------------------------------------------

    def _play(self, index: int, due: tuple[Update, ...]) -> None:
        generator_due = any(update.player == "generator" for update in due)
        steps = [TrainingStep(self.step_context, index, part, generator_due) for part in range(self.plan.accumulate)]
        for update in due:
            self._move(update, steps)

    def _move(self, update: Update, steps: list[TrainingStep]) -> None:
        self.step_context.trainable.switch_to(update.player)
        for step in steps:
            with use_random_source(self._random, step.layer_draws):
                self.manual_backward(update.loss(step) / len(steps))
        player, parameters = self.players[update.player], self._weights[update.player]
        distributed.average_gradients(parameters)
        if player.clip is not None:
            nn.utils.clip_grad_norm_(parameters, player.clip)
        optimizer = self._steppers[update.player]
        rate = player.optimizer.learning_rate * player.optimizer.schedule(steps[0].progress)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.images[update.player] += update.images
        if update.player in self._averages:
            batch = self.plan.batch  # the streams move on in every step, the player in every few
            awake = steps[0].index + 1 - update.first_step(self.plan.steps)
            self._averages[update.player].update(awake * batch, update.every * batch)

    def register_selection(
        self, recalibrate: Recalibrate, selector: Selector | None, snapshots: Snapshots | None = None
    ) -> None:
        """Show the classifier along the way to those who are there; ``recalibrate`` makes it ready for evaluation."""
        self.selector, self.snapshots, self._recalibrate = selector, snapshots, recalibrate

    def _show(self, look: Callable[[nn.Module, Recalibrate, int], None]) -> None:
        """Show the classifier in the precision of the weights: statistics are not settled in bfloat16."""
        with torch.autocast(self.device.type, enabled=False):
            look(self.evaluation_network("classifier"), self._recalibrate, self.completed_steps)

    @property
    def flops_per_validation(self) -> int:
        """Operations of one look at the validation images; 0 as long as there was none in this process."""
        return self._flops_of.get("choice", 0)

    @property
    def weights_dtype(self) -> torch.dtype:
        """Of the weights, hence of everything that passes through them."""
        return self.step_context.dtype

    def flush(self) -> dict[str, float]:
        """Means of what was noted since the last flush.

        Raises:
            DivergedError: if one of them, or a player's weight, is not finite.
        """
        means = self.scalars.flush()
        healthy = all(torch.isfinite(p).all() for parameters in self._weights.values() for p in parameters)
        bad = [name for name, mean in means.items() if not abs(mean) < float("inf")]
        if bad or not healthy:
            what = f"{bad[0]} is {means[bad[0]]}" if bad else "a player's weights are not finite"
            raise DivergedError(f"diverged by step {self.completed_steps}: {what}", self.completed_steps)
        return means

    def evaluation_network(self, player: str) -> Any:
        """The network to evaluate: its average where it has one, else itself."""
        return self.averages[player] if player in self.averages else self.networks[player]
