"""C is trained alike by the code of every strategy: with a game's terms off, C's weights are the baseline's."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from trigan.component_ids import as_config
from trigan.datasets.augmentation import ClassicAugmentation, NoAugmentation, StrongAugmentation
from trigan.datasets.inputs import Inputs
from trigan.datasets.mixing import MixUp
from trigan.losses.gan_losses import AdversarialLoss
from trigan.networks.classifiers.cnn import SmallCNN
from trigan.networks.classifiers.mlp import MLP
from trigan.networks.gans.gan import Architecture
from trigan.strategies.baseline import FixMatchTraining
from trigan.strategies.stage_runner import classifier_counts
from trigan.training.balance import ClassWeights, Resampling
from trigan.training.fit import TrainerSettings
from trigan.training.objectives import (
    ACGAN,
    BadGAN,
    Conditional,
    FeatureMatching,
    GeneratedPseudoLabels,
    SharedNetwork,
    TripleGAN,
)
from trigan.training.objectives.objective import ObjectiveContext, ObjectiveFactory
from trigan.training.optimizers import SGD, CosineArc, LinearTail
from trigan.training.players import PlayersModule, Update
from trigan.training.selection import Selection
from trigan.training.stage import Stage
from trigan.training.terms.loss_terms import FixMatch

from .tiny import CGAN8, CONDITIONAL, DCGAN8, NOW, TURNED, classifier_stage, copied, fitted, joint_stage, same, view
from .tiny import inputs_of as all_inputs


@dataclass(frozen=True)
class LabelledOnly(ObjectiveFactory):
    """``game`` with its updates of G and D, and C's loss reduced to the labelled loss."""

    game: ObjectiveFactory

    name = "labelled_only"

    @property
    def players(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.game.players

    @property
    def two_heads(self) -> bool:  # type: ignore[override]
        return self.game.two_heads

    def check(self, architecture: Architecture, loss: AdversarialLoss) -> None:
        self.game.check(architecture, loss)

    def updates(self, context: ObjectiveContext) -> tuple[Update, ...]:
        updates = self.game.updates(context)
        return tuple(replace(one, loss=context.labelled_loss) if one.player == "classifier" else one for one in updates)


GAMES: dict[str, ObjectiveFactory] = {
    "feature matching, weight 0": FeatureMatching(unlabelled_weight=0.0),
    "EC-GAN, weight 0": GeneratedPseudoLabels(weight=0.0, ramp=NOW),
    "feature matching": LabelledOnly(FeatureMatching()),
    "BadGAN": LabelledOnly(BadGAN()),
    "conditional": LabelledOnly(Conditional(ramp=NOW)),
    "Triple-GAN": LabelledOnly(TripleGAN(ramp=NOW, pretrain=0.3)),
    "EC-GAN": LabelledOnly(GeneratedPseudoLabels(ramp=NOW)),
    "AC-GAN": LabelledOnly(ACGAN()),
    "shared network": LabelledOnly(SharedNetwork()),
}
#: Every field of a recipe, set to what is not its default.
RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "dropout, mixing, class weights, clipping": {
        "classifier": SmallCNN(4, dropout=0.5),
        "mix": MixUp(0.5),
        "balance": ClassWeights(),
        "clip": 0.1,
        "ema": None,
    },
    "noise, momentum, resampling, selection": {
        "classifier": MLP((16, 8)),
        "optimizer": SGD(0.03, schedule=CosineArc(warmup=0.3)),
        "balance": Resampling(),
        "selection": Selection("val", 3, snapshots=2),
        "batch": 20,
    },
}


def _conditional(game: ObjectiveFactory) -> bool:
    return isinstance(getattr(game, "game", game), CONDITIONAL)


def _joint(game: ObjectiveFactory, recipe: dict[str, Any], **changes: Any) -> Stage:
    """The game by the recipe of `classifier_stage`."""
    changes = {"architecture": CGAN8 if _conditional(game) else DCGAN8, **changes}
    return replace(joint_stage(FeatureMatching()), objective=game, recipe=classifier_stage(**recipe).recipe, **changes)


def _classifiers(stage: Stage, inputs: Inputs) -> dict[str, torch.Tensor]:
    """The state of C, and of its snapshots, after a fit."""
    module, _ = fitted(stage, inputs=inputs)
    kept = stage.finish(module, inputs)
    states = {name: kept[name].state_dict() for name in ("classifier", "snapshots") if name in kept}
    return copied({f"{name}.{key}": value for name, state in states.items() for key, value in state.items()})


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("game", GAMES)
def test_a_game_whose_terms_are_off_trains_the_baselines_classifier(game: str, recipe: str) -> None:
    """Bit for bit, with the batch-norm statistics, where both take these from the same images."""
    labelled = all_inputs(view(validation=True))
    del labelled["unlabelled"]
    baseline = _classifiers(classifier_stage(**RECIPES[recipe]), labelled)
    joint = _classifiers(_joint(GAMES[game], RECIPES[recipe]), {**labelled, "unlabelled": labelled["labelled"]})
    assert same(baseline, joint)


