"""Which classifier is kept: the best on validation labels, ties to the later one; or the last."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from trigan.cost import count_flops
from trigan.datasets.inputs import Input
from trigan.errors import ConfigError
from trigan.training.fit import TrainerSettings, fit
from trigan.training.objectives import Conditional, FeatureMatching, GeneratedPseudoLabels
from trigan.training.selection import Selection, Selector, accuracy
from trigan.training.stage import Stage

from .tiny import Recorder, built, classifier_stage, copied, inputs_for, joint_stage, same, view, with_recipe


class _Constant(nn.Module):
    """Predicts ``answer`` for every image; ``mark`` identifies the candidate."""

    def __init__(self, answer: int = 0, mark: float = 0.0) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.nn.functional.one_hot(torch.tensor(answer), 10).float())
        self.register_buffer("mark", torch.tensor(mark))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), -1)


def _validation(labels: list[int]) -> Input:
    return Input(torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8), torch.tensor(labels))


def test_the_best_is_kept_and_ties_go_to_the_later() -> None:
    selector = Selector(_Constant(), _validation([0, 1, 1, 2, 2]), 10, Selection(candidates=5))
    taken = []
    for step, answer in [(2, 0), (4, 2), (6, 1), (8, 0), (10, 3)]:
        selector.record(_Constant(answer, float(step)), step)
        taken.append((int(selector.step), round(float(selector.accuracy), 3)))
    assert taken == [(2, 0.2), (4, 0.4), (6, 0.4), (6, 0.4), (6, 0.4)]
    assert float(selector.best.mark) == 6.0
    assert not any(weight.requires_grad for weight in selector.best.parameters())


class _Pixels(nn.Module):
    """Logits are the first ten pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * images.flatten(1)[:, :10]


def test_a_selector_may_compare_balanced_accuracy() -> None:
    """Of 8 images of one class and one of another, a constant has 8 right; the other has 5, and one of each class."""
    answers = [0] * 4 + [1] * 5
    images = torch.zeros(9, 1, 8, 8, dtype=torch.uint8)
    images.view(9, 64)[torch.arange(9), torch.tensor(answers)] = 255
    data, kept = Input(images, torch.tensor([0] * 8 + [1])), {}
    for metric in ("accuracy", "balanced_accuracy"):
        selector = Selector(_Pixels(), data, 10, Selection(metric=metric))  # type: ignore[arg-type]
        scores = []
        for step, scale in ((5, 1.0), (10, 0.0)):  # with a scale of 0 every image is of class 0
            network = _Pixels()
            network.scale.data.fill_(scale)
            selector.record(network, step)
            scores.append((selector.latest["validation/accuracy"], selector.latest.get("validation/balanced_accuracy")))
        kept[metric] = int(selector.step), float(selector.accuracy)
    assert kept == {"accuracy": (10, 8 / 9), "balanced_accuracy": (5, 0.75)}
    assert scores == [(5 / 9, 0.75), (8 / 9, 0.5)]
    with pytest.raises(ConfigError, match=r"^metric: auroc must be one of accuracy, balanced_accuracy"):
        Selection(metric="auroc")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("steps", "candidates", "due"),
    [(10, 5, {2, 4, 6, 8, 10}), (1000, 1, {1000}), (7, 3, {2, 5, 7}), (3, 10, {0, 1, 2, 3})],
)
def test_candidates_are_evenly_spaced_and_the_last_step_is_one(steps: int, candidates: int, due: set[int]) -> None:
    assert Selector(_Constant(), _validation([0]), steps, Selection(candidates=candidates)).due_steps == due


def test_rules() -> None:
    assert Selection().resolve(True) == "val"
    assert Selection().resolve(False) == "last"
    assert Selection("last").resolve(True) == "last"
    assert Selection("val").resolve(True) == "val"
    with pytest.raises(ConfigError, match=r"selection.rule=val: this regime has no validation labels; take .*last or"):
        Selection("val").resolve(False)
    with pytest.raises(ConfigError, match=r"^candidates: 0 must be at least 1"):
        Selection(candidates=0)


