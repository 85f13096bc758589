"""Paired, interleaved timing: what every part of `make bench` shares.

In each round every way runs once, in turn and in alternating order, and the ratio is taken round by round, so that
whatever else the machine does meets both sides. Times are processor seconds, unless a row says wall clock.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from trigan.runs.malloc import keep_freed_memory

#: Rounds of a comparison: with nine the quartiles are the third value from either end.
ROUNDS = 9
RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Size:
    """How much is measured; ``quick`` only checks that everything runs, and its numbers say nothing."""

    rounds: int = ROUNDS
    quick: bool = False

    def of(self, full: int, quick: int) -> int:
        """The amount of work that fits."""
        return quick if self.quick else full


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor seconds of this process for ``work``."""
    started = time.process_time()
    work()
    return time.process_time() - started


def interleave(ways: Mapping[str, Callable[[], T]], rounds: int, warm_up: bool = True) -> dict[str, list[T]]:
    """What each way returns in every round (seconds); to warm up, each runs once before, uncounted."""
    for way in ways.values() if warm_up else ():
        way()
    found: dict[str, list[T]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            found[name].append(ways[name]())
    return found


def quartiles(values: Sequence[float]) -> list[float]:
    """First quartile, median and third quartile, the ends included."""
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3


def compare(name: str, ours: Sequence[float], reference: Sequence[float], aim: str = "", clock: str = "cpu") -> Row:
    """A row: milliseconds of both sides and the quartiles of ours / reference. ``aim``: ``<= 1.1``."""
    low, median, high = quartiles([a / b for a, b in zip(ours, reference, strict=True)])
    return {
        "name": name,
        "ours_ms": _rounded(1e3 * statistics.median(ours)),
        "reference_ms": _rounded(1e3 * statistics.median(reference)),
        "ratio": _rounded(median),
        "quartiles": [_rounded(low), _rounded(high)],
        "n": len(ours),
        "clock": clock,
        "aim": aim,
    }


def line(row: Row) -> str:
    """A row as text."""
    low, high = row["quartiles"]
    aim = f"   aim {row['aim']}" if row["aim"] else ""
    times = f"{row['ours_ms']:10.4g} ms over {row['reference_ms']:10.4g} ms ({row['clock']})"
    return f"{row['name']:48} {times}   ratio {row['ratio']:.3g} [{low:.3g}, {high:.3g}], n = {row['n']}{aim}"


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    processor = platform.processor() or platform.machine()
    return {"processor": processor, "python": platform.python_version(), "torch": torch.__version__, "threads": 1}


def run_part(description: str | None, name: str, measure: Callable[[Size], list[Row]]) -> None:
    """The command line of a part: measure, print its rows and write them to ``results/NAME.json``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="check that everything runs; the numbers say nothing")
    parser.add_argument("--out", type=Path, default=RESULTS / f"{name}.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    started = time.perf_counter()
    rows = measure(Size(options.rounds, options.quick))
    words = " ".join([f"benchmarks/{name}.py", *(["--quick"] if options.quick else []), f"--rounds {options.rounds}"])
    content = {"command": f"python {words}", "seconds": round(time.perf_counter() - started, 1), "machine": machine()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**content, "results": rows}, indent=1) + "\n")
    for row in rows:
        print(line(row) if "ratio" in row else json.dumps(row))
    sys.stdout.flush()


def _rounded(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")
