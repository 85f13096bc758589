"""The end of a run: the test set is opened once for the frozen networks; the record is written last."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from trigan import distributed
from trigan.atomic import atomic_write, write_bytes
from trigan.component_ids import import_object, with_identifiers
from trigan.config.compose import RunConfig
from trigan.config.nodes import targets
from trigan.config.settings import Evaluation
from trigan.datasets.sources.closed import closed_sources
from trigan.evaluation.calibration import scaled_scores
from trigan.evaluation.classification import classification_metrics
from trigan.evaluation.feature_map import evenly_spaced_indices, principal_components
from trigan.evaluation.frozen_networks import check_independence, frozen_networks
from trigan.evaluation.novelty import novelty_line
from trigan.evaluation.robustness.robustness import (
    RobustnessAnswers,
    RobustnessSettings,
    robustness_answers,
    robustness_line,
    robustness_scores,
)
from trigan.identity import digest, tensor_digest
from trigan.losses.label_transitions import KnownTransition
from trigan.plots import sample_grids
from trigan.plots.plot_style import no_result_lost
from trigan.records.record import PRETRAINED, SCHEMA_VERSION, write_record
from trigan.records.seal_ledger import append_use
from trigan.runs.generators.record_figures import classifier_figures, generator_figures
from trigan.runs.lineage import log_lineage
from trigan.runs.provenance import provenance
from trigan.runs.scoring.fit_curve import CURVE_STAMPS
from trigan.runs.scoring.novelty_scores import novelty_scores
from trigan.runs.trained_run import TrainedRun, held_out_images, weights_digests
from trigan.samples.filters import outputs
from trigan.scores import (
    BY_RECALL,
    FIGURES_OF_COPIES,
    METRICS,
    ROBUSTNESS_METRICS,
    copies_training_images,
    recall_scores,
    robustness_score,
)
from trigan.strategies.stage_runner import TrainedStage
from trigan.tracking import MetricsFile
from trigan.training.callbacks import METRICS_NAME, SAMPLES_NAME
from trigan.version import PROTOCOL_VERSION

_log = logging.getLogger("trigan")
#: Stamp of a run whose generator's figures come from classifiers that saw labels hidden from the run.
HIDDEN_LABELS = "figures-on-hidden-labels"


def finish_run(trained: TrainedRun) -> None:
    """Score the frozen networks on the test set and write everything a run leaves; only rank 0 writes."""
    outcome, tracker, location = trained.outcome, trained.tracker, trained.location
    weights = weights_digests(outcome.weights)
    snapshots = weights_digests({str(images): network for images, network in outcome.snapshots.items()})
    if distributed.rank() > 0:
        return
    config, info = with_identifiers(trained.run_config.config), trained.data.info.as_record()
    append_use(location.directory.parent, location.run, trained.run_config.trial, config, info)
    frozen, classes = digest([weights, snapshots] if snapshots else weights), trained.data.class_names
    scored = score(trained, frozen)
    held_out, rows = held_out_images(trained.run_config, trained.data, frozen)
    known = {part: one.labels for part, one in held_out.items()}
    labels, logits = known["test"], scored.logits["test"]
    result = {
        **canonical_result(trained, weights),
        **{part: _metrics(trained, scored.logits[part], known[part]) for part in scored.logits},
        "predictions": tensor_digest(logits),
        **_figures(scored),
        **_calibrated(trained, scored, known),
        **({} if scored.robustness is None else {"robustness": robustness_scores(scored.robustness, labels)}),
        **({} if scored.novelty is None else {"novelty": scored.novelty}),
    }
    _add_classifier_figures(trained, result)
    if (kind := trained.data.curve) is not None and snapshots:
        result["curve"] = [
            {
                "images": images,
                "accuracy": int((predicted == known[kind]).sum()) / len(known[kind]),
                "weights": snapshots[str(images)],
            }
            for images, predicted in sorted(scored.curve.items())
        ]
        result["curve_images"] = kind
        result["stamps"] = sorted({*result["stamps"], *([CURVE_STAMPS[kind]] if kind in CURVE_STAMPS else [])})
    _save_npz(location.directory / "predictions.npz", {"scores": logits, "labels": labels, **rows})
    if scored.features is not None and scored.index is not None:
        _save_npz(location.directory / "features.npz", {"features": scored.features, "index": scored.index})
    _save_weights(trained)
    _gather_metrics(trained)
    _show_samples(trained)
    record = build_record(SCHEMA_VERSION, trained, result)
    tracker.log_confusion_matrix("final/test/confusion", np.asarray(result["test"]["confusion"]), classes)
    recalls = dict(zip(classes, result["test"]["recall"], strict=True))
    tracker.log_per_class("final/test/per_class", recalls)
    log_lineage(trained, weights)
    tracker.log_summary(summary("test", result) | {f"final/test/recall/{name}": one for name, one in recalls.items()})
    write_record(location.record, record)
    tracker.log_record(location.record)
    if "robustness" in result:
        _log.info(robustness_line(result["robustness"]))
    if "novelty" in result:
        _log.info(novelty_line(result["novelty"]))
    _log.info("test accuracy %.2f %%: %s", 100 * result["test"]["accuracy"], location.record)
    if len(set(trained.data.info.labelled.class_counts or ())) > 1:
        _log.info("of classes with unequal numbers of labels: %s", _scores_of_classes(result["test"]))


def _scores_of_classes(test: dict[str, Any]) -> str:
    """The scores in which every class counts alike, for the terminal; those that are not defined are left out."""
    names = ("balanced_accuracy", "macro_f1", *BY_RECALL)
    known = ((METRICS[name].label, test[name]) for name in names if test[name] is not None)
    return ", ".join(f"{label} {100 * value:.2f} %" for label, value in known)


def _add_classifier_figures(trained: TrainedRun, result: dict[str, Any]) -> None:
    """The figures of classifiers that are trained on samples, with a stamp where hidden labels are behind them."""
    found = classifier_figures(trained) if "generator" in result else {"figures": {}}
    if not found["figures"]:
        return
    result["generator"] = {**result["generator"], **{kind: result["generator"][kind] | found[kind] for kind in found}}
    if trained.data.info.unlabelled.size:
        result["stamps"] = sorted({*result["stamps"], HIDDEN_LABELS})


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


def _knows_transition(config: dict[str, Any]) -> bool:
    """Whether a part of the run was told the matrix of the regime's label noise."""
    return any(import_object(node["_target_"]) is KnownTransition for _, node in targets(config))


