"""W&B as a view: one W&B run per run hash, online if the user is logged in, else offline; and reading its records.

A failure of W&B logs one warning and never affects the run, whose own files are complete.
"""

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trigan.components import component
from trigan.errors import ConfigError
from trigan.tracking.image_axis import ImageAxis
from trigan.tracking.tracker import RunInfo, Tracker, Tracking
from trigan.tracking.wandb_tracker import ArtifactDetail, WandbTracker, short_error

if TYPE_CHECKING:
    import wandb

_log = logging.getLogger(__name__)

#: The state of `ImageAxis`, in the run's ``wandb`` directory.
AXIS_FILE = "axis.json"
RUNS_PER_REQUEST = 100
_MAX_TAG, _MAX_GROUP = 64, 128  # W&B's limits in characters


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
        if self.mode not in ("auto", "online", "offline"):
            raise ConfigError(f"logger.mode must be auto, online or offline, not {self.mode!r}")
        if not self.project or set(self.project) & set("/\\#?%:"):
            raise ConfigError(f"logger.project must be a name without / \\ # ? % :, not {self.project!r}")
        if not self.timeout > 0:
            raise ConfigError(f"logger.timeout must be more than 0 seconds, not {self.timeout}")
        if self.artifacts not in ("none", "metadata", "full"):
            raise ConfigError(f"logger.artifacts must be none, metadata or full, not {self.artifacts!r}")

    def open(self, info: RunInfo, config: Mapping[str, Any], directory: Path | None = None) -> Tracker:
        """Start or continue the W&B run ``info.id``, with its files under ``<directory>/wandb``. Never raises."""
        folder = (directory or info.directory) / "wandb"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _redirect_wandb_files(folder)
            return self._open(info, config, folder)
        except Exception as error:
            _log.warning("W&B can't start (%s): the run continues without it", short_error(error))
            return Tracker()

    def _open(self, info: RunInfo, config: Mapping[str, Any], folder: Path) -> Tracker:
        import wandb  # takes half a second, so only here

        wandb.setup(wandb.Settings(silent=True))
        mode = os.environ.get("WANDB_MODE", "").lower() if self.mode == "auto" else self.mode
        if mode == "disabled":
            return Tracker()
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
        return WandbTracker(run, ImageAxis(folder / AXIS_FILE), self.artifacts)

    def _init(
        self, info: RunInfo, config: Mapping[str, Any], folder: Path, mode: Literal["online", "offline"]
    ) -> "wandb.Run":
        import wandb

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
            settings=_settings(mode, self.timeout),
        )
        if mode == "online":
            _skip_type_checks(run)
        # curves have an explicit x-axis and stay out of the summary, which has the same keys for every strategy
        run.define_metric("images", summary="none", hidden=True)
        run.define_metric("*", step_metric="images", summary="none")
        return run


def _settings(mode: Literal["online", "offline"], timeout: float) -> "wandb.Settings":
    """W&B's settings: no output, and no collected data (faster, and nothing private is uploaded)."""
    import wandb

    return wandb.Settings(
        mode=mode,
        silent=True,
        console="off",
        symlink=False,
        init_timeout=timeout,
        finish_timeout=timeout,
        finish_timeout_raises=True,
        x_graphql_timeout_seconds=timeout,
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


def _skip_type_checks(run: "wandb.Run") -> None:
    """Skip the request for an artifact type's existence before each upload: 19 s each if the server is gone.

    The request only finds errors early. Its one-time setup is done now.
    """
    run._public_api()
    run._assert_can_log_artifact = lambda artifact: None  # type: ignore[method-assign]


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

    Args:
        api: the result of `public_api`.
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
