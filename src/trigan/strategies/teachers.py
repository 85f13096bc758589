"""Teachers: the classifiers that label samples and decide which are kept, and how accurate they are on real images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from trigan.component_ids import component
from trigan.datasets.inputs import Input, stratified_folds
from trigan.datasets.types import LabelledImages, TrainingView
from trigan.rng import hash64
from trigan.samples.collect import CollectedSamples, label_and_filter
from trigan.samples.filters import Filter, ScoringModels, outputs, required_networks
from trigan.strategies.baseline import LabelledOnly, SelfTraining, UnlabelledMethod
from trigan.strategies.stage_runner import StageRunner
from trigan.strategies.strategy import validation_input
from trigan.training.balance import class_counts
from trigan.training.selection import accuracy
from trigan.training.stages.classifier_stage import ClassifierStage


@component("teacher/auto@1")
@dataclass(frozen=True)
class AutoTeacher(UnlabelledMethod):
    """A teacher that uses unlabelled images, by the method ``with_unlabelled``, if its row uses them anyway."""

    with_unlabelled: UnlabelledMethod


def resolve_teacher(teacher: UnlabelledMethod, row_uses_unlabelled: bool) -> UnlabelledMethod:
    """``teacher`` with auto resolved, for a row that uses unlabelled images without it or not."""
    if isinstance(teacher, AutoTeacher):
        return teacher.with_unlabelled if row_uses_unlabelled else LabelledOnly()
    return teacher


@dataclass(frozen=True)
class TeacherTraining:
    """Trains teachers with C's own recipe ``stage`` and the method ``method``."""

    stage: ClassifierStage
    method: UnlabelledMethod
    view: TrainingView
    runner: StageRunner

    def train(self, name: str, seed: int | None = None) -> nn.Module:
        """A teacher of the runner's seed, or of another one."""
        stage, inputs = self.method.prepare(self.stage, self.view, self.runner)
        if isinstance(self.method, SelfTraining):  # its own teacher has the plain name
            name = f"{name}-self-trained"
        network: nn.Module = self.runner.train(name, stage, inputs, seed).networks["classifier"]
        return network

    def without(self, held_out: Tensor, runner: StageRunner) -> "TeacherTraining":
        """The training without the labelled images ``held_out``, bool (L,), and without validation images."""
        view, labelled = self.view, self.view.labelled
        rest = LabelledImages(labelled.images[~held_out], labelled.labels[~held_out])
        unlabelled = view.unlabelled if self.method.uses_unlabelled else labelled.images[:0]
        kept = torch.cat([~held_out, torch.ones(view.sizes.unlabelled, dtype=torch.bool)])
        order = (kept.cumsum(0) - 1)[view.order[kept[view.order]]]
        order = order[order < len(rest.labels) + len(unlabelled)]
        return replace(self, view=TrainingView(view.spec, rest, None, unlabelled, order), runner=runner)


@dataclass(frozen=True)
class Gate:
    """The labelling and filtering of candidates; candidates' labels are ``predicted`` or given."""

    filters: Sequence[Filter]
    label_threshold: float
    predicted: bool

    def pass_count(self, real: Input, models: ScoringModels) -> int | None:
        """How many real images with their own labels pass; None if a filter needs a second teacher that is absent."""
        if "second" in required_networks(self.filters) and models.second is None:
            return None
        candidates = Input(real.images) if self.predicted else real
        return int((label_and_filter(candidates, self.filters, models, self.label_threshold)[0] >= 0).sum())


def gate_on_real_images(
    training: TeacherTraining, gate: Gate, models: ScoringModels, folds: int, classes: int
) -> dict[str, Any]:
    """The teacher's ``accuracy`` and the gate's ``pass_share`` on real labelled images, for the record.

    Measured on the validation images; without any, by cross-validation with ``folds`` folds within L (0: not at all).
    The folds' teachers do not affect the classifier, so their cost is not charged to the run.
    """
    validation = training.view.validation if training.view.taken["V"] else None  # reading it would count it as used
    if validation is not None:
        data = Input(validation.images, validation.labels)
        results = [(accuracy(models.teacher, data) * len(data), gate.pass_count(data, models), len(data))]
    else:
        results = _cross_validated(training, gate, models, folds, classes)
    images = sum(size for _, _, size in results)
    if not images:
        return {"images": 0}
    passed = [count for _, count, _ in results if count is not None]
    share = {"pass_share": sum(passed) / images} if len(passed) == len(results) else {}
    on = "validation" if validation is not None else f"{folds}-fold cross-validation"
    return {"accuracy": sum(correct for correct, _, _ in results) / images, **share, "images": images, "on": on}


def _cross_validated(
    training: TeacherTraining, gate: Gate, models: ScoringModels, folds: int, classes: int
) -> list[tuple[float, int | None, int]]:
    """For each fold: correct predictions, images that pass, images held out."""
    labelled, runner = training.view.labelled, training.runner
    uncharged = replace(runner, callbacks=lambda name, directory: (), on_reuse=lambda trained: None)
    fold_of, results = stratified_folds(labelled.labels, classes, folds, runner.seed, "teacher folds"), []
    for fold in range(folds):
        rows = fold_of == fold
        if not bool(rows.any()):
            continue
        held_out = Input(labelled.images[rows], labelled.labels[rows])
        rest = training.without(rows, uncharged)
        teacher = rest.train(f"teacher-fold{fold}")
        inputs = Input(rest.view.labelled.images, rest.view.labelled.labels)
        fold_models = ScoringModels(teacher, models.discriminator, None, inputs)
        correct = accuracy(teacher, held_out) * len(held_out)
        results.append((correct, gate.pass_count(held_out, fold_models), len(held_out)))
    return results


def pseudo_labelled(view: TrainingView, teacher: nn.Module, threshold: float) -> Input:
    """L with its labels, and the images of U whose label the teacher predicts with confidence ``threshold``."""
    confidence, labels = outputs(teacher, view.unlabelled).softmax(1).max(1)
    sure = confidence >= threshold
    return Input(
        torch.cat([view.labelled.images, view.unlabelled[sure]]), torch.cat([view.labelled.labels, labels[sure]])
    )


def smoothed_recalls(view: TrainingView, teacher: nn.Module) -> Tensor:
    """A teacher's recall of each class on the validation images, float64 (K,), by Laplace's rule.

    It is (hits + 1) / (images + 2), so that a class with few or no validation images counts as neither easy nor hard.
    """
    data, classes = validation_input(view), view.spec.classes
    labels = data.known_labels
    hits = labels[outputs(teacher, data.images).argmax(1) == labels]
    return (class_counts(hits, classes) + 1).double() / (class_counts(labels, classes) + 2)


def second_seed(seed: int) -> int:
    """The seed of the second teacher."""
    return hash64(seed, "second teacher")


def sample_notes(collected: CollectedSamples, classes: int) -> dict[str, Any]:
    """Counts of the samples for the record; lists are by class."""
    data, n_candidates = collected.data, int(collected.before.sum())
    notes = {
        "kept": len(data),
        "per_class": class_counts(data.known_labels, classes).tolist(),
        "n_candidates": collected.n_candidates,
        "n_missing": collected.n_missing,
        "pass_share": int(collected.passed.sum()) / n_candidates if n_candidates else 0.0,
        "candidates_per_class": collected.before.tolist(),
        "passed_per_class": collected.passed.tolist(),
    }
    return {**notes, "sets": list(data.parts)} if data.parts else notes