def canonical_result(trained: TrainedRun, weights: dict[str, str]) -> dict[str, Any]:
    """The canonical part of the record without the scores: the same configuration gives the same bytes.

    Validation labels that a search used count as labels for selection, whether or not the run itself used them.
    """
    outcome, data, tuned = trained.outcome, trained.data, trained.run_config.config["tuned"]
    weights_files = sorted({digest for stage in trained.stages for digest in stage.classifier.get("pretrained", ())})
    data_used = {**trained.data_used, "V": max(trained.data_used["V"], tuned["labels"])}
    data_used["X"] = max(data_used["X"], min(1, len(weights_files)))  # how many images are behind weights, none knows
    elsewhere = tuned["trial"] not in (None, trained.run_config.trial)
    further = [*(f"{PRETRAINED}{digest[:12]}" for digest in weights_files), *["tuned-on-another-trial"] * elsewhere]
    further += ["knows-T"] * _knows_transition(trained.run_config.config)
    precision = trained.run_config.config["trainer"]["precision"]
    further += [f"precision-{precision}"] * (precision != "32-true")
    stages = sorted(trained.stages, key=lambda stage: stage.digest)
    return {
        "status": "diverged" if "diverged" in (outcome.status, trained.runner.status) else outcome.status,
        "protocol": PROTOCOL_VERSION,
        "rule": outcome.rule,
        "data_used": data_used,
        "labels": {"training": data_used["L"], "selection": data_used["V"]},
        "selection": {"step": outcome.selected_step},
        "weights": weights,
        "cost": asdict(trained.runner.total_cost()),
        "split": {
            **data.info.as_record(),
            "n_test": data.info.test.size,
            **({"file": data.split_file_digest} if data.split_file_digest else {}),
        },
        "stages": [_stage_summary(one) for one in stages],
        "stamps": sorted({*data.info.stamps, *outcome.stamps, *further}),
        "notes": dict(outcome.notes),
        "data": {
            "fingerprint": data.fingerprint,
            "classes": list(data.class_names),
            "spec": asdict(data.spec),
        },
        **({"external": asdict(data.external)} if data.external is not None else {}),
    }


