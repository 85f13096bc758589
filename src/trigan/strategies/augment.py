"""A GAN's labelled samples beside the real ones: C on real + synthetic, and the controls that stand in for G."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor, nn

from trigan.data.inputs import Input
from trigan.data.types import DataSpec, TrainingView
from trigan.errors import ConfigError
from trigan.modules.classifier import ClassifierStage
from trigan.modules.criteria import Extra, class_counts
from trigan.modules.gan import GANStage
from trigan.networks.adversaries import Generator
from trigan.rng import hash64
from trigan.samples.collect import collect, wanted_counts
from trigan.samples.filters import Filter, Judges, Realism
from trigan.samples.sources import CandidateSource, FromGenerator, FromLabelled, FromNoise, FromUnlabelled
from trigan.strategies.base import Outcome, Sees, labelled_inputs, overall_status, selection_labels
from trigan.strategies.baseline import require_unlabelled
from trigan.strategies.workshop import Workshop

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleSettings:
    """Which samples C gets: ``ratio`` per labelled image, with ``weight`` in C's loss, through ``filters`` in turn.

    ``fill`` divides them among classes: ``balanced``, or ``deficit`` (small classes first). Each of C's steps shows
    ``per_step`` of them for each labelled image.
    """

    ratio: float = 10.0
    fill: Literal["balanced", "deficit"] = "balanced"
    weight: float = 0.5
    per_step: float = 1.0
    filters: tuple[Filter, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", tuple(self.filters))
        if self.ratio <= 0.0:
            raise ConfigError(f"strategy.samples.ratio: {self.ratio} must be above 0")
        if self.weight < 0.0:
            raise ConfigError(f"strategy.samples.weight: {self.weight} must be 0 or more")
        if self.per_step <= 0.0:
            raise ConfigError(f"strategy.samples.per_step: {self.per_step} must be above 0")


@dataclass(frozen=True)
class Augment:
    """Train a GAN, draw labelled samples, train C on both.

    ``labels`` of samples: ``condition`` (a conditional G is told), ``classifier`` (C trained on L, where it is sure),
    ``per_class`` (one unconditional GAN a class), or ``auto``: condition if the architecture is conditional, else
    classifier. ``source``: the generator, or real images or noise in its place, through the same filters.
    """

    gan: GANStage
    classifier: ClassifierStage
    samples: SampleSettings = field(default_factory=SampleSettings)
    labels: Literal["auto", "condition", "classifier", "per_class"] = "auto"
    source: Literal["generator", "unlabelled", "labelled", "noise"] = "generator"
    label_threshold: float = 0.95
    gan_sees: Literal["auto", "labelled", "all"] = "auto"

    def __post_init__(self) -> None:
        conditional = self.gan.architecture.conditional
        if not 0.0 <= self.label_threshold <= 1.0:
            raise ConfigError(f"strategy.label_threshold={self.label_threshold}: a probability in [0, 1] is expected")
        if self.labels == "per_class" and any(isinstance(one, Realism) for one in self.samples.filters):
            raise ConfigError("strategy.samples.filters: Realism asks one D, and strategy.labels=per_class has many")
        if self.labels == "condition" and not conditional:
            raise ConfigError("strategy.labels=condition needs a label-conditional G: set architecture=cgan")
        if self.labels in ("classifier", "per_class") and conditional:
            raise ConfigError(f"strategy.labels={self.labels} is for an unconditional G: set architecture=dcgan")
        if self.gan_sees == "all" and self.label_source != "classifier":
            raise ConfigError(
                f"strategy.gan_sees=all: a GAN with strategy.labels={self.label_source} needs labels, which unlabelled "
                "images have not; set strategy.gan_sees=labelled"
            )

    @property
    def label_source(self) -> str:
        """``labels`` with auto resolved."""
        if self.labels != "auto":
            return self.labels
        return "condition" if self.gan.architecture.conditional else "classifier"

    @property
    def pool(self) -> str:
        """``gan_sees`` with auto resolved: an unconditional GAN sees L and U, one that needs labels L."""
        if self.gan_sees != "auto":
            return self.gan_sees
        return "all" if self.label_source == "classifier" else "labelled"

    def run(self, view: TrainingView, workshop: Workshop) -> Outcome:
        inputs = labelled_inputs(view)
        rule = self.classifier.selection.resolve("validation" in inputs)
        recipe = _Recipe(self, view, workshop)
        labels = view.labelled.labels
        wanted = wanted_counts(
            class_counts(labels, view.spec.classes),
            max(view.spec.classes, round(self.samples.ratio * len(labels))),
            self.samples.fill == "deficit",
        )
        source, filters = recipe.source(), self.samples.filters
        judges = recipe.judges() if filters or not source.chooses_labels else None
        collected = workshop.count("sampling", lambda: collect(source, wanted, filters, judges, self.label_threshold))
        stage = self.classifier
        stamps: tuple[str, ...] = ("no-samples",)
        if len(collected.data):
            extra = Extra(self.classifier.augmentation, self.samples.weight, self.samples.per_step)
            stage, inputs, stamps = replace(stage, terms=(*stage.terms, extra)), {**inputs, "extra": collected.data}, ()
        else:
            _log.warning(
                "none of %d candidates passed the filters: C is trained on the real images alone (see "
                "strategy.label_threshold, strategy.samples.filters, strategy.gan.steps)",
                collected.looked_at,
            )
        if recipe.unlabelled_seen:
            inputs = {**inputs, "statistics": Input(view.training_images)}
        trained = workshop.train("classifier", stage, inputs)
        networks = {"classifier": trained.networks["classifier"], **recipe.adversaries}
        return Outcome(
            networks["classifier"],
            networks,
            Sees(len(labels), recipe.unlabelled_seen, selection_labels(inputs, rule)),
            rule,
            trained.step,
            overall_status(workshop),
            stamps=stamps,
            generator=recipe.adversaries.get("generator"),
            notes=_notes(collected.data, collected.looked_at, collected.short, view.spec.classes),
        )

    def blank(self, spec: DataSpec, shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> dict[str, nn.Module]:
        networks: dict[str, nn.Module] = {"classifier": self.classifier.classifier(spec)}
        if self.source == "generator":
            generator = self.gan.architecture.generator
            if self.label_source == "per_class":
                networks["generator"] = PerClass([generator(spec) for _ in range(spec.classes)])
            else:
                networks["generator"] = generator(spec)
        return networks


def _notes(data: Input, looked_at: int, short: int, classes: int) -> dict[str, Any]:
    counts = class_counts(data.known_labels, classes).tolist()
    return {"samples": {"kept": len(data), "per_class": counts, "looked_at": looked_at, "short": short}}


class _Recipe:
    """The stages of one run, each done when something first asks for it."""

    def __init__(self, settings: Augment, view: TrainingView, workshop: Workshop) -> None:
        self.settings, self.view, self.workshop = settings, view, workshop
        self.adversaries: dict[str, Any] = {}
        self.unlabelled_seen = 0

    def source(self) -> CandidateSource:
        """Where candidates come from, trained if need be."""
        view, seed = self.view, hash64(self.workshop.seed, "samples")
        if self.settings.source == "unlabelled":
            require_unlabelled(view, "strategy.source=unlabelled")
            self.unlabelled_seen = len(view.unlabelled)
            return FromUnlabelled(view.unlabelled, seed)
        if self.settings.source == "labelled":
            return FromLabelled(view.labelled.images, view.labelled.labels, seed)
        if self.settings.source == "noise":
            return FromNoise((view.spec.channels, view.spec.size, view.spec.size), seed)
        self._train_gan()
        return FromGenerator(self.adversaries["generator"], seed)

    def judges(self) -> Judges:
        """C trained on the labelled images alone, with D where there is one."""
        teacher = self.workshop.train("teacher", self.settings.classifier, labelled_inputs(self.view))
        return Judges(teacher.networks["classifier"], self.adversaries.get("discriminator"))

    def _train_gan(self) -> None:
        labelled, stage = self.view.labelled, self.settings.gan
        if self.settings.label_source == "per_class":
            self.adversaries = {"generator": self._one_gan_a_class()}
            return
        if self.settings.label_source == "condition":
            data = Input(labelled.images, labelled.labels)
        elif self.settings.pool == "all":
            self.unlabelled_seen = len(self.view.unlabelled)
            data = Input(self.view.training_images)
        else:
            data = Input(labelled.images)
        self.adversaries = dict(self.workshop.train("gan", stage, {"real": data}).networks)

    def _one_gan_a_class(self) -> nn.Module:
        labelled = self.view.labelled
        generators = []
        for label in range(self.view.spec.classes):
            data = Input(labelled.images[labelled.labels == label])
            seed = hash64(self.workshop.seed, "class", label)
            trained = self.workshop.train(f"gan-{label}", self.settings.gan, {"real": data}, seed)
            generators.append(trained.networks["generator"])
        return PerClass(generators).eval()


class PerClass(nn.Module):
    """One unconditional generator a class, as one conditional generator: (z, y) -> images."""

    def __init__(self, generators: list[Generator]) -> None:
        super().__init__()
        self.generators = nn.ModuleList(generators)
        self.latent: int = generators[0].latent
        self.classes: int = len(generators)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        if y is None:
            raise ValueError("one generator a class needs labels")
        images: Tensor | None = None
        for label, network in enumerate(self.generators):
            rows = y == label
            if bool(rows.any()):
                drawn = network(z[rows])
                images = drawn.new_empty(len(z), *drawn.shape[1:]) if images is None else images
                images[rows] = drawn
        if images is None:
            raise ValueError("no rows")
        return images
