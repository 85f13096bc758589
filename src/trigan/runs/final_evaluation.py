"""The end of a run: candidates frozen, the seal broken once, scores, pictures, weights, and the record last of all."""

import io
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save
from torch import Tensor, nn

from trigan import PROTOCOL_VERSION
from trigan.atomic import wrap_os_errors, write_bytes
from trigan.components import with_identifiers
from trigan.config.compose import RunConfig
from trigan.data.inputs import Input
from trigan.data.splits.splitter import DataSplit
from trigan.data.types import ImageDataset, LabelledImages
from trigan.evaluation.classification import classification_metrics
from trigan.evaluation.embedding import evenly_spaced_indices, principal_components
from trigan.identity import digest, tensor_digest, weights_digest
from trigan.networks.classifiers.classifier import EmbeddingNetwork
from trigan.plots import run_plots, sample_grids
from trigan.records.record import SCHEMA_VERSION, write_record
from trigan.runs.lineage import log_lineage
from trigan.runs.provenance import provenance
from trigan.samples.filters import outputs
from trigan.strategies.stage_runner import StageRunner
from trigan.strategies.strategy import Outcome
from trigan.tracking import MetricsFile, Tracker
from trigan.training import distributed
from trigan.training.callbacks import METRICS_NAME, SAMPLES_NAME
from trigan.training.selection import accuracy

_log = logging.getLogger("trigan")


def finish_run(
    composed: RunConfig,
    place: Any,
    source: ImageDataset,
    drawn: DataSplit,
    outcome: Outcome,
    runner: StageRunner,
    tracker: Tracker,
    started: float,
) -> None:
    """Evaluate a frozen outcome and write everything that the run leaves; rank 0 alone writes."""
    weights = {player: weights_digest(network.state_dict()) for player, network in sorted(outcome.weights.items())}
    earlier = {str(images): weights_digest(network.state_dict()) for images, network in outcome.snapshots.items()}
    test = drawn.test.open(digest([weights, earlier] if earlier else weights))
    if distributed.rank() > 0:
        return
    scores = outputs(outcome.classifier, test.images)
    result = {
        **canonical_result(composed, source, drawn, outcome, runner, weights),
        "test": classification_metrics(scores, test.labels, drawn.view.spec.classes, outcome.probabilistic),
        "predictions": tensor_digest(scores),
    }
    if outcome.data_used.V:
        result |= validation_scores(drawn, outcome)
    if outcome.snapshots:
        result["curve"] = [
            {
                "images": images,
                "accuracy": accuracy(network, Input(test.images, test.labels)),
                "weights": earlier[str(images)],
            }
            for images, network in sorted(outcome.snapshots.items())
        ]
    _save_predictions(place.directory / "predictions.npz", scores, test)
    _save_features(place.directory, outcome, test, source.class_names)
    _save_weights(place.directory / "weights", outcome)
    rows = _gather_metrics(place.directory / METRICS_NAME, runner)
    _draw_pictures(place.directory / "pictures", source, result, rows, runner, tracker)
    record = build_record(SCHEMA_VERSION, place.run, composed, result, provenance(composed, runner, tracker, started))
    tracker.log_confusion_matrix("final/test/confusion", np.asarray(result["test"]["confusion"]), source.class_names)
    tracker.log_per_class("final/test/per_class", dict(zip(source.class_names, result["test"]["recall"], strict=True)))
    log_lineage(outcome, runner, weights, tracker)
    tracker.log_summary(_summary(result))
    write_record(place.record, record)
    tracker.log_record(place.record)
    _log.info("test accuracy %.2f %%: %s", 100 * result["test"]["accuracy"], place.record)


def build_record(
    version: int, run: str, composed: RunConfig, result: dict[str, Any], origin: dict[str, Any]
) -> dict[str, Any]:
    """A record: what was asked for, what came out, and where that came from."""
    return {
        "schema_version": version,
        "run": run,
        "config": with_identifiers(composed.config),
        "tags": run_tags(composed),
        "result": result,
        "provenance": origin,
    }


def canonical_result(
    composed: RunConfig,
    source: ImageDataset,
    drawn: DataSplit,
    outcome: Outcome,
    runner: StageRunner,
    weights: dict[str, str],
) -> dict[str, Any]:
    """The canonical part of the record, but for the scores: the same config gives the same bytes.

    Validation labels that a search looked at count as labels for selection, whether or not the run itself used them.
    """
    spec, facts = drawn.view.spec, drawn.info
    data_used = replace(outcome.data_used, V=max(outcome.data_used.V, composed.config["tuned"]["labels"]))
    stages = {t.digest: t for t in runner.trained_stages}
    return {
        "status": outcome.status,
        "protocol": PROTOCOL_VERSION,
        "rule": outcome.rule,
        "data_used": asdict(data_used),
        "labels": {"training": data_used.L, "selection": data_used.V},
        "selection": {"step": outcome.selected_step},
        "weights": weights,
        "cost": runner.total_cost().as_dict(),
        "split": {
            **facts.as_dict(),
            "n_test": len(drawn.test),
            **({"file": drawn.split_file_digest} if drawn.split_file_digest else {}),
        },
        "stages": [
            {"hash": key, "kind": t.kind, "name": t.name, **t.cost.as_dict()} for key, t in sorted(stages.items())
        ],
        "stamps": sorted({*facts.stamps, *outcome.stamps}),
        "notes": dict(outcome.notes),
        "data": {
            "fingerprint": source.fingerprint,
            "classes": list(source.class_names),
            "spec": {"channels": spec.channels, "size": spec.size, "classes": spec.classes},
        },
        **({"external": drawn.external.as_dict()} if drawn.external is not None else {}),
    }


