"""C's recipe: everything that its training is, whatever the strategy."""

from dataclasses import dataclass, field, replace

from trigan.checks import require_clip, require_length
from trigan.component_ids import component
from trigan.datasets.augmentation import Augmentation
from trigan.datasets.inputs import Input
from trigan.datasets.mixing import Mix
from trigan.datasets.stream import BatchStream
from trigan.errors import ConfigError
from trigan.losses.classifier_losses import ClassifierLoss, CrossEntropy
from trigan.losses.imbalance_losses import LDAM
from trigan.networks.classifiers.classifier import ClassifierFactory
from trigan.training.adversary import Adversary
from trigan.training.balance import Balance, class_counts
from trigan.training.optimizers import EMA, OptimizerFactory
from trigan.training.selection import Selection
from trigan.training.stage import StageContext
from trigan.training.stages.label_memory import TargetAverages
from trigan.training.stages.labelled_loss import LabelledLoss


@component("recipe/recipe@1")
@dataclass(frozen=True)
class Recipe:
    """How C is trained. A run has one recipe, which every stage that trains a C takes.

    Attributes:
        classifier: C's network with its dropout and initial weights.
        augmentation: of labelled images, and of further images where a loss has no augmentation of its own.
        optimizer: with its rate, weight decay and schedule.
        steps: number of batches.
        batch: labelled images in each of them.
        ema: moving average of C's weights, which is evaluated; None: the last weights.
        balance: treatment of unequal class sizes, by sampling or by weights.
        selection: the classifier of the fit that is kept.
        clip: largest norm of the gradient; None: no clipping.
        mix: mixing of labelled images; None: none.
        criterion: loss of each labelled image.
        adversary: attacks the images of C's supervised losses; None: they are as they are.
    """

    classifier: ClassifierFactory
    augmentation: Augmentation
    optimizer: OptimizerFactory
    steps: int
    batch: int = 64
    ema: EMA | None = field(default_factory=EMA)
    balance: Balance = field(default_factory=Balance)
    selection: Selection = field(default_factory=Selection)
    clip: float | None = None
    mix: Mix | None = None
    criterion: ClassifierLoss = field(default_factory=CrossEntropy)
    adversary: Adversary | None = None

    def __post_init__(self) -> None:
        require_length(self.steps, self.batch)
        require_clip(self.clip)
        if self.criterion.momentum is not None and (self.mix is not None or self.adversary is not None):
            raise ConfigError(
                "recipe.criterion: early_learning averages C's predictions for single images, and mix= shows mixtures "
                "of two, recipe.adversary attacked ones; set mix=none and recipe.adversary=null"
            )

    def on_backbone(self, network: ClassifierFactory) -> "Recipe":
        """This recipe for D's features with a linear head."""
        if isinstance(self.criterion, LDAM):
            raise ConfigError(
                "recipe/criterion=ldam needs a head of cosines, and a head on D's features is linear; choose another "
                "recipe/criterion"
            )
        return replace(self, classifier=network)

    def labelled_stream(self, context: StageContext, labelled: Input) -> BatchStream:
        """Batches of labelled images, drawn as ``balance`` says."""
        data = self._balanced(context, labelled)
        weights = self.balance.sampling_weights(data.known_labels, context.spec.classes)
        first = self.balance.first_step(context.plan(self.steps, self.batch).steps)
        return context.stream("labelled", data, self.batch, weights, first)

    def labelled_loss(self, context: StageContext, labelled: Input) -> LabelledLoss:
        """The loss of labelled batches, with the class sizes of the images in them on the fit's device."""
        labels, classes = self._balanced(context, labelled).known_labels, context.spec.classes
        weights, device = self.balance.class_weights(labels, classes), context.settings.device
        counts = class_counts(labels, classes).to(device)
        weights = None if weights is None else weights.to(device)
        criterion, momentum, targets = self.criterion.for_data(classes, device), self.criterion.momentum, None
        if momentum is not None:
            targets = TargetAverages(len(labels), classes, momentum, context.settings.dtype).to(device)
        start = self.balance.first_share
        return LabelledLoss(self.augmentation, criterion, counts, weights, self.mix, start, targets, self.adversary)

    def _balanced(self, context: StageContext, labelled: Input) -> Input:
        """The labelled images that C is trained on."""
        rows = self.balance.kept(labelled.known_labels, context.spec.classes, context.seed)
        return labelled if rows is None else Input(labelled.images[rows], labelled.known_labels[rows])
