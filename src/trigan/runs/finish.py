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
from trigan.atomic import explained, write_bytes
from trigan.components import with_identifiers
from trigan.config.compose import Composed
from trigan.data.inputs import Input
from trigan.data.splits.splitter import Draw
from trigan.data.types import Labelled, Source
from trigan.evaluation.classification import classification_metrics
from trigan.evaluation.embedding import evenly_chosen, principal_components
from trigan.identity import digest, tensor_digest, weights_digest
from trigan.networks.classifiers.classifier import Embedding
from trigan.plots import run_plots, sheets
from trigan.records.record import SCHEMA_VERSION, write_record
from trigan.runs.lineage import tell_products
from trigan.runs.provenance import provenance
from trigan.samples.filters import outputs
from trigan.strategies.stage_runner import Workshop
from trigan.strategies.strategy import Outcome
from trigan.tracking import MetricsFile, Tracker
from trigan.training import distributed
from trigan.training.observers import METRICS_NAME, SAMPLES_NAME
from trigan.training.selection import accuracy

_log = logging.getLogger("trigan")


def conclude(
    composed: Composed,
    place: Any,
    source: Source,
    drawn: Draw,
    outcome: Outcome,
    workshop: Workshop,
    tracker: Tracker,
    started: float,
) -> None:
    """Evaluate a frozen outcome and write everything that the run leaves; rank 0 alone writes."""
    weights = {player: weights_digest(network.state_dict()) for player, network in sorted(outcome.weights.items())}
    earlier = {str(images): weights_digest(network.state_dict()) for images, network in outcome.earlier.items()}
    test = drawn.test.open(digest([weights, earlier] if earlier else weights))
    if distributed.rank() > 0:
        return
    scores = outputs(outcome.classifier, test.images)
    result = {
        **account(composed, source, drawn, outcome, workshop, weights),
        "test": classification_metrics(scores, test.labels, drawn.view.spec.classes, outcome.probabilistic),
        "predictions": tensor_digest(scores),
    }
    if outcome.sees.V:
        result |= validation_scores(drawn, outcome)
    if outcome.earlier:
        result["curve"] = [
            {
                "images": images,
                "accuracy": accuracy(network, Input(test.images, test.labels)),
                "weights": earlier[str(images)],
            }
            for images, network in sorted(outcome.earlier.items())
        ]
    _save_predictions(place.directory / "predictions.npz", scores, test)
    _save_features(place.directory, outcome, test, source.class_names)
    _save_weights(place.directory / "weights", outcome)
    rows = _gather_metrics(place.directory / METRICS_NAME, workshop)
    _draw_pictures(place.directory / "pictures", source, result, rows, workshop, tracker)
    record = recorded(SCHEMA_VERSION, place.run, composed, result, provenance(composed, workshop, tracker, started))
    tracker.confusion("final/test/confusion", np.asarray(result["test"]["confusion"]), source.class_names)
    tracker.per_class("final/test/per_class", dict(zip(source.class_names, result["test"]["recall"], strict=True)))
    tell_products(outcome, workshop, weights, tracker)
    tracker.summary(_summary(result))
    write_record(place.record, record)
    tracker.record(place.record)
    _log.info("test accuracy %.2f %%: %s", 100 * result["test"]["accuracy"], place.record)


def recorded(
    version: int, run: str, composed: Composed, result: dict[str, Any], origin: dict[str, Any]
) -> dict[str, Any]:
    """A record: what was asked for, what came out, and where that came from."""
    return {
        "schema_version": version,
        "run": run,
        "config": with_identifiers(composed.config),
        "labels": labels(composed),
        "result": result,
        "provenance": origin,
    }