@dataclass(frozen=True)
class Scored:
    """What the frozen networks give for held-out images, before any label is read.

    ``logits`` (N, K) by part; ``curve`` has the classes (N,) that each snapshot predicts, by images seen; ``features``
    are principal components of the embeddings of the test images ``index``, if the classifier has an ``embed``;
    ``generator`` has the figures of the run's generator, if it has one; ``robustness`` what C answers for attacked and
    corrupted test images, if the run asks for it; ``novelty`` the scores of test images of held-out classes.
    """

    logits: dict[str, Tensor]
    curve: dict[int, Tensor]
    features: Tensor | None
    index: Tensor | None
    generator: dict[str, Any] | None = None
    robustness: RobustnessAnswers | None = None
    novelty: dict[str, Any] | None = None


def score(trained: TrainedRun, frozen: str | None) -> Scored:
    """Score the frozen networks on images whose labels are not in memory: of the test set, and of V if it is used.

    Without the digest ``frozen`` of the networks the test set stays sealed.
    """
    outcome, config = trained.outcome, trained.run_config
    parts = held_out_images(config, trained.data, frozen)[0]
    training = parts.pop("training")
    held_out = {part: one.images for part, one in parts.items()}
    del parts  # with the labels
    curve_on = held_out.get(trained.data.curve or "test", torch.empty(0))
    scored_parts = ("test", "validation") if trained.data_used["V"] else ("test",)
    images = {part: given for part, given in held_out.items() if part in scored_parts}
    networks = {**outcome.weights, **{f"snapshot {seen}": one for seen, one in outcome.snapshots.items()}}
    tried, robustness, novelty = _robustness_settings(config), None, None
    curve, features, index = {}, None, None
    with closed_sources("while the networks were scored"), frozen_networks(networks):
        logits = {part: outputs(outcome.classifier, given) for part, given in images.items()}
        for part, given in images.items():
            check_independence("classifier", outcome.classifier, given, logits[part])
        figures = generator_figures(trained, training)
        if "test" in images:
            if tried.active:
                robustness = robustness_answers(outcome.classifier, images["test"], tried)
            if "novel" in held_out:
                novelty = novelty_scores(trained, training, images["test"], held_out["novel"])
            for seen, network in outcome.snapshots.items():
                scores = outputs(network, curve_on)
                check_independence(f"snapshot {seen}", network, curve_on, scores)
                curve[seen] = scores.argmax(1)
            if hasattr(outcome.classifier, "embed"):
                index = evenly_spaced_indices(len(images["test"]))
                features = principal_components(outputs(outcome.classifier, images["test"][index], embed=True))
    return Scored(logits, curve, features, index, figures, robustness, novelty)


def _robustness_settings(run_config: RunConfig) -> RobustnessSettings:
    one = Evaluation(**run_config.config["evaluation"])
    return RobustnessSettings(
        one.attacks, one.eps, one.eps_l2, one.attack_steps, one.corruptions, one.robustness_images
    )


def _stage_summary(stage: TrainedStage) -> dict[str, Any]:
    counted: dict[str, Any] = {"classifier": stage.classifier} if stage.classifier else {}
    return {
        "hash": stage.digest,
        "kind": stage.kind,
        "name": stage.name,
        **asdict(stage.cost),
        **counted,
        **stage.notes,
    }


def validation_scores(trained: TrainedRun) -> dict[str, Any]:
    """``{"validation": scores}``, or nothing where no validation labels are used; with the generator's figures."""
    scored = score(trained, None)
    known, _ = held_out_images(trained.run_config, trained.data, None)
    result = {part: _metrics(trained, logits, known[part].labels) for part, logits in scored.logits.items()}
    return result | _figures(scored)


def _figures(scored: Scored) -> dict[str, Any]:
    return {} if scored.generator is None else {"generator": scored.generator}


def _calibrated(trained: TrainedRun, scored: Scored, known: dict[str, Tensor]) -> dict[str, Any]:
    """The scores of probabilities after a scaling that is fitted on validation labels, if the run asks for it."""
    method = Evaluation(**trained.run_config.config["evaluation"]).calibration
    if method == "none":
        return {}
    fitted_on = scored.logits["validation"], known["validation"]
    scores, parameters = scaled_scores(method, fitted_on, scored.logits["test"])
    found = classification_metrics(scores, known["test"], trained.data.spec.classes, probabilistic=True)
    kept = {key: found[key] for key in ("accuracy", "ece", "adaptive_ece", "nll", "brier", "aurc")}
    return {"calibrated": {"method": method, "labels": len(fitted_on[1]), "parameters": parameters, **kept}}


