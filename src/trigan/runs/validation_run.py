"""A validation-only run: it ends with validation scores and its cost, and the test set stays shut.

What `trigan search` compares are such runs. They lie apart, under ``outputs/search/runs``, have no record, and so enter
no table: of settings that were only tried, no test score exists anywhere.
"""

import json
import logging
from pathlib import Path
from typing import Any

from trigan.atomic import wrap_os_errors, write_json
from trigan.config.compose import RunConfig
from trigan.data.splits.splitter import DataSplit
from trigan.data.types import ImageDataset
from trigan.errors import ArtifactError, ConfigError
from trigan.identity import weights_digest
from trigan.runs.final_evaluation import build_record, canonical_result, validation_scores
from trigan.runs.provenance import provenance
from trigan.strategies.stage_runner import StageRunner
from trigan.strategies.strategy import Outcome
from trigan.tracking import Tracker
from trigan.training import distributed
from trigan.training.players import PlayersModule

_log = logging.getLogger("trigan")

#: What a validation-only run ends with, and what it says of its looks at the validation images along the way.
VALIDATION_RECORD_NAME, VALIDATION_CURVE_NAME = "validation.json", "validation_curve.jsonl"
SCHEMA_VERSION = 2
#: The stages whose classifier is the one that comes out, where a strategy has one.
_LAST = ("classifier", "joint")


def validation_record_path(outputs: Path, run: str) -> Path:
    """Where the validation-only run of a hash ends, under ``paths.outputs``."""
    return outputs / "search" / "runs" / run / VALIDATION_RECORD_NAME


def require_validation_labels(composed: RunConfig, drawn: DataSplit) -> None:
    """Raise a ConfigError where there are no validation labels, or where they are there and nothing counts them."""
    regime = composed.config["regime"]
    if drawn.view.validation is None:
        raise ConfigError(
            f"regime.validation={regime.get('validation')}: there are no validation labels here, and nothing else may "
            "choose settings (10 labels per class or fewer keep none by default); set regime.validation=within or large"
        )
    if composed.config["selection"]["rule"] == "last":
        raise ConfigError(
            "selection.rule=last: validation labels that choose settings are counted; take selection.rule=val"
        )


def finish_validation_run(
    composed: RunConfig,
    place: Any,
    source: ImageDataset,
    drawn: DataSplit,
    outcome: Outcome,
    runner: StageRunner,
    tracker: Tracker,
    started: float,
) -> None:
    """Score a frozen outcome on the validation labels alone, and write the validation record; rank 0 alone writes."""
    weights = {player: weights_digest(network.state_dict()) for player, network in sorted(outcome.weights.items())}
    if distributed.rank() > 0:
        return
    result = {
        **canonical_result(composed, source, drawn, outcome, runner, weights),
        **validation_scores(drawn, outcome),
    }
    origin = provenance(composed, runner, tracker, started)
    tracker.log_summary(validation_summary(result))
    write_json(place.record, build_record(SCHEMA_VERSION, place.run, composed, result, origin))
    _log.info("validation accuracy %.2f %%: %s", 100 * result["validation"]["accuracy"], place.record)


def read_validation_record(path: Path) -> dict[str, Any]:
    """The validation record.

    Raises:
        ArtifactError: it is damaged.
    """
    with wrap_os_errors(path, "read"):
        text = path.read_bytes()
    try:
        record: dict[str, Any] = json.loads(text)
        if record["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version is {record['schema_version']!r}, this trigan reads {SCHEMA_VERSION}")
        _ = record["run"], record["result"]["validation"]["accuracy"], record["result"]["cost"]["flops"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged ({error}): run its command again with --force") from error
    return record


def validation_summary(result: dict[str, Any]) -> dict[str, Any]:
    """The same keys for every strategy, as an ordinary run has them, but of the validation labels."""
    scores = result["validation"]
    names = ("accuracy", "balanced_accuracy", "macro_f1", "nll", "ece")
    found = {f"final/validation/{name}": scores.get(name) for name in names}
    data_used = {f"data_used/{key}": value for key, value in result["data_used"].items()}
    return {**found, **data_used, "cost/flops": result["cost"]["flops"], "status": result["status"]}


class ValidationCurve:
    """A callback: after each look at the validation images, a line with the best accuracy so far and the cost so far.

    ``{"images": images that C has seen, "accuracy": ..., "flops": of the whole run}``, for the stage that C comes from.
    """

    def __init__(self, stage: str, path: Path, runner: StageRunner) -> None:
        self._path, self._runner = path, runner
        self._wanted, self._told = stage in _LAST, 0

    def on_fit_start(self, module: PlayersModule) -> None:
        self._told = module.completed_steps

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        selector, since = module.selector, self._told
        self._told = module.completed_steps
        if (
            not self._wanted
            or selector is None
            or not any(since < due <= module.completed_steps for due in selector.due_steps)
        ):
            return
        row = {
            "images": module.completed_steps * module.plan.batch,
            "accuracy": float(selector.accuracy),
            "flops": self._runner.total_cost().flops + module.flops,
        }
        with wrap_os_errors(self._path), self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def on_fit_end(self) -> None:
        """Nothing is open."""
