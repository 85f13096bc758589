"""D as feature extractor: a GAN on all training images, a probe on D's features; and the controls treated alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trigan.data.inputs import Input, sample_of
from trigan.data.types import DataSpec, Labelled, TrainingView
from trigan.errors import ConfigError
from trigan.modules.gan import GANStage
from trigan.modules.selection import Selection
from trigan.modules.settle import STATISTICS_IMAGES
from trigan.networks.adversaries import Discriminator
from trigan.strategies.base import Outcome, Sees, labelled_inputs, overall_status, selection_labels
from trigan.strategies.fine_tune import FineTune
from trigan.strategies.probes import Fitted, LinearHead, NeighboursHead, Probe
from trigan.strategies.trunk import FeatureExtractor, ProbedTrunk, extract
from trigan.strategies.workshop import Workshop


@dataclass(frozen=True)
class Features:
    """Fit ``probe`` on features of a discriminator, standardised over all training images that the GAN may see.

    ``trunk``: ``trained`` by the GAN stage, ``untrained`` (the same D with its first weights), or ``pixels``.
    ``layers`` are names of D's layers, none for all; ``grid`` is the side that maps are max-pooled to.
    ``selection``: probes choose on the validation images under the rule ``val``, else within the labelled images.
    ``gan_sees``: ``all`` training images (L and U), ``labelled`` ones, or ``auto``: labelled for a conditional GAN, all
    for an unconditional one.
    """

    gan: GANStage
    probe: Probe | FineTune
    trunk: Literal["trained", "untrained", "pixels"] = "trained"
    layers: tuple[str, ...] = ()
    grid: int = 4
    gan_sees: Literal["auto", "labelled", "all"] = "auto"
    selection: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if self.grid < 1:
            raise ConfigError(f"strategy.grid: {self.grid} must be at least 1")
        if self.gan_sees == "all" and self.gan.architecture.conditional:
            raise ConfigError(
                "strategy.gan_sees=all: a conditional GAN needs labels, which unlabelled images have not; set "
                "architecture=dcgan or strategy.gan_sees=labelled"
            )
        if self.trunk == "pixels" and isinstance(self.probe, FineTune):
            raise ConfigError("strategy.probe=fine_tune needs a network: set strategy.trunk=trained or untrained")

    def run(self, view: TrainingView, workshop: Workshop) -> Outcome:
        inputs = labelled_inputs(view)
        rule = self.selection.resolve("validation" in inputs)
        self._refuse_unknown_layers(view.spec)
        adversaries = self._adversaries(view, workshop)
        discriminator = adversaries.get("discriminator")
        if isinstance(self.probe, FineTune) and discriminator is not None:
            if self._sees_all():
                inputs["statistics"] = Input(view.training_images)
            trained = self.probe.train(self.gan.architecture, discriminator, self.layers, self.grid, inputs, workshop)
            classifier, fitted, step = trained.networks["classifier"], None, trained.step
        else:
            holdout = view.validation if rule == "val" else None
            classifier, fitted = self._probed(discriminator, view, holdout, workshop)
            step = 0
        seen = len(view.unlabelled) if self._sees_all() else 0
        networks: dict[str, nn.Module] = {"classifier": classifier}
        if self.trunk == "trained":
            networks.update(adversaries)
        return Outcome(
            classifier,
            networks,
            Sees(len(view.labelled.labels), seen, selection_labels(inputs, rule)),
            rule,
            step,
            overall_status(workshop),
            probabilistic=fitted is None or fitted.probabilistic,
            generator=adversaries.get("generator") if self.trunk == "trained" else None,
            notes={} if fitted is None else {"probe": fitted.chosen},
        )

    def blank(self, spec: DataSpec, shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> dict[str, nn.Module]:
        saved = shapes["classifier"]
        discriminator = None if self.trunk == "pixels" else self.gan.architecture.discriminator(spec)
        classifier: nn.Module
        if isinstance(self.probe, FineTune) and discriminator is not None:
            classifier = self.probe.blank(self.gan.architecture, self.layers, self.grid, spec)
        else:
            extractor = self._extractor(discriminator)
            head: nn.Module
            if "head.kept" in saved:
                kept, width = saved["head.kept"]
                head = NeighboursHead(kept, width, spec.classes)
            else:
                head = LinearHead(saved["mean"][0], spec.classes)
            classifier = ProbedTrunk(extractor, head, saved["mean"][0])
        networks = {"classifier": classifier}
        if self.trunk == "trained":
            networks["generator"] = self.gan.architecture.generator(spec)
        return networks

    def _extractor(self, discriminator: Discriminator | None) -> FeatureExtractor:
        return FeatureExtractor(discriminator, self.layers, self.grid)

    def _refuse_unknown_layers(self, spec: DataSpec) -> None:
        """Before a GAN is trained for them."""
        if self.layers and self.trunk != "pixels":
            blank = self._extractor(self.gan.architecture.discriminator(spec)).eval()
            blank(torch.zeros(1, spec.channels, spec.size, spec.size))

    def _sees_all(self) -> bool:
        if self.gan_sees == "auto":
            return not self.gan.architecture.conditional
        return self.gan_sees == "all"

    def _pool(self, view: TrainingView) -> Tensor:
        """The training images that may be looked at without their labels."""
        return view.training_images if self._sees_all() else view.labelled.images

    def _adversaries(self, view: TrainingView, workshop: Workshop) -> dict[str, Any]:
        if self.trunk == "pixels":
            return {}
        labels = view.labelled.labels if self.gan.architecture.conditional else None
        stage = self.gan if self.trunk == "trained" else replace(self.gan, steps=0)
        inputs = {"real": Input(self._pool(view), labels)}
        return dict(workshop.train(f"{self.trunk}-gan", stage, inputs).networks)

    def _probed(
        self, discriminator: Discriminator | None, view: TrainingView, holdout: Labelled | None, workshop: Workshop
    ) -> tuple[ProbedTrunk, Fitted]:
        if isinstance(self.probe, FineTune):
            raise ConfigError("strategy.probe=fine_tune needs a network")
        extractor = self._extractor(discriminator)
        device = workshop.settings.device
        pool = sample_of(self._pool(view), STATISTICS_IMAGES, workshop.seed)

        def of(images: Tensor) -> Tensor:
            return workshop.count("features", lambda: extract(extractor, images, device))

        features, seen = of(view.labelled.images), of(pool)
        mean, scale = seen.mean(0), seen.std(0)
        scale = torch.where(scale > 1e-6, scale, torch.ones_like(scale))

        def standardised(raw: Tensor) -> NDArray[np.float64]:
            return ((raw - mean) / scale).double().numpy()

        chosen_on = None if holdout is None else (standardised(of(holdout.images)), holdout.labels.numpy())
        labels = view.labelled.labels.numpy()
        fitted = self.probe.fit(standardised(features), labels, view.spec.classes, workshop.seed, chosen_on)
        network = ProbedTrunk(extractor, fitted.head, features.shape[1])
        network.mean.copy_(mean)
        network.scale.copy_(scale)
        return network.to(device).eval(), fitted
