"""An open W&B run. It never disturbs training: the first failure logs one warning, and the run continues."""

import itertools
import json
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from wandb.sdk import wandb_setup

from trigan.tracking.image_axis import ImageAxis
from trigan.tracking.tracker import ArtifactDetail, TrackedArtifact, Tracker, short_error

_log = logging.getLogger(__name__)


class WandbTracker(Tracker):
    """An open W&B run, with an axis of images and a level of detail for artifacts. No method raises.

    ``id`` is the run hash, or the id that W&B assigned to a run of a sweep. ``failed``: W&B has failed to receive
    something.
    """

    def __init__(self, run: wandb.Run, axis: ImageAxis, artifacts: ArtifactDetail = "metadata") -> None:
        self._run, self._axis, self._artifacts = run, axis, artifacts
        self.id = run.id
        self._prefixes: set[str] = set()
        self.failed = self._finished = self._timed_out = False

    def log(self, stage: str, images: int, metrics: Mapping[str, float]) -> None:
        """Log with the prefix ``stage/`` on keys; ``images`` is the run's total, ``stage/images`` the stage's count."""
        with self._errors_as_warnings():
            total = self._axis.advance(stage, int(images), metrics)
            if total is not None:
                prefix = f"{stage}/"
                named = {key if key.startswith(prefix) else prefix + key: float(metrics[key]) for key in metrics}
                self._log({**named, f"{stage}/images": int(images)}, total)

    def _log(self, row: Mapping[str, Any], total: int) -> None:
        """Log a row at the run's total.

        Keys with the same prefix (the part before the first slash) share an x-axis: the images of the stage where the
        row has them, else of the run. Each has its own pattern, since W&B takes any of several that match. Axes and
        curves stay out of the summary, which has the same keys for every strategy.
        """
        for prefix in {key.split("/")[0] for key in row} - self._prefixes:
            axis = f"{prefix}/images" if f"{prefix}/images" in row else "images"
            self._run.define_metric(axis, summary="none", hidden=True)
            self._run.define_metric(f"{prefix}/*", step_metric=axis, summary="none")
            self._prefixes.add(prefix)
        self._run.log({**row, "images": total})

    def log_image(self, key: str, path: Path, images: int) -> None:
        """Log the file at its stage's images, or now where the stage has logged no curve."""
        with self._errors_as_warnings():
            stage = key.split("/")[0]
            known = self._axis.has_logged(stage)
            total = self._axis.advance(stage, int(images), [key]) if known else self._axis.now
            if total is not None:
                self._log({key: wandb.Image(str(path)), f"{stage}/images": int(images)}, total)

    def log_confusion_matrix(self, key: str, matrix: np.ndarray, class_names: Sequence[str]) -> None:
        """Log W&B's confusion-matrix chart."""
        pairs = itertools.product(enumerate(map(str, class_names)), repeat=2)
        rows = [[true, predicted, int(matrix[i][j])] for (i, true), (j, predicted) in pairs]
        self._chart("wandb/confusion_matrix/v1", key, ("Actual", "Predicted", "nPredictions"), rows)

    def log_per_class(self, key: str, values: Mapping[str, float | None]) -> None:
        """Log W&B's bar chart."""
        self._chart("wandb/bar/v0", key, ("label", "value"), [[name, value] for name, value in values.items()])

    def _chart(self, preset: str, key: str, columns: Sequence[str], rows: Sequence[Iterable[Any]]) -> None:
        """Log one of W&B's preset charts, which overlays the selected runs and reads its table from the summary."""
        with self._errors_as_warnings():
            table = wandb.Table(columns=list(columns), data=list(rows))
            chart = wandb.plot_table(preset, table, {name: name for name in columns}, {"title": key})
            self._log({key: chart}, self._axis.now)
            self._run.summary[f"{key}_table"] = table

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Set the summary, and log its numbers once: W&B makes panels only for logged keys."""
        with self._errors_as_warnings():
            numbers = {key: float(value) for key, value in values.items() if isinstance(value, Real)}
            self._log(numbers, self._axis.now)
            self._run.summary.update(dict(values))

    def log_artifact(self, tracked: TrackedArtifact) -> None:
        """Log an artifact under its content-addressed name, so that equal content is one version for all runs.

        W&B's public methods wait for the server, refuse ``use_artifact`` offline, and leave online artifacts out of the
        local log. The private interface writes artifact and use to the log in both modes.
        """
        if self._artifacts == "none":
            return
        with self._errors_as_warnings():
            artifact = wandb.Artifact(tracked.name, tracked.kind, metadata=dict(tracked.metadata))
            with artifact.new_file("description.json") as file:
                json.dump(tracked.description, file, sort_keys=True, indent=1)
            for name, path in sorted(tracked.files.items()) if self._artifacts == "full" else ():
                artifact.add_file(str(path), name=name)
            ready, aliases = self._run._prepare_artifact(artifact)
            self._run._interface.publish_artifact(  # type: ignore[union-attr]
                self._run, ready, aliases, [], finalize=True, use_after_commit=tracked.used
            )

    def log_study_table(self, rows: Sequence[Mapping[str, Any]], page: str, values: Mapping[str, float]) -> None:
        """Log a study's table, as rows by column and as an HTML page, and its ``values`` to the summary."""
        with self._errors_as_warnings():
            columns = rows[0] if rows else ()
            table = wandb.Table(columns=list(columns), data=[list(row.values()) for row in rows])
            self._run.log({"study/table": table, "study/page": wandb.Html(page, inject=False)})
            self._run.summary.update({f"study/{key}": value for key, value in values.items()})

    def log_record(self, path: Path) -> None:
        """Upload a copy at once as a file of the run; tables can be made from it elsewhere."""
        with self._errors_as_warnings():
            self._run.save(str(path), base_path=str(path.parent), policy="now", glob=False)

    def finish(self, exit_code: int = 0) -> None:
        """Close the run, and kill W&B's process if it does not finish within twice its own time limit."""
        if self._finished:
            return
        self._finished = True
        # W&B's own limit starts once it has processed its queue, which may never happen
        limit = threading.Timer(2 * self._run.settings.finish_timeout, self._kill_service)
        limit.daemon = True
        limit.start()
        with self._errors_as_warnings():
            self._run.finish(exit_code=exit_code)
        limit.cancel()
        if self.failed:
            with suppress(Exception):
                wandb.teardown()  # else W&B's exit handler prints a traceback

    def _kill_service(self) -> None:
        """End W&B's process, which raises an error in the waiting call; its log on the disk has all data."""
        self._timed_out = True
        with suppress(Exception):  # it may have ended by itself
            wandb_setup.singleton()._connection._proc._process.kill()  # type: ignore[union-attr]

    @contextmanager
    def _errors_as_warnings(self) -> Iterator[None]:
        """Suppress all errors, and log the first as a warning."""
        try:
            yield
        except Exception as error:
            if self.failed:
                return
            self.failed = True
            if self._timed_out or isinstance(error, TimeoutError):
                directory = self._run.settings.sync_dir
                _log.warning("W&B timed out: send the rest with: wandb sync --include-online %s", directory)
            else:
                _log.warning("W&B failed (%s): the run continues; its own files are complete", short_error(error))
