"""Manual optimization of several networks: which player is updated on which loss, and how often.

An objective is an ordered list of updates. In each step, every update that is due freezes all players but its own, sums
gradients over micro-batches, averages them over ranks, clips them, steps the optimizer and updates the average.
"""

import copy
import json
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from trigan import distributed
from trigan.component_ids import as_config
from trigan.cost import count_flops
from trigan.datasets.augmentation import Augmentation
from trigan.datasets.stream import BatchStream
from trigan.errors import DivergedError
from trigan.networks.random_layers import random_layers, use_random_source
from trigan.networks.weight_norm import singular_vectors
from trigan.rng import DeviceStep
from trigan.training.collapse_watch import WatchState
from trigan.training.graphs import StepGraphs
from trigan.training.optimizers import EMA, OptimizerFactory, step_optimizer, update_average
from trigan.training.selection import Selector, Snapshots
from trigan.training.step import Moment, StepContext, TrainingPlan, TrainingStep

#: A fit whose loss is larger, as a mean over ``log_every`` batches, has diverged. Losses are means over images of terms
#: of order 1 to 1,000: at 1e6 float32 resolves 0.06, so that the terms that are to be learnt are lost in rounding.
LARGEST_LOSS = 1e6
_FLOAT_MAX = sys.float_info.max


@dataclass(frozen=True)
class Player:
    """A network and how it is optimized; ``clip`` (above 0, or None) bounds the norm of its gradient."""

    network: nn.Module
    optimizer: OptimizerFactory
    ema: EMA | None = None
    clip: float | None = None


@dataclass(frozen=True)
class Update:
    """Every ``every`` steps after share ``start`` of the fit, update ``player`` on ``loss`` and count ``images``.

    ``further_images`` are those of terms that are not part of every step, as a function of the progress of the fit.
    """

    player: str
    loss: Callable[[TrainingStep], Tensor]
    images: int
    every: int = 1
    start: float = 0.0
    further_images: Callable[[float], int] = lambda progress: 0

    def due(self, index: int, progress: float = 0.0) -> bool:
        """Whether the update is part of step ``index``, which starts after share ``progress`` of the fit."""
        return progress >= self.start and index % self.every == self.every - 1

    def first_step(self, steps: int) -> int:
        """The first of ``steps`` steps at or after ``start``."""
        return bisect_left(range(steps), self.start, key=lambda index: index / steps)


