"""D as feature extractor: a GAN on all training images, a probe on D's features; and the controls treated alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trigan.components import component
from trigan.data.inputs import Input, Inputs, random_subset
from trigan.data.splits.external_data import external_images
from trigan.data.types import DataSpec, LabelledImages, TrainingView
from trigan.errors import ConfigError
from trigan.networks.gans.gan import Discriminator
from trigan.strategies.feature_extraction import FeatureExtractor, ProbedBackbone, extract_features
from trigan.strategies.fine_tune import FineTune
from trigan.strategies.heads import head_skeleton
from trigan.strategies.pretraining import GANPretraining, Pretraining, PretrainingData
from trigan.strategies.probes import FittedProbe, Probe
from trigan.strategies.stage_runner import StageRunner
from trigan.strategies.strategy import DataUsed, Outcome, labelled_inputs, overall_status, selection_labels
from trigan.training.recalibration import STATISTICS_IMAGES, recalibrate_discriminator
from trigan.training.selection import Selection
from trigan.training.stages.gan_stage import GANStage


@component("strategy/features@1")
@dataclass(frozen=True)
class Features:
    """Fit ``probe`` on features of a discriminator, standardised over training images that the GAN may see.

    ``backbone`` says how D comes by its features: through the GAN stage, or as one of the controls beside it.
    ``layers`` are names of D's layers, none for all; ``grid`` is the side that maps are max-pooled to.
    ``selection``: probes choose on the validation images under the rule ``val``, else within the labelled images.
    ``gan_images``: ``all`` training images (L and U), ``labelled`` ones, or ``auto``: labelled for a conditional GAN, all
    for an unconditional one. ``pretrain``: with another data set, D is trained on the view's external images (X) alone;
    what the GAN might have seen then settles D's batch norm and standardises the features.
    """

    gan: GANStage
    probe: Probe | FineTune
    backbone: Pretraining = field(default_factory=GANPretraining)
    layers: tuple[str, ...] = ()
    grid: int = 4
    gan_images: Literal["auto", "labelled", "all"] = "auto"
    selection: Selection = field(default_factory=Selection)
    pretrain: PretrainingData = field(default_factory=PretrainingData)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if self.grid < 1:
            raise ConfigError(f"strategy.grid: {self.grid} must be at least 1")
        if self.gan_images == "all" and self.gan.architecture.conditional:
            raise ConfigError(
                "strategy.gan_images=all: a conditional GAN needs labels, which unlabelled images have not; set "
                "architecture=dcgan or strategy.gan_images=labelled"
            )
        if not self.backbone.has_network and isinstance(self.probe, FineTune):
            raise ConfigError(
                "strategy.probe=fine_tune needs a network: set another strategy.backbone, such as trained"
            )
        if self.selection.snapshots is not None:
            raise ConfigError(
                f"selection.snapshots={self.selection.snapshots}: strategy=features fits no classifier on images over "
                "time; leave it at null"
            )
        if self.pretrain.data is not None:
            self._check_transfer()

    @property
    def unused_settings(self) -> tuple[str, ...]:
        """Settings that have no effect beside the others: pixels need no layers, and no GAN but for what it may see."""
        if self.backbone.has_network:
            return ()
        return ("layers", "grid", *(f"gan.{one.name}" for one in fields(self.gan) if one.name != "architecture"))

    def _check_transfer(self) -> None:
        if not self.backbone.label_free:
            raise ConfigError(
                "strategy.pretrain.data: nothing is trained on another data set's images with this strategy.backbone; set "
                "strategy.backbone=trained, autoencoder or simclr, or strategy.pretrain.data=null"
            )
        if self.gan.architecture.conditional:
            raise ConfigError(
                "strategy.pretrain.data: a conditional GAN needs this data set's labels, which another's images have "
                "not; set architecture=dcgan"
            )

    def run(self, view: TrainingView, runner: StageRunner) -> Outcome:
        inputs = labelled_inputs(view)
        rule = self.selection.resolve("validation" in inputs)
        self._refuse_unknown_layers(view.spec)
        players = self._pretrained(view, runner, inputs)
        discriminator = players.get("discriminator")
        if isinstance(self.probe, FineTune) and discriminator is not None:
            if self._sees_all():
                inputs["statistics"] = Input(view.training_images)
            trained = self.probe.train(self.gan.architecture, discriminator, self.layers, self.grid, inputs, runner)
            classifier, fitted, step = trained.networks["classifier"], None, trained.step
        else:
            holdout = view.validation if rule == "val" else None
            classifier, fitted = self._probed(discriminator, view, holdout, runner)
            step = 0
        networks: dict[str, nn.Module] = {"classifier": classifier}
        if self.backbone.has_generator:
            networks.update(players)
        return Outcome(
            classifier,
            networks,
            DataUsed(
                len(view.labelled.labels),
                len(view.unlabelled) if self._sees_all() else 0,
                selection_labels(inputs, rule),
                0 if self.pretrain.data is None else len(external_images(view)),
            ),
            rule,
            step,
            overall_status(runner),
            probabilistic=fitted is None or fitted.probabilistic,
            generator=players.get("generator") if self.backbone.has_generator else None,
            notes={} if fitted is None else {"probe": fitted.hyperparameters},
        )

    def skeleton(self, spec: DataSpec, shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> dict[str, nn.Module]:
        saved = shapes["classifier"]
        discriminator = self.gan.architecture.discriminator(spec) if self.backbone.has_network else None
        classifier: nn.Module
        if isinstance(self.probe, FineTune) and discriminator is not None:
            classifier = self.probe.skeleton(self.gan.architecture, self.layers, self.grid, spec)
        else:
            head = head_skeleton(saved, spec.classes)
            classifier = ProbedBackbone(self._extractor(discriminator), head, saved["mean"][0])
        networks = {"classifier": classifier}
        if self.backbone.has_generator:
            networks["generator"] = self.gan.architecture.generator(spec)
        return networks

    def _extractor(self, discriminator: Discriminator | None) -> FeatureExtractor:
        return FeatureExtractor(discriminator, self.layers, self.grid)

    def _refuse_unknown_layers(self, spec: DataSpec) -> None:
        """Before a GAN is trained for them."""
        if self.layers and self.backbone.has_network:
            blank = self._extractor(self.gan.architecture.discriminator(spec)).eval()
            blank(torch.zeros(1, spec.channels, spec.size, spec.size))

    def _sees_all(self) -> bool:
        if self.gan_images == "auto":
            return not self.gan.architecture.conditional
        return self.gan_images == "all"

    def _pool(self, view: TrainingView) -> Tensor:
        """The training images that may be looked at without their labels."""
        return view.training_images if self._sees_all() else view.labelled.images

    def _pretrained(self, view: TrainingView, runner: StageRunner, inputs: Inputs) -> Mapping[str, Any]:
        """D, and G where one is left, as the backbone makes them; after a transfer D is settled on this data set."""
        pool = self._pool(view)
        seen = {**inputs, "statistics": Input(pool)} if self._sees_all() else inputs
        if self.pretrain.data is None:
            labels = view.labelled.labels if self.gan.architecture.conditional else None
            return self.backbone.networks(self.gan, Input(pool, labels), seen, runner)
        players = self.backbone.networks(self.gan, Input(external_images(view)), seen, runner)
        recalibrate_discriminator(players["discriminator"], pool, runner.seed)
        return players

    def _probed(
        self,
        discriminator: Discriminator | None,
        view: TrainingView,
        holdout: LabelledImages | None,
        runner: StageRunner,
    ) -> tuple[ProbedBackbone, FittedProbe]:
        if isinstance(self.probe, FineTune):
            raise ConfigError("strategy.probe=fine_tune needs a network")
        extractor = self._extractor(discriminator)
        device = runner.settings.device
        pool = random_subset(self._pool(view), STATISTICS_IMAGES, runner.seed)

        def of(images: Tensor) -> Tensor:
            return runner.run_task("features", lambda: extract_features(extractor, images, device))

        features, seen = of(view.labelled.images), of(pool)
        mean = seen.mean(0)
        scale = seen.std(0) if self.backbone.per_feature_scale else (seen - mean).square().mean().sqrt().expand_as(mean)
        scale = torch.where(scale > 1e-6, scale, torch.ones_like(scale))

        def standardised(raw: Tensor) -> NDArray[np.float64]:
            return ((raw - mean) / scale).double().numpy()

        chosen_on = None if holdout is None else (standardised(of(holdout.images)), holdout.labels.numpy())
        labels = view.labelled.labels.numpy()
        fitted = self.probe.fit(standardised(features), labels, view.spec.classes, runner.seed, chosen_on)
        network = ProbedBackbone(extractor, fitted.head, features.shape[1])
        network.mean.copy_(mean)
        network.scale.copy_(scale)
        return network.to(device).eval(), fitted
