"""What a GPU makes of trigan's steps: graphs, precisions, jobs side by side, and fits of the papers' length.

    python benchmarks/gpu.py [--data FOLDER] [--minutes 8] [--parts numbers steps jobs paper] [--out FILE] [--dry-run]

Each part writes its results into the JSON file as soon as they are there, so a run that is cut short loses little.

- ``numbers``: random numbers of CPU and GPU, bit for bit; weights after 50 steps on both; twice the same fit.
- ``steps``: steps per second of the default GAN, eager, as graphs, and compiled, in three precisions, with the share of
  the card's peak: every cost of a fit is in it but the first 200 steps.
- ``jobs``: one fit and up to 16 side by side, each a process; ``service``: with CUDA's multi-process service.
- ``feature_matching``, ``triple_gan``: one trial on MNIST with 100 labels, 281,250 steps, by `trigan run`, with its
  curve; FOLDER has MNIST's Parquet files. What does not end in time says how far it came.

``--dry-run`` does all of it on the CPU, with few steps and nothing captured, to find faults before a GPU is there.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from trigan.config.compose import Composer
from trigan.datasets.inputs import Input
from trigan.datasets.types import DataSpec
from trigan.errors import ConfigError
from trigan.execution.gpu_sharing import multi_process_service
from trigan.identity import weights_digest
from trigan.rng import Draws, permutation
from trigan.training.fit import FitCallback, TrainerSettings, fit
from trigan.training.players import PlayersModule
from trigan.training.stage import StageContext

#: Dense peak, TFLOP/s, of the products of each precision (data sheets of the SXM cards).
PEAKS = {
    "H100": {"32-true": 67, "tf32": 495, "bf16-mixed": 989},
    "H200": {"32-true": 67, "tf32": 495, "bf16-mixed": 989},
}
CASES = {"digits 8x8": DataSpec(1, 8, 10), "width 32, 32x32": DataSpec(3, 32, 10)}
PRECISIONS = ("32-true", "tf32", "bf16-mixed")
JOBS = (1, 2, 4, 8, 16)
PAPER_STEPS = 281_250
PAPER = {  # the part -> the settings of a run
    "feature_matching": ("strategy=joint", "classifier=mlp", "architecture.width=16"),  # the paper's C
    "triple_gan": ("strategy=joint", "architecture=cgan", "strategy.objective=triple_gan", "architecture.width=16"),
}


@dataclass(frozen=True)
class Options:
    """What the command line says; ``until`` is when the last part must end, in seconds of `time.monotonic`."""

    data: Path | None
    out: Path
    dry_run: bool
    until: float
    paper_steps: int = PAPER_STEPS

    def left(self) -> float:
        """Seconds until the end."""
        return self.until - time.monotonic()

    @property
    def accelerator(self) -> str:
        return "cpu" if self.dry_run else "gpu"

    def settings(self, precision: str = "32-true", mode: str = "eager") -> TrainerSettings:
        graph = mode == "graph" and not self.dry_run
        precision = "32-true" if self.dry_run else precision
        return TrainerSettings(precision, accelerator=self.accelerator, graph=graph, compile=mode == "compile")  # type: ignore[arg-type]

    @property
    def groups(self) -> tuple[int, ...]:
        return JOBS[:2] if self.dry_run else JOBS

    def steps(self, count: int) -> int:
        return 8 if self.dry_run else count


class Clock(FitCallback):
    """The time at each flush, which waits for the device, and the step."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, int]] = []

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        self.marks.append((time.perf_counter(), module.completed_steps))

    def rate(self, after: int) -> float:
        """Steps per second from the first mark at or after step ``after`` on."""
        (start, first), (end, last) = next(mark for mark in self.marks if mark[1] >= after), self.marks[-1]
        return (last - first) / max(end - start, 1e-9)


def gan(case: str, settings: TrainerSettings, steps: int, seed: int = 0) -> PlayersModule:
    """The default GAN on noise images of a size."""
    stage = replace(Composer().compose(["strategy=features", "logger=none"]).build().strategy.gan, steps=steps)
    spec = CASES[case]
    images = torch.randint(0, 256, (4096, spec.channels, spec.size, spec.size), dtype=torch.uint8)
    return stage.build(StageContext(spec, seed, settings), {"real": Input(images)})


