"""The outcome of every strategy: logits, the numbers of images used, and complete weights."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reachable import reachable

from tests.support.drawn import generate
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.regime import Regime
from trigan.datasets.splits.splitter import DataSplit
from trigan.samples.filters import outputs
from trigan.strategies.strategy import Outcome
from trigan.training.fit import TrainerSettings
from trigan.training.selection import Selection

from ..training.tiny import digits, view, with_parts, with_recipe
from .recipes import RECIPES, logits, make_runner, reloaded, saved, unseen_images

#: The unlabelled images that each row uses, of 200 (DESIGN 2.4: unconditional GANs use L and U, conditional ones L).
UNLABELLED_USED = {
    "baseline": 0,
    "self-training": 200,
    "fixmatch": 200,
    "freematch": 200,
    "ensemble": 0,
    "baseline, new head": 0,
    "ensemble, adjusted": 0,
    "augment, labels by classifier": 200,
    "augment, labels by condition": 0,
    "augment, one GAN a class": 0,
    "augment, GAN of labelled images": 0,
    "augment, unlabelled": 200,
    "augment, labelled": 0,
    "augment, noise": 0,
    "augment, two GANs and sets": 0,
    "augment, diffusion": 200,
    "augment, diffusion without labels": 0,
    "augment, all that experts do": 200,
    "augment, partly labelled": 200,
    "augment, SMOTE, head last": 0,
    "augment, DeepSMOTE": 0,
    "augment, samples first": 0,
    "features": 200,
    "features of a conditional D": 0,
    "features, partly labelled": 200,
    "features, untrained": 200,
    "features, diffusion": 200,
    "features, diffusion fine-tuned": 200,
    "features, diffusion untrained": 200,
    "features, neighbours": 200,
    "pixels": 200,
    "pixels, neighbours": 200,
    "features, perceptron": 200,
    "features, fine-tuned": 200,
    "features, fine-tuned layer by layer": 200,
    "features, supervised": 0,
    "features, autoencoder": 200,
    "features, contrast": 0,
    "joint, feature matching": 200,
    "joint, pseudo-label": 200,
    "joint, conditional": 200,
    "joint, AC-GAN": 200,
}
TUNED = {"features, diffusion fine-tuned", "features, fine-tuned", "features, fine-tuned layer by layer"}
PROBED = {name for name in RECIPES if name.startswith(("features", "pixels"))} - TUNED
#: Rows whose classifier's stage is not that of another row here.
CHOSEN = [
    *sorted({name for name in RECIPES if not name.startswith("augment")}),
    "augment, noise",
    "augment, samples first",
]
#: Rows that do not use the unlabelled images.
WITHOUT_U = sorted({name for name in RECIPES if not UNLABELLED_USED[name]} - {"augment, one GAN a class"})


#: Recipes that share their parts with others: a second fit of them is for the long suite.
FURTHER = {
    *("features, diffusion fine-tuned", "features, diffusion untrained", "augment, diffusion without labels"),
    *("augment, two GANs and sets", "augment, samples first", "features, perceptron"),
    *("features, fine-tuned layer by layer", "features, autoencoder", "features, contrast", "joint, AC-GAN"),
}


def named(names: Iterable[str]) -> list[Any]:
    """The names as parameters of a test, the further ones marked slow."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in FURTHER else name for name in names]


