"""The fixed cost of short jobs: processor seconds of commands, of a run to its first steps, and of a study's job.

    python benchmarks/jobs.py [--rounds 5] [--out benchmarks/results/jobs.json]

``--help``, a refused value and a finished run are processes of their own. ``first steps`` is a run of C with default
settings up to the line that says "step 2 of 20", its process and its children. ``job: ROW`` are jobs of a study as
`trigan study` starts them, forks of a server: with T(n) the processor seconds of a job with n steps, twice T(n) minus
T(2 n) is what it costs beyond its steps. All numbers are medians over the rounds; a job has another trial in each.
Each command of this benchmark runs alone: on a machine that does other work, processor seconds are larger.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trigan.execution.job import BATCH_VARIABLE, Job
from trigan.execution.launchers import ForkLauncher

TRIGAN = ["-P", "-m", "trigan"]
SHORT = ["recipe.steps=20"]
#: Settings of `experiments/demo`, and steps: (of C, of a GAN) in the shorter of two jobs.
DEMO = ["regime.labels_per_class=10", "classifier.width=16", "architecture.width=16"]
STEPS = (100, 100)
ROWS = {
    "baseline": ["strategy=baseline"],
    "pixels": ["strategy=features", "strategy.backbone=pixels"],
    "joint": ["strategy=joint"],
}
AIMS = {"--help": 0.3, "first steps": 4.0, "job": 1.0}


def cpu_seconds(words: Sequence[str], folder: Path, code: int = 0) -> float:
    """Processor seconds of a Python process that runs ``words`` in ``folder`` and ends with exit code ``code``."""
    before = os.times()
    silent = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True)
    after = os.times()
    assert silent.returncode == code, silent.stderr
    return after.children_user + after.children_system - before.children_user - before.children_system


def tree_seconds(process: int) -> float:
    """Processor seconds of a running process, and of its children that have ended (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def seconds_to_first_steps(folder: Path) -> tuple[float, float]:
    """Processor and wall seconds of a run until it reports its second step."""
    words = [sys.executable, *TRIGAN, "run", *SHORT, "logger=none", f"paths.outputs={folder}"]
    started = time.monotonic()
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        seen = next(line for line in process.stderr if "step 2 of" in line)
        found = tree_seconds(process.pid), time.monotonic() - started
        process.kill()
    assert seen
    return found


def job_seconds(launcher: ForkLauncher, words: Sequence[str], folder: Path) -> float:
    """Processor seconds of one job of a study."""
    before, log = tree_seconds(launcher._server), folder / "job.log"
    launcher.start(Job("job", tuple(words)), log, {BATCH_VARIABLE: "1"})
    while not (ended := launcher.ended()):
        time.sleep(0.02)
    assert ended == {"job": 0}, log.read_text()
    return tree_seconds(launcher._server) - before


def measure_jobs(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Each row of `ROWS`."""
    launcher = ForkLauncher()
    launcher.threads()  # returns when the server has imported everything
    found = []
    for name, row in ROWS.items():
        short, beyond = [], []
        for trial in range(rounds):
            both = []
            for factor in (1, 2):
                steps = zip(("data.suggested.steps", "data.suggested.gan_steps"), STEPS, strict=True)
                counts = [f"{key}={factor * count}" for key, count in steps]
                words = [*DEMO, *row, *counts, f"trial={trial}", f"paths.outputs={folder / name}"]
                both.append(job_seconds(launcher, words, folder))
            short.append(both[0])
            beyond.append(2 * both[0] - both[1])
        found.append(_row(f"job: {name}", beyond, "job", steps=STEPS[0], seconds=short))
    launcher.close()
    return found


def _row(command: str, values: Sequence[float], aim: str | None, **others: Any) -> dict[str, Any]:
    known: Mapping[str, Any] = {
        key: round(statistics.median(one), 2) if isinstance(one, list) else one for key, one in others.items()
    }
    return {
        "command": command,
        "cpu_seconds": round(statistics.median(values), 2),
        "aim_seconds": AIMS.get(aim or ""),
        **known,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/jobs.json"))
    options = parser.parse_args(arguments)
    rounds = range(options.rounds)
    with TemporaryDirectory() as name:
        folder, own = Path(name), ["logger=none", f"paths.outputs={name}/runs"]
        torch = [cpu_seconds(["-c", "import torch"], folder) for _ in rounds]
        helped = [cpu_seconds([*TRIGAN, "--help"], folder) for _ in rounds]
        refused = [cpu_seconds([*TRIGAN, "run", "recipe.steps=-3"], folder, code=2) for _ in rounds]
        cpu_seconds([*TRIGAN, "run", *SHORT, *own], folder)  # reads the data, which later runs find in the cache
        finished = [cpu_seconds([*TRIGAN, "run", *SHORT, *own], folder) for _ in rounds]
        fast = [cpu_seconds([*TRIGAN, "run", "debug=fast", *own, "--force"], folder) for _ in rounds]
        first = [seconds_to_first_steps(folder / f"first{index}") for index in rounds]
        found = [
            _row("python -c 'import torch'", torch, None),
            _row("--help", helped, "--help"),
            _row("a refused value", refused, None),
            _row("a finished run", finished, None),
            _row("debug=fast", fast, None),
            _row("first steps", [cpu for cpu, _ in first], "first steps", wall_seconds=[wall for _, wall in first]),
            *measure_jobs(folder, options.rounds),
        ]
    machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
    content = {"command": f"python benchmarks/jobs.py --rounds {options.rounds}", "machine": machine, "results": found}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n")
    for row in found:
        aim = f"   (aim < {row['aim_seconds']:.1f} s)" if row["aim_seconds"] else ""
        print(f"{row['command']:26} {row['cpu_seconds']:6.2f} s{aim}")


if __name__ == "__main__":
    main()