def validation_scores(drawn: DataSplit, outcome: Outcome) -> dict[str, Any]:
    """The scores on the validation labels, under their key; nothing where there are none."""
    validation = drawn.view.validation
    if validation is None:
        return {}
    seen, classes = outputs(outcome.classifier, validation.images), drawn.view.spec.classes
    return {"validation": classification_metrics(seen, validation.labels, classes, outcome.probabilistic)}


def _save_predictions(path: Path, scores: Tensor, test: LabelledImages) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, scores=scores.numpy(), labels=test.labels.numpy())
    write_bytes(path, buffer.getvalue())


def _save_features(directory: Path, outcome: Outcome, test: LabelledImages, names: Sequence[str]) -> None:
    """What the classifier's last layer sees of a few test images, for the maps; nothing if it can't say."""
    if not hasattr(outcome.classifier, "embed"):
        return
    index, buffer = evenly_spaced_indices(len(test)), io.BytesIO()
    features = principal_components(outputs(EmbeddingNetwork(outcome.classifier), test.images[index]))
    np.savez_compressed(buffer, features=features.numpy(), index=index.numpy())
    write_bytes(directory / "features.npz", buffer.getvalue())
    with wrap_os_errors(directory / "pictures"):
        (directory / "pictures").mkdir(parents=True, exist_ok=True)
    if features.shape[1] > 1:  # one component, where there are two images or one feature, makes no map
        run_plots.plot_feature_map(
            features.numpy(), test.labels[index].numpy(), names, directory / "pictures/features.png"
        )


def _save_weights(directory: Path, outcome: Outcome) -> None:
    networks: dict[str, nn.Module] = {"classifier": outcome.classifier}
    if outcome.generator is not None:
        networks["generator"] = outcome.generator
    with wrap_os_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    for player, network in networks.items():
        state = {key: value.detach().cpu().contiguous().clone() for key, value in network.state_dict().items()}
        write_bytes(directory / f"{player}.safetensors", save(state))


def _gather_metrics(path: Path, runner: StageRunner) -> list[dict[str, Any]]:
    """The curves of every stage that the run stands on, whoever trained it, under this run's names for them."""
    rows = []
    for trained in {t.digest: t for t in runner.trained_stages}.values():
        for row in MetricsFile.read(trained.directory / METRICS_NAME):
            metrics = {key: value for key, value in row.items() if key not in ("stage", "images")}
            named = {f"{trained.name}/{key}": value for key, value in metrics.items()}
            rows.append({"stage": trained.name, "images": row["images"], **named})
    write_bytes(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return rows


def _draw_pictures(
    directory: Path,
    source: ImageDataset,
    result: dict[str, Any],
    rows: list[dict[str, Any]],
    runner: StageRunner,
    tracker: Tracker,
) -> None:
    with wrap_os_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    names = list(source.class_names)
    run_plots.plot_confusion_matrix(result["test"]["confusion"], names, directory / "confusion.png")
    if rows:
        run_plots.plot_loss_curves(rows, directory / "losses.png")
    for trained in {t.digest: t for t in runner.trained_stages}.values():
        files = sorted((trained.directory / SAMPLES_NAME).glob("*.npy"))
        if not files:
            continue
        snapshots = [(int(file.stem), np.load(file)) for file in files]
        labelled = trained.networks["generator"].classes == len(names)
        sheet = directory / f"samples-{trained.name}.png"
        sample_grids.save_sample_grid(snapshots[-1][1], sheet, names if labelled else ())
        over = directory / f"samples-{trained.name}-over-training.png"
        sample_grids.save_samples_over_training(snapshots, over, names if labelled else ())
        tracker.log_image(f"{trained.name}/samples", sheet, snapshots[-1][0])
        tracker.log_image(f"{trained.name}/samples_over_training", over, snapshots[-1][0])


def run_tags(composed: RunConfig) -> dict[str, Any]:
    """The names by which a run is found and grouped."""
    groups = ("data", "regime", "architecture", "loss", "strategy", "classifier")
    names = {group: str(composed.choices[group]) for group in groups}
    observed = {name: composed.config.get(name) for name in ("study", "row")}
    return {**names, "trial": composed.trial, "seed": composed.seed, **observed}


def _summary(result: dict[str, Any]) -> dict[str, Any]:
    """The same keys for every strategy."""
    test = result["test"]
    scores = {f"final/test/{key}": test.get(key) for key in ("accuracy", "balanced_accuracy", "macro_f1", "nll", "ece")}
    recalls = {
        f"final/test/recall/{name}": value
        for name, value in zip(result["data"]["classes"], test["recall"], strict=True)
    }
    data_used = {f"data_used/{key}": value for key, value in result["data_used"].items()}
    return {**scores, **recalls, **data_used, "cost/flops": result["cost"]["flops"], "status": result["status"]}
