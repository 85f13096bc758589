"""An open W&B run, which is told things and never interferes: what fails is one warning line, and the run goes on."""

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trigan.tracking.image_axis import ImageAxis
from trigan.tracking.tracker import TrackedArtifact

if TYPE_CHECKING:
    import wandb

_log = logging.getLogger(__name__)

#: What of an artifact W&B gets: nothing, its metadata, or its files too.
ArtifactDetail = Literal["none", "metadata", "full"]

#: Names of columns, and rows.
TableData = tuple[Sequence[str], Sequence[Sequence[Any]]]

_CONFUSION, _BARS = "wandb/confusion_matrix/v1", "wandb/bar/v0"


def short_error(error: BaseException) -> str:
    """An error in one short line."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]


class WandbTracker:
    """An open W&B run; see :class:`trigan.tracking.tracker.Tracker`. No method raises, the first failure is told."""

    def __init__(self, run: "wandb.Run", axis: ImageAxis, artifacts: ArtifactDetail = "metadata") -> None:
        self._run = run
        self._axis = axis
        self._artifacts = artifacts
        self._failed = False
        self._finished = False
        self._late = False

    @property
    def id(self) -> str:
        """The run's id in W&B: the run hash, but for a run of a sweep, which W&B names."""
        return str(self._run.id)

    @property
    def failed(self) -> bool:
        """Whether W&B has not got something that it was told."""
        return self._failed

    def log(self, stage: str, images: int, metrics: Mapping[str, float]) -> None:
        """Keys get ``stage/`` in front; ``images`` is the run's count, ``stage/images`` the stage's own."""

        def send() -> None:
            total = self._axis.advance(stage, int(images), metrics)
            if total is None:
                return
            named = {key if key.startswith(f"{stage}/") else f"{stage}/{key}": float(metrics[key]) for key in metrics}
            self._run.log({**named, f"{stage}/images": int(images), "images": total})

        self._attempt(send)

    def log_image(self, key: str, path: Path, images: int) -> None:
        def send() -> None:
            import wandb

            stage = key.split("/")[0]
            known = self._axis.has_logged(stage)
            total = self._axis.advance(stage, int(images), [key]) if known else self._axis.now
            if total is not None:
                self._run.log({key: wandb.Image(str(path)), "images": total})

        self._attempt(send)

    def log_confusion_matrix(self, key: str, matrix: np.ndarray, class_names: Sequence[str]) -> None:
        names = [str(name) for name in class_names]
        rows: list[Iterable[Any]] = [
            [names[i], names[j], int(matrix[i][j])] for i in range(len(names)) for j in range(len(names))
        ]
        self._attempt(lambda: self._chart(_CONFUSION, key, ("Actual", "Predicted", "nPredictions"), rows))

    def log_per_class(self, key: str, values: Mapping[str, float | None]) -> None:
        rows: list[Iterable[Any]] = [[name, value] for name, value in values.items()]
        self._attempt(lambda: self._chart(_BARS, key, ("label", "value"), rows))

    def _chart(self, preset: str, key: str, columns: Sequence[str], rows: list[Iterable[Any]]) -> None:
        """One of W&B's charts, which shows itself and draws all chosen runs; it reads its table from the summary."""
        import wandb

        table = wandb.Table(columns=list(columns), data=rows)
        chart = wandb.plot_table(preset, table, {name: name for name in columns}, {"title": key})
        self._run.log({key: chart, "images": self._axis.now})
        self._run.summary[f"{key}_table"] = table

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Also logs the numbers once, at the end of the axis: W&B makes panels for what was logged."""

        def send() -> None:
            numbers = {key: float(value) for key, value in values.items() if isinstance(value, Real)}
            self._run.log({**numbers, "images": self._axis.now})
            self._run.summary.update(dict(values))

        self._attempt(send)

    def log_artifact(self, tracked: TrackedArtifact) -> None:
        """An artifact, named by its content: what another run has logged before is that very version, not a new one.

        W&B's own way to say that a run used an artifact waits for the server and is refused offline, and what is logged
        online is not in the log that is sent later; so it is told as offline, use and all, in either case.
        """

        def send() -> None:
            import wandb

            artifact = wandb.Artifact(tracked.name, tracked.kind, metadata=dict(tracked.metadata))
            with artifact.new_file("description.json") as file:
                json.dump(tracked.description, file, sort_keys=True, indent=1)
            for name, path in sorted(tracked.files.items()) if self._artifacts == "full" else ():
                artifact.add_file(str(path), name=name)
            ready, aliases = self._run._prepare_artifact(artifact)
            self._run._interface.publish_artifact(  # type: ignore[union-attr]
                self._run, ready, aliases, [], finalize=True, use_after_commit=tracked.used
            )

        if self._artifacts != "none":
            self._attempt(send)

    def log_study_table(self, grid: TableData, page: str, values: Mapping[str, float]) -> None:
        """A study's table so far: as numbers, as the page that shows it, and its headline cells in the summary."""

        def send() -> None:
            import wandb

            columns, rows = grid
            table = wandb.Table(columns=list(columns), data=[list(row) for row in rows])
            self._run.log({"study/table": table, "study/page": wandb.Html(page, inject=False)})
            self._run.summary.update({f"study/{key}": value for key, value in values.items()})

        self._attempt(send)

    def log_record(self, path: Path) -> None:
        """A copy becomes the W&B run's file of the same name, sent at once; tables are made of it elsewhere."""
        self._attempt(lambda: self._run.save(str(path), base_path=str(path.parent), policy="now", glob=False))

    def finish(self, exit_code: int = 0) -> None:
        if self._finished:
            return
        self._finished = True
        # W&B's own limit counts from when it comes to the end of what it was told, which it may never do
        limit = threading.Timer(2 * self._run.settings.finish_timeout, self._give_up)
        limit.daemon = True
        limit.start()
        self._attempt(lambda: self._run.finish(exit_code=exit_code))
        limit.cancel()
        if self._failed:
            import wandb

            with suppress(Exception):
                wandb.teardown()  # else W&B's own exit handler prints a traceback

    def _give_up(self) -> None:
        """Ends W&B's process, which fails whoever waits for it; all that it was told lies in its log on the disk."""
        from wandb.sdk import wandb_setup

        self._late = True
        with suppress(Exception):  # it may have ended by itself
            wandb_setup.singleton()._connection._proc._process.kill()  # type: ignore[union-attr]

    def _attempt(self, send: Callable[[], object]) -> None:
        try:
            send()
        except Exception as error:
            if self._late or isinstance(error, TimeoutError):
                directory = self._run.settings.sync_dir
                self._warn(f"W&B didn't take all in time: send the rest with: wandb sync --include-online {directory}")
            else:
                self._warn(f"W&B failed ({short_error(error)}): this run goes on, its own files hold everything")

    def _warn(self, text: str) -> None:
        if not self._failed:
            _log.warning("%s", text)
        self._failed = True
