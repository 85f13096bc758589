"""A study's jobs as they were last composed, kept in a list: a look at a study composes nothing."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigan import PROTOCOL_VERSION, __version__
from trigan.atomic import wrap_os_errors, write_bytes
from trigan.config import locations
from trigan.errors import ConfigError
from trigan.records.record import RECORD_NAME
from trigan.studies.jobs import StudyJob, StudyJobs, unmatched_jobs_done
from trigan.studies.study_file import StudyFile
from trigan.tables.external_records import EXTERNAL_FOLDER

if TYPE_CHECKING:
    from trigan.studies.plan import StudyPlan

#: Under ``paths.outputs``: the lists, one file for each (study, overrides, config).
CACHE_FOLDER = ("cache", "jobs")


@dataclass(frozen=True)
class JobCache:
    """Where the list of a study's jobs is kept, under a name that moves when a job's hash might.

    The name covers the study's file, the overrides, all of the config and trigan's version. It does not cover the
    images: after these have changed, `trigan study` composes anew, and only then the list is that of the new ones.
    """

    path: Path

    @classmethod
    def for_study(cls, study: StudyFile, overrides: Sequence[str], extra: Path | None) -> "JobCache":
        """The cache of a study with the user's overrides and folder of groups."""
        outputs = outputs_folder(overrides)
        mark = hashlib.sha256(f"{__version__} {PROTOCOL_VERSION} {outputs} {study.scale} {list(overrides)}".encode())
        for folder in (locations.conf(), *([extra] if extra else [])):
            for path in sorted(folder.rglob("*.yaml")):
                mark.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
        mark.update(study.file.read_bytes())
        return cls(outputs.joinpath(*CACHE_FOLDER, f"{study.name}-{mark.hexdigest()[:16]}.json"))

    def save(self, jobs: StudyJobs) -> None:
        """Keep the list."""
        content = {
            "runnable": [
                [c.row.name, c.column.name, c.trial, c.arguments, c.hash, str(c.record_path)] for c in jobs.runnable
            ],
            "waiting": jobs.waiting,
            "outputs": str(jobs.outputs),
            "variant": jobs.variant,
            "debug": jobs.debug,
        }
        with wrap_os_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path, json.dumps(content).encode())

    def load(self, study: StudyFile) -> StudyJobs | None:
        """The kept list; None where there is none, or none that can be read."""
        rows, columns = ({line.name: line for line in lines} for lines in (study.rows, study.columns))
        try:
            kept = json.loads(self.path.read_bytes())
            cells = tuple(
                StudyJob(rows[row], columns[column], trial, tuple(arguments), run, Path(record))
                for row, column, trial, arguments, run, record in kept["runnable"]
            )
            waiting = tuple((row, column, trial) for row, column, trial in kept["waiting"])
            return StudyJobs(cells, waiting, Path(kept["outputs"]), kept["variant"], kept["debug"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def outputs_folder(overrides: Sequence[str]) -> Path:
    """``paths.outputs`` as far as it can be known before composing: where the list is, not where runs are."""
    given = [text.partition("=")[2] for text in overrides if text.startswith("paths.outputs=")]
    return Path(given[-1].strip("'\"") if given else "outputs").expanduser().absolute()


def load_jobs(
    job_cache: JobCache, study: StudyFile, plan: Callable[[], "StudyPlan"], finished: bool = False
) -> StudyJobs:
    """The study's jobs as last composed; composed now where they never were, or where matched ones have become known.

    Args:
        finished: a study of which nothing is finished is refused, if that can be told without loading its images.

    Raises:
        ConfigError: a job that cannot be composed, or nothing finished.
    """
    jobs = job_cache.load(study)
    if jobs is None:
        planned = plan()
        if finished:
            _require_a_record(planned, study)
        jobs = planned.jobs()
    elif any(unmatched_jobs_done(jobs.runnable, column, trial) for _, column, trial in jobs.waiting):
        jobs = plan().with_matched(replace(jobs, waiting=()))
    else:
        return jobs
    job_cache.save(jobs)
    return jobs


def _require_a_record(plan: "StudyPlan", study: StudyFile) -> None:
    first = plan.first()
    places = first.paths.runs, first.paths.outputs / EXTERNAL_FOLDER
    if first.debug is None and not any(path for place in places for path in place.glob(f"*/{RECORD_NAME}")):
        raise no_finished_runs(study, f"under {first.paths.runs}")


def no_finished_runs(study: StudyFile, where: str) -> ConfigError:
    """The error of a command that shows what a study has, where it has nothing."""
    return ConfigError(f"study {study.name}: no run is finished {where}; `trigan study {study.name}` runs it")


def make_plan(study: StudyFile, options: Any) -> "StudyPlan":
    """The study's plan with a command's ``overrides`` and ``config_dir``; ``here``: its jobs run on this machine."""
    from trigan.config.compose import Composer  # Hydra and torch, which a look at finished jobs can do without
    from trigan.studies.plan import StudyPlan

    return StudyPlan(
        Composer(options.config_dir, check_devices=getattr(options, "check_devices", False)), study, options.overrides
    )


def with_variant_name(study: StudyFile, jobs: StudyJobs) -> StudyFile:
    """The study, under a name of its own where overrides make it another than what is written."""
    if not jobs.variant:
        return study
    name = f"{study.name}-{hashlib.sha256(jobs.variant.encode()).hexdigest()[:8]}"
    return replace(study, name=name, title=f"{study.title} (with {jobs.variant})")
