"""A study's jobs as they were last composed, kept in a list: a look at a study composes nothing."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigan import PROTOCOL_VERSION, __version__
from trigan.atomic import explained, write_bytes
from trigan.config import locations
from trigan.errors import ConfigError
from trigan.records.record import RECORD_NAME
from trigan.studies.jobs import Cell, Jobs, ready
from trigan.studies.study_file import StudyFile
from trigan.tables.external_records import FOLDER as EXTERNAL_FOLDER

if TYPE_CHECKING:
    from trigan.studies.plan import Plan

#: Under ``paths.outputs``: the lists, one file for each (study, overrides, config).
FOLDER = ("cache", "jobs")


@dataclass(frozen=True)
class Shelf:
    """Where the list of a study's jobs is kept, under a name that moves when a job's hash might.

    The name covers the study's file, the overrides, all of the config and trigan's version. It does not cover the
    images: after these have changed, `trigan study` composes anew, and only then the list is that of the new ones.
    """

    path: Path

    @classmethod
    def of(cls, study: StudyFile, overrides: Sequence[str], extra: Path | None) -> "Shelf":
        """The shelf of a study with the user's overrides and folder of groups."""
        outputs = outputs_of(overrides)
        mark = hashlib.sha256(f"{__version__} {PROTOCOL_VERSION} {outputs} {study.scale} {list(overrides)}".encode())
        for folder in (locations.conf(), *([extra] if extra else [])):
            for path in sorted(folder.rglob("*.yaml")):
                mark.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
        mark.update(study.file.read_bytes())
        return cls(outputs.joinpath(*FOLDER, f"{study.name}-{mark.hexdigest()[:16]}.json"))

    def keep(self, jobs: Jobs) -> None:
        """Keep the list."""
        content = {
            "cells": [[c.row.name, c.column.name, c.trial, c.arguments, c.hash, str(c.record)] for c in jobs.cells],
            "waiting": jobs.waiting,
            "outputs": str(jobs.outputs),
            "variant": jobs.variant,
            "debug": jobs.debug,
        }
        with explained(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path, json.dumps(content).encode())

    def find(self, study: StudyFile) -> Jobs | None:
        """The kept list; None where there is none, or none that can be read."""
        rows, columns = ({line.name: line for line in lines} for lines in (study.rows, study.columns))
        try:
            kept = json.loads(self.path.read_bytes())
            cells = tuple(
                Cell(rows[row], columns[column], trial, tuple(arguments), run, Path(record))
                for row, column, trial, arguments, run, record in kept["cells"]
            )
            waiting = tuple((row, column, trial) for row, column, trial in kept["waiting"])
            return Jobs(cells, waiting, Path(kept["outputs"]), kept["variant"], kept["debug"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def outputs_of(overrides: Sequence[str]) -> Path:
    """``paths.outputs`` as far as it can be known before composing: where the list is, not where runs are."""
    given = [text.partition("=")[2] for text in overrides if text.startswith("paths.outputs=")]
    return Path(given[-1].strip("'\"") if given else "outputs").expanduser().absolute()


def look(shelf: Shelf, study: StudyFile, plan: Callable[[], "Plan"], finished: bool = False) -> Jobs:
    """The study's jobs as last composed; composed now where they never were, or where matched ones have become known.

    Args:
        finished: a study of which nothing is finished is refused, if that can be told without loading its images.

    Raises:
        ConfigError: a job that cannot be composed, or nothing finished.
    """
    jobs = shelf.find(study)
    if jobs is None:
        planned = plan()
        if finished:
            _require_a_record(planned, study)
        jobs = planned.jobs()
    elif any(ready(jobs.cells, column, trial) for _, column, trial in jobs.waiting):
        jobs = plan().with_matched(replace(jobs, waiting=()))
    else:
        return jobs
    shelf.keep(jobs)
    return jobs


def _require_a_record(plan: "Plan", study: StudyFile) -> None:
    first = plan.first()
    places = first.paths.runs, first.paths.outputs / EXTERNAL_FOLDER
    if first.debug is None and not any(path for place in places for path in place.glob(f"*/{RECORD_NAME}")):
        raise nothing_finished(study, f"under {first.paths.runs}")


def nothing_finished(study: StudyFile, where: str) -> ConfigError:
    """The error of a command that shows what a study has, where it has nothing."""
    return ConfigError(f"study {study.name}: no run is finished {where}; `trigan study {study.name}` runs it")


def plan_of(study: StudyFile, options: Any) -> "Plan":
    """The study's plan with a command's ``overrides`` and ``config_dir``; ``here``: its jobs run on this machine."""
    from trigan.config.compose import Composer  # Hydra and torch, which a look at finished jobs can do without
    from trigan.studies.plan import Plan

    return Plan(Composer(options.config_dir, here=getattr(options, "here", False)), study, options.overrides)


def named(study: StudyFile, jobs: Jobs) -> StudyFile:
    """The study, under a name of its own where overrides make it another than what is written."""
    if not jobs.variant:
        return study
    name = f"{study.name}-{hashlib.sha256(jobs.variant.encode()).hexdigest()[:8]}"
    return replace(study, name=name, title=f"{study.title} (with {jobs.variant})")
