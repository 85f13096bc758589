"""Are the statistics of a table what they claim to be? Synthetic trials through trigan's own cells, contrasts, tables.

    python benchmarks/calibration.py [--replicates 1000] [--quick] [--only PART] [--out FILE]

Two rows: how often the 95 % interval covers the true difference, and how often it leaves out zero (with no difference
that is a false positive, else power). Whole tables: how often any primary comparison claims a difference that is not
there, how often the bold row is not the best one, how often a dagger is given to a row that is worse by the margin.
Aim: false positives within the binomial interval of 5 %, coverage of 93 to 97 % where trials are normal. What breaks
that is printed as it is: see "notes" in the results.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from trigan.records.record import Record
from trigan.scores import METRICS
from trigan.tables.cell import Cell
from trigan.tables.paired_comparison import compare_cells, correction, paired_differences
from trigan.tables.statistics import evidence, sign_flip_p, t_interval
from trigan.tables.table import Family, Table, TableSpec, build_table

#: Standard deviation of a paired difference, as a share of the test set: one point.
SD = 0.01
#: The digits' redrawn test set: 539 of 1,797 images.
N_TEST, N_TRAIN = 539, 1258
ROWS, BASELINES = 4, 3

Values = np.ndarray
#: (generator, trials, true difference) -> values of both rows (2, trials), maybe the truth for this very test set.
Pair = Callable[[np.random.Generator, int, float], Values]


def record(value: float, trial: int, redrawn: bool = False) -> Record:
    """The least of a record that a table reads."""
    result = {
        "status": "finished",
        "protocol": 2,
        "rule": "last",
        "data_used": {"L": 100, "U": 0, "V": 0, "X": 0},
        "labels": {"training": 100, "selection": 0},
        "test": {"accuracy": float(value)},
        "cost": {"flops": 1, "images": {}},
        "split": {"test_redrawn": redrawn, "n_train": N_TRAIN, "n_test": N_TEST},
        "stamps": [],
    }
    made: Any = {"run": str(trial), "config": {}, "tags": {"trial": trial, "seed": trial}, "result": result}
    return made


def cell(values: Sequence[float], redrawn: bool = False) -> Cell:
    """A row's cell, one record a trial."""
    trials = tuple(range(len(values)))
    return Cell(tuple(record(v, t, redrawn) for t, v in zip(trials, values, strict=True)), trials, METRICS["accuracy"])


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    return rng.standard_normal(shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Mostly a little above the mean, now and then far below, as where a GAN sometimes fails: skewness -2."""
    return 1 - rng.standard_exponential(shape)


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Student's t with 3 degrees of freedom, scaled to variance 1."""
    return rng.standard_t(3, shape) / np.sqrt(3)


SHAPES = {"normal": normal, "skewed": skewed, "heavy": heavy}


def alike(shape: str) -> Pair:
    """A/A and A/B with the same noise in both rows: paired differences are symmetric whatever the shape."""

    def draw(rng: np.random.Generator, n: int, effect: float) -> Values:
        values = 0.9 + SD * rng.standard_normal(n) + SD / np.sqrt(2) * SHAPES[shape](rng, (2, n))
        values[0] += effect
        return values

    return draw


def one_sided(shape: str) -> Pair:
    """All the noise is in one row, so that the paired differences have its shape."""

    def draw(rng: np.random.Generator, n: int, effect: float) -> Values:
        common = 0.9 + SD * rng.standard_normal(n)
        return np.stack([common + effect + SD * SHAPES[shape](rng, (n,)), common])

    return draw


def equicorrelated(rng: np.random.Generator, n: int, effect: float) -> Values:
    """Differences correlated by n_test / (n_test + n_train): what Nadeau and Bengio's factor assumes."""
    rho = N_TEST / (N_TEST + N_TRAIN)
    difference = SD * (np.sqrt(rho) * rng.standard_normal() + np.sqrt(1 - rho) * rng.standard_normal(n))
    return np.stack([0.9 + effect + difference, np.full(n, 0.9)])


def images(persistent: float, redrawn: bool) -> Pair:
    """Image by image: one row is right where the other errs (+1), or the other way round (-1), or neither (0).

    A share ``persistent`` of the images behaves the same in every trial, the others are drawn anew in each training.
    The truth is the mean over all images there could be, of which the data set is a sample.
    """

    def draw(rng: np.random.Generator, n: int, effect: float) -> Values:
        share = N_TEST * SD**2 / 2  # of images on either side, so that the sd of a trial's difference is SD
        edges = (share - effect / 2, 1 - share - effect / 2)
        total = N_TEST + N_TRAIN if redrawn else N_TEST
        lasting, kept = rng.random(total), rng.random(total) < persistent
        differences = []
        for _ in range(n):
            rows = rng.permutation(total)[:N_TEST]
            drawn = np.where(kept[rows], lasting[rows], rng.random(N_TEST))
            differences.append((drawn > edges[1]).mean() - (drawn < edges[0]).mean())
        return np.stack([0.9 + np.array(differences), np.full(n, 0.9)])

    return draw


#: Each condition: how trials come about, whether their test sets are redrawn, whether the aim holds it to 93 to 97 %.
PAIRS: dict[str, tuple[Pair, bool, bool]] = {
    "normal": (alike("normal"), False, True),
    "skewed, both rows": (alike("skewed"), False, False),
    "heavy tails, both rows": (alike("heavy"), False, False),
    "skewed, one row": (one_sided("skewed"), False, False),
    "heavy tails, one row": (one_sided("heavy"), False, False),
    "redrawn test sets, as assumed": (equicorrelated, True, True),
    "redrawn, same errors each time": (images(1.0, True), True, True),
    "redrawn, half the errors change": (images(0.5, True), True, False),
    "redrawn, all errors change": (images(0.0, True), True, False),
    "fixed test set, half change": (images(0.5, False), False, False),
}


def pair(name: str, n: int, effect: float, replicates: int, seed: int) -> dict[str, Any]:
    """Coverage and rejections of two rows in one condition; ``effect`` in sd of a paired difference."""
    draw, redrawn, held = PAIRS[name]
    rng = np.random.default_rng([seed, n, round(effect * 10)])
    covered = rejected = flipped = 0
    for _ in range(replicates):
        values = draw(rng, n, effect * SD)
        one, other = cell(values[0].tolist(), redrawn), cell(values[1].tolist(), redrawn)
        found = compare_cells("row", "baseline", "column", one, other)
        low, high = found.low, found.high
        if evidence(n) in ("values", "range"):  # a table shows no interval: this is what one would be
            interval = t_interval(paired_differences(one, other), correction(one, other))
            low, high = interval.low, interval.high
        assert low is not None
        assert high is not None
        covered += low <= effect * SD <= high
        rejected += not low <= 0 <= high
        flipped += evidence(n) == "headline" and (sign_flip_p(paired_differences(one, other)) or 0) < 0.05
    row = {
        "condition": name,
        "n": n,
        "effect": effect,
        "coverage": covered / replicates,
        "rejected": rejected / replicates,
        "rejected_sign_flip": flipped / replicates if evidence(n) == "headline" else None,
        "printed_by_tables": evidence(n) not in ("values", "range"),
        "held": held,
    }
    return {**row, "sound": _sound(row, replicates)}


def _sound(row: dict[str, Any], replicates: int) -> bool:
    """Coverage within 93 to 97 %, and false positives within the binomial interval of 5 %."""
    low, high = binomial(0.05, replicates)
    return 0.93 <= row["coverage"] <= 0.97 and (row["effect"] != 0 or low <= row["rejected"] <= high)


def binomial(share: float, replicates: int, confidence: float = 0.99) -> tuple[float, float]:
    """Where a share lies in this many replicates, with this confidence, if it is ``share`` in truth."""
    tail = (1 - confidence) / 2
    low, high = (float(binom.ppf(p, replicates, share)) / replicates for p in (tail, 1 - tail))
    return low, high


def table(means: Sequence[float], shape: str, n: int, sd: float, baselines: int, rng: np.random.Generator) -> Table:
    """A whole table of rows with these true means; the last ``baselines`` are the family's baselines."""
    names = tuple(f"row {i}" for i in range(len(means)))
    noise = SD * rng.standard_normal(n) + sd / np.sqrt(2) * SHAPES[shape](rng, (len(means), n))
    values = np.asarray(means)[:, None] + noise
    records = {
        (name, "data"): [record(value, trial) for trial, value in enumerate(row.tolist())]
        for name, row in zip(names, values, strict=True)
    }
    cut = len(names) - baselines
    family = Family(names[:cut], names[cut:])
    return build_table(records, TableSpec("t", names, ("data",), tuple(range(n)), family=family, margin=0.5))


def family_wise(shape: str, n: int, baselines: int, replicates: int, seed: int) -> dict[str, Any]:
    """All rows are equal: the share of tables in which any primary comparison claims a gain, a loss, either.

    A claim is what the table says, which is none below ten trials.
    """
    rng = np.random.default_rng([seed, n, baselines, len(shape)])
    gain = loss = either = 0
    for _ in range(replicates):
        found = table([0.9] * (ROWS + baselines), shape, n, SD, baselines, rng).primary
        claims = [one.claim == "better" for one in found if one.claim in ("better", "worse")]
        gain, loss, either = gain + any(claims), loss + (not all(claims)), either + bool(claims)
    claim = "Holm's p <= 0.05" if evidence(n) == "headline" else "none below ten trials"
    shares = {"gain": gain / replicates, "loss": loss / replicates, "either": either / replicates}
    return {"shape": shape, "n": n, "rows": ROWS, "baselines": baselines, "claim": claim, **shares}


def marks(n: int, sd: float, replicates: int, seed: int) -> dict[str, Any]:
    """One row is best, three are worse by just the margin (0.5 points), three by a point.

    The share of tables whose bold row is not the best one; the share of daggers among the three rows at the margin,
    each a dagger that should not be there; and how many of those were given beside a bold row that is the best one.
    """
    rng = np.random.default_rng([seed, n, round(1e4 * sd)])
    means = [0.9, *[0.895] * 3, *[0.89] * 3]
    wrong = daggers = beside_best = tables_with = tables_best = 0
    for _ in range(replicates):
        built = table(means, "normal", n, sd, BASELINES, rng)
        right = ("row 0", "data") in built.best
        false = sum((f"row {i}", "data") in built.not_worse for i in (1, 2, 3))
        wrong, tables_best = wrong + (not right), tables_best + right
        daggers, tables_with = daggers + false, tables_with + bool(false)
        beside_best += false if right else 0
    return {
        "n": n,
        "sd_points": 100 * sd,
        "false_best": wrong / replicates,
        "false_daggers_a_row": daggers / (3 * replicates),
        "false_daggers_a_row_beside_the_true_best": beside_best / (3 * tables_best) if tables_best else None,
        "tables_with_a_false_dagger": tables_with / replicates,
    }


NOTES = (
    "n = 3: a table shows no interval; what one would be is given here.",
    "skewed, one row: a paired t interval of few skewed differences covers less than it says, "
    "87 to 91 % at n = 3 to 10.",
    "heavy tails, and skewed noise in both rows: the t interval is a little cautious.",
    "redrawn test sets, pairs: without predictions Nadeau and Bengio's factor is assumed, which is right where the "
    "same images are hard each time; the more of the errors change from training to training, the more cautious it is. "
    "'correlation' has the same trials with the correlation estimated from predictions.",
    "the sign-flip test knows no such factor: where test sets are redrawn and the same images are hard each time, a "
    "third of its p lie below 0.05 where nothing differs. So tables give none there.",
    "fixed test set, pairs: without predictions the interval is about more trainings on these test images. As an "
    "answer about all images it covers far less than it says. 'correlation' has the same trials with the covariance "
    "through the images estimated from predictions; at n = 5 that is cautious, since its degrees of freedom are those "
    "of the trials.",
    "several baselines: a row is better if it is better than all, and worse if it is worse than at least one.",
    "below 10 trials nothing is claimed; intervals are not adjusted for several comparisons, and called exploratory.",
    "looking again: the k-th look has the level 0.05 x 6 / (pi k)^2.",
    "real fits: one classifier under several names, so any claim is false; no two verdicts share a fit.",
    "bold says 'highest mean' and no more: a true lead of half a point, at one point of sd, is often missed.",
    "the dagger is against the bold row: each false one has 2.5 % where that is the best row, a table more.",
)


def study(replicates: int, seed: int = 0) -> dict[str, Any]:
    """Everything, as plain values."""
    tables = max(1, replicates // 2)
    return {
        "pairs": [
            pair(name, n, effect, replicates, seed) for name in PAIRS for n in (3, 5, 10) for effect in (0.0, 1.0, 2.0)
        ],
        "families": [
            family_wise(shape, n, baselines, tables, seed)
            for shape in SHAPES
            for n in (5, 10)
            for baselines in (1, BASELINES)
        ],
        "marks": [marks(n, sd, tables, seed) for n in (3, 5, 10) for sd in (SD, SD / 3)],
    }


def page(found: dict[str, Any], replicates: int) -> Iterator[str]:
    """The results as lines of text."""
    low, high = binomial(0.05, replicates)
    yield f"two rows, {replicates} replicates: 5 % lies in {100 * low:.1f} to {100 * high:.1f}"
    yield f"{'condition':34} {'n':>2} {'effect':>6} {'coverage':>9} {'rejected':>9} {'flip':>6}"
    for row in found["pairs"]:
        flip = "" if row["rejected_sign_flip"] is None else f"{100 * row['rejected_sign_flip']:.1f}"
        mark = "" if row["sound"] else " <- aim missed" if row["held"] else " <- not as it says"
        shares = f"{100 * row['coverage']:9.1f} {100 * row['rejected']:9.1f} {flip:>6}"
        yield f"{row['condition']:34} {row['n']:2} {row['effect']:6.0f} {shares}{mark}"
    yield f"\nwhole tables of {ROWS} equal rows and their baselines: share with a false claim, %"
    yield f"{'shape':8} {'n':>2} {'baselines':>9} {'gain':>6} {'loss':>6} {'either':>6}  claim"
    for row in found["families"]:
        shares = " ".join(f"{100 * row[key]:6.1f}" for key in ("gain", "loss", "either"))
        yield f"{row['shape']:8} {row['n']:2} {row['baselines']:9} {shares}  {row['claim']}"
    yield "\nmarks: one best row, three worse by the margin, three by a point, %"
    columns = ("false best", "false daggers a row", "beside the true best", "a table")
    yield f"{'n':>2} {'sd':>5} " + " ".join(f"{name:>21}" for name in columns)
    for row in found["marks"]:
        beside = row["false_daggers_a_row_beside_the_true_best"]
        yield (
            f"{row['n']:2} {row['sd_points']:5.2f} {100 * row['false_best']:21.1f} "
            f"{100 * row['false_daggers_a_row']:21.1f} {'-' if beside is None else f'{100 * beside:.1f}':>21} "
            f"{100 * row['tables_with_a_false_dagger']:21.1f}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    import calibration_claims  # lies beside this file
    import calibration_real
    from calibration_claims import PARTS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="a tenth of the replicates and of the fits")
    parser.add_argument("--only", choices=("tables", *PARTS, "real"), help="one part; the file keeps the others")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/calibration.json"))
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    replicates = max(10, options.replicates // 10) if options.quick else options.replicates
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "tables": lambda: study(replicates),
        **{part: partial(calibration_claims.simulated, part, replicates, SHAPES, record) for part in PARTS},
        "real": lambda: calibration_real.study(replicates, record, trials=100 if options.quick else 1000),
    }
    flags = f"--replicates {options.replicates}{' --quick' if options.quick else ''}"
    for part in [options.only] if options.only else parts:
        found = parts[part]()
        print("\n".join(page(found, replicates) if part == "tables" else calibration_claims.lines(found)), flush=True)
        kept = json.loads(options.out.read_text()) if options.out.exists() else {}
        command = f"python benchmarks/calibration.py {flags} --only {part}"
        kept |= {"notes": NOTES, part: {"command": command, **found}}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(
            json.dumps({key: kept[key] for key in ("notes", *parts) if key in kept}, indent=1) + "\n"
        )
    print("\nnotes:", *NOTES, sep="\n- ")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
