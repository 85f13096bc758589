"""W&B as a view: a W&B run per run hash, online if the user is logged in, else offline; its records and sweeps.

A failure of W&B logs one warning and never affects the run, whose own files are complete.
"""

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from trigan.checks import require
from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.tracking.tracker import ArtifactDetail, RunInfo, Tracker, Tracking, short_error

if TYPE_CHECKING:
    import wandb

_log = logging.getLogger(__name__)

RUNS_PER_REQUEST = 100
_MAX_TAG, _MAX_GROUP = 64, 128  # W&B's limits in characters
_AXIS = "axis.json"


@component("logger/wandb@1")
@dataclass(frozen=True)
class WandbTracking(Tracking):
    """``logger=wandb``.

    Attributes:
        project: the W&B project.
        entity: the W&B user or team; None is the login's default.
        mode: ``auto`` is ``online`` if a key is configured (environment, netrc, W&B's settings), else ``offline``;
            the environment variable ``WANDB_MODE`` overrides ``auto``.
        timeout: seconds to wait for the server before going offline, and at the end for remaining uploads.
        artifacts: what W&B receives of each trained stage and sample set: ``none``; ``metadata``, a few kilobytes; or
            ``full``, the weights too.
    """

    project: str = "trigan"
    entity: str | None = None
    mode: Literal["auto", "online", "offline"] = "auto"
    timeout: float = 15.0
    artifacts: ArtifactDetail = "metadata"

    def __post_init__(self) -> None:
        name, project = set(self.project), repr(self.project)
        require(self.mode in ("auto", "online", "offline"), "logger.wandb.mode", self.mode, "auto, online or offline")
        require(
            bool(name) and not name & set("/\\#?%:"), "logger.wandb.project", project, "a name without / \\ # ? % :"
        )
        require(self.timeout > 0, "logger.wandb.timeout", self.timeout, "more than 0 seconds")
        require(
            self.artifacts in get_args(ArtifactDetail),
            "logger.wandb.artifacts",
            self.artifacts,
            "none, metadata or full",
        )

    def open(self, info: RunInfo, config: Mapping[str, Any]) -> Tracker:
        """Start or continue the W&B run ``info.id``, with its files under ``wandb/`` of the run. Never raises.

        W&B can't append to an offline run, so one that was never sent is replaced: the caller logs everything again.
        """
        folder = info.directory / "wandb"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _redirect_wandb_files(folder)
            return self._open(info, config, folder)
        except Exception as error:
            _log.warning("W&B can't start (%s): the run continues without it", short_error(error))
            return Tracker()

    def _open(self, info: RunInfo, config: Mapping[str, Any], folder: Path) -> Tracker:
        import wandb  # takes half a second, so only here

        from trigan.tracking.image_axis import ImageAxis
        from trigan.tracking.wandb_tracker import WandbTracker

        wandb.setup(wandb.Settings(silent=True))
        mode = os.environ.get("WANDB_MODE", "").lower() if self.mode == "auto" else self.mode
        if mode == "disabled":
            return Tracker()
        unsent = _unsent_runs(folder)
        if unsent:
            (folder / _AXIS).unlink(missing_ok=True)
        run, reason = None, "W&B is set to offline"
        if mode not in ("offline", "dryrun"):
            reason = "you are not logged in to W&B"
            try:
                run = self._init(info, config, folder, "online") if mode == "online" or logged_in() else None
            except Exception as error:
                wandb.teardown()  # else the half-open run keeps its id
                reason = f"W&B can't be reached ({short_error(error)})"
        if run is None:
            run = self._init(info, config, folder, "offline")
            _log.warning("%s: curves are kept offline, send them with: wandb sync %s", reason, folder)
        for earlier in unsent:
            shutil.rmtree(earlier)
        return WandbTracker(run, ImageAxis(folder / _AXIS), self.artifacts)

    def _init(
        self, info: RunInfo, config: Mapping[str, Any], folder: Path, mode: Literal["online", "offline"]
    ) -> "wandb.Run":
        import wandb

        # no output, and no collected data: it is faster, and nothing private is uploaded
        settings = wandb.Settings(
            mode=mode,
            silent=True,
            console="off",
            symlink=False,
            init_timeout=self.timeout,
            finish_timeout=self.timeout,
            finish_timeout_raises=True,
            x_graphql_timeout_seconds=self.timeout,
            x_transaction_log_flush_interval=1.0,  # the default loses 15 s of an offline run to kill -9
            program="trigan",  # not a path of this machine
            disable_git=True,
            disable_code=True,
            save_code=False,
            disable_job_creation=True,
            x_save_requirements=False,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
        )
        # it looks for inputs that a program staged for W&B Launch, as this one never does: a second of imports
        wandb.Run._detect_and_apply_job_inputs = lambda run: None  # type: ignore[assignment, method-assign]
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            id=info.id,
            name=info.name,
            group=info.group[:_MAX_GROUP],
            job_type=info.job_type[:_MAX_TAG],
            tags=[tag[:_MAX_TAG] for tag in info.tags if tag],
            config=dict(config),
            dir=folder.parent,
            resume="allow",
            settings=settings,
        )
        if mode == "online":
            # skip the request for an artifact type's existence before each upload, which only finds errors early: it
            # takes 19 s if the server is gone; its one-time setup is done now
            run._public_api()
            run._assert_can_log_artifact = lambda artifact: None  # type: ignore[method-assign]
        run.define_metric("images", summary="none", hidden=True)
        return run


