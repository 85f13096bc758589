"""A real study of short fits on digits, as a process that a test may interrupt, and what it left on the disk."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from record_makers import canonical_result_bytes

from trigan.records.record import read_record

SMALL = ["regime.labels_per_class=5", "classifier.width=4", "architecture.width=4", "logger=none", "callbacks=quiet"]
SHORT = ["data.suggested.steps=60", "data.suggested.gan_steps=150", "trainer.checkpoint_every=20"]
STUDY: dict[str, Any] = {
    "title": "tiny",
    "trials": 2,
    "fixed": [*SMALL, *SHORT],
    "rows": [
        {"name": "baseline", "set": ["strategy=baseline"]},
        {"name": "augment", "set": ["strategy=augment"]},
        {"name": "features", "set": ["strategy=features"]},
    ],
}


def start(words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """A command of trigan as a process, which adds to ``log``."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    with log.open("ab") as said:
        command = [sys.executable, "-m", "trigan", *words]
        return subprocess.Popen(command, env=environment, stdout=said, stderr=said, cwd=log.parent)


def start_study(study: Path, outputs: Path, log: Path, *words: str) -> subprocess.Popen[bytes]:
    """``trigan study`` as a process."""
    return start(["study", str(study), f"paths.outputs={outputs}", *words], log)


def written(folder: Path, **changes: Any) -> Path:
    """The study's file in a new folder."""
    path = folder / "study.yaml"
    folder.mkdir(parents=True)
    path.write_text(yaml.safe_dump({**STUDY, **changes}))
    return path


def results(outputs: Path) -> dict[str, bytes]:
    """The result of each finished run, as bytes that are equal for equal results."""
    paths = sorted(outputs.glob("runs/*/record.json"))
    return {path.parent.name: canonical_result_bytes(read_record(path)) for path in paths}
