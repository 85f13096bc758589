"""All parts of `make bench`, one after the other, their table and the plot of growth.

    python benchmarks/bench.py [--rounds 9] [--quick] [--out benchmarks/results] [PART ...]

Each part is a file of this folder and a process of its own; it writes its JSON to the folder ``--out``. The table,
``README.md``, and the plot, ``growth.png``, are made of these files, those of parts that did not run now included.
About 12 minutes on two idle cores; ``--quick`` only checks that everything runs.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from paired import RESULTS, ROUNDS

PARTS = ("step", "loader", "figures", "workers", "ranks", "growth")
HERE = Path(__file__).parent
HEAD = """# What `make bench` measured

Written by `python benchmarks/bench.py`. A ratio is the time of trigan over that of the reference, so below 1 trigan is
faster: the median over n interleaved rounds, with its quartiles. Times are medians of processor time, unless it says
wall clock. Quartiles far apart tell of a machine that did other work. The docstring of `benchmarks/PART.py` says what
the reference is.
"""


def stored(folder: Path) -> dict[str, Any]:
    """What the parts wrote, as far as there is anything."""
    files = {part: folder / f"{part}.json" for part in PARTS}
    return {part: json.loads(path.read_text()) for part, path in files.items() if path.exists()}


def table(found: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    yield HEAD
    yield "| trigan over the reference | trigan, ms | reference, ms | ratio | quartiles | n | aim |"
    yield "|---|---|---|---|---|---|---|"
    rows = [row for part in found.values() for row in part["results"]]
    for row in (row for row in rows if "ratio" in row):
        name = row["name"] + (" (wall clock)" if row["clock"] == "wall" else "")
        low, high = (f"{one:.3g}" for one in row["quartiles"])
        times = f"{_number(row['ours_ms'])} | {_number(row['reference_ms'])} | {row['ratio']:.3g} | {low} to {high}"
        yield f"| {name} | {times} | {row['n']} | {row['aim']} |"
    yield "\n![Growth of time and memory](growth.png)\n"
    yield "| growth of | sizes | processor time, s | peak memory, MB | n |"
    yield "|---|---|---|---|---|"
    for row in (row for row in rows if "sizes" in row):
        texts = [", ".join(f"{one:,}" for one in row[key]) for key in ("sizes", "cpu_seconds", "peak_mb")]
        yield f"| {row['name'].removeprefix('growth, ')} | {' | '.join(texts)} | {row['n']} |"
    yield "\n| part | command | seconds | torch |\n|---|---|---|---|"
    for part, content in found.items():
        yield f"| {part} | `{content['command']}` | {content['seconds']:.0f} | {content['machine']['torch']} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def plot(found: dict[str, Any], path: Path) -> None:
    """Time and memory over the sizes, a column for each quantity."""
    if "growth" not in found:
        return
    rows = found["growth"]["results"]
    figure, axes = plt.subplots(2, len(rows), figsize=(3 * len(rows), 5), squeeze=False, layout="constrained")
    for column, row in zip(axes.T, rows, strict=True):
        for axis, key, label in zip(
            column, ("cpu_seconds", "peak_mb"), ("processor time, s", "peak memory, MB"), strict=True
        ):
            axis.plot(row["sizes"], row[key], marker="o", color="#3b6ea5")
            axis.set(xscale="log", ylim=(0, 1.15 * max(row[key])))
            axis.set_xticks(row["sizes"], [f"{one:,}" for one in row["sizes"]], fontsize=7)
            axis.minorticks_off()
            axis.set_ylabel(label if axis in axes[:, 0] else "")
        column[1].set_xlabel(row["name"].removeprefix("growth, "))
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    for part in options.parts or PARTS:
        words = ["--rounds", str(options.rounds), *(["--quick"] if options.quick else [])]
        command = [sys.executable, str(HERE / f"{part}.py"), *words, "--out", str(options.out / f"{part}.json")]
        subprocess.run(command, check=True)
    found = stored(options.out)
    plot(found, options.out / "growth.png")
    (options.out / "README.md").write_text("\n".join(table(found)) + "\n")


if __name__ == "__main__":
    main()
