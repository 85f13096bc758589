"""Records of a study that stand under another protocol version: they are named, and never mixed with the others."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from trigan import PROTOCOL_VERSION
from trigan.records.record import RECORD_NAME
from trigan.studies.jobs import StudyJobs
from trigan.studies.study_file import StudyFile


def count_stale_records(study: StudyFile, jobs: StudyJobs) -> Counter[str]:
    """How many records of the study's rows and trials there are under each other protocol version.

    A run's hash has the protocol version in it, so they lie under hashes that no job has: those of the jobs are not
    read. By its labels a record tells its study, row and trial, whatever settings have come since.
    """
    rows, own = {row.name for row in study.rows}, {cell.hash for cell in jobs.runnable}
    found: Counter[str] = Counter()
    for path in jobs.runs.glob(f"*/{RECORD_NAME}"):
        record = {} if path.parent.name in own else _read(path)
        labels = record.get("tags", {})
        mine = labels.get("study") == study.name and labels.get("row") in rows and labels.get("trial") in study.trials
        if mine and record["result"]["protocol"] != PROTOCOL_VERSION:
            found[str(record["result"]["protocol"])] += 1
    return found


def _read(path: Path) -> dict[str, Any]:
    """A record as far as it can be read; one that is damaged belongs to no job of ours, and is told where it does."""
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        return record if record["result"]["protocol"] and record["tags"] else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
