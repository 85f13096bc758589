"""The list of a study's jobs on disk: commands that only read a study's state compose nothing."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from trigan.atomic import checksum, parse_json, write_bytes
from trigan.config import locations
from trigan.errors import ArtifactError
from trigan.records.record import RECORD_NAME
from trigan.studies.jobs import StudyJobs, matched_job, no_finished_runs
from trigan.studies.study_file import StudyFile
from trigan.tables.external_records import EXTERNAL_FOLDER
from trigan.version import PROTOCOL_VERSION, __version__

if TYPE_CHECKING:
    from trigan.studies.plan import StudyPlan

_LIST = TypeAdapter(StudyJobs)


def cache_path(study: StudyFile, overrides: Sequence[str], config_dir: Path | None) -> Path:
    """The file of a study's list; its name changes with anything that may change a job's hash, except the images.

    The name covers the study's file, the overrides, all of the config and trigan's version. After the images have
    changed, `trigan study` composes the jobs anew and replaces the list; a list whose jobs are all done holds if the
    first trial of each row and column still has its hash.
    """
    given = [text.partition("=")[2] for text in overrides if text.startswith("paths.outputs=")]
    outputs = Path(given[-1].strip("'\"") if given else "outputs").expanduser().absolute()
    mark = hashlib.sha256(f"{__version__} {PROTOCOL_VERSION} {outputs} {study.scale} {list(overrides)}".encode())
    for folder in (locations.conf(), *([config_dir] if config_dir else [])):
        for path in sorted(folder.rglob("*.yaml")):
            mark.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    mark.update(study.file.read_bytes())
    if study.tuning_trials:
        mark.update(f"{study.tuning_trials} {study.tuned}".encode())
    return outputs / "cache" / "jobs" / f"{study.name}-{mark.hexdigest()[:16]}.json"


def save_jobs(path: Path, jobs: StudyJobs) -> None:
    """Write the list; outputs that cannot be written (an archive, say) can still be read without it."""
    listed = {"jobs": _LIST.dump_python(jobs, mode="json", exclude={"logger"})}
    with suppress(ArtifactError):
        write_bytes(path, json.dumps({**listed, "checksum": checksum(listed)}).encode())


def read_jobs(path: Path) -> StudyJobs | None:
    """The list at ``path``; None if there is none, or if it was damaged or changed."""
    with suppress(OSError, ValueError, KeyError):
        return _LIST.validate_python(parse_json(path.read_bytes(), required=True)["jobs"])
    return None


def load_jobs(
    study: StudyFile, overrides: Sequence[str] = (), config_dir: Path | None = None, *, need_records: bool = False
) -> StudyJobs:
    """The study's jobs as last composed; composed now if they never were, or if matched jobs can now be composed.

    With ``need_records`` a study without any record is refused before its images are loaded to compose the jobs.
    """
    path = cache_path(study, overrides, config_dir)
    jobs = read_jobs(path)
    if jobs is None:
        plan = make_plan(study, overrides, config_dir)
        if need_records:
            plan.check()
            first = plan.outline()
            folders = first.paths.runs, first.paths.outputs / EXTERNAL_FOLDER
            if first.debug is None and not any(path for folder in folders for path in folder.glob(f"*/{RECORD_NAME}")):
                raise no_finished_runs(study, f"under {first.paths.runs}")
        jobs = plan.jobs()
        save_jobs(path, jobs)
        return jobs
    if any(matched_job(jobs.runnable, matched).done for matched in jobs.waiting):
        jobs = make_plan(study, overrides, config_dir).with_matched(replace(jobs, waiting=()))
        save_jobs(path, jobs)
    return jobs


def make_plan(
    study: StudyFile, overrides: Sequence[str], config_dir: Path | None, check_devices: bool = False
) -> "StudyPlan":
    """The study's plan; ``check_devices``: its jobs run on this machine, which must have their devices."""
    from trigan.config.compose import Composer  # Hydra and torch, which reading finished jobs does without
    from trigan.studies.plan import StudyPlan

    return StudyPlan(Composer(config_dir, check_devices=check_devices), study, overrides)
