"""What watches a fit: the metrics file, the tracker, sample sheets along the way, and a line of progress."""

import io
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from trigan.atomic import write_bytes
from trigan.components import component
from trigan.data.stream import to_uint8
from trigan.errors import ConfigError
from trigan.networks.batchnorm import frozen_statistics, local_statistics
from trigan.rng import torch_generator
from trigan.tracking import MetricsFile, Tracker
from trigan.training.fit import FitCallback
from trigan.training.players import PlayersModule

_log = logging.getLogger(__name__)

#: Inside a stage's directory.
METRICS_NAME, SAMPLES_NAME = "metrics.jsonl", "samples"


@component("callbacks/watch@1")
@dataclass(frozen=True)
class CallbackSettings:
    """What is watched: ``progress`` shows a bar (or lines in a log), ``sample_grids`` grids of samples are kept over a fit.

    A sheet has ``columns`` samples in each row: a row a class, or 10 rows from an unconditional G.
    """

    progress: bool = True
    sample_grids: int = 6
    columns: int = 10

    def __post_init__(self) -> None:
        if self.sample_grids < 0 or self.columns < 1:
            raise ConfigError(
                f"callbacks: sample_grids {self.sample_grids} must be >= 0 and columns {self.columns} >= 1"
            )

    def build(self, stage: str, directory: Path, tracker: Tracker) -> Sequence[FitCallback]:
        """The callbacks of one fit."""
        found: list[FitCallback] = [MetricsWriter(stage, directory / METRICS_NAME, tracker)]
        if self.sample_grids:
            found.append(SampleGrids(directory / SAMPLES_NAME, self.sample_grids, self.columns))
        if self.progress:
            found.append(FitProgressBar(stage) if sys.stderr.isatty() else FitProgressLog(stage))
        return found


class MetricsWriter:
    """Each flush as a row of the stage's metrics file, and to the tracker; a resumed fit writes no row twice."""

    def __init__(self, stage: str, path: Path, tracker: Tracker) -> None:
        self._stage, self._path, self._tracker = stage, path, tracker
        self._file: MetricsFile | None = None

    def on_fit_start(self, module: PlayersModule) -> None:
        self._file = MetricsFile(self._path)
        self._file.truncate_after(module.completed_steps * module.plan.batch)

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        images = module.completed_steps * module.plan.batch
        if self._file is not None:
            self._file.log(self._stage, images, metrics)
        self._tracker.log(self._stage, images, metrics)

    def on_fit_end(self) -> None:
        if self._file is not None:
            self._file.close()


class SampleGrids:
    """Keeps grids of samples, uint8 (rows, columns, H, W, C), as ``<images seen>.npy``: the same latents each time."""

    def __init__(self, directory: Path, count: int, columns: int) -> None:
        self._directory, self._count, self._columns = directory, count, columns

    def on_fit_start(self, module: PlayersModule) -> None:
        """Nothing yet."""

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        if "generator" not in module.networks or not self._due(module):
            return
        sheet = io.BytesIO()
        np.save(sheet, self._sheet(module))
        write_bytes(self._directory / f"{module.completed_steps * module.plan.batch:012d}.npy", sheet.getvalue())

    def on_fit_end(self) -> None:
        """Nothing is open."""

    def _due(self, module: PlayersModule) -> bool:
        steps, every = module.plan.steps, module.plan.log_every
        crossed = (
            module.completed_steps * self._count // steps
            > max(0, module.completed_steps - every) * self._count // steps
        )
        return crossed or module.completed_steps == steps

    @torch.no_grad()
    def _sheet(self, module: PlayersModule) -> np.ndarray:
        network = module.evaluation_network("generator")
        rows = network.classes or 10
        count = rows * self._columns
        z = torch.randn(count, network.latent, generator=torch_generator(module.plan.seed, "sheet"))
        y = torch.arange(rows).repeat_interleave(self._columns).to(module.device) if network.classes else None
        training = network.training
        network.train()  # an average has no batch-norm statistics of its own before the end of the fit
        with frozen_statistics(network), local_statistics(network):  # rank 0 looks alone
            images = to_uint8(network(z.to(module.device, module.weights_dtype), y)).cpu()
        network.train(training)
        grid = images.permute(0, 2, 3, 1).numpy()
        return grid.reshape(rows, self._columns, *grid.shape[1:])


#: Seconds after which a log gets a line, however far the fit has come.
_SILENCE = 30.0


class FitProgressLog:
    """A line every tenth of the fit, and after half a minute without one, for logs."""

    def __init__(self, stage: str) -> None:
        self._stage, self._since, self._first, self._tenth, self._told = stage, 0.0, 0, 0, 0.0

    def on_fit_start(self, module: PlayersModule) -> None:
        self._since, self._first = time.monotonic(), module.completed_steps
        self._told = self._since
        self._tenth = 10 * module.completed_steps // max(1, module.plan.steps)
        if module.completed_steps:
            _log.info("%s: going on from step %d of %d", self._stage, module.completed_steps, module.plan.steps)

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        done, steps = module.completed_steps, module.plan.steps
        now = time.monotonic()
        if 10 * done // steps == self._tenth and now - self._told < _SILENCE:
            return
        self._tenth, self._told = 10 * done // steps, now
        left = (now - self._since) / (done - self._first) * (steps - done)
        _log.info("%s: step %d of %d, about %.0f s left", self._stage, done, steps, left)

    def on_fit_end(self) -> None:
        """Nothing is open."""


class FitProgressBar:
    """A progress bar on a terminal, with the losses of the last flush."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._bar = Progress(
            TextColumn("{task.description:<12}", table_column=Column(no_wrap=True, min_width=12)),
            BarColumn(bar_width=20),
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=9)),
            TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
            TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("{task.fields[losses]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=Console(stderr=True),
        )

    def on_fit_start(self, module: PlayersModule) -> None:
        self._task = self._bar.add_task(
            self._stage, total=module.plan.steps, completed=module.completed_steps, losses=""
        )
        if module.completed_steps < module.plan.steps:
            self._bar.start()

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        short = {
            key.removeprefix("train/").removesuffix("_loss"): value for key, value in metrics.items() if "_loss" in key
        }
        losses = "  ".join(f"{name} {value:.3f}" for name, value in sorted(short.items()))
        self._bar.update(self._task, completed=module.completed_steps, losses=losses)

    def on_fit_end(self) -> None:
        self._bar.stop()  # gives the terminal its cursor back
