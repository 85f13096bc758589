"""The end of a run: the test set is opened once for the frozen networks; the record is written last."""

import json
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save
from torch import Tensor

from trigan import distributed
from trigan.atomic import atomic_write, write_bytes
from trigan.component_ids import with_identifiers
from trigan.config.compose import RunConfig
from trigan.datasets.inputs import Input
from trigan.datasets.types import LabelledImages
from trigan.evaluation.classification import classification_metrics
from trigan.evaluation.embedding import evenly_spaced_indices, principal_components
from trigan.identity import digest, tensor_digest
from trigan.plots import run_plots, sample_grids
from trigan.records.record import SCHEMA_VERSION, write_record
from trigan.runs.lineage import log_lineage
from trigan.runs.provenance import provenance
from trigan.runs.trained_run import TrainedRun, weights_digests
from trigan.samples.filters import outputs
from trigan.tracking import MetricsFile
from trigan.training.callbacks import METRICS_NAME, SAMPLES_NAME
from trigan.training.selection import accuracy
from trigan.version import PROTOCOL_VERSION

_log = logging.getLogger("trigan")


def finish_run(trained: TrainedRun) -> None:
    """Score the frozen networks on the test set and write everything a run leaves; only rank 0 writes."""
    outcome, tracker, location = trained.outcome, trained.tracker, trained.location
    weights = weights_digests(outcome.weights)
    snapshots = weights_digests({str(images): network for images, network in outcome.snapshots.items()})
    test = trained.split.test.open(digest([weights, snapshots] if snapshots else weights))
    if distributed.rank() > 0:
        return
    classes = trained.dataset.class_names
    logits = outputs(outcome.classifier, test.images)
    result = {
        **canonical_result(trained, weights),
        "test": classification_metrics(logits, test.labels, trained.split.view.spec.classes, outcome.probabilistic),
        "predictions": tensor_digest(logits),
    }
    if outcome.data_used.V:
        result |= validation_scores(trained)
    if snapshots:
        labelled = Input(test.images, test.labels)
        result["curve"] = [
            {"images": images, "accuracy": accuracy(network, labelled), "weights": snapshots[str(images)]}
            for images, network in sorted(outcome.snapshots.items())
        ]
    _save_npz(location.directory / "predictions.npz", {"scores": logits, "labels": test.labels})
    _save_features(trained, test)
    _save_weights(trained)
    _draw_pictures(trained, result, _gather_metrics(trained))
    record = build_record(SCHEMA_VERSION, trained, result)
    tracker.log_confusion_matrix("final/test/confusion", np.asarray(result["test"]["confusion"]), classes)
    recalls = dict(zip(classes, result["test"]["recall"], strict=True))
    tracker.log_per_class("final/test/per_class", recalls)
    log_lineage(trained, weights)
    tracker.log_summary(summary("test", result) | {f"final/test/recall/{name}": one for name, one in recalls.items()})
    write_record(location.record, record)
    tracker.log_record(location.record)
    _log.info("test accuracy %.2f %%: %s", 100 * result["test"]["accuracy"], location.record)


def build_record(version: int, trained: TrainedRun, result: dict[str, Any]) -> dict[str, Any]:
    """A record in this version of its schema: the configuration, the result and its provenance."""
    return {
        "schema_version": version,
        "run": trained.location.run,
        "config": with_identifiers(trained.run_config.config),
        "tags": _run_tags(trained.run_config),
        "result": result,
        "provenance": provenance(trained),
    }


def canonical_result(trained: TrainedRun, weights: dict[str, str]) -> dict[str, Any]:
    """The canonical part of the record without the scores: the same configuration gives the same bytes.

    Validation labels that a search used count as labels for selection, whether or not the run itself used them.
    """
    outcome, split, dataset = trained.outcome, trained.split, trained.dataset
    search_labels = trained.run_config.config["tuned"]["labels"]
    data_used = replace(outcome.data_used, V=max(outcome.data_used.V, search_labels))
    stages = sorted(trained.stages, key=lambda stage: stage.digest)
    return {
        "status": outcome.status,
        "protocol": PROTOCOL_VERSION,
        "rule": outcome.rule,
        "data_used": asdict(data_used),
        "labels": {"training": data_used.L, "selection": data_used.V},
        "selection": {"step": outcome.selected_step},
        "weights": weights,
        "cost": asdict(trained.runner.total_cost()),
        "split": {
            **asdict(split.info),
            "n_test": len(split.test),
            **({"file": split.split_file_digest} if split.split_file_digest else {}),
        },
        "stages": [{"hash": s.digest, "kind": s.kind, "name": s.name, **asdict(s.cost)} for s in stages],
        "stamps": sorted({*split.info.stamps, *outcome.stamps}),
        "notes": dict(outcome.notes),
        "data": {
            "fingerprint": dataset.fingerprint,
            "classes": list(dataset.class_names),
            "spec": asdict(split.view.spec),
        },
        **({"external": asdict(split.external)} if split.external is not None else {}),
    }


