"""Weights & Biases as a view: one run per run hash, online if the user is logged in, else offline; it never interferes.

Wherever W&B fails, one warning line is printed and the run goes on: its files hold everything.
"""

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trigan.components import component
from trigan.errors import ConfigError
from trigan.tracking.image_axis import ImageAxis
from trigan.tracking.tracker import NullTracker, RunInfo, Tracker
from trigan.tracking.wandb_tracker import ArtifactDetail, WandbTracker, short_error

if TYPE_CHECKING:
    import wandb

_log = logging.getLogger(__name__)

#: Under the run's ``wandb``: how far its curves have been told.
AXIS_FILE = "axis.json"
_TAG, _GROUP = 64, 128  # the longest that W&B takes


@component("logger/wandb@1")
@dataclass(frozen=True)
class WandbTracking:
    """``logger=wandb``.

    Attributes:
        project: the W&B project.
        entity: the W&B user or team; ``None`` is the login's default.
        mode: ``auto`` is ``online`` if a key is configured (environment, netrc, W&B's settings), else ``offline``;
            the environment variable ``WANDB_MODE`` is obeyed in ``auto``.
        timeout: seconds to wait for the server before going offline, and at the end for the rest to be sent.
        artifacts: what W&B gets of each trained stage and sample set: ``none``; ``metadata``, a few kilobytes; or
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
        """Starts or continues the W&B run ``info.id``; its files lie under ``<directory>/wandb``. Never raises."""
        place = (directory or info.directory) / "wandb"
        try:
            place.mkdir(parents=True, exist_ok=True)
            _keep_at_home(place)
            return self._open(info, config, place)
        except Exception as error:
            _log.warning("W&B can't start (%s): this run goes on without it", short_error(error))
            return NullTracker()

    def _open(self, info: RunInfo, config: Mapping[str, Any], place: Path) -> Tracker:
        import wandb  # half a second, for those alone who use it

        wandb.setup(wandb.Settings(silent=True))
        why = "you are not logged in to W&B"
        asked = os.environ.get("WANDB_MODE", "").lower() if self.mode == "auto" else self.mode
        if asked == "disabled":
            return NullTracker()
        if asked == "offline" or asked == "dryrun":
            why = "W&B is set to offline"
        else:
            try:
                if asked == "online" or logged_in():
                    return self._tracker(self._init(info, config, place, "online"), place)
            except Exception as error:
                wandb.teardown()  # else the half-open run keeps its id
                why = f"W&B can't be reached ({short_error(error)})"
        run = self._init(info, config, place, "offline")
        print(f"{why}: curves are kept offline, send them with: wandb sync {place}", file=sys.stderr, flush=True)
        return self._tracker(run, place)

    def _tracker(self, run: "wandb.Run", place: Path) -> WandbTracker:
        return WandbTracker(run, ImageAxis(place / AXIS_FILE), self.artifacts)

    def _init(
        self, info: RunInfo, config: Mapping[str, Any], place: Path, mode: Literal["online", "offline"]
    ) -> "wandb.Run":
        import wandb

        run = wandb.init(
            project=self.project,
            entity=self.entity,
            id=info.id,
            name=info.name,
            group=info.group[:_GROUP],
            job_type=info.job_type[:_TAG],
            tags=[tag[:_TAG] for tag in info.tags if tag],
            config=dict(config),
            dir=place.parent,
            resume="allow",
            settings=_settings(mode, self.timeout),
        )
        if mode == "online":
            _never_wait(run)
        # the axis is stated, and curves stay out of the summary, so that every strategy has the same summary keys
        run.define_metric("images", summary="none", hidden=True)
        run.define_metric("*", step_metric="images", summary="none")
        return run


def _settings(mode: Literal["online", "offline"], timeout: float) -> "wandb.Settings":
    """Quiet, quick, and nothing collected that the run didn't say: each line off saves time or keeps a secret."""
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
        program="trigan",  # not the path of this machine
        disable_git=True,
        disable_code=True,
        save_code=False,
        disable_job_creation=True,
        x_save_requirements=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
    )


def _never_wait(run: "wandb.Run") -> None:
    """With each table and artifact W&B asks the server for its type: were the server gone, 19 seconds each time.

    The question only finds errors early, so it is left out; what is asked once at the first is asked now.
    """
    run._public_api()
    run._assert_can_log_artifact = lambda artifact: None  # type: ignore[method-assign]


def _keep_at_home(place: Path) -> None:
    """W&B's staging and cache under the run's directory, not in the user's home; no error reports to its makers.

    With error reports on, W&B waits 20 seconds at exit for a server that doesn't answer.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ["WANDB_DATA_DIR"] = str((place / "staging").absolute())
    os.environ["WANDB_CACHE_DIR"] = str((place / "cache").absolute())
    _own_temporaries((place / "staging").absolute())


def _own_temporaries(place: Path) -> None:
    """Folders that W&B makes at its import and removes at exit: of forked jobs the first to end took them from all."""
    from wandb.sdk.artifacts.artifact import Artifact
    from wandb.sdk.data_types import _private

    for name, folder in (("media", _private.MEDIA_TMP), ("artifacts", Artifact._TMP_DIR)):
        (place / name).mkdir(parents=True, exist_ok=True)
        folder.name = str(place / name)


def logged_in() -> bool:
    """Whether W&B finds a key by itself, without asking the user or the network."""
    import wandb
    from wandb.sdk.lib import wbauth  # W&B has no public way to look without prompting

    host = wandb.setup().settings.base_url
    found = wbauth.authenticate_session(host=host, source="trigan", prompt=False, update_session=False)
    return found is not None


def public_api(timeout: int = 30) -> "wandb.Api":
    """W&B's interface for reading, for the login that is configured; never asks for one.

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
            f"W&B can't be reached ({short_error(error)}); try again later, or take the records on disk"
        ) from error
