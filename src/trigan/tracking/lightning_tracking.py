"""TensorBoard and MLflow, through Lightning's loggers. What they get is what W&B gets, as far as they can show it.

Both packages are optional: ``pip install 'trigan[tensorboard]'`` and ``pip install 'trigan[mlflow]'``.
"""

import importlib.util
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trigan.atomic import write_text
from trigan.checks import require
from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.tracking.image_axis import ImageAxis
from trigan.tracking.tracker import RunInfo, Tracker, Tracking, short_error

_log = logging.getLogger(__name__)


def _check_installed(package: str, extra: str) -> None:
    """Raise a ConfigError that says how to install a package."""
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f"logger={extra} needs the package {package}: pip install 'trigan[{extra}]'")


class LightningTracker(Tracker):
    """An open run of one of Lightning's loggers. No method raises; after the first failure nothing more is sent.

    The step of a curve is the number of images that its stage has used; the step of a result is that of the whole run.
    """

    service = "the logger"

    def __init__(self, logger: Any, axis: ImageAxis) -> None:
        self._logger, self._axis = logger, axis
        self._failed = self._finished = False

    def log(self, stage: str, images: int, metrics: Mapping[str, float]) -> None:
        """Log curve points with the prefix ``stage/``; points that were logged before are left out."""
        prefix = f"{stage}/"
        named = {key if key.startswith(prefix) else prefix + key: float(metrics[key]) for key in metrics}

        def send() -> None:
            if self._axis.advance(stage, int(images), metrics) is not None:
                self._logger.log_metrics(named, step=int(images))

        self._send(send)

    def log_image(self, key: str, path: Path, images: int) -> None:
        """Log the picture at its stage's images."""

        def send() -> None:
            if self._axis.advance(key.split("/")[0], int(images), [key]) is not None:
                self._add_image(key, np.asarray(Image.open(path).convert("RGB")), int(images))

        self._send(send)

    def log_confusion_matrix(self, key: str, matrix: np.ndarray, class_names: Sequence[str]) -> None:
        """Log the counts as a table in Markdown."""
        rows = [["true \\ predicted", *class_names], ["---"] * (len(class_names) + 1)]
        rows += [[name, *map(str, counts)] for name, counts in zip(class_names, matrix.tolist(), strict=True)]
        table = "\n".join(f"| {' | '.join(cell.replace('|', ' ') for cell in row)} |" for row in rows)
        self._send(self._add_text, key, table)

    def finish(self, exit_code: int = 0) -> None:
        """Close the run."""
        if not self._finished:
            self._finished = True
            self._send(self._logger.finalize, "failed" if exit_code else "success")

    def _add_image(self, key: str, image: np.ndarray, images: int) -> None:
        """Send an image, uint8 (H, W, 3)."""

    def _add_text(self, key: str, text: str) -> None:
        """Send a text in Markdown."""

    def _send(self, send: Callable[..., object], *arguments: Any) -> None:
        """Call ``send``; the first error is a warning, and the last call."""
        if self._failed:
            return
        try:
            send(*arguments)
        except Exception as error:
            self._failed = True
            reason = short_error(error)
            _log.warning("%s failed (%s): the run continues; its own files are complete", self.service, reason)


@component("logger/tensorboard@1")
@dataclass(frozen=True)
class TensorBoardTracking(Tracking):
    """``logger=tensorboard``: event files in ``folder``, in a subfolder that names the run's data, labels and row."""

    folder: str = "outputs/tensorboard"

    def check_installed(self) -> None:
        """See `Tracking`."""
        _check_installed("tensorboard", "tensorboard")

    def open(self, info: RunInfo, config: Mapping[str, Any]) -> Tracker:
        """Start the run's folder anew: an interrupted run logs everything again. Never raises if it is installed."""
        self.check_installed()
        try:
            from pytorch_lightning.loggers import TensorBoardLogger

            names = (re.sub(r"[^\w.,#=%+ -]+", "_", name)[:100] for name in (info.group, info.name))
            group, name = names
            logger = TensorBoardLogger(self.folder, group, f"{name} {info.id}", default_hp_metric=False, flush_secs=5)
            shutil.rmtree(logger.log_dir, ignore_errors=True)
            axis = info.directory / "tensorboard" / "axis.json"
            axis.parent.mkdir(parents=True, exist_ok=True)
            axis.unlink(missing_ok=True)
            return TensorBoardTracker(logger, ImageAxis(axis), config)
        except Exception as error:
            _log.warning("TensorBoard can't start (%s): the run continues without it", short_error(error))
            return Tracker()


