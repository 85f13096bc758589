"""A small study, and records for its jobs as if they had run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from record_makers import make_record

from trigan.records.record import write_record
from trigan.studies.jobs import StudyJob

STUDY: dict[str, Any] = {
    "title": "A table",
    "trials": 2,
    "columns": [{"name": "small", "set": ["data.size=8"]}],
    "rows": [
        {"name": "matched", "set": ["strategy=one"], "match": "two & more"},
        {"name": "bare", "set": ["strategy=one"]},
        {"name": "two & more", "set": ["strategy=two", "strategy.flag=true"]},
    ],
    "reference": "bare",
    "family": {"rows": ["two & more"], "baselines": ["bare", "matched"]},
}


def write_study(folder: Path, study: dict[str, Any]) -> Path:
    """The path of ``study.yaml`` in ``folder``, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def finish(cells: Sequence[StudyJob]) -> Sequence[StudyJob]:
    """Gives each job a record, as if it had run."""
    for cell in cells:
        value = 0.8 + 0.01 * cell.trial + 0.05 * (cell.row.name != "bare")
        record = {**make_record(value, cell.trial, cost={"flops": 10**12 + cell.trial}), "run": cell.hash}
        write_record(cell.record_path, record)
    return cells
