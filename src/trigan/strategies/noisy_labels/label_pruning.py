"""Confident learning as a choice of the baseline: labels that are probably wrong are dropped or replaced."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.confident_learning import PruneBy, joint_counts, pruned_images
from trigan.datasets.inputs import Input, stratified_folds
from trigan.samples.filters import outputs
from trigan.strategies.noisy_labels.method import Cleaned, LabelsAsGiven
from trigan.strategies.stage_runner import StageRunner
from trigan.training.stages.classifier_stage import ClassifierStage


@component("noisy_labels/confident_learning@1")
@dataclass(frozen=True)
class ConfidentLearning(LabelsAsGiven):
    """Northcutt, Jiang and Chuang 2021 (1911.00068): C is trained anew without the labels that look wrong.

    C's own recipe, fitted ``folds`` times to the labelled images without one fold, predicts the fold that it did not
    see; `trigan.datasets.confident_learning.pruned_images` names the wrong labels ``by`` noise rate, by class, or both.
    ``action``: these images are dropped, or have their most probable class as label (relabel). An image that is the
    only one of its label stays as it is. The fits of the folds count as compute; labels for validation are not changed.
    """

    action: Literal["drop", "relabel"] = "drop"
    by: PruneBy = "noise_rate"
    folds: int = 4

    def __post_init__(self) -> None:
        require(self.action in ("drop", "relabel"), "action", self.action, "drop or relabel")
        require(self.by in get_args(PruneBy), "by", self.by, "noise_rate, class or both")
        require(self.folds >= 2, "folds", self.folds, "at least 2")

    def prepare(self, stage: ClassifierStage, inputs: dict[str, Input], runner: StageRunner) -> Cleaned:
        """The stage, with the labelled images that are left or have other labels."""
        labelled, labels = inputs["labelled"], inputs["labelled"].known_labels
        folds = stratified_folds(labels, runner.spec.classes, self.folds, runner.seed, "confident learning")
        probabilities = self._out_of_fold(stage, inputs, folds, runner)
        seen = folds >= 0
        p, given = probabilities[seen].numpy(), labels[seen].numpy()
        wrong = torch.zeros_like(seen)
        wrong[seen] = torch.from_numpy(pruned_images(p, given, self.by))
        if self.action == "drop":
            kept = Input(labelled.images[~wrong], labels[~wrong])
        else:
            kept = replace(labelled, labels=torch.where(wrong, probabilities.argmax(1), labels))
        notes = {"action": self.action, "labels": int(wrong.sum()), "joint": joint_counts(p, given).round(3).tolist()}
        return stage, {**inputs, "labelled": kept}, {"confident_learning": notes}

    def _out_of_fold(
        self, stage: ClassifierStage, inputs: dict[str, Input], folds: Tensor, runner: StageRunner
    ) -> Tensor:
        """Predicted probabilities of each labelled image, float64 (L, K), by a fit that did not see it; 0 without."""
        labelled = inputs["labelled"]
        probabilities = torch.zeros(len(labelled), runner.spec.classes, dtype=torch.float64)
        for fold in sorted(set(folds[folds >= 0].tolist())):
            held_out = folds == fold
            rest = Input(labelled.images[~held_out], labelled.known_labels[~held_out])
            network: Any = runner.train(f"fold-{fold}", stage, {**inputs, "labelled": rest}).networks["classifier"]
            images = labelled.images[held_out]
            logits = runner.run_task("out-of-fold predictions", lambda: outputs(network, images))  # noqa: B023
            probabilities[held_out] = logits.double().softmax(1).cpu()
        return probabilities
