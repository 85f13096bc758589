"""Commands that only read records, over thousands of them: CPU seconds with and without the index of the records.

    python benchmarks/records.py [--records 5000] [--rounds 3] [--out benchmarks/results/records.json]

A real run on digits gives the first record, with its predictions. The others are copies under the hashes of a study's
jobs (10 learning rates, 5 label budgets), each with the settings, test images and accuracy of its own. Each command is
measured without the index (which it then writes), with it, and, in turn with both, a process that only parses the
same files as JSON; ``ratio`` is the time with the index over that of this process.

``study`` is `trigan study` itself when all its jobs are finished, ``study, 6 jobs`` a small finished study beside the
records. Aim: each of these in less than 3 s of CPU time for 5,000 records, once the index is there.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import yaml

from trigan.config.compose import Composer
from trigan.datasets.splits.splitter import index_digest
from trigan.identity import tensor_digest
from trigan.records.file_index import INDEX_NAME
from trigan.records.record import read_record, write_record
from trigan.records.seal_ledger import append_use
from trigan.studies.job_cache import cache_path, save_jobs
from trigan.studies.jobs import StudyJob
from trigan.studies.plan import StudyPlan
from trigan.studies.study_file import read_study

AIM_SECONDS = 3.0
RATES, LABELS, FIXED = range(1, 11), (5, 8, 10, 20, 40), ["strategy=baseline", "recipe.steps=20"]
TRIGAN = ["-P", "-m", "trigan"]
PARSE = "import json, pathlib; [json.loads(one.read_bytes()) for one in pathlib.Path('runs').glob('*/record.json')]"


def cpu_seconds(words: Sequence[str], folder: Path) -> float:
    """CPU seconds of a Python process that runs ``words`` in ``folder``."""
    before = os.times()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def write_study(
    folder: Path, name: str, trials: int, rates: Sequence[int] = RATES, budgets: Sequence[int] = LABELS
) -> Path:
    """A study of learning rates and label budgets."""
    rows = [{"name": f"rate {rate}", "set": [f"recipe.optimizer.learning_rate={rate / 1000}"]} for rate in rates]
    columns = [{"name": f"{labels} labels", "set": [f"regime.labels_per_class={labels}"]} for labels in budgets]
    content = {"title": name, "trials": trials, "fixed": FIXED, "rows": rows, "columns": columns}
    path = folder / name / "study.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump({**content, "reference": rows[0]["name"]}))
    return path


def own_words(folder: Path) -> list[str]:
    """The settings of every command on a study."""
    return [f"paths.outputs={folder}", "logger=none"]


def write_copy(job: StudyJob, run: Path) -> None:
    """The job's record: that of ``run`` with other settings and test images, and a tenth of the predictions changed."""
    record: Any = read_record(run / "record.json")
    draw = np.random.default_rng(int(job.hash[:8], 16))
    with np.load(run / "predictions.npz") as stored:
        scores, labels = stored["scores"], stored["labels"]
    changed = draw.random(len(scores)) < 0.1
    scores[changed] = scores[draw.permutation(len(scores))[: changed.sum()]]
    rows = np.random.default_rng(job.trial).permutation(record["result"]["split"]["n_train"])[: len(scores)]
    confusion = np.zeros((scores.shape[1], scores.shape[1]), int)
    np.add.at(confusion, (labels, scores.argmax(axis=1)), 1)
    config, result = record["config"], record["result"]
    config |= {"trial": job.trial, "seed": job.trial}
    config["recipe"]["optimizer"]["learning_rate"] = int(job.row.name.split()[1]) / 1000
    config["regime"]["labels_per_class"] = int(job.column.name.split()[0])
    record["tags"] |= {"trial": job.trial, "seed": job.trial, "study": "many", "row": job.row.name}
    result["test"] |= {"accuracy": float(confusion.trace() / confusion.sum()), "confusion": confusion.tolist()}
    result["predictions"] = tensor_digest(torch.from_numpy(scores))
    result["split"]["test"]["sha256"] = index_digest(rows)
    write_record(job.record_path, {**record, "run": job.hash})
    np.savez_compressed(job.record_path.with_name("predictions.npz"), scores=scores, labels=labels, rows=rows)


def make_records(
    folder: Path, name: str, trials: int, rates: Sequence[int] = RATES, budgets: Sequence[int] = LABELS
) -> tuple[Path, float]:
    """A study whose jobs all have records in the folder, and the CPU seconds that composing its jobs took."""
    subprocess.run(
        [sys.executable, *TRIGAN, "run", *FIXED, "logger=none", f"paths.outputs={folder}/real"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    path = write_study(folder, name, trials, rates, budgets)
    study, words = read_study(path), own_words(folder)
    started = time.process_time()
    jobs = StudyPlan(Composer(), study, words).jobs()
    seconds = time.process_time() - started
    save_jobs(cache_path(study, words, None), jobs)
    real = next((folder / "real" / "runs").glob("*/record.json")).parent
    for number, job in enumerate(jobs.runnable):
        write_copy(job, real)
        if number % study.trials[-1] == 0:
            record: Any = read_record(job.record_path)
            append_use(folder / "runs", job.hash, job.trial, record["config"], record["result"]["split"])
    return path, seconds


def measure(command: Sequence[str], folder: Path, rounds: int) -> dict[str, Any]:
    """Medians over ``rounds`` interleaved rounds."""
    cold, warm, parse = [], [], []
    for _ in range(rounds):
        (folder / "runs" / INDEX_NAME).unlink(missing_ok=True)
        cold.append(cpu_seconds([*TRIGAN, *command], folder))
        warm.append(cpu_seconds([*TRIGAN, *command], folder))
        parse.append(cpu_seconds(["-c", PARSE], folder))
    return {
        "cold_seconds": round(statistics.median(cold), 2),
        "warm_seconds": round(statistics.median(warm), 2),
        "parse_seconds": round(statistics.median(parse), 2),
        "ratio": round(statistics.median(a / b for a, b in zip(warm, parse, strict=True)), 2),
        "aim_seconds": AIM_SECONDS,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/records.json"))
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as name:
        folder = Path(name)
        study, composing = make_records(folder, "many", options.records // (len(RATES) * len(LABELS)))
        time.sleep(3)  # files younger than two seconds are not kept in the index
        few = write_study(folder, "few", 3, RATES[:2], LABELS[:1])
        commands = {
            "compare": ["compare", "--outputs", name],
            "study --status": ["study", str(study), "--status", *own_words(folder)],
            "table": ["table", str(study), *own_words(folder)],
            "study": ["study", str(study), *own_words(folder)],
            "study, 6 jobs": ["study", str(few), *own_words(folder)],
        }
        found = [{"command": key, **measure(words, folder, options.rounds)} for key, words in commands.items()]
    machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
    command = f"python benchmarks/records.py --records {options.records} --rounds {options.rounds}"
    content = {"command": command, "machine": machine, "composing_seconds": round(composing, 1), "results": found}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n")
    print(f"{options.records} records; composing the study's jobs once: {composing:.1f} s")
    for row in found:
        print(
            f"{row['command']:15} without an index {row['cold_seconds']:6.2f} s   with it {row['warm_seconds']:5.2f} s "
            f"(aim < {AIM_SECONDS:.0f} s)   {row['ratio']:5.2f} of parsing the files"
        )


if __name__ == "__main__":
    main()
