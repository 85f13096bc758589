"""The framework's G+D step over a lean hand-written loop and over a textbook loop, in fp32 and in bf16.

    python benchmarks/step.py [--rounds 9] [--quick]

Framework and lean loop have the same networks, memory format, fused Adam, frozen D in G's step, fakes drawn once and
batches from the resident loader; the framework also logs, counts, averages G and could resume. Its flushes come as
often as in the default run, every 100 steps, which a fit of so few steps would not have by itself. The textbook loop is
that of the usual tutorial: a DataLoader over float images, plain Adam, two backward passes for D, a loss read in every
step. bf16 is torch's autocast in all three.
Aim over the lean loop: ratio <= 1.10 for digits-size networks, <= 1.02 for width 32 at 32x32; over the textbook loop
below 1.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from paired import Row, Size, compare, interleave, run_part
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset

from trigan.config.compose import Composer
from trigan.datasets.inputs import Input
from trigan.datasets.stream import BatchStream, to_float
from trigan.datasets.types import DataSpec
from trigan.losses.gan_losses import minimax_discriminator, non_saturating_generator
from trigan.networks.batchnorm import frozen_statistics
from trigan.tracking.tracker import Tracker
from trigan.training.callbacks import MetricsWriter
from trigan.training.fit import TrainerSettings, fit
from trigan.training.stage import StageContext
from trigan.training.stages.gan_stage import GANStage

BATCH, IMAGES = 64, 4096
Precision = Literal["32-true", "bf16-mixed"]
PRECISIONS: dict[str, Precision] = {"fp32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True)
class Case:
    """One size of problem: its steps take about as long in every case."""

    name: str
    spec: DataSpec
    steps: int
    aim: str


CASES = (Case("digits 8x8", DataSpec(1, 8, 10), 80, "<= 1.1"), Case("32x32 colour", DataSpec(3, 32, 10), 12, "<= 1.02"))


@dataclass(frozen=True)
class Problem:
    """What all loops are given."""

    spec: DataSpec
    images: torch.Tensor
    steps: int
    precision: Precision

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """bf16 by torch's autocast, or nothing."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16-mixed")

    def timed(self, steps: Iterator[object]) -> float:
        """Processor seconds per step of all steps but the first two (the framework counts operations in its first)."""
        started = 0.0
        for number, _ in enumerate(steps):
            if number == 1:
                started = time.process_time()
        return (time.process_time() - started) / (self.steps - 2)


@functools.cache
def default_stage() -> GANStage:
    """The GAN stage as the default config builds it."""
    stage: GANStage = Composer().compose(["strategy=features", "logger=none"]).build().strategy.gan
    return stage


class _Clock(pl.Callback):
    """Processor seconds at the end of each step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *arguments: Any) -> None:
        self.times.append(time.process_time())


def framework(problem: Problem) -> float:
    """Seconds per step of the framework, metrics file included."""
    settings = TrainerSettings(precision=problem.precision)
    context = StageContext(problem.spec, 0, settings)
    module = replace(default_stage(), steps=problem.steps).build(context, {"real": Input(problem.images)})
    module.plan = replace(module.plan, log_every=context.plan(default_stage().steps, BATCH).log_every)
    clock = _Clock()
    original = module.configure_callbacks
    module.configure_callbacks = lambda: [*original(), clock]  # type: ignore[method-assign,list-item]
    with TemporaryDirectory() as folder:
        fit(module, settings, None, [MetricsWriter("gan", Path(folder), Tracker())])
    return (clock.times[-1] - clock.times[1]) / (problem.steps - 2)


def lean(problem: Problem) -> float:
    """Seconds per step of the same game as one writes it by hand, with care for its speed."""
    architecture = default_stage().architecture
    generator = architecture.generator(problem.spec).to(memory_format=torch.channels_last)
    discriminator = architecture.discriminator(problem.spec).to(memory_format=torch.channels_last)
    of_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
    of_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
    stream = BatchStream(problem.images, None, BATCH, 0)

    def steps() -> Iterator[None]:
        for step in range(problem.steps):
            real, _ = stream.at(step)
            with problem.autocast():
                fake = generator(torch.randn(BATCH, architecture.latent))
                loss = minimax_discriminator(discriminator(real), discriminator(fake.detach()))
            of_d.zero_grad(set_to_none=True)
            loss.backward()
            of_d.step()
            discriminator.requires_grad_(False)
            with frozen_statistics(discriminator), problem.autocast():
                loss = non_saturating_generator(discriminator(fake))
            of_g.zero_grad(set_to_none=True)
            loss.backward()
            of_g.step()
            discriminator.requires_grad_(True)
            yield

    return problem.timed(steps())


def textbook(problem: Problem) -> float:
    """Seconds per step of the same game as a tutorial has it."""
    architecture = default_stage().architecture
    generator, discriminator = architecture.generator(problem.spec), architecture.discriminator(problem.spec)
    of_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    of_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    loader = DataLoader(TensorDataset(to_float(problem.images)), batch_size=BATCH, shuffle=True, drop_last=True)
    batches = (batch for _ in iter(int, 1) for (batch,) in loader)
    one, zero = torch.ones(BATCH), torch.zeros(BATCH)

    def backward(network: nn.Module, images: torch.Tensor, target: torch.Tensor) -> float:
        with problem.autocast():
            logits = network(images)
        loss = binary_cross_entropy_with_logits(logits.float(), target)
        loss.backward()
        return loss.item()

    def steps() -> Iterator[float]:
        for _ in range(problem.steps):
            of_d.zero_grad()
            loss = backward(discriminator, next(batches), one)
            with problem.autocast():
                fake = generator(torch.randn(BATCH, architecture.latent))
            loss += backward(discriminator, fake.detach(), zero)
            of_d.step()
            of_g.zero_grad()
            loss += backward(discriminator, fake, one)
            of_g.step()
            yield loss

    return problem.timed(steps())


LOOPS: dict[str, Callable[[Problem], float]] = {"framework": framework, "lean": lean, "textbook": textbook}


def measure(size: Size) -> list[Row]:
    """Two rows for each case and precision."""
    rows = []
    for case in CASES:
        images = torch.randint(0, 256, (IMAGES, case.spec.channels, case.spec.size, case.spec.size), dtype=torch.uint8)
        for name, precision in PRECISIONS.items():
            problem = Problem(case.spec, images, size.of(case.steps, 3), precision)
            found = interleave({loop: functools.partial(run, problem) for loop, run in LOOPS.items()}, size.rounds)
            about = f"step, {case.name}, {name}, over the"
            rows.append(compare(f"{about} lean loop", found["framework"], found["lean"], case.aim))
            rows.append(compare(f"{about} textbook loop", found["framework"], found["textbook"], "< 1"))
    return rows


if __name__ == "__main__":
    run_part(__doc__, "step", measure)
