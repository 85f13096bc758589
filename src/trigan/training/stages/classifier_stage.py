"""The classifier stage: C on labelled images, with further terms on unlabelled or extra images."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trigan.components import component
from trigan.data.augmentation import Augmentation
from trigan.data.inputs import Inputs
from trigan.data.mixing import Mix
from trigan.data.types import DataSpec
from trigan.losses.classifier_losses import mixed_cross_entropy
from trigan.networks.classifiers.classifier import ClassifierFactory
from trigan.training.ema import EMA
from trigan.training.optimizers import OptimizerFactory
from trigan.training.players import Player, PlayersModule, Update
from trigan.training.range_checks import require, require_clip
from trigan.training.recalibration import recalibrate_classifier
from trigan.training.selection import Selection, Selector
from trigan.training.snapshots import Snapshots
from trigan.training.stage import StageContext
from trigan.training.stages.criteria import Balance, LossTerm, NoBalance
from trigan.training.step import TrainingStep


@component("criterion/supervised@1")
@dataclass(frozen=True)
class SupervisedObjective:
    """Objective: cross-entropy on labelled images, as C sees them through the augmentation, plus the terms."""

    augmentation: Augmentation
    batch: int
    class_weights: Tensor | None = None
    terms: tuple[LossTerm, ...] = ()
    mix: Mix | None = None

    def updates(self) -> tuple[Update, ...]:
        images = self.batch + sum(term.forward_images(self.batch) for term in self.terms)
        return (Update("classifier", self.loss, images=images),)

    def phase(self, progress: float) -> Hashable:
        return None

    def loss(self, step: TrainingStep) -> Tensor:
        """C's loss, shape ()."""
        network = step.network("classifier")
        loss = labelled_loss(step, network, self.augmentation, self.class_weights, self.mix)
        for term in self.terms:
            loss = loss + term(step, network)
        step.log("train/classifier_loss", loss)
        return loss


def labelled_loss(
    step: TrainingStep,
    network: nn.Module,
    augmentation: Augmentation,
    class_weights: Tensor | None = None,
    mix: Mix | None = None,
) -> Tensor:
    """Mean over the labelled batch of (weighted) cross-entropy; with ``mix``, of mixed images, for both labels."""
    labelled = step.batch("labelled")
    labels = labelled.known_labels
    images = augmentation(labelled.images, labelled.draws, "augment")
    if mix is not None:
        return _mixed_loss(step, network, mix, augmentation, images, class_weights)
    logits = network(images)
    errors = F.cross_entropy(logits, labels, reduction="none")
    loss = (errors if class_weights is None else errors * class_weights[labels]).mean()
    step.log("train/labelled_loss", loss)
    step.log("train/labelled_accuracy", (logits.argmax(1) == labels).float().mean())
    return loss


def _mixed_loss(
    step: TrainingStep,
    network: nn.Module,
    mix: Mix,
    augmentation: Augmentation,
    images: Tensor,
    class_weights: Tensor | None,
) -> Tensor:
    """The loss of augmented ``images`` mixed with partners, which are augmented by draws of their own."""
    labels, partners = step.batch("labelled").known_labels, step.permuted_batch("labelled")
    others = augmentation(partners.images, partners.draws, "partner")
    mixed, share = mix(images, others, partners.draws)
    logits = network(mixed)
    weights = logits.new_ones(logits.shape[1]) if class_weights is None else class_weights
    loss = mixed_cross_entropy(logits, labels, partners.known_labels, share, weights).mean()
    step.log("train/labelled_loss", loss)
    right = torch.where(logits.argmax(1) == labels, share, 0.0)
    right = right + torch.where(logits.argmax(1) == partners.known_labels, 1.0 - share, 0.0)
    step.log("train/labelled_accuracy", right.mean())
    return loss


