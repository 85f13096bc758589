"""Classifiers that judge generated images: trained by the recipe of the data on real images, on samples, or on both."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from trigan.artifacts.store import Store
from trigan.config.build import build
from trigan.config.compose import RunConfig, compose
from trigan.datasets.inputs import Input
from trigan.datasets.types import LabelledImages
from trigan.errors import DataError
from trigan.rng import permutation
from trigan.runs.trained_run import divide_data
from trigan.samples.filters import outputs
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.training.selection import Selection
from trigan.training.stages.classifier_stage import ClassifierStage

#: Samples that NAS adds, as shares of the number of real training images (Ravuri and Vinyals 2019).
NAS_SHARES = (0.25, 0.5, 1.0)


class StandardClassifiers:
    """Trains classifiers on all labels of the training images (regime ``full``), each once per store.

    All have the recipe of the config, at its last step. The validation images of the regime score them; test images are
    not looked at. ``most`` limits the real images, and with them the samples; None: all.
    """

    def __init__(self, config: RunConfig, most: int | None = None) -> None:
        self._config, self._most = config, most
        held_out = {"held_out_classes": config.config["regime"].get("held_out_classes", [])}
        full = compose(["regime=full", "logger=none"]).config["regime"] | held_out
        self._view, _ = divide_data(replace(config, config={**config.config, "regime": full}), config.load_data())
        built: Any = build({name: config.config[name] for name in ("recipe", "trainer")})
        self._stage = ClassifierStage(replace(built.recipe, selection=Selection("last")))
        self._runner = StageRunner(
            Store(config.paths.artifacts),
            "metrics",
            self._view.spec,
            config.seed,
            built.trainer,
            config.debug.max_steps if config.debug is not None else None,
        )

    @cached_property
    def real(self) -> TrainedStage:
        """The classifier of the real training images; its digest identifies it."""
        return self._train("classifier-real", self._labelled)

    @cached_property
    def _labelled(self) -> LabelledImages:
        every = self._view.labelled
        if self._most is None or len(every) <= self._most:
            return every
        rows = permutation(len(every), "standard")[: self._most].sort().values
        return LabelledImages(every.images[rows], every.labels[rows])

    def _train(self, name: str, data: LabelledImages) -> TrainedStage:
        # batch-norm statistics are of real images, whatever C was trained on
        labelled = Input(data.images, data.labels, sampled=data is not self._labelled)
        inputs = {"labelled": labelled, "statistics": Input(self._labelled.images)}
        return self._runner.train(name, self._stage, inputs)

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, K) of the real images' classifier, for uint8 (N, C, S, S)."""
        return outputs(self.real.networks["classifier"], images)

    def figures(
        self, sample: Callable[[Tensor], LabelledImages], shares: Sequence[float] = NAS_SHARES
    ) -> dict[str, float]:
        """Accuracies in [0, 1]; all but ``gan_test`` are of real held-out images.

        - ``real_accuracy``: C trained on the real images;
        - ``gan_train`` (CAS): C trained on samples alone, one for each real image and of its class;
        - ``gan_test``: C trained on the real images, scored on the samples (Shmelkov et al. 2018, 1807.09499);
        - ``nas_25``, ``nas_50``, ``nas_100``: C trained on real images and so many % samples (1905.10887).

        Args:
            sample: labelled samples for int64 labels (n,), as many or fewer.
            shares: of NAS.

        Raises:
            DataError: the data have no validation images.
        """
        validation = self._view.validation
        if validation is None:
            raise DataError("gan_train and NAS need validation images, and this data set is too small to have some")
        samples = sample(self._labelled.labels)
        order = permutation(len(samples), "NAS")

        def accuracy(stage: TrainedStage, data: LabelledImages) -> float:
            right = outputs(stage.networks["classifier"], data.images).argmax(1) == data.labels
            return float(right.double().mean())

        found = {
            "real_accuracy": accuracy(self.real, validation),
            "gan_train": accuracy(self._train("classifier-gan-train", samples), validation),
            "gan_test": accuracy(self.real, samples),
        }
        for share in shares:
            rows = order[: round(share * len(self._labelled))]
            mixed = LabelledImages(
                torch.cat([self._labelled.images, samples.images[rows]]),
                torch.cat([self._labelled.labels, samples.labels[rows]]),
            )
            name = f"nas_{100 * share:g}"
            found[name] = accuracy(self._train(f"classifier-{name}", mixed), validation)
        return found
