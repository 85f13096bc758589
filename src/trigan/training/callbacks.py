"""Callbacks of a fit: the metrics file, the tracker, grids of samples, and progress as a bar or as log lines."""

import io
import logging
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
from trigan.checks import require, require_settings
from trigan.component_ids import component
from trigan.console import shows_bars
from trigan.datasets.stream import to_uint8
from trigan.networks.batchnorm import batch_statistics
from trigan.rng import Draws
from trigan.tracking import MetricsFile, Tracker
from trigan.training.fit import FitCallback
from trigan.training.players import PlayersModule

_log = logging.getLogger(__name__)

#: Inside a stage's directory.
METRICS_NAME, SPEED_NAME, SAMPLES_NAME, REAL_NAME = "metrics.jsonl", "speed.jsonl", "samples", "real.npy"
_ROWS = 10  # in the grids of an unconditional G
_LINE_EVERY = 30.0  # longest time between two progress lines of a log, in seconds


@component("callbacks/watch@1")
@dataclass(frozen=True)
class CallbackSettings:
    """Settings of a fit's callbacks: whether to show ``progress``, and how many ``sample_grids`` to save over the fit.

    A grid has ``columns`` samples in each row; there is one row per class, or 10 rows from an unconditional G. Pictures
    have ``real_columns`` real training images beside them; None: 5, and none where the images are the user's own.
    """

    progress: bool = True
    sample_grids: int = 6
    columns: int = 10
    real_columns: int | None = None

    def __post_init__(self) -> None:
        require_settings(self, "sample_grids", 0, "callbacks.")
        require_settings(self, "columns", 1, "callbacks.")
        real = self.real_columns
        require(real is None or real >= 0, "callbacks.real_columns", real, "at least 0, or null")

    def build(self, stage: str, directory: Path, tracker: Tracker) -> Sequence[FitCallback]:
        """The callbacks of one fit."""
        callbacks: list[FitCallback] = [MetricsWriter(stage, directory, tracker)]
        if self.sample_grids:
            real = 5 if self.real_columns is None else self.real_columns
            callbacks.append(SampleGrids(directory, self.sample_grids, self.columns, real))
        if self.progress:
            callbacks.append(FitProgress(stage))
        return callbacks


class MetricsWriter(FitCallback):
    """Writes each flush to the stage's metrics file and to the tracker; a resumed fit writes no row twice.

    Speed and memory, which differ from fit to fit, have a file of their own.
    """

    def __init__(self, stage: str, directory: Path, tracker: Tracker) -> None:
        self._stage, self._directory, self._tracker = stage, directory, tracker

    def on_fit_start(self, module: PlayersModule) -> None:
        """Drop rows after the checkpoint."""
        self._files = tuple(MetricsFile(self._directory / name) for name in (METRICS_NAME, SPEED_NAME))
        for file in self._files:
            file.truncate_after(module.completed_steps * module.plan.batch)
        self._last, self._images = time.monotonic(), module.completed_steps * module.plan.batch

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        """Write one row to each file."""
        images, now = module.completed_steps * module.plan.batch, time.monotonic()
        speed = {"speed/images_per_second": (images - self._images) / max(now - self._last, 1e-9)}
        if module.device.type == "cuda":  # read from the allocator, without waiting for the device
            speed["speed/gpu_memory_gb"] = torch.cuda.max_memory_allocated(module.device) / 1e9
        self._last, self._images = now, images
        for file, row in zip(self._files, (metrics, speed), strict=True):
            file.log(self._stage, images, row)
        self._tracker.log(self._stage, images, {**metrics, **speed})


