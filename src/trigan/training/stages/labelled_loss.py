"""C's loss on labelled batches: augmentation, mixing, class weights and the loss of each image."""

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from trigan.datasets.augmentation import Augmentation
from trigan.datasets.mixing import Mix
from trigan.evaluation.robustness.attacks import AttackLoss
from trigan.losses.classifier_losses import ClassifierLoss
from trigan.losses.label_noise_losses import clipped_probabilities
from trigan.rng import Draws
from trigan.training.adversary import Adversary
from trigan.training.stages.label_memory import TargetAverages
from trigan.training.step import TrainingStep


@dataclass(frozen=True)
class LabelledLoss:
    """Mean loss of an augmented labelled batch, the same in every stage that trains a C.

    Attributes:
        criterion: loss of each image.
        counts: labels of each class, int64 (K,).
        class_weights: factor on the losses of each class, (K,); None: all 1.
        mix: mixes each image with a separately augmented partner of the global batch; the loss uses both labels
            (Zhang et al. 2018, 1710.09412, section 2, with the mixing coefficient as weight of an image's own label;
            Yun et al. 2019, 1905.04899, eq. 1, with the share of pixels).
        weights_from: the share of the fit after which class weights apply.
        targets: averages of C's probabilities for each labelled image, where the criterion has a part with them.
        adversary: attacks the images, after augmentation and mixing.
    """

    augmentation: Augmentation
    criterion: ClassifierLoss
    counts: Tensor
    class_weights: Tensor | None = None
    mix: Mix | None = None
    weights_from: float = 0.0
    targets: TargetAverages | None = None
    adversary: Adversary | None = None

    def __call__(self, step: TrainingStep, network: nn.Module) -> Tensor:
        """The loss, shape ()."""
        return self.at(step)._mean_loss(step, network)

    def at(self, step: TrainingStep) -> "LabelledLoss":
        """The loss of a step: without class weights where they begin later."""
        early = step.decided(lambda now: now.progress < self.weights_from)
        return replace(self, class_weights=None, weights_from=0.0) if early else self

    def _mean_loss(self, step: TrainingStep, network: nn.Module) -> Tensor:
        labelled = step.batch("labelled")
        labels = labelled.known_labels
        images = labelled.augmented(self.augmentation, "augment")
        if self.mix is None:
            logits, losses = self._answers(network, images, lambda logits: self.rows(logits, labels), labelled.draws)
            if self.targets is not None:
                numbers = step.image_numbers("labelled")
                targets = self.targets(step, numbers, clipped_probabilities(logits))
                losses = losses + self.criterion.target_term(logits, targets)
            correct = (logits.argmax(1) == labels).float()
        else:
            partners = step.permuted_batch("labelled")
            others = partners.known_labels
            mixed, share = self.mix(images, partners.augmented(self.augmentation, "partner"), partners.draws)
            share = self.mix.label_share(share, self.counts[labels], self.counts[others])
            mixed_loss = partial(self.mixed_rows, labels=labels, others=others, share=share)
            logits, losses = self._answers(network, mixed, mixed_loss, labelled.draws)
            correct = torch.where(logits.argmax(1) == labels, share, 0.0)
            correct = correct + torch.where(logits.argmax(1) == others, 1.0 - share, 0.0)
        loss = losses.mean()
        step.log("train/labelled_loss", loss)
        step.log("train/labelled_accuracy", correct.mean())
        return loss

    @property
    def memories(self) -> list[nn.Module]:
        """The state of the loss, which belongs into checkpoints."""
        return [] if self.targets is None else [self.targets]

    def _answers(self, network: nn.Module, images: Tensor, loss: AttackLoss, draws: Draws) -> tuple[Tensor, Tensor]:
        """The logits (N, K) and the loss of each image (N,), under attack if there is an adversary."""
        if self.adversary is not None:
            return self.adversary(network, images, loss, draws)
        logits = network(images)
        return logits, loss(logits)

    def rows(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The weighted loss of each image, (N,): logits (N, K), labels (N,)."""
        losses = self.criterion(logits, labels, self.counts)
        return losses if self.class_weights is None else losses * self.class_weights[labels]

    def mixed_rows(self, logits: Tensor, labels: Tensor, others: Tensor, share: Tensor) -> Tensor:
        """The loss of each mixed image, (N,), for both labels (N,) and the weight ``share`` in [0, 1] of the first."""
        return share * self.rows(logits, labels) + (1.0 - share) * self.rows(logits, others)