def timed_fit(case: str, settings: TrainerSettings, steps: int, seed: int = 0) -> dict[str, Any]:
    """Steps per second of one fit after its first 200 steps, and operations per step."""
    torch.manual_seed(0)
    module, clock = gan(case, settings, steps, seed), Clock()
    started = time.perf_counter()
    fit(module, settings, callbacks=[clock])
    return {
        "steps_per_second": round(clock.rate(min(200, steps // 2)), 1),
        "flops_per_step": module.flops // module.completed_steps,
        "first_200_steps_s": round(next(at for at, step in clock.marks if step >= min(200, steps // 2)) - started, 2),
    }


def numbers(options: Options) -> dict[str, Any]:
    """Equality of CPU and GPU, and of two fits."""
    device = options.settings().device
    here, there = (Draws(3, 7, 64, 0, 64, torch.device(name)) for name in ("cpu", device))
    equal = {
        "normal": torch.equal(here.normal("z", 100), there.normal("z", 100).cpu()),
        "uniform": torch.equal(here.uniform("u", 28, 28), there.uniform("u", 28, 28).cpu()),
        "permutation": torch.equal(permutation(50_000, 1), permutation(50_000, 1, device=device).cpu()),
    }
    found: dict[str, Any] = {"equal_bits": equal, "weights_after_50_steps": {}}
    for precision in ("64-true", "32-true"):
        ends = []
        for settings in (TrainerSettings(precision), replace(options.settings(mode="graph"), precision=precision)):  # type: ignore[arg-type]
            torch.manual_seed(0)
            module = gan("digits 8x8", settings, 50)
            fit(module, settings)
            ends.append({name: value.detach().cpu().double() for name, value in module.named_parameters()})
        differences = sorted(float((ends[0][name] - value).norm() / value.norm()) for name, value in ends[1].items())
        # biases before a batch norm have no gradient but rounding, which Adam scales to full steps: hence the median
        found["weights_after_50_steps"][precision] = {
            "median_relative_difference": differences[len(differences) // 2],
            "largest_relative_difference": differences[-1],
        }
    found["same_fit_twice"] = {}
    for mode in ("eager", "graph"):
        for precision in PRECISIONS:
            digests = set()
            for _ in range(2):
                torch.manual_seed(0)
                settings = options.settings(precision, mode)
                module = gan("width 32, 32x32", settings, options.steps(150))
                fit(module, settings)
                digests.add(weights_digest({name: value.detach().cpu() for name, value in module.named_parameters()}))
            found["same_fit_twice"][f"{mode} {precision}"] = len(digests) == 1
    return found


def steps(options: Options) -> Iterator[dict[str, Any]]:
    """A row for each size, mode and precision."""
    peaks = next((peak for name, peak in PEAKS.items() if name in card(options)), {})
    for case in CASES:
        for precision in PRECISIONS:
            for mode, count in (("eager", 500), ("graph", 3000), ("compile", 1500)):
                if mode == "compile" and precision != "bf16-mixed":
                    continue  # compilation takes most of a minute
                if options.left() < 15.0:
                    return
                row: dict[str, Any] = {"case": case, "mode": mode, "precision": precision}
                try:
                    row |= timed_fit(case, options.settings(precision, mode), options.steps(count))
                except (ConfigError, RuntimeError) as error:
                    row["error"] = str(error).splitlines()[0]
                if "steps_per_second" in row and precision in peaks:
                    share = row["flops_per_step"] * row["steps_per_second"] / (1e12 * peaks[precision])
                    row["share_of_peak"] = round(share, 4)
                yield row


def _worker(number: int, options: Options, case: str, go: Any, done: Any, rates: Any) -> None:
    """For each group size that includes this process: a fit, with a barrier before and after."""
    torch.set_num_threads(1)
    timed_fit(case, options.settings("tf32", "graph"), options.steps(300), number)  # imports, handles, first kernels
    for count in options.groups:
        go.wait()
        if number < count:
            rates[number] = timed_fit(case, options.settings("tf32", "graph"), options.steps(3000), number)[
                "steps_per_second"
            ]
        done.wait()


def jobs(options: Options, case: str) -> list[dict[str, Any]]:
    """Steps per second of all jobs together, for each number of jobs."""
    context = multiprocessing.get_context("spawn")
    most = max(options.groups)
    go, done, rates = context.Barrier(most + 1), context.Barrier(most + 1), context.Array("d", most)
    workers = [context.Process(target=_worker, args=(n, options, case, go, done, rates)) for n in range(most)]
    for worker in workers:
        worker.start()
    rows = []
    try:
        for count in options.groups:
            go.wait(timeout=180)
            done.wait(timeout=180)
            rows.append({"jobs": count, "steps_per_second": round(sum(rates[:count]), 1)})
            rows[-1]["over_one"] = round(rows[-1]["steps_per_second"] / rows[0]["steps_per_second"], 2)
    finally:
        for worker in workers:
            worker.join(timeout=20)
            worker.kill()
    return rows


def paper(options: Options, method: str, precision: str = "tf32") -> dict[str, Any]:
    """A fit of the papers' length until it ends or the time is up, with the curve of error on held-out images."""
    length = options.steps(options.paper_steps)
    source = ["data=digits"] if options.data is None else ["data=mnist", f"data.root={options.data.resolve()}"]
    trainer = [f"trainer={options.accelerator}"]
    trainer += [] if options.dry_run else ["trainer.graph=true", f"trainer.precision={precision}"]
    words = [*source, "regime.labels_per_class=10", f"data.suggested.steps={length}", *PAPER[method], *trainer]
    words += ["selection.snapshots=20", "trainer.checkpoint_every=20000", "logger=none"]
    outputs = options.out.parent / "gpu_runs" / method
    outputs.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "trigan", "run", *words, f"paths.outputs={outputs}"]
    row: dict[str, Any] = {"steps": length, "settings": words}
    started, log = time.monotonic(), outputs / "log.txt"
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            row["exit_code"] = process.wait(timeout=max(1.0, options.left()))
        except subprocess.TimeoutExpired:
            process.terminate()
            row["exit_code"] = "stopped, as the time was up"
    row["seconds"] = round(time.monotonic() - started, 1)
    for file in outputs.glob("runs/*/record.json"):
        record = json.loads(file.read_text())
        result = record["result"]
        row |= {"test": {key: result["test"][key] for key in ("accuracy", "n") if key in result["test"]}}
        row |= {key: result[key] for key in ("curve", "cost", "status") if key in result}
        row["provenance"] = record["provenance"]
    row["log"] = log.read_text().splitlines()[-3:]
    return row


def card(options: Options) -> str:
    return "CPU" if options.dry_run else torch.cuda.get_device_name()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="MNIST's Parquet files; without it, the long fits take digits")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu.json"))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--parts", nargs="+", default=["numbers", "steps", "jobs", "service", *PAPER])
    parser.add_argument("--paper-steps", type=int, default=PAPER_STEPS)
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args(arguments)
    if not given.dry_run and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; --dry-run goes through all parts on the CPU")
    torch.set_num_threads(1)
    options = Options(given.data, given.out, given.dry_run, time.monotonic() + 60 * given.minutes, given.paper_steps)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python benchmarks/gpu.py", *(sys.argv[1:] if arguments is None else arguments)])
    found: dict[str, Any] = {"command": command, "card": card(options), "torch": torch.__version__}

    def keep(part: str, value: Any) -> None:
        found[part] = value
        found["seconds"] = round(60 * given.minutes - options.left(), 1)
        options.out.write_text(json.dumps(found, indent=1) + "\n")
        print(part, json.dumps(value if not isinstance(value, list) else value[-1]), flush=True)

    if "numbers" in given.parts:
        keep("numbers", numbers(options))
    if "steps" in given.parts:
        rows: list[dict[str, Any]] = []
        for row in steps(options):
            rows.append(row)
            keep("steps", rows)
    for case in CASES:
        if "jobs" in given.parts:
            keep(f"jobs, {case}", jobs(options, case))
        if "service" in given.parts:
            with multi_process_service() as variables:
                os.environ |= variables
                keep(f"jobs with the service, {case}", jobs(options, case) if variables else "it did not start")
                for name in variables:
                    del os.environ[name]
    for method in PAPER:
        if method in given.parts:
            keep(method, paper(options, method))


if __name__ == "__main__":
    main()