def validation_scores(trained: TrainedRun) -> dict[str, Any]:
    """``{"validation": scores}``, or nothing where there are no validation labels."""
    validation, classifier = trained.split.view.validation, trained.outcome.classifier
    if validation is None:
        return {}
    logits, classes = outputs(classifier, validation.images), trained.split.view.spec.classes
    return {"validation": classification_metrics(logits, validation.labels, classes, trained.outcome.probabilistic)}


def _save_npz(path: Path, arrays: dict[str, Tensor]) -> None:
    with atomic_write(path) as file:
        np.savez_compressed(file, **{name: array.numpy() for name, array in arrays.items()})  # type: ignore[arg-type]


def _save_features(trained: TrainedRun, test: LabelledImages) -> None:
    """Principal components of the classifier's last-layer inputs for some test images, if it has an ``embed``."""
    if not hasattr(trained.outcome.classifier, "embed"):
        return
    directory, names = trained.location.directory, trained.dataset.class_names
    index = evenly_spaced_indices(len(test))
    features = principal_components(outputs(trained.outcome.classifier, test.images[index], embed=True))
    _save_npz(directory / "features.npz", {"features": features, "index": index})
    if features.shape[1] > 1:  # two images or one feature have a single component, which makes no map
        picture, labels = directory / "pictures/features.png", test.labels[index].numpy()
        run_plots.plot_feature_map(features.numpy(), labels, names, picture)


def _save_weights(trained: TrainedRun) -> None:
    for player, network in (("classifier", trained.outcome.classifier), ("generator", trained.outcome.generator)):
        if network is not None:
            state = {key: value.detach().cpu().contiguous().clone() for key, value in network.state_dict().items()}
            write_bytes(trained.location.directory / "weights" / f"{player}.safetensors", save(state))


def _gather_metrics(trained: TrainedRun) -> list[dict[str, Any]]:
    """Write the curves of every stage, trained by this run or by another, under the stage names of this run."""
    rows = []
    for stage in trained.stages:
        for row in MetricsFile.read(stage.directory / METRICS_NAME):
            metrics = {f"{stage.name}/{key}": value for key, value in row.items() if key not in ("stage", "images")}
            rows.append({"stage": stage.name, "images": row["images"], **metrics})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    write_bytes(trained.location.directory / METRICS_NAME, lines.encode())
    return rows


def _draw_pictures(trained: TrainedRun, result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    directory, names = trained.location.directory / "pictures", list(trained.dataset.class_names)
    run_plots.plot_confusion_matrix(result["test"]["confusion"], names, directory / "confusion.png")
    if rows:
        run_plots.plot_loss_curves(rows, directory / "losses.png")
    for stage in trained.stages:
        files = sorted((stage.directory / SAMPLES_NAME).glob("*.npy"))
        if not files:
            continue
        snapshots = [(int(file.stem), np.load(file)) for file in files]
        images, last = snapshots[-1]
        labels = names if stage.networks["generator"].classes == len(names) else []
        grid, over = (directory / f"samples-{stage.name}{end}.png" for end in ("", "-over-training"))
        sample_grids.save_sample_grid(last, grid, labels)
        sample_grids.save_samples_over_training(snapshots, over, labels)
        trained.tracker.log_image(f"{stage.name}/samples", grid, images)
        trained.tracker.log_image(f"{stage.name}/samples_over_training", over, images)


def _run_tags(run_config: RunConfig) -> dict[str, Any]:
    """The names by which a run is found and grouped."""
    groups = ("data", "regime", "architecture", "loss", "strategy", "classifier")
    names = {group: str(run_config.choices[group]) for group in groups}
    labels = {name: run_config.config.get(name) for name in ("study", "row")}
    return {**names, "trial": run_config.trial, "seed": run_config.seed, **labels}


def summary(part: str, result: dict[str, Any]) -> dict[str, Any]:
    """The tracker's summary of a result (``part``: test or validation), with the same keys for every strategy."""
    names = ("accuracy", "balanced_accuracy", "macro_f1", "nll", "ece")
    return {
        **{f"final/{part}/{name}": result[part].get(name) for name in names},
        **{f"data_used/{key}": value for key, value in result["data_used"].items()},
        "cost/flops": result["cost"]["flops"],
        "status": result["status"],
    }
