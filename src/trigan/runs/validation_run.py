"""A validation-only run: it ends with validation scores and its cost and never opens the test set.

`trigan search` compares such runs. They are stored under ``outputs/search/runs``, have no record and enter no table, so
that no test score exists of settings that were only tried.
"""

import json
import logging
from pathlib import Path
from typing import Any

from trigan import distributed
from trigan.atomic import checksum, parse_json, wrap_os_errors, write_json
from trigan.config.compose import RunConfig
from trigan.datasets.types import TrainingView
from trigan.errors import ArtifactError, ConfigError
from trigan.runs.final_evaluation import build_record, canonical_result, summary, validation_scores
from trigan.runs.trained_run import TrainedRun, weights_digests
from trigan.strategies.stage_runner import StageRunner
from trigan.training.fit import FitCallback
from trigan.training.players import PlayersModule

_log = logging.getLogger("trigan")

#: The validation scores of a validation-only run during its training.
VALIDATION_CURVE_NAME = "validation_curve.jsonl"
#: The file that ends a validation-only run.
VALIDATION_NAME = "validation.json"
SCHEMA_VERSION = 2


def validation_record_path(outputs: Path, run: str) -> Path:
    """The file that ends the validation-only run of a hash, under ``paths.outputs``."""
    return outputs / "search" / "runs" / run / VALIDATION_NAME


def require_validation_labels(run_config: RunConfig, view: TrainingView) -> None:
    """Raise a ConfigError if there are no validation labels, or if nothing would count their use."""
    regime = run_config.config["regime"]
    if not view.sizes.validation:
        raise ConfigError(
            f"regime.validation={regime.get('validation')}: there are no validation labels here, and nothing else may "
            "choose settings (10 labels per class or fewer keep none by default); set regime.validation=within or large"
        )
    if run_config.config["selection"]["rule"] == "last":
        raise ConfigError(
            "selection.rule=last: validation labels that choose settings are counted; set selection.rule=val"
        )


def finish_validation_run(trained: TrainedRun) -> None:
    """Score the frozen networks on the validation labels alone and write the validation record; only rank 0 writes."""
    if distributed.rank() > 0:
        return
    weights = weights_digests(trained.outcome.weights)
    result = {**canonical_result(trained, weights), **validation_scores(trained)}
    record = build_record(SCHEMA_VERSION, trained, result)
    trained.tracker.log_summary(summary("validation", result))
    plain = json.loads(json.dumps(record))
    write_json(trained.location.record, {**plain, "checksum": checksum(plain)})
    accuracy = 100 * result["validation"]["accuracy"]
    _log.info("validation accuracy %.2f %%: %s", accuracy, trained.location.record)


def read_validation_record(path: Path) -> dict[str, Any]:
    """The validation record at ``path``; an ArtifactError if it is damaged."""
    with wrap_os_errors(path, "read"):
        text = path.read_bytes()
    try:
        record = parse_json(text)
        if record["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version is {record['schema_version']!r}, this trigan reads {SCHEMA_VERSION}")
        result = record["result"]
        _ = record["run"], result["status"], result["validation"]["accuracy"], result["cost"]["flops"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged ({error}): run its command again with --force") from error
    return record


class ValidationCurve(FitCallback):
    """A callback that appends a line to a file after each evaluation on the validation images.

    The line is ``{"images": images that C was trained on, "accuracy": best so far, "flops": of the whole run so far}``.
    Only the stage that trains the final classifier has such lines; a strategy has at most one.
    """

    def __init__(self, stage: str, path: Path, runner: StageRunner) -> None:
        self._path, self._runner = path, runner
        self._active, self._logged_step = stage in ("classifier", "joint"), 0

    def on_fit_start(self, module: PlayersModule) -> None:
        """Skip the evaluations of an earlier attempt."""
        self._logged_step = module.completed_steps

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        """Write a line if the classifier was evaluated since the last call."""
        selector, since, now = module.selector, self._logged_step, module.completed_steps
        self._logged_step = now
        if (
            not self._active
            or selector is None
            or selector.metric != "accuracy"
            or not any(since < due <= now for due in selector.due_steps)
        ):
            return
        row = {
            "images": now * module.plan.batch,
            "accuracy": float(selector.accuracy),
            "flops": self._runner.total_cost().flops + module.flops,
        }
        with wrap_os_errors(self._path), self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
