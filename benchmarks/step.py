"""The framework's G+D step against a lean hand-written loop, interleaved, beside the floor of an empty Lightning loop.

    python benchmarks/step.py [--rounds 5] [--steps 200] [--out benchmarks/results/step.json]

Both sides have the same networks, memory format, fused Adam, frozen D in G's step, fakes drawn once and batches from
the resident loader; the framework also logs, counts, averages G and could resume. Its flushes come as often as in the
default run, every 100 steps, which a fit of so few steps would not have by itself.
Aim: ratio <= 1.10 for digits-size networks, <= 1.02 for width 32 at 32x32.
"""

import argparse
import functools
import json
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytorch_lightning as pl
import torch

from trigan.config.compose import Composer
from trigan.datasets.inputs import Input
from trigan.datasets.stream import BatchStream
from trigan.datasets.types import DataSpec
from trigan.losses.gan_losses import minimax_discriminator, non_saturating_generator
from trigan.networks.batchnorm import frozen_statistics
from trigan.runs.malloc import keep_freed_memory
from trigan.tracking.tracker import Tracker
from trigan.training.callbacks import MetricsWriter
from trigan.training.fit import TrainerSettings, fit
from trigan.training.stage import StageContext
from trigan.training.stages.gan_stage import GANStage

BATCH = 64


@dataclass(frozen=True)
class Case:
    """One size of problem."""

    name: str
    spec: DataSpec
    aim: float


CASES = (Case("digits 8x8", DataSpec(1, 8, 10), 1.10), Case("32x32 colour", DataSpec(3, 32, 10), 1.02))


@functools.cache
def default_stage() -> GANStage:
    """The GAN stage as the default config builds it."""
    stage: GANStage = Composer().compose(["strategy=features", "logger=none"]).build().strategy.gan
    return stage


def stage_for(steps: int) -> GANStage:
    """The same, shorter."""
    return replace(default_stage(), steps=steps)


class _Clock(pl.Callback):
    """Times from the end of the second step (the first one counts operations) to the end of the last."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *arguments: Any) -> None:
        self.times.append(time.perf_counter())

    def per_step(self) -> float:
        return (self.times[-1] - self.times[1]) / (len(self.times) - 2)


def framework(case: Case, images: torch.Tensor, steps: int, directory: Path) -> float:
    """Seconds per step of the framework, metrics file included."""
    context = StageContext(case.spec, 0, TrainerSettings())
    module = stage_for(steps).build(context, {"real": Input(images)})
    module.plan = replace(module.plan, log_every=context.plan(default_stage().steps, BATCH).log_every)
    clock = _Clock()
    original = module.configure_callbacks
    module.configure_callbacks = lambda: [*original(), clock]  # type: ignore[method-assign,list-item]
    with TemporaryDirectory(dir=directory) as folder:
        fit(module, TrainerSettings(), None, [MetricsWriter("gan", Path(folder), Tracker())])
    return clock.per_step()


def lean(case: Case, images: torch.Tensor, steps: int) -> float:
    """Seconds per step of the same game as one writes it by hand."""
    architecture = stage_for(steps).architecture
    generator = architecture.generator(case.spec).to(memory_format=torch.channels_last)
    discriminator = architecture.discriminator(case.spec).to(memory_format=torch.channels_last)
    of_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
    of_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
    stream = BatchStream(images, None, BATCH, 0)
    started = 0.0
    for step in range(steps):
        if step == 2:
            started = time.perf_counter()
        real, _ = stream.at(step)
        fake = generator(torch.randn(BATCH, architecture.latent))
        loss = minimax_discriminator(discriminator(real), discriminator(fake.detach()))
        of_d.zero_grad(set_to_none=True)
        loss.backward()
        of_d.step()
        discriminator.requires_grad_(False)
        with frozen_statistics(discriminator):
            loss = non_saturating_generator(discriminator(fake))
        of_g.zero_grad(set_to_none=True)
        loss.backward()
        of_g.step()
        discriminator.requires_grad_(True)
    return (time.perf_counter() - started) / (steps - 2)


class _Empty(pl.LightningModule):
    """Nothing to do in a step."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch: int, batch_idx: int) -> None:
        return None


def floor(steps: int) -> float:
    """Seconds per step of Lightning's loop around nothing."""
    clock = _Clock()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[clock],
    )
    trainer.fit(_Empty(), range(steps))
    return clock.per_step()


def measure(case: Case, rounds: int, steps: int, directory: Path) -> dict[str, Any]:
    """Interleaved rounds; the ratio is taken round by round."""
    size = case.spec.size
    images = torch.randint(0, 256, (4096, case.spec.channels, size, size), dtype=torch.uint8)
    ours, hand, empty = [], [], []
    for _ in range(rounds):
        hand.append(lean(case, images, steps))
        ours.append(framework(case, images, steps, directory))
        empty.append(floor(steps))
    ratios = [a / b for a, b in zip(ours, hand, strict=True)]
    return {
        "case": case.name,
        "framework_ms": round(1e3 * statistics.median(ours), 3),
        "lean_ms": round(1e3 * statistics.median(hand), 3),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "lightning_floor_ms": round(1e3 * statistics.median(empty), 3),
        "aim": case.aim,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/step.json"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found = [measure(case, options.rounds, options.steps, options.out.parent) for case in CASES]
    (options.out.parent / "metrics.jsonl").unlink(missing_ok=True)
    machine = {"torch": torch.__version__, "processor": platform.processor() or platform.machine(), "threads": 1}
    command = f"python benchmarks/step.py --rounds {options.rounds} --steps {options.steps}"
    options.out.write_text(json.dumps({"command": command, "machine": machine, "results": found}, indent=1) + "\n")
    for row in found:
        print(
            f"{row['case']:14} framework {row['framework_ms']:8.2f} ms   lean {row['lean_ms']:8.2f} ms   "
            f"ratio {row['ratio']:.3f} (aim <= {row['aim']:.2f})   empty loop {row['lightning_floor_ms']:.2f} ms"
        )


if __name__ == "__main__":
    main()