class SampleGrids(FitCallback):
    """Saves grids of samples, uint8 (rows, columns, H, W, C), as ``samples/<images seen>.npy``, from the same latents.

    ``real.npy`` is a grid of the first ``real_columns`` real images of each row's class, or of any class.
    """

    def __init__(self, directory: Path, count: int, columns: int, real_columns: int = 0) -> None:
        self._directory, self._count, self._columns, self._real = directory, count, columns, real_columns

    def on_fit_start(self, module: PlayersModule) -> None:
        """Save the grid of real images."""
        if self._real and "generator" in module.networks:
            _save_array(self._directory / REAL_NAME, _real_grid(module, self._real))

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        """Save a grid if one is due."""
        done, steps = module.completed_steps, module.plan.steps
        before = max(0, done - module.plan.log_every)
        due = done * self._count // steps > before * self._count // steps or done == steps
        if due and "generator" in module.networks:
            _save_array(self._directory / sample_file(done * module.plan.batch), self._grid(module))

    @torch.no_grad()
    def _grid(self, module: PlayersModule) -> np.ndarray:
        network = module.evaluation_network("generator")
        rows = network.classes or _ROWS
        z = Draws.of_rows(module.plan.seed, 0, rows * self._columns).normal("grid", network.latent)
        y = torch.arange(rows).repeat_interleave(self._columns).to(module.device) if network.classes else None
        with batch_statistics(network):  # averaged weights have no own ones before the end; only rank 0 draws samples
            images = to_uint8(network(z.to(module.device, module.step_context.dtype), y)).cpu()
        return images.permute(0, 2, 3, 1).numpy().reshape(rows, self._columns, *images.shape[2:], images.shape[1])


def sample_file(images: int) -> str:
    """The grid of samples after a number of images, inside a stage's directory."""
    return f"{SAMPLES_NAME}/{images:012d}.npy"


def _real_grid(module: PlayersModule, columns: int) -> np.ndarray:
    """The first training images of each class, uint8 (classes, columns, H, W, C), white where there are too few.

    Of an unconditional G, whose images may have no labels: the first of all images, in ten rows.
    """
    classes = module.evaluation_network("generator").classes
    names = ("real", "labelled") if classes else ("real", "unlabelled")
    stream = next(module.streams[name] for name in names if name in module.streams)
    rows = [stream.images[: _ROWS * columns][row::_ROWS] for row in range(_ROWS)]
    if classes and stream.labels is not None:
        rows = [stream.images[(stream.labels == label).nonzero()[:columns, 0]] for label in range(classes)]
    grid = np.full((len(rows), columns, *stream.images.shape[2:], stream.images.shape[1]), 255, dtype=np.uint8)
    for row, images in enumerate(rows):
        grid[row, : len(images)] = images.permute(0, 2, 3, 1).cpu().numpy()
    return grid


def _save_array(path: Path, array: np.ndarray) -> None:
    file = io.BytesIO()
    np.save(file, array)
    write_bytes(path, file.getvalue())


class FitProgress(FitCallback):
    """A progress bar on a terminal or in a notebook; elsewhere a log line each tenth of the fit or each half minute."""

    def __init__(self, stage: str) -> None:
        self._stage, console = stage, Console(stderr=True)
        self._interactive = shows_bars(console)
        self._bar = Progress(
            TextColumn("{task.description:<12}", table_column=Column(no_wrap=True, min_width=12)),
            BarColumn(bar_width=20),
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=9)),
            TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
            TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("{task.fields[losses]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=console,
            disable=not self._interactive,
        )

    def on_fit_start(self, module: PlayersModule) -> None:
        """Show the bar, unless the fit is already finished; log where a resumed fit starts."""
        steps, done = module.plan.steps, module.completed_steps
        self._task = self._bar.add_task(self._stage, total=steps, completed=done, losses="")
        self._started = self._last_line = time.monotonic()
        self._first_step, self._tenth = done, 10 * done // max(1, steps)
        if done < steps:
            self._bar.start()
        if done and not self._interactive:
            _log.info("%s: resuming at step %d of %d", self._stage, done, steps)

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        """Advance the bar, or log a line if one is due."""
        steps, done, now = module.plan.steps, module.completed_steps, time.monotonic()
        losses = {key.removeprefix("train/").removesuffix("_loss"): metrics[key] for key in metrics if "_loss" in key}
        text = "  ".join(f"{name} {value:.3f}" for name, value in sorted(losses.items()))
        self._bar.update(self._task, completed=done, losses=text)
        if not self._interactive and (10 * done // steps > self._tenth or now - self._last_line >= _LINE_EVERY):
            self._tenth, self._last_line = 10 * done // steps, now
            left = (now - self._started) / (done - self._first_step) * (steps - done)
            _log.info("%s: step %d of %d, about %.0f s left", self._stage, done, steps, left)

    def on_fit_end(self) -> None:
        """Show the last step, which a notebook would leave out, and restore the terminal's cursor."""
        self._bar.refresh()
        self._bar.stop()
