"""Records from the runs of a W&B project, laid out as on the disk that they were written to."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trigan.errors import ConfigError

#: Runs that are asked for at once.
RUNS_PER_REQUEST = 100


def fetch_records(api: Any, project: str, runs: Iterable[str], folder: Path, file_name: str) -> set[str]:
    """Download the records of those of ``runs`` (run hashes, which are the ids there) that have one.

    They lie as ``<folder>/runs/<hash>/<file_name>`` then; a run that is not in the project, or is there without a
    record, is not finished and left out.

    Args:
        api: what `trigan.tracking.wandb_tracking.public_api` gives.
        project: ``entity/project``.

    Returns:
        The run hashes whose record is there now.

    Raises:
        ConfigError: there is no such project, or W&B does not answer.
    """
    wanted, found = sorted(set(runs)), set()
    try:
        for start in range(0, len(wanted), RUNS_PER_REQUEST):
            for run in api.runs(project, filters={"name": {"$in": wanted[start : start + RUNS_PER_REQUEST]}}):
                for file in run.files([file_name]):
                    if file.size:  # W&B may name a file that was asked for and never sent
                        file.download(root=str(folder / "runs" / run.id), replace=True).close()
                        found.add(run.id)
    except Exception as error:  # whatever W&B, its server or the network make of it
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigError(f"wandb:{project}: {said}; is it an entity/project that your login may read?") from error
    return found