@component("stage/classifier@1")
@dataclass(frozen=True)
class ClassifierStage:
    """Train a classifier; it is kept as its running average, recalibrated on real training images.

    Inputs: ``labelled``, ``validation`` (if any), and one for each term's stream. ``mix`` is for the labelled images.
    """

    classifier: ClassifierFactory
    augmentation: Augmentation
    optimizer: OptimizerFactory
    steps: int
    batch: int = 64
    ema: EMA | None = field(default_factory=EMA)
    balance: Balance = field(default_factory=NoBalance)
    terms: tuple[LossTerm, ...] = ()
    selection: Selection = field(default_factory=Selection)
    clip: float | None = None
    mix: Mix | None = None

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.batch >= 2, "batch", self.batch, "at least 2")
        require_clip(self.clip)

    @property
    def kind(self) -> str:
        return "classifier"

    def with_steps(self, steps: int) -> "ClassifierStage":
        """The same stage at another length; its schedule stretches with it."""
        return replace(self, steps=steps)

    def build(self, context: StageContext, inputs: Inputs) -> PlayersModule:
        spec = context.spec
        network = context.build_network("classifier", lambda: self.classifier(spec))
        labelled = inputs["labelled"]
        rows = self.balance.sampling_weights(labelled.known_labels, spec.classes)
        weights = self.balance.class_weights(labelled.known_labels, spec.classes)
        streams = {"labelled": context.stream("labelled", labelled, self.batch, rows)}
        for term in self.terms:
            streams[term.stream] = context.stream(term.stream, inputs[term.stream], term.stream_batch_size(self.batch))
        weights = None if weights is None else weights.to(context.device)
        objective = SupervisedObjective(self.augmentation, self.batch, weights, self.terms, self.mix)
        plan = context.plan(self.steps, self.batch)
        player = Player(network, self.optimizer, self.ema, self.clip)
        module = PlayersModule({"classifier": player}, objective, streams, plan)
        return register_classifier_selection(module, self.selection, inputs)

    def finish(self, module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
        return final_classifiers(module, inputs)

    def skeleton(self, spec: DataSpec) -> dict[str, nn.Module]:
        return skeleton_classifiers(self.selection, lambda: self.classifier(spec).eval())


def register_classifier_selection(module: PlayersModule, selection: Selection, inputs: Inputs) -> PlayersModule:
    """Give ``module`` a selector where the rule asks for one, and snapshots where they are asked for; returns it."""
    network, steps = module.evaluation_network("classifier"), module.plan.steps
    selector = snapshots = None
    if selection.resolve("validation" in inputs) == "val":
        selector = Selector(network, inputs["validation"], steps, selection.candidates)
    if selection.snapshots is not None:
        snapshots = Snapshots.evenly_spaced(network, selection.snapshots, steps, module.plan.batch)
    module.register_selection(lambda network: _recalibrate(module, network, inputs), selector, snapshots)
    return module


def final_classifiers(module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
    """``classifier``, the one that the selection rule takes, and ``snapshots`` where there are any."""
    kept: dict[str, nn.Module] = {"classifier": selected_classifier(module, inputs)}
    if module.snapshots is not None:
        kept["snapshots"] = module.snapshots
    return kept


def skeleton_classifiers(selection: Selection, build: Callable[[], nn.Module]) -> dict[str, nn.Module]:
    """Networks to load what :func:`final_classifiers` gave into, each as ``build`` makes it."""
    kept = {"classifier": build()}
    if selection.snapshots is not None:
        kept["snapshots"] = Snapshots([build() for _ in range(selection.snapshots)])
    return kept


def selected_classifier(module: PlayersModule, inputs: Inputs) -> nn.Module:
    """The classifier that the selection rule takes, recalibrated, in evaluation mode.

    A fit that diverged before its first candidate gives its last healthy weights.
    """
    if module.selector is not None and int(module.selector.step) > 0:
        return module.selector.best.eval()
    network = module.evaluation_network("classifier")
    _recalibrate(module, network, inputs)
    return network


def _recalibrate(module: PlayersModule, network: nn.Module, inputs: Inputs) -> None:
    """Over all real training images that the row sees: ``statistics`` where this fit doesn't train on all of them."""
    seen = next(inputs[name] for name in ("statistics", "unlabelled", "labelled") if name in inputs)
    recalibrate_classifier(network, seen.images, module.plan.seed, module.device, module.weights_dtype)