@pytest.mark.parametrize("stage", [classifier_stage, lambda **changes: joint_stage(FeatureMatching(), **changes)])
def test_val_without_validation_labels_is_refused_before_any_work(stage: object) -> None:
    with pytest.raises(ConfigError, match=r"selection.rule=val"):
        built(stage(selection=Selection("val")))  # type: ignore[operator]


def _scores_by_hand(stage: Stage, seen: object) -> tuple[nn.Module, dict[int, float], nn.Module, nn.Module]:
    """(kept, accuracy of the recalibrated average after each step, best by hand, last)."""
    inputs = inputs_for(stage, seen)  # type: ignore[arg-type]
    scores: dict[int, float] = {}
    networks: dict[int, nn.Module] = {}

    def look(module: object, metrics: object) -> None:
        network = deepcopy(module.evaluation_network("classifier"))  # type: ignore[attr-defined]
        module.recalibrate(network)  # type: ignore[attr-defined]
        scores[module.completed_steps] = accuracy(network, inputs["validation"])  # type: ignore[attr-defined]
        networks[module.completed_steps] = network  # type: ignore[attr-defined]

    module = built(stage, inputs)
    fit(module, TrainerSettings(), callbacks=[Recorder(look)])
    best = max(scores, key=lambda step: (scores[step], step))
    return stage.finish(module, inputs)["classifier"], scores, networks[best], networks[max(networks)]


@pytest.mark.parametrize("rule", ["val", "last"])
@pytest.mark.parametrize("objective", [None, FeatureMatching(), GeneratedPseudoLabels(), Conditional()])
def test_a_fit_keeps_what_the_rule_says(rule: str, objective: object) -> None:
    selection = Selection(rule, 12)  # type: ignore[arg-type]
    stage = classifier_stage(12) if objective is None else joint_stage(objective, 12)  # type: ignore[arg-type]
    kept, scores, best, last = _scores_by_hand(with_recipe(stage, selection=selection), view(validation=True))
    assert len(set(scores.values())) > 1, "all candidates are alike, so nothing was shown"
    assert same(copied(kept.state_dict()), copied((best if rule == "val" else last).state_dict()))
    assert not kept.training


def test_candidates_are_recalibrated_as_copies() -> None:
    stage = classifier_stage(4, selection=Selection("val", 4))
    module, recalibrated = built(stage, inputs_for(stage, view(validation=True))), []
    module.recalibrate = recalibrated.append
    fit(module, TrainerSettings())
    assert len(recalibrated) == 4
    assert all(network is not module.evaluation_network("classifier") for network in recalibrated)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_candidates_are_charged_and_evaluated_in_full_precision(precision: str) -> None:
    stage, inputs = (
        classifier_stage(6, selection=Selection("val", 3)),
        inputs_for(classifier_stage(), view(validation=True)),
    )
    settings = TrainerSettings(precision=precision)  # type: ignore[arg-type]
    module, bare = (
        built(stage, inputs, settings),
        built(with_recipe(stage, selection=Selection("last")), inputs, settings),
    )
    assert module.selector is not None
    dtypes: list[torch.dtype] = []

    def look(network: nn.Module) -> None:
        network.register_forward_hook(lambda *given: dtypes.append(given[2].dtype))
        recalibrate(network)

    recalibrate, module.recalibrate = module.recalibrate, look
    fit(bare, settings)
    fit(module, settings)
    assert set(dtypes) == {torch.float32}

    network = deepcopy(module.evaluation_network("classifier"))
    by_hand = count_flops(lambda: (recalibrate(network), module.selector.record(network, 0)))
    assert module.flops_per_validation == by_hand > 0
    assert module.flops == bare.flops + 3 * by_hand


def test_accuracy_is_a_fraction() -> None:
    assert accuracy(_Constant(1), _validation([1, 1, 0, 2])) == 0.5