def _unsent_runs(folder: Path) -> list[Path]:
    """The offline runs of earlier attempts, or none if W&B has received any attempt's data."""
    attempts = [path for path in folder.glob("*run-*") if path.is_dir()]
    sent = [path for path in attempts if not path.name.startswith("offline-") or any(path.glob("*.synced"))]
    return [] if sent else attempts


def _redirect_wandb_files(folder: Path) -> None:
    """Put W&B's staging, cache and temporary files under ``folder`` instead of the user's home.

    W&B makes its temporary folders at import and removes them at exit; with forked jobs, the first to end would remove
    those of all others. Error reports are off: W&B would wait 20 s at exit for an unreachable server.
    """
    staging = (folder / "staging").absolute()
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ["WANDB_DATA_DIR"] = str(staging)
    os.environ["WANDB_CACHE_DIR"] = str((folder / "cache").absolute())
    from wandb.sdk.artifacts.artifact import Artifact
    from wandb.sdk.data_types import _private

    for name, temporary in (("media", _private.MEDIA_TMP), ("artifacts", Artifact._TMP_DIR)):
        (staging / name).mkdir(parents=True, exist_ok=True)
        temporary.name = str(staging / name)


def logged_in() -> bool:
    """Whether W&B has a configured key; asks neither the user nor the network."""
    import wandb
    from wandb.sdk.lib import wbauth  # W&B has no public function for this without a prompt

    host = wandb.setup().settings.base_url
    return wbauth.authenticate_session(host=host, source="trigan", prompt=False, update_session=False) is not None


def public_api(timeout: int = 30) -> "wandb.Api":
    """W&B's read API for the configured login; never prompts. ``timeout`` is in seconds.

    Raises:
        ConfigError: nobody is logged in, or the server doesn't answer.
    """
    import wandb

    try:
        known = logged_in()
    except Exception as error:
        raise ConfigError(f"W&B: {short_error(error)}; log in with `wandb login`") from error
    if not known:
        raise ConfigError("you are not logged in to W&B: log in with `wandb login`, or set WANDB_API_KEY")
    try:
        return wandb.Api(timeout=timeout)
    except Exception as error:
        raise ConfigError(
            f"W&B can't be reached ({short_error(error)}); try again later, or use the records on disk"
        ) from error


def fetch_records(api: Any, project: str, runs: Iterable[str], folder: Path, file_name: str) -> set[str]:
    """Download the records of the finished runs among ``runs`` to ``<folder>/runs/<hash>/<file_name>``.

    ``api`` is the result of `public_api`, ``project`` is ``entity/project``, and ``runs`` are run hashes, which are the
    run ids in W&B. Returns the hashes whose record was downloaded; a run without the file is not finished.

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


def register_sweep(spec: Mapping[str, Any]) -> str | None:
    """Create the sweep in W&B; returns ``entity/project/id``, as `wandb agent` takes it, or None without a login.

    Raises:
        ConfigError: W&B refuses the sweep or can't be reached.
    """
    import wandb

    try:
        if not logged_in():
            return None
        with contextlib.redirect_stdout(sys.stderr):  # W&B prints the sweep's address
            sweep = wandb.sweep(dict(spec), entity=spec.get("entity"), project=spec["project"])
        entity = spec.get("entity") or wandb.Api().default_entity
    except Exception as error:
        reason = short_error(error)
        raise ConfigError(
            f"W&B did not take the sweep ({reason}); register its YAML file with `wandb sweep`"
        ) from error
    return "/".join(part for part in (entity, spec["project"], sweep) if part)


def started_by_sweep_agent() -> bool:
    """Whether a sweep agent started this process; W&B then assigns the run's id."""
    return bool(os.environ.get("WANDB_SWEEP_ID"))
