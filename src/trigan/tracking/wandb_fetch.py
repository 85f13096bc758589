"""Records from the runs of a W&B project, in the same layout as on the disk of the machine that wrote them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trigan.errors import ConfigError
from trigan.tracking.wandb_tracker import short_error

RUNS_PER_REQUEST = 100


def fetch_records(api: Any, project: str, runs: Iterable[str], folder: Path, file_name: str) -> set[str]:
    """Download the records of the finished runs among ``runs`` to ``<folder>/runs/<hash>/<file_name>``.

    Args:
        api: the result of `trigan.tracking.wandb_tracking.public_api`.
        project: ``entity/project``.
        runs: run hashes, which are the run ids in W&B.
        folder: where to write.
        file_name: the record's name. A run without this file is not finished.

    Returns:
        The run hashes whose record was downloaded.

    Raises:
        ConfigError: there is no such project, or W&B does not answer.
    """
    names, fetched = sorted(set(runs)), set()
    try:
        for start in range(0, len(names), RUNS_PER_REQUEST):
            for run in api.runs(project, filters={"name": {"$in": names[start : start + RUNS_PER_REQUEST]}}):
                for file in run.files([file_name]):
                    if file.size:  # W&B also lists files that were requested and never sent
                        file.download(root=str(folder / "runs" / run.id), replace=True).close()
                        fetched.add(run.id)
    except Exception as error:  # of any kind: W&B, its server or the network
        reason = short_error(error)
        raise ConfigError(f"wandb:{project}: {reason}; is it an entity/project that your login may read?") from error
    return fetched
