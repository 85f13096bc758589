"""Growth of processor time and peak memory over four sizes each of images, classes, image size and trials.

    python benchmarks/growth.py [--rounds 9] [--quick]

Images, classes and image size: a whole ``trigan run strategy=baseline regime=full`` of 30 steps in a new folder, from
reading the arrays (random pixels, 28x28 grey, 10 classes where they are not what grows) to the record.
Trials: ``trigan table`` of two rows with so many trials, without the index of the records.
Each command runs in a fork of this process, which has imported everything: the time is without imports, the memory with
them, about 450 MB. `benchmarks/bench.py` draws the results.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from paired import Row, Size, run_part
from records import make_records, own_words

import trigan.runs.run_words
from trigan.commands.main import main
from trigan.records.file_index import INDEX_NAME

assert trigan.runs.run_words  # imported for the forks

Cost = tuple[float, float]
IMAGES = (1_000, 5_000, 25_000, 125_000)
CLASSES = (2, 16, 128, 1_024)
SIDES = (8, 16, 32, 64)
TRIALS = (3, 10, 30, 100)
TEST_IMAGES = 2_048
FIXED = ["strategy=baseline", "regime=full", "regime.validation=none", "data=npz", "logger=none", "callbacks=quiet"]
SMALL = ["trainer=cpu", "recipe.steps=30", "classifier.width=8"]


def cost(words: Sequence[str]) -> Cost:
    """Processor seconds and peak megabytes of a command of trigan in a fork of this process."""
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            os._exit(main(words))
        _, status, usage = os.wait4(child, 0)
        if status:
            said.seek(0)
            raise SystemExit(f"trigan {' '.join(words)} failed: {said.read().decode()}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def write_images(folder: Path, images: int = 4_000, classes: int = 10, side: int = 28) -> list[str]:
    """The settings of a run on random images, which are written; each class as often as the others."""
    draw = np.random.default_rng(0)
    folder.mkdir()
    for part, count in (("train", images), ("test", TEST_IMAGES)):
        np.save(folder / f"{part}_images.npy", draw.integers(0, 256, (count, side, side), dtype=np.uint8))
        np.save(folder / f"{part}_labels.npy", np.arange(count) % classes)
    return ["run", *FIXED, *SMALL, f"data.root={folder}"]


def cost_of_run(words: list[str]) -> Cost:
    """The cost of a run in a new folder of outputs."""
    with TemporaryDirectory() as outputs:
        return cost([*words, f"paths.outputs={outputs}"])


def cost_of_table(folder: Path, study: Path) -> Cost:
    """The cost of a study's table."""
    (folder / "runs" / INDEX_NAME).unlink(missing_ok=True)
    return cost(["table", str(study), *own_words(folder)])


def row(name: str, work: dict[int, Callable[[], Cost]], rounds: int) -> Row:
    """Medians over rounds in which each size has its turn."""
    found = np.array([[measured() for measured in work.values()] for _ in range(rounds)])
    seconds, megabytes = np.median(found, axis=0).T.tolist()
    return {
        "name": f"growth, {name}",
        "sizes": list(work),
        "cpu_seconds": [round(one, 2) for one in seconds],
        "peak_mb": [round(one) for one in megabytes],
        "n": rounds,
    }


def measure(size: Size) -> list[Row]:
    """A row for each quantity; every size is measured a quarter as often as a ratio."""
    rounds, kept = max(1, size.rounds // 4), size.of(4, 2)
    rows = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        for quantity, sizes in (("images", IMAGES), ("classes", CLASSES), ("side", SIDES)):
            runs = {n: write_images(folder / f"{quantity}-{n}", **{quantity: n}) for n in sizes[:kept]}
            work = {n: partial(cost_of_run, words) for n, words in runs.items()}
            rows.append(row("image size" if quantity == "side" else quantity, work, rounds))
        studies = {n: make_records(folder, f"trials-{n}", n, rates=(1, 2), budgets=(10,))[0] for n in TRIALS[:kept]}
        return [*rows, row("trials", {n: partial(cost_of_table, folder, one) for n, one in studies.items()}, rounds)]


if __name__ == "__main__":
    run_part(__doc__, "growth", measure)