def _metrics(trained: TrainedRun, logits: Tensor, labels: Tensor) -> dict[str, Any]:
    settings = Evaluation(**trained.run_config.config["evaluation"])
    classes, counts = trained.data.spec.classes, trained.data.info.labelled.class_counts or ()
    found = classification_metrics(logits, labels, classes, trained.outcome.probabilistic, settings.specificity)
    return found | recall_scores(found["recall"], counts, settings.many_labels, settings.few_labels)


def _save_npz(path: Path, arrays: dict[str, Tensor]) -> None:
    with atomic_write(path) as file:
        np.savez_compressed(file, **{name: array.numpy() for name, array in arrays.items()})  # type: ignore[arg-type]


def _save_weights(trained: TrainedRun) -> None:
    for player, network in (("classifier", trained.outcome.classifier), ("generator", trained.outcome.generator)):
        if network is not None:
            state = {key: value.detach().cpu().contiguous().clone() for key, value in network.state_dict().items()}
            write_bytes(trained.location.directory / "weights" / f"{player}.safetensors", save(state))


def _gather_metrics(trained: TrainedRun) -> None:
    """Write the curves of every stage, trained by this run or by another, under the stage names of this run."""
    rows = []
    for stage in trained.stages:
        for row in MetricsFile.read(stage.directory / METRICS_NAME):
            metrics = {f"{stage.name}/{key}": value for key, value in row.items() if key not in ("stage", "images")}
            rows.append({"stage": stage.name, "images": row["images"], **metrics})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    write_bytes(trained.location.directory / METRICS_NAME, lines.encode())


def _show_samples(trained: TrainedRun) -> None:
    """Draw and log the samples of each generator over its training."""
    names = list(trained.data.class_names)
    for stage in trained.stages:
        files = sorted((stage.directory / SAMPLES_NAME).glob("*.npy"))
        if not files:
            continue
        snapshots = [(int(file.stem), np.load(file)) for file in files]
        labels = names if stage.networks["generator"].classes == len(names) else []
        path = trained.location.directory / "pictures" / f"samples-{stage.name}-over-training.png"
        with no_result_lost():
            events = [(one["images"], one["signal"]) for one in stage.notes.get("events", ())]
            sample_grids.save_samples_over_training(snapshots, path, labels, events=events)
            trained.tracker.log_image(f"{stage.name}/samples_over_training", path, snapshots[-1][0])


def _run_tags(run_config: RunConfig) -> dict[str, Any]:
    """The names by which a run is found and grouped."""
    groups = ("data", "regime", "architecture", "loss", "strategy", "classifier")
    names = {group: str(run_config.choices[group]) for group in groups}
    labels = {name: run_config.config.get(name) for name in ("study", "row")}
    return {**names, "trial": run_config.trial, "seed": run_config.seed, **labels}


def _shown_figures(result: dict[str, Any]) -> dict[str, Any]:
    """The generator's figures, None where copies of training images improve them and it copies."""
    found = result.get("generator")
    copies = found is not None and copies_training_images(found)
    figures = {} if found is None else found["figures"]
    return {name: None if copies and name not in FIGURES_OF_COPIES else one for name, one in figures.items()}


def _robustness_summary(part: str, result: dict[str, Any]) -> dict[str, float]:
    found = {key: robustness_score(result.get("robustness", {}), key)[0] for key in ROBUSTNESS_METRICS}
    return {f"final/{part}/{key}": value for key, value in found.items() if value is not None}


def summary(part: str, result: dict[str, Any]) -> dict[str, Any]:
    """The tracker's summary of a result (``part``: test or validation), with the same keys for every strategy."""
    return {
        **{f"final/{part}/{name}": result[part].get(name) for name in METRICS},
        **_robustness_summary(part, result),
        **{f"final/generator/{name}": value for name, value in _shown_figures(result).items()},
        **{f"data_used/{key}": value for key, value in result["data_used"].items()},
        "cost/flops": result["cost"]["flops"],
        "selection/rule": result["rule"],
        "selection/step": result["selection"]["step"],
        "status": result["status"],
    }