class _Outcomes(dict[str, Outcome]):
    """Each recipe's outcome, run when it is first asked for; they share one store, as the rows of a study do."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def __missing__(self, name: str) -> Outcome:
        seen = with_parts(view())
        self[name] = RECIPES[name]().run(seen, make_runner(self._root))
        assert seen.taken == {"L": 40, "U": UNLABELLED_USED[name], "V": 0, "X": 0}
        return self[name]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    return _Outcomes(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize("name", RECIPES)
def test_an_outcome_classifies(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome, images = outcomes[name], unseen_images()
    found = outcome.classifier(images)
    assert found.shape == (len(images), 10)
    assert torch.isfinite(found).all()
    assert not outcome.classifier.training
    assert outcome.status == "finished"
    assert outcome.rule == "last"
    assert float(found.detach().std(0).min()) > 0, "the same logits for every image"
    assert set(outcome.weights) >= {"classifier"}
    assert (outcome.generator is not None) == ("generator" in outcome.weights)


@pytest.mark.parametrize("name", RECIPES)
def test_saved_weights_are_complete(name: str, outcomes: dict[str, Outcome]) -> None:
    """Networks built from the description and the files alone give the same logits and samples to the last bit."""
    outcome = outcomes[name]
    again = reloaded(RECIPES[name](), saved(outcome))
    assert torch.equal(logits(again["classifier"], unseen_images()), logits(outcome.classifier, unseen_images()))
    assert torch.equal(outputs(again["classifier"], view().unlabelled), outputs(outcome.classifier, view().unlabelled))
    if outcome.generator is not None:
        labels = torch.arange(20) % 10 if outcome.generator.classes else None
        drawn = [generate(network, 1, 20, labels).images for network in (again["generator"], outcome.generator)]
        assert torch.equal(*drawn)
    else:
        assert "generator" not in saved(outcome)


@pytest.mark.parametrize("name", named(CHOSEN))
def test_validation_labels_are_counted_where_they_select(name: str, tmp_path: Path) -> None:
    seen = with_parts(view(validation=True))
    outcome = RECIPES[name]().run(seen, make_runner(tmp_path))
    assert (outcome.rule, seen.taken["V"], seen.taken["L"]) == ("val", seen.sizes.validation, 40)
    assert (outcome.selected_step > 0) == (name not in PROBED)


@pytest.mark.parametrize("name", ["baseline", "features", "joint, feature matching"])
def test_the_rule_last_does_not_use_validation_images(name: str, tmp_path: Path) -> None:
    """Whatever they are, the outcome is the same."""
    seen = view(validation=True)
    assert seen.validation is not None
    turned = with_parts(seen, validation=type(seen.validation)(255 - seen.validation.images, seen.validation.labels))
    found = []
    for each in (seen, turned):
        outcome = with_rule(RECIPES[name](), Selection("last")).run(each, make_runner(tmp_path))
        assert outcome.rule == "last"
        found.append(logits(outcome.classifier, unseen_images()))
    assert torch.equal(*found)


def with_rule(strategy: Any, selection: Selection) -> Any:
    """The strategy with its selection rule, wherever it keeps it."""
    for place in ("classifier", "joint"):
        if hasattr(strategy, place):
            return replace(strategy, **{place: with_recipe(getattr(strategy, place), selection=selection)})
    return replace(strategy, selection=selection)


@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize("name", named(RECIPES))
def test_a_strategy_takes_validation_images_only_to_select(name: str, validation: bool, tmp_path: Path) -> None:
    """The record has what a strategy took. A selection by the rule ``last`` takes no validation images."""
    for rule in ("auto", "last") if validation else ("last",):
        seen = with_parts(view(validation=validation))  # of its own: it counts
        strategy = with_rule(RECIPES[name](), Selection(rule))  # type: ignore[arg-type]
        strategy.run(seen, make_runner(tmp_path))
        selecting = seen.sizes.validation if rule == "auto" else 0
        assert seen.taken == {"L": 40, "U": UNLABELLED_USED[name], "V": selecting, "X": 0}


@pytest.mark.parametrize("name", named(WITHOUT_U))
def test_images_that_a_row_does_not_use_change_nothing(name: str, tmp_path: Path) -> None:
    """U = 0 means that the unlabelled images could be any others."""
    other = with_parts(view(), unlabelled=255 - view().unlabelled)
    found = [
        logits(RECIPES[name]().run(each, make_runner(tmp_path)).classifier, unseen_images()) for each in (view(), other)
    ]
    assert torch.equal(*found)


@pytest.mark.parametrize("name", ["baseline", "augment, labels by classifier", "features", "pixels, neighbours"])
@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_other_precisions(name: str, precision: str, tmp_path: Path) -> None:
    """And a second run, whose stages come from the store, ends with the same logits."""
    settings = TrainerSettings(precision=precision)  # type: ignore[arg-type]
    scores = []
    for _ in range(2):
        outcome = RECIPES[name]().run(view(), make_runner(tmp_path, settings))
        scores.append(outputs(outcome.classifier, view().unlabelled))
    assert torch.isfinite(scores[0]).all()
    assert torch.equal(*scores)


def _rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


@pytest.fixture(scope="module")
def drawn() -> DataSplit:
    return draw_split(digits(), Regime(labels_per_class=4, unlabelled=200, validation="large"), 0)


@pytest.mark.parametrize("name", ["self-training", "augment, labels by classifier", "features, fine-tuned"])
def test_no_object_of_a_strategy_references_hidden_labels_or_test_images(
    name: str, drawn: DataSplit, tmp_path: Path
) -> None:
    runner, strategy = make_runner(tmp_path), RECIPES[name]()
    outcome = strategy.run(drawn.view, runner)
    tensors = reachable([drawn.view, runner, strategy, outcome])
    assert any(tensor is drawn.view.unlabelled for tensor in tensors)
    source = digits()
    of_source = {source.images.untyped_storage().data_ptr(), source.labels.untyped_storage().data_ptr()}
    assert not [t for t in tensors if t.untyped_storage().data_ptr() in of_source]
    index = {image.numpy().tobytes(): row for row, image in enumerate(source.images)}
    hidden = source.labels[[index[row] for row in map(lambda i: i.numpy().tobytes(), drawn.view.unlabelled)]]
    assert not [t for t in tensors if t.shape == hidden.shape and torch.equal(t, hidden)]
    known = _rows(drawn.view.labelled.images) | _rows(drawn.view.unlabelled)
    assert drawn.view.validation is not None
    known |= _rows(drawn.view.validation.images)
    unknown = set(index) - known
    images = [t for t in tensors if t.dtype == torch.uint8 and t.ndim == 4 and t.shape[1:] == (1, 8, 8)]
    assert images
    for found in images:
        assert not _rows(found) & unknown, "a test image is within reach"
