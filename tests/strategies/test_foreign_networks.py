"""A user's classifier with torch's batch norm and dropout is trained, kept and loaded as one with trigan's layers."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from trigan.datasets.types import DataSpec
from trigan.errors import ConfigError
from trigan.networks.batchnorm import BatchNorm2d
from trigan.networks.classifiers.classifier import Classifier
from trigan.networks.random_layers import Dropout
from trigan.samples.filters import outputs
from trigan.strategies.baseline import Baseline
from trigan.strategies.sample_schedules import PretrainSchedule
from trigan.training.optimizers import EMA

from ..training.tiny import classifier_stage, digits, same, view, with_recipe
from .recipes import augment, make_runner, reloaded, saved

LAYERS = {"torch": (nn.BatchNorm2d, nn.Dropout), "trigan": (BatchNorm2d, Dropout)}


@dataclass(frozen=True)
class Factory:
    """A small network whose batch norm and dropout are from ``package``."""

    package: Literal["torch", "trigan"]
    refused: bool = False

    def __call__(self, spec: DataSpec) -> Classifier:
        norm, dropout = LAYERS[self.package]
        layers = [nn.Conv2d(spec.channels, 16, 3, padding=1), norm(16), nn.ReLU(), dropout(0.1)]
        if self.refused:
            layers.append(nn.Dropout2d(0.1))
        return Classifier(nn.Sequential(*layers, nn.Flatten()), nn.Linear(16 * spec.size**2, spec.classes))


def stage(library: Literal["torch", "trigan"], steps: int = 6) -> Baseline:
    return Baseline(classifier_stage(steps, classifier=Factory(library), ema=EMA(320, 0.5)))


def test_the_fit_is_that_of_our_layers_and_its_average_has_statistics(tmp_path: Path) -> None:
    """An averaged copy of torch's own batch norm keeps its first statistics: 15.8 % instead of 92.8 % were seen."""
    states = {}
    for library in LAYERS:
        strategy, runner = stage(library, 60), make_runner(tmp_path / library)  # type: ignore[arg-type]
        outcome = strategy.run(view(labels=20), runner)
        states[library] = outcome.classifier.state_dict()
        hit = outputs(outcome.classifier, digits().images).argmax(1) == digits().labels
        assert float(hit.float().mean()) > 0.6, library
    assert same(states["torch"], states["trigan"])


def test_stored_networks_are_loaded_into_replaced_layers(tmp_path: Path) -> None:
    strategy, seen = stage("torch"), view()
    first = strategy.run(seen, make_runner(tmp_path))
    second = strategy.run(seen, runner := make_runner(tmp_path))
    assert runner.trained_stages[0].reused
    assert same(first.classifier.state_dict(), second.classifier.state_dict())
    (classifier,) = reloaded(strategy, saved(first)).values()
    assert same(first.classifier.state_dict(), classifier.state_dict())
    torch.testing.assert_close(outputs(classifier, seen.unlabelled), outputs(first.classifier, seen.unlabelled))


def test_a_second_fit_starts_from_replaced_layers(tmp_path: Path) -> None:
    recipe = augment(source="noise", schedule=PretrainSchedule(), classifier=stage("torch").classifier)
    assert recipe.run(view(), make_runner(tmp_path)).status == "finished"


def test_a_layer_that_cannot_be_replaced_is_refused_before_the_fit(tmp_path: Path) -> None:
    strategy = stage("torch")
    strategy = replace(strategy, classifier=with_recipe(strategy.classifier, classifier=Factory("torch", refused=True)))
    with pytest.raises(ConfigError, match=r"^classifier: its layer body\.4 is a Dropout2d"):
        strategy.run(view(), make_runner(tmp_path))