def test_with_unlabelled_images_only_the_statistics_differ() -> None:
    inputs = all_inputs(view())
    baseline = _classifiers(classifier_stage(), {"labelled": inputs["labelled"]})
    joint = _classifiers(_joint(GAMES["feature matching, weight 0"], {}), inputs)
    differing = {name for name in baseline if not torch.equal(baseline[name], joint[name])}
    assert differing
    assert all("running" in name for name in differing)


@pytest.mark.parametrize("game", ["feature matching, weight 0", "conditional"])
def test_fixmatch_is_the_same_as_a_baseline_and_as_a_term_of_a_game(game: str) -> None:
    strong = StrongAugmentation(TURNED)
    stage, inputs = FixMatchTraining(strong, threshold=0.1).prepare(classifier_stage(), view(), None)  # type: ignore[arg-type]
    joint = _joint(GAMES[game], {}, consistency=FixMatch(TURNED, strong, 0.1, stream="consistency"))
    assert same(_classifiers(stage, inputs), _classifiers(joint, all_inputs(view())))


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": SGD(0.01)},
        {"steps": 5},
        {"batch": 8},
        {"ema": None},
        {"clip": 1e-3},
        {"mix": MixUp()},
        {"balance": Resampling()},
        {"augmentation": StrongAugmentation(TURNED)},
        {"classifier": SmallCNN(8, dropout=0.1)},
    ],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.parametrize("stage", [classifier_stage, lambda **changes: _joint(GAMES["conditional"], changes)])
def test_every_part_of_a_recipe_reaches_c(stage: Callable[..., Stage], change: dict[str, Any]) -> None:
    """The labelled images are uneven, so that balancing changes which are drawn."""
    inputs = dict(all_inputs(view()))
    rows = torch.arange(30)
    inputs["labelled"] = replace(
        inputs["labelled"], images=inputs["labelled"].images[rows], labels=inputs["labelled"].known_labels[rows]
    )
    given = inputs if stage is not classifier_stage else {"labelled": inputs["labelled"]}
    assert not same(_classifiers(stage(), given), _classifiers(stage(**change), given))


def test_a_schedule_rises_over_its_warm_up_and_then_keeps_its_shape() -> None:
    plain, warm = LinearTail(0.5), LinearTail(0.5, warmup=0.2)
    assert [warm(0.0), warm(0.1), warm(0.2), warm(0.75)] == [0.0, 0.5, 1.0, plain(0.75)]
    assert CosineArc()(1.0) == pytest.approx(0.19509, abs=1e-5), "Sohn et al. 2020: cos(7 pi / 16)"


def test_what_c_was_shown_is_counted() -> None:
    """By stream, for C's updates alone: D's and G's use of a batch does not count."""

    def counts(module: PlayersModule) -> dict[str, int]:
        return {key: n for key, n in module.classifier_counts.items() if not key.startswith("augmented/")}

    inputs = all_inputs(view())
    baseline, _ = fitted(classifier_stage(), inputs={"labelled": inputs["labelled"]})
    assert counts(baseline) == {"updates": 6, "images/labelled": 96}
    assert baseline.statistics_images == len(view().labelled.labels)
    game, _ = fitted(_joint(FeatureMatching(), {}), inputs=inputs)
    streams = {f"images/{name}": 96 for name in ("labelled", "unlabelled", "fakes")}
    assert counts(game) == {"updates": 6, **streams}
    assert game.statistics_images == len(view().training_images)
    other, _ = fitted(_joint(GAMES["EC-GAN, weight 0"], {}), inputs=inputs)
    assert counts(other) == {"updates": 6, "images/labelled": 96}


def test_what_was_done_to_the_images_is_counted() -> None:
    """For C's updates alone, by what ran and what it changed, not by settings; in micro-batches as in whole ones."""

    def augmented(stage: Stage, inputs: Inputs, settings: TrainerSettings | None = None) -> dict[str, Any]:
        found: dict[str, Any] = classifier_counts(fitted(stage, settings, inputs)[0])["classifier"]["augmented"]
        return found

    inputs = all_inputs(view())
    given = {"labelled": inputs["labelled"], "unlabelled": inputs["unlabelled"]}
    weak, strong = ClassicAugmentation(rotate=10.0), ClassicAugmentation(noise=0.5)
    stage = replace(classifier_stage(augmentation=weak), terms=(FixMatch(weak, strong, ratio=2),))
    for accumulate in (1, 2):
        counted = augmented(stage, given, TrainerSettings(accumulate=accumulate))
        assert {name: [(one["view"], one["images"]) for one in views] for name, views in counted.items()} == {
            "labelled": [("augment", 96)],
            "unlabelled": [("strong", 192), ("weak", 192)],
        }
    assert counted["unlabelled"][0]["augmentation"] == as_config(strong)
    off = replace(stage, terms=(FixMatch(NoAugmentation(), ClassicAugmentation(), ratio=2),))
    counted = augmented(off, given)
    assert [one["images"] for one in counted["unlabelled"]] == [0, 0], "neither changes an image"
    game = augmented(_joint(FeatureMatching(), {}), inputs)
    assert {name: [one["view"] for one in views] for name, views in game.items()} == {
        "fakes": ["view"],
        "labelled": ["augment"],
        "unlabelled": ["view"],
    }