class TensorBoardTracker(LightningTracker):
    """An open run in TensorBoard: scalars, images, the confusion matrix as text, and config and results as hparams."""

    service = "TensorBoard"

    def __init__(self, logger: Any, axis: ImageAxis, config: Mapping[str, Any]) -> None:
        super().__init__(logger, axis)
        self._config = config
        self._send(self._add_text, "config", f"```\n{json.dumps(config, indent=1, default=str)}\n```")

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Log the results as scalars and, with the config, as hparams."""
        numbers = {key: float(value) for key, value in values.items() if isinstance(value, Real)}
        words = {key: value for key, value in values.items() if isinstance(value, str)}
        self._send(self._logger.log_hyperparams, {**self._config, **words}, numbers, self._axis.now)

    def _add_image(self, key: str, image: np.ndarray, images: int) -> None:
        self._logger.experiment.add_image(key, image, images, dataformats="HWC")

    def _add_text(self, key: str, text: str) -> None:
        self._logger.experiment.add_text(key, text)


@component("logger/mlflow@1")
@dataclass(frozen=True)
class MlflowTracking(Tracking):
    """``logger=mlflow``.

    Attributes:
        tracking_uri: a folder, or the address of a server or database (``http://...``, ``sqlite:///...``).
        experiment: MLflow's experiment.
    """

    tracking_uri: str = "outputs/mlruns"
    experiment: str = "trigan"

    def __post_init__(self) -> None:
        require(bool(self.experiment), "logger.mlflow.experiment", repr(self.experiment), "a name")
        require(
            bool(self.tracking_uri), "logger.mlflow.tracking_uri", repr(self.tracking_uri), "a folder or an address"
        )

    def check_installed(self) -> None:
        """See `Tracking`."""
        _check_installed("mlflow", "mlflow")

    def open(self, info: RunInfo, config: Mapping[str, Any]) -> Tracker:
        """Start the run, or continue the one that an earlier attempt started. Never raises if it is installed."""
        self.check_installed()
        local = "://" not in self.tracking_uri
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # else a server that is gone costs minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
        if local:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 asks for this before it uses a folder
        try:
            return self._open(info, config, Path(self.tracking_uri).absolute().as_uri() if local else self.tracking_uri)
        except Exception as error:
            _log.warning("MLflow can't start (%s): the run continues without it", short_error(error))
            return Tracker()

    def _open(self, info: RunInfo, config: Mapping[str, Any], address: str) -> Tracker:
        from mlflow.tracking import MlflowClient
        from pytorch_lightning.loggers import MLFlowLogger

        folder, client = info.directory / "mlflow", MlflowClient(address)
        axis, id_file = folder / "axis.json", folder / "run_id"
        run = id_file.read_text() if axis.exists() and id_file.exists() else ""
        with suppress(Exception):  # the server has this run no more
            client.get_run(run)
            client.update_run(run, "RUNNING")
            return MlflowTracker(MLFlowLogger(tracking_uri=address, run_id=run), ImageAxis(axis))
        axis.unlink(missing_ok=True)
        tags = {"run": info.id, "group": info.group, "job_type": info.job_type, "mlflow.source.name": "trigan"}
        tags |= {key: name for key, _, name in (tag.partition(":") for tag in info.tags)}
        # not by Lightning, which would also send the user's name, and commit and path of the code
        run = client.create_run(_experiment(client, self.experiment), tags=tags, run_name=info.name).info.run_id
        write_text(id_file, run)
        logger = MLFlowLogger(tracking_uri=address, run_id=run)
        logger.log_hyperparams(dict(config))
        return MlflowTracker(logger, ImageAxis(axis))


def _experiment(client: Any, name: str) -> str:
    """The id of the experiment, which is made if there is none."""
    if (found := client.get_experiment_by_name(name)) is None:
        with suppress(Exception):  # another process makes it at this moment
            return str(client.create_experiment(name))
        found = client.get_experiment_by_name(name)
    return str(found.experiment_id)


class MlflowTracker(LightningTracker):
    """An open MLflow run: metrics, images by step, config as parameters, and the record as an artifact."""

    service = "MLflow"

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Log the numbers as metrics and the words as tags."""
        numbers = {_key(name): float(value) for name, value in values.items() if isinstance(value, Real)}
        self._send(self._logger.log_metrics, numbers, self._axis.now)
        for key, value in values.items():
            if isinstance(value, str):
                self._send(self._logger.experiment.set_tag, self._logger.run_id, key, value)

    def log_record(self, path: Path) -> None:
        """Log a copy of the record."""
        self._send(lambda: self._logger.experiment.log_artifact(self._logger.run_id, str(path)))

    def _add_image(self, key: str, image: np.ndarray, images: int) -> None:
        self._logger.experiment.log_image(self._logger.run_id, image, key=key, step=images)

    def _add_text(self, key: str, text: str) -> None:
        self._logger.experiment.log_text(self._logger.run_id, text, f"{key}.md")


def _key(name: str) -> str:
    """The name without the characters that MLflow refuses, such as those of a class called ``cat, small``."""
    return re.sub(r"[^\w./: -]", "_", name)
