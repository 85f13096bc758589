"""Two workers over one: the same short runs on digits by ``trigan run -m --workers 2`` and ``--workers 1``.

    python benchmarks/workers.py [--rounds 9] [--quick]

Wall clock on a machine with two cores; 0.5 is the ideal. The second row is the processor time of both, which tells what
two neighbours cost each other. Aim: wall clock <= 0.6, as checking and composing the jobs is done once, by one process.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from paired import Row, Size, compare, interleave, run_part

JOBS = 2
SMALL = ["strategy=baseline", "regime.labels_per_class=10", "classifier.width=8", "trainer=cpu"]
SETTINGS = [*SMALL, "logger=none", "callbacks=quiet", "trial=" + ",".join(map(str, range(JOBS)))]


def run(workers: int, steps: int) -> tuple[float, float]:
    """Wall-clock and processor seconds of `JOBS` runs in a new folder."""
    with TemporaryDirectory() as folder:
        words = [*SETTINGS, f"recipe.steps={steps}", f"paths.outputs={folder}", "--workers", str(workers)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        before, started = os.times(), time.perf_counter()
        subprocess.run([sys.executable, "-P", "-m", "trigan", "run", "-m", *words], check=True, cwd=folder, **quiet)
        after, wall = os.times(), time.perf_counter() - started
        assert len(list(Path(folder).glob("runs/*/record.json"))) == JOBS
    return wall, sum(getattr(after, k) - getattr(before, k) for k in ("children_user", "children_system"))


def measure(size: Size) -> list[Row]:
    """Both clocks of the same rounds."""
    steps = size.of(150, 2)
    found = interleave({"two": lambda: run(2, steps), "one": lambda: run(1, steps)}, size.rounds, warm_up=False)
    name, rows = f"{JOBS} runs, two workers over one", []
    for clock, which, aim in (("wall", 0, "<= 0.6"), ("cpu", 1, "<= 1.1")):
        two, one = ([seconds[which] for seconds in found[way]] for way in ("two", "one"))
        rows.append(compare(name, two, one, aim, clock))
    return rows


if __name__ == "__main__":
    run_part(__doc__, "workers", measure)
