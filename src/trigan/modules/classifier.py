"""The classifier stage: C on labelled images, with further terms on unlabelled or extra images."""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

from torch import Tensor, nn
from torch.nn import functional as F

from trigan.data.augmentation import Augmentation
from trigan.data.inputs import Inputs
from trigan.data.types import DataSpec
from trigan.modules.checks import require, require_clip
from trigan.modules.criteria import Balance, NoBalance, Term
from trigan.modules.ema import EMA
from trigan.modules.optimizers import OptimizerFactory
from trigan.modules.players import Player, PlayersModule, Update
from trigan.modules.selection import Selection, Selector
from trigan.modules.settle import settle_classifier
from trigan.modules.stage import Context
from trigan.modules.step import Step
from trigan.networks.classifier import ClassifierFactory


@dataclass(frozen=True)
class Supervised:
    """Objective: cross-entropy on labelled images, as C sees them through the augmentation, plus the terms."""

    augmentation: Augmentation
    batch: int
    class_weights: Tensor | None = None
    terms: tuple[Term, ...] = ()

    def updates(self) -> tuple[Update, ...]:
        images = self.batch + sum(term.views(self.batch) for term in self.terms)
        return (Update("classifier", self.loss, images=images),)

    def phase(self, progress: float) -> Hashable:
        return None

    def loss(self, step: Step) -> Tensor:
        """C's loss, shape ()."""
        network = step.network("classifier")
        loss = labelled_loss(step, network, self.augmentation, self.class_weights)
        for term in self.terms:
            loss = loss + term(step, network)
        step.note("train/classifier_loss", loss)
        return loss


def labelled_loss(
    step: Step, network: nn.Module, augmentation: Augmentation, class_weights: Tensor | None = None
) -> Tensor:
    """Mean over the labelled batch of (weighted) cross-entropy."""
    labelled = step.batch("labelled")
    labels = labelled.known_labels
    logits = network(augmentation(labelled.images, labelled.draws, "augment"))
    errors = F.cross_entropy(logits, labels, reduction="none")
    loss = (errors if class_weights is None else errors * class_weights[labels]).mean()
    step.note("train/labelled_loss", loss)
    step.note("train/labelled_accuracy", (logits.argmax(1) == labels).float().mean())
    return loss


@dataclass(frozen=True)
class ClassifierStage:
    """Train a classifier; it is kept as its running average, settled on real training images.

    Inputs: ``labelled``, ``validation`` (if any), and one for each term's stream.
    """

    classifier: ClassifierFactory
    augmentation: Augmentation
    optimizer: OptimizerFactory
    steps: int
    batch: int = 64
    ema: EMA | None = field(default_factory=EMA)
    balance: Balance = field(default_factory=NoBalance)
    terms: tuple[Term, ...] = ()
    selection: Selection = field(default_factory=Selection)
    clip: float | None = None

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.batch >= 2, "batch", self.batch, "at least 2")
        require_clip(self.clip)

    @property
    def kind(self) -> str:
        return "classifier"

    def lasting(self, steps: int) -> "ClassifierStage":
        """The same stage at another length; its schedule stretches with it."""
        return replace(self, steps=steps)

    def build(self, context: Context, inputs: Inputs) -> PlayersModule:
        spec = context.spec
        network = context.fresh("classifier", lambda: self.classifier(spec))
        labelled = inputs["labelled"]
        rows = self.balance.row_weights(labelled.known_labels, spec.classes)
        weights = self.balance.class_weights(labelled.known_labels, spec.classes)
        streams = {"labelled": context.stream("labelled", labelled, self.batch, rows)}
        for term in self.terms:
            streams[term.stream] = context.stream(term.stream, inputs[term.stream], term.rows(self.batch))
        objective = Supervised(
            self.augmentation, self.batch, None if weights is None else weights.to(context.device), self.terms
        )
        plan = context.plan(self.steps, self.batch)
        player = Player(network, self.optimizer, self.ema, self.clip)
        module = PlayersModule({"classifier": player}, objective, streams, plan)
        return watch_validation(module, self.selection, inputs)

    def finish(self, module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
        return {"classifier": chosen_classifier(module, inputs)}

    def blank(self, spec: DataSpec) -> dict[str, nn.Module]:
        return {"classifier": self.classifier(spec).eval()}


def watch_validation(module: PlayersModule, selection: Selection, inputs: Inputs) -> PlayersModule:
    """Give ``module`` a selector where the rule asks for one; returns the module."""
    if selection.resolve("validation" in inputs) == "val":
        selector = Selector(module.result("classifier"), inputs["validation"], module.plan.steps, selection.candidates)
        module.watch(selector, lambda network: _settle(module, network, inputs))
    return module


def chosen_classifier(module: PlayersModule, inputs: Inputs) -> nn.Module:
    """The classifier that the selection rule takes, settled, in evaluation mode.

    A fit that diverged before its first candidate gives its last healthy weights.
    """
    if module.selector is not None and int(module.selector.step) > 0:
        return module.selector.best.eval()
    network = module.result("classifier")
    _settle(module, network, inputs)
    return network


def _settle(module: PlayersModule, network: nn.Module, inputs: Inputs) -> None:
    """Over all real training images that the row sees: ``statistics`` where this fit doesn't train on all of them."""
    seen = next(inputs[name] for name in ("statistics", "unlabelled", "labelled") if name in inputs)
    settle_classifier(network, seen.images, module.plan.seed, module.device, module.weights_dtype)