def account(
    composed: Composed, source: Source, drawn: Draw, outcome: Outcome, workshop: Workshop, weights: dict[str, str]
) -> dict[str, Any]:
    """The canonical part of the record, but for the scores: the same config gives the same bytes.

    Validation labels that a search looked at count as labels for selection, whether or not the run itself used them.
    """
    spec, facts = drawn.view.spec, drawn.facts
    sees = replace(outcome.sees, V=max(outcome.sees.V, composed.config["tuned"]["labels"]))
    stages = {t.digest: t for t in workshop.ledger}
    return {
        "status": outcome.status,
        "protocol": PROTOCOL_VERSION,
        "rule": outcome.rule,
        "sees": asdict(sees),
        "labels": {"training": sees.L, "selection": sees.V},
        "selection": {"step": outcome.selected_step},
        "weights": weights,
        "cost": workshop.total().as_dict(),
        "split": {**facts.as_dict(), "n_test": len(drawn.test), **({"file": drawn.file} if drawn.file else {})},
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


def validation_scores(drawn: Draw, outcome: Outcome) -> dict[str, Any]:
    """The scores on the validation labels, under their key; nothing where there are none."""
    validation = drawn.view.validation
    if validation is None:
        return {}
    seen, classes = outputs(outcome.classifier, validation.images), drawn.view.spec.classes
    return {"validation": classification_metrics(seen, validation.labels, classes, outcome.probabilistic)}


def _save_predictions(path: Path, scores: Tensor, test: Labelled) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, scores=scores.numpy(), labels=test.labels.numpy())
    write_bytes(path, buffer.getvalue())


def _save_features(directory: Path, outcome: Outcome, test: Labelled, names: Sequence[str]) -> None:
    """What the classifier's last layer sees of a few test images, for the maps; nothing if it can't say."""
    if not hasattr(outcome.classifier, "embed"):
        return
    index, buffer = evenly_chosen(len(test)), io.BytesIO()
    features = principal_components(outputs(Embedding(outcome.classifier), test.images[index]))
    np.savez_compressed(buffer, features=features.numpy(), index=index.numpy())
    write_bytes(directory / "features.npz", buffer.getvalue())
    with explained(directory / "pictures"):
        (directory / "pictures").mkdir(parents=True, exist_ok=True)
    if features.shape[1] > 1:  # one component, where there are two images or one feature, makes no map
        run_plots.feature_map(features.numpy(), test.labels[index].numpy(), names, directory / "pictures/features.png")


def _save_weights(directory: Path, outcome: Outcome) -> None:
    networks: dict[str, nn.Module] = {"classifier": outcome.classifier}
    if outcome.generator is not None:
        networks["generator"] = outcome.generator
    with explained(directory):
        directory.mkdir(parents=True, exist_ok=True)
    for player, network in networks.items():
        state = {key: value.detach().cpu().contiguous().clone() for key, value in network.state_dict().items()}
        write_bytes(directory / f"{player}.safetensors", save(state))


def _gather_metrics(path: Path, workshop: Workshop) -> list[dict[str, Any]]:
    """The curves of every stage that the run stands on, whoever trained it, under this run's names for them."""
    rows = []
    for trained in {t.digest: t for t in workshop.ledger}.values():
        for row in MetricsFile.read(trained.directory / METRICS_NAME):
            metrics = {key: value for key, value in row.items() if key not in ("stage", "images")}
            named = {f"{trained.name}/{key}": value for key, value in metrics.items()}
            rows.append({"stage": trained.name, "images": row["images"], **named})
    write_bytes(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return rows


def _draw_pictures(
    directory: Path,
    source: Source,
    result: dict[str, Any],
    rows: list[dict[str, Any]],
    workshop: Workshop,
    tracker: Tracker,
) -> None:
    with explained(directory):
        directory.mkdir(parents=True, exist_ok=True)
    names = list(source.class_names)
    run_plots.confusion(result["test"]["confusion"], names, directory / "confusion.png")
    if rows:
        run_plots.loss_curves(rows, directory / "losses.png")
    for trained in {t.digest: t for t in workshop.ledger}.values():
        files = sorted((trained.directory / SAMPLES_NAME).glob("*.npy"))
        if not files:
            continue
        snapshots = [(int(file.stem), np.load(file)) for file in files]
        labelled = trained.networks["generator"].classes == len(names)
        sheet = directory / f"samples-{trained.name}.png"
        sheets.sample_sheet(snapshots[-1][1], sheet, names if labelled else ())
        over = directory / f"samples-{trained.name}-over-training.png"
        sheets.samples_over_training(snapshots, over, names if labelled else ())
        tracker.picture(f"{trained.name}/samples", sheet, snapshots[-1][0])
        tracker.picture(f"{trained.name}/samples_over_training", over, snapshots[-1][0])


def labels(composed: Composed) -> dict[str, Any]:
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
    sees = {f"sees/{key}": value for key, value in result["sees"].items()}
    return {**scores, **recalls, **sees, "cost/flops": result["cost"]["flops"], "status": result["status"]}
