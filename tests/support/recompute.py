"""A table's numbers from record files alone: JSON, arithmetic and scipy's t, and nothing of trigan."""

import json
import math
import sys
from pathlib import Path

from scipy import stats


def scores(folder: Path) -> dict[str, dict[int, dict]]:
    """The records under a folder by row and trial."""
    found: dict[str, dict[int, dict]] = {}
    for path in folder.glob("runs/*/record.json"):
        record = json.loads(path.read_text())
        found.setdefault(record["tags"]["row"], {})[record["tags"]["trial"]] = record
    return found


def mean_sd(values: list[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def paired(row: dict[int, dict], other: dict[int, dict]) -> tuple[float, float, float, float]:
    """Mean difference in points, the ends of its 95 % interval, and p; wider where trials redraw the test set."""
    differences = [
        100 * (row[t]["result"]["test"]["accuracy"] - other[t]["result"]["test"]["accuracy"]) for t in sorted(row)
    ]
    split, n = row[0]["result"]["split"], len(differences)
    extra = split["n_test"] / split["n_train"] if split["test_redrawn"] else 0.0
    mean, sd = mean_sd(differences)
    error = sd * math.sqrt(1 / n + extra)
    half = stats.t.ppf(0.975, n - 1) * error
    return mean, mean - half, mean + half, 2 * stats.t.sf(abs(mean) / error, n - 1)


def detectable(width: float, n: int) -> float:
    """The true difference that is found in four of five times, by the standard error behind an interval this wide."""
    critical = stats.t.ppf(0.975, n - 1)
    grid = [step / 1000 for step in range(1, 8000)]
    power = [stats.nct.sf(critical, n - 1, d) + stats.nct.cdf(-critical, n - 1, d) for d in grid]
    return next(d for d, one in zip(grid, power, strict=True) if one >= 0.8) * width / 2 / critical


def against_all(tests: list[tuple[float, float, float, float]]) -> tuple[float, float]:
    """One-sided p of better than all, and of worse than one, times the number of baselines."""
    sides = [(p / 2, 1 - p / 2) if mean > 0 else (1 - p / 2, p / 2) for mean, _, _, p in tests]
    return max(better for better, _ in sides), min(1.0, len(sides) * min(worse for _, worse in sides))


def holm(p: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Over both one-sided tests of each row; the smaller of a row's two."""
    sides = {(name, side): value for name, two in p.items() for side, value in enumerate(two)}
    adjusted, least = {}, 0.0
    for rank, key in enumerate(sorted(sides, key=lambda key: sides[key])):
        least = max(least, min(1.0, (len(sides) - rank) * sides[key]))
        adjusted[key] = least
    return {name: min(adjusted[name, 0], adjusted[name, 1]) for name in p}


def recompute(folder: Path, reference: str, family: list[str], baselines: list[str]) -> list[str]:
    """Each row's cell and difference, and each primary comparison, as a table prints them."""
    found, lines = scores(folder), []
    means = {
        row: mean_sd([100 * r["result"]["test"]["accuracy"] for r in trials.values()]) for row, trials in found.items()
    }
    for row, (mean, sd) in means.items():
        difference, low, high, p = paired(found[row], found[reference]) if row != reference else (0.0,) * 4
        text = f"{difference:+.1f} [{low:+.1f}, {high:+.1f}]" + (f" p {_p(p)}" if len(found[row]) >= 10 else "")
        lines.append(f"{row} | {mean:.1f} ± {sd:.1f} | {text if row != reference else 'reference'}")
    strongest = max(baselines, key=lambda row: means[row][0])
    tests = {row: paired(found[row], found[strongest]) for row in family}
    sides = {row: against_all([paired(found[row], found[base]) for base in baselines]) for row in family}
    adjusted = holm(sides)
    for row, (difference, low, high, _) in tests.items():
        p = min(1.0, 2 * min(sides[row]))
        cells = f"{row} | {strongest} | {difference:+.1f} [{low:+.1f}, {high:+.1f}] | {len(found[row])}"
        cells += f" | {detectable(high - low, len(found[row])):.1f}"
        lines.append(f"{cells} | {_p(p)} | {_p(adjusted[row])}" if len(found[row]) >= 10 else cells)
    return lines


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


if __name__ == "__main__":
    print("\n".join(recompute(Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(";"), sys.argv[4].split(";"))))