class PlayersModule(pl.LightningModule):
    """Players, their updates in order, and the streams of batches; ``training_step`` takes the number of a step.

    ``averages`` are copies of networks whose parameters are averaged; buffers stay as copied until re-estimated,
    except the singular vectors of spectral norm, which follow the network's.
    ``phase`` identifies which terms of the losses are active at a given progress: steps of one phase cost the same. A
    stage may set ``selector`` and ``snapshots``, which record copies of C that ``recalibrate`` prepared for evaluation,
    with batch-norm statistics from ``statistics_images`` images. ``memories`` are the state of the losses.
    ``watch`` looks at G, and may end the fit or return to earlier weights (`trigan.training.collapse_watch`). With
    ``graphs``, ``training_step`` does a chunk of steps, as `batches` divides the fit.
    """

    def __init__(
        self,
        players: Mapping[str, Player],
        updates: tuple[Update, ...],
        streams: Mapping[str, BatchStream],
        plan: TrainingPlan,
        phase: Callable[[float], Hashable] = lambda progress: None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.players = dict(players)
        self.networks = nn.ModuleDict({name: player.network for name, player in players.items()})
        averaged = {name: copy.deepcopy(player.network) for name, player in players.items() if player.ema is not None}
        self.averages = nn.ModuleDict(averaged).requires_grad_(False)
        self.updates, self.phase = updates, phase
        self.streams = dict(streams)
        self.plan = plan
        self.completed_steps = self.flops = 0
        self.images = dict.fromkeys(self.players, 0)
        self.classifier_counts: Counter[str] = Counter()
        self._augmentations: dict[int, tuple[Augmentation, str]] = {}  # kept, so that no other has its id
        self._flops_by_kind: dict[Hashable, int] = {}
        self._restored_optimizers: list[dict[str, Any]] = []
        self._weights = {name: list(network.parameters()) for name, network in self.networks.items()}
        self._random_layers = random_layers(dict(self.networks.items()))
        self.step_context = StepContext(self.networks, self._weights, self.streams, plan)
        for network in self.networks.values():  # a quarter faster on the CPU, equal up to rounding
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.selector: Selector | None = None
        self.snapshots: Snapshots | None = None
        self.watch: WatchState | None = None
        self.graphs: StepGraphs | None = None
        self._ends: dict[int, int] = {}
        self.memories = nn.ModuleList()
        self.recalibrate: Callable[[nn.Module], object] = nn.Module.eval
        self.statistics_images = 0

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One optimizer per player, in the players' order."""
        return [player.optimizer.build(self._weights[name]) for name, player in self.players.items()]

    def on_train_start(self) -> None:
        """Use the bare optimizers: precision and devices are fixed, so Lightning's wrappers only cost time."""
        if self._restored_optimizers:
            for optimizer, state in zip(self.trainer.optimizers, self._restored_optimizers, strict=True):
                optimizer.load_state_dict(state)
        self._optimizer_of = dict(zip(self.players, self.trainer.optimizers, strict=True))
        self.networks.train()
        self.averages.eval()
        if self.watch is not None and self.watch.settings.action in ("rollback", "cure") and self.watch.healthy is None:
            self.watch.healthy = self._copied_state()

    def use_graphs(self, capture: bool = True) -> None:
        """Run steps as CUDA graphs, on the device of the weights; see `StepGraphs` for ``capture``."""
        context = self.step_context

        def counters() -> tuple[dict[str, int], ...]:
            return self.images, self.classifier_counts, context.scalars.counts

        self.graphs = StepGraphs(context.device, context.dtype, self.plan.log_every, counters, capture)

    def batches(self) -> Sequence[int]:
        """The steps that are left, one by one; with graphs the first of each chunk, which ends where a look is due."""
        left = range(self.completed_steps, self.plan.steps)
        if self.graphs is None or not left:
            return left
        recorders = [one for one in (self.selector, self.snapshots, self.watch) if one is not None]
        due = {step for one in recorders for step in one.due_steps}
        logged = range(0, self.plan.steps, self.plan.log_every)
        starts = sorted({left.start, *(step for step in {*due, *logged} if step in left)})
        self._ends = dict(zip(starts, [*starts[1:], left.stop], strict=True))
        return starts

    def training_step(self, batch: int, batch_idx: int) -> None:
        """The steps from number ``batch`` on, one or a chunk; then what is due after them."""
        if self.graphs is None:
            self._step(int(batch))
        else:
            steps = range(int(batch), self._ends[int(batch)])
            with self.graphs.chunk(steps):
                for index in steps:
                    self._step(index)
        if self.selector is not None and self.completed_steps in self.selector.due_steps:
            self.validate()
        if self.snapshots is not None and self.completed_steps in self.snapshots.due_steps:
            self._record_classifier(self.snapshots)
        if self.watch is not None and self.completed_steps in self.watch.due_steps:
            self._look(self.watch)

    def _step(self, index: int) -> None:
        """Every update that is due, in order."""
        progress = self.plan.moment(index).progress
        due = tuple(update for update in self.updates if update.due(index, progress))
        kind = (tuple(update.player for update in due), self.phase(progress))

        def work() -> None:
            if self.graphs is None:
                self._run_updates(index, due)
            else:
                self.graphs.step(kind, index, lambda step: self._run_updates(step, due))

        self._run_and_count(kind, work, distributed.world_size())
        self.completed_steps = index + 1

    def _look(self, watch: WatchState) -> None:
        """Look at G, keep the weights if it is healthy, and act on alarms; all ranks do as rank 0 sees."""
        found: list[dict[str, float]] = []

        def look() -> None:
            with torch.autocast(self.device.type, enabled=False):
                found.append(watch.signals(self.evaluation_network("generator")))

        self._run_and_count("look", look, 1) if watch.counted else look()
        signals: dict[str, float] = distributed.broadcast(found[0])
        alarms = watch.judge(signals, self.completed_steps)
        if watch.counted and watch.healthy_look(signals, self.completed_steps):
            watch.healthy = self._copied_state()
        if alarms:
            self._act(watch, alarms)

    def _act(self, watch: WatchState, alarms: list[dict[str, Any]]) -> None:
        """Do what the watch does on alarms now.

        Values that are not finite make a cure return to the healthy weights, too. The initial weights are for them
        alone: a rollback without a healthy look is a warning.
        """
        action, healthy, to = watch.action_now(), watch.healthy or {"step": 0}, None
        broken = any(alarm["signal"] == "not_finite" for alarm in alarms)
        if (broken and action != "warn") or (healthy["step"] and action in ("stop", "rollback")):
            to = self._return_to(healthy)
        elif action == "rollback":
            action = "warn"
        watch.rollbacks += to is not None and action != "stop"
        watch.cures += action == "cure"
        watch.ended = action == "stop"
        watch.note(alarms, action, to)

    def _copied_state(self) -> dict[str, Any]:
        """Weights, averages, memories and optimizers, as plain data."""
        optimizers = [copy.deepcopy(optimizer.state_dict()) for optimizer in self._optimizer_of.values()]
        weights = {name: value.detach().clone() for name, value in self.state_dict().items()}
        return {"step": self.completed_steps, "state_dict": weights, "optimizer_states": optimizers}

    def _return_to(self, kept: Mapping[str, Any]) -> int:
        """Load what `_copied_state` gave; returns its step. Steps and cost go on counting."""
        self.load_state_dict(kept["state_dict"])
        for optimizer, state in zip(self._optimizer_of.values(), kept["optimizer_states"], strict=True):
            optimizer.load_state_dict(copy.deepcopy(state))
        if self.graphs is not None:
            self.graphs.clear()  # the optimizers have new tensors
        return int(kept["step"])

    def validate(self) -> None:
        """Show C to the selector; every rank evaluates all validation images, and the cost of one rank is counted."""
        assert self.selector is not None
        self._run_and_count("validation", partial(self._record_classifier, self.selector), 1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the counters to a checkpoint."""
        images = dict(self.images)
        counted = {"images": images, "flops": self.flops, "classifier": dict(self.classifier_counts)}
        checkpoint["counters"] = {"completed_steps": self.completed_steps, **counted}
        if self.watch is not None:
            checkpoint["watch"] = self.watch.state_dict()

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Load weights and counters from a checkpoint, and the optimizers when the fit starts."""
        self.load_state_dict(checkpoint["state_dict"])
        self._restored_optimizers = checkpoint["optimizer_states"]
        counters = checkpoint["counters"]
        self.completed_steps, self.flops = counters["completed_steps"], counters["flops"]
        self.images = dict(counters["images"])
        self.classifier_counts = Counter(counters["classifier"])
        if self.watch is not None:
            self.watch.load_state_dict(checkpoint.get("watch", {}))

    def _run_and_count(self, kind: Hashable, work: Callable[[], None], ranks: int) -> None:
        """Run ``work`` and add its number of operations, which is measured once per ``kind``."""
        if kind in self._flops_by_kind:
            work()
        else:
            self._flops_by_kind[kind] = count_flops(work) * ranks
        self.flops += self._flops_by_kind[kind]

    def _run_updates(self, index: int | DeviceStep, due: tuple[Update, ...]) -> None:
        generator_due = any(update.player == "generator" for update in due)
        steps = [TrainingStep(self.step_context, index, part, generator_due) for part in range(self.plan.accumulate)]
        for update in due:
            self._update(update, steps)

    def _update(self, update: Update, steps: list[TrainingStep]) -> None:
        """One update of one player, from all micro-batches of a step."""
        self.step_context.switch_to(update.player)
        for step in steps:
            with use_random_source(self._random_layers, step.layer_draws):
                loss = update.loss(step) / len(steps)
            loss.backward()  # type: ignore[no-untyped-call]  # manual_backward would add only hooks that nobody uses
        player, parameters = self.players[update.player], self._weights[update.player]
        distributed.average_gradients(parameters)
        if player.clip is not None:
            nn.utils.clip_grad_norm_(parameters, player.clip)
        step_optimizer(self._optimizer_of[update.player], steps[0].scheduled(partial(self._rate, player)))
        self.images[update.player] += update.images + steps[0].decided(lambda now: update.further_images(now.progress))
        if update.player == "classifier":
            self._count_classifier_update(steps[0])
        if player.ema is not None:
            share = steps[0].scheduled(partial(self._share_of_new_weights, update, player.ema))
            update_average(tuple(self.averages[update.player].parameters()), tuple(parameters), share)
            if vectors := singular_vectors(self.averages[update.player]):
                torch._foreach_copy_(vectors, singular_vectors(self.networks[update.player]))

    def _rate(self, player: Player, now: Moment) -> float:
        """The learning rate in a step."""
        watched = 1.0 if self.watch is None else self.watch.rate
        return player.optimizer.learning_rate * player.optimizer.schedule(now.progress) * watched

    def _share_of_new_weights(self, update: Update, ema: EMA, now: Moment) -> float:
        """How much of the average is replaced by the weights after a step."""
        batch = self.plan.batch  # images in each of the ``every`` steps since the last update
        trained_steps = now.index + 1 - update.first_step(self.plan.steps)
        return 1.0 - ema.decay(trained_steps * batch, update.every * batch)

    def _count_classifier_update(self, step: TrainingStep) -> None:
        """Count ``updates`` of C, and as ``images/STREAM`` the images of the global batches that it was shown.

        ``augmented/STREAM/VIEW/JSON`` are those that the augmentation of this JSON returned anew.
        """
        self.classifier_counts["updates"] += 1
        for stream in step.used.get("classifier", ()):
            batch = self.streams[stream].batch if stream in self.streams else self.plan.batch  # generated images
            self.classifier_counts[f"images/{stream}"] += batch
        for stream, view, augmentation, images in step.augmented.get("classifier", ()):
            if id(augmentation) not in self._augmentations:
                text = json.dumps(as_config(augmentation), sort_keys=True)
                self._augmentations[id(augmentation)] = augmentation, text
            self.classifier_counts[f"augmented/{stream}/{view}/{self._augmentations[id(augmentation)][1]}"] += images

    def _record_classifier(self, recorder: Selector | Snapshots) -> None:
        """Record C in the precision of the weights: bfloat16 is too coarse for batch-norm statistics."""
        with torch.autocast(self.device.type, enabled=False):
            network = copy.deepcopy(self.evaluation_network("classifier"))
            self.recalibrate(network)
            recorder.record(network, self.completed_steps)

    @property
    def flops_per_validation(self) -> int:
        """Operations of one evaluation on the validation images; 0 until this process has done one."""
        return self._flops_by_kind.get("validation", 0)

    def flush(self) -> dict[str, float]:
        """Means of the logged scalars since the last flush, and the scores of C on validation labels if it was scored.

        Raises:
            DivergedError: if a mean or a player's weight is not finite, or the mean of a loss is above `LARGEST_LOSS`.
        """
        means = self.step_context.scalars.flush()
        bad = [
            name for name, mean in means.items() if not abs(mean) <= (LARGEST_LOSS if "_loss" in name else _FLOAT_MAX)
        ]
        names = [player for player, weights in self._weights.items() for _ in weights]
        norms = torch.stack(torch._foreach_norm([one for weights in self._weights.values() for one in weights]))
        infinite = [player for player, finite in zip(names, norms.isfinite().tolist(), strict=True) if not finite]
        if (bad or infinite) and not self._recovers():
            player = self.step_context.scalars.players.get(bad[0], "a player") if bad else infinite[0]
            what = f"{bad[0]} is {means[bad[0]]:.3g}" if bad else "its weights are not finite"
            raise DivergedError(f"{player}, batch {self.completed_steps}: {what}", self.completed_steps)
        if self.selector is not None:
            means |= self.selector.latest
            self.selector.latest = {}
        if self.watch is not None and self.completed_steps in self.watch.due_steps:
            means |= self.watch.metrics
        return {name: mean for name, mean in means.items() if name not in bad}

    def _recovers(self) -> bool:
        """Note values that are not finite, and return to the last healthy look where the watch does that."""
        if self.watch is None or self.watch.settings.action is None:
            return False
        alarms = [{"step": self.completed_steps, "signal": "not_finite", "value": 1.0, "threshold": 0.0}]
        returns = self.watch.action_now() in ("rollback", "cure") and self.watch.healthy is not None
        self._act(self.watch, alarms) if returns else self.watch.note(alarms, "warn")
        return returns

    def evaluation_network(self, player: str) -> Any:
        """The network to evaluate: the player's average if it has one, otherwise the player itself."""
        return self.averages[player] if player in self.averages else self.networks[player]
