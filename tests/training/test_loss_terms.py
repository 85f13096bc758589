"""The terms of C's loss on further images."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.datasets.augmentation import ClassicAugmentation, NoAugmentation
from trigan.datasets.inputs import Input
from trigan.datasets.stream import to_float
from trigan.errors import ConfigError
from trigan.networks.batchnorm import auxiliary_batch_norm, batch_norms
from trigan.networks.classifiers.separate_batch_norm import SeparateBatchNorm
from trigan.rng import Draws
from trigan.training.players import PlayersModule
from trigan.training.stages.labelled_loss import LabelledLoss
from trigan.training.step import TrainingStep
from trigan.training.terms.loss_terms import ExtraImages, FixMatch, LossTerm, PiModel

from .tiny import CNN8, SPEC, TURNED, PlainClassifier, built, classifier_stage, fitted, inputs_for


def _with_term(
    term: LossTerm, stream: str, images: Tensor, labels: Tensor | None = None
) -> tuple[PlayersModule, TrainingStep]:
    stage = classifier_stage(terms=(term,))
    module = built(stage, {**inputs_for(stage), stream: Input(images, labels)})
    module.networks.train()
    return module, TrainingStep(module.step_context, 0, 0, False)


def _noise(count: int) -> Tensor:
    source = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, 1, 8, 8), generator=source, dtype=torch.uint8)


class _Scaled:
    """An augmentation with a gradient of its own: the images times a weight."""

    def __init__(self) -> None:
        self.weight = torch.ones((), requires_grad=True)

    def __call__(self, images: Tensor, draws: Draws, stream: str) -> Tensor:
        return images * self.weight


def test_fixmatch_has_gradients_through_the_strong_view_alone() -> None:
    weak, strong = _Scaled(), _Scaled()
    term = FixMatch(weak, strong, threshold=0.0)
    module, step = _with_term(term, "unlabelled", _noise(64))
    term(step, module.networks["classifier"]).backward()
    assert weak.weight.grad is None
    assert strong.weight.grad is not None
    assert float(strong.weight.grad.abs()) > 0.0


@pytest.mark.parametrize("threshold", [0.0, 0.15])
@torch.no_grad()
def test_fixmatch_by_hand(threshold: float) -> None:
    """Sohn et al. 2020, eq. 4, image by image, with a network that has no batch statistics."""
    term = FixMatch(NoAugmentation(), TURNED, threshold, weight=0.5)
    stage = classifier_stage(classifier=PlainClassifier(), terms=(term,))
    module = built(stage, {**inputs_for(stage), "unlabelled": Input(_noise(64))})
    step, network = TrainingStep(module.step_context, 0, 0, False), module.networks["classifier"]
    loss = term(step, network)
    batch = step.batch("unlabelled")
    assert len(batch.images) == term.stream_batch_size(16) == 32
    total, sure = 0.0, 0
    views = TURNED(batch.images, batch.draws, "strong")
    for image, strong in zip(batch.images, views, strict=True):
        probabilities = network(image[None]).softmax(1)[0]
        if float(probabilities.max()) >= threshold:
            sure += 1
            total -= 0.5 * float(network(strong[None]).log_softmax(1)[0, int(probabilities.argmax())])
    assert float(loss) == pytest.approx(total / 32, rel=1e-5)
    assert sure == 32 if threshold == 0.0 else 0 < sure < 32


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@torch.no_grad()
def test_the_pi_model_by_hand(share: float) -> None:
    """Laine & Aila 2017, algorithm 1 (Pi), the weight half-way up after half of the ramp."""
    term = PiModel(TURNED, weight=4.0, ramp_up=0.5)
    stage = classifier_stage(8, classifier=PlainClassifier(), terms=(term,))
    module = built(stage, {**inputs_for(stage), "unlabelled": Input(_noise(64))})
    step, network = TrainingStep(module.step_context, round(share * 4), 0, False), module.networks["classifier"]
    batch = step.batch("unlabelled")
    assert len(batch.images) == term.stream_batch_size(16) == 16
    views = [TURNED(batch.images, batch.draws, name) for name in ("one", "other")]
    p, q = (network(view).softmax(1) for view in views)
    weight = 4.0 * math.exp(-5 * (1 - share) ** 2)
    expected = weight * (p - q).square().sum() / (16 * 10)
    assert float(expected) > 0
    torch.testing.assert_close(term(step, network), expected)


def test_the_pi_model_refuses_a_view_that_changes_nothing() -> None:
    for view in (NoAugmentation(), ClassicAugmentation()):
        with pytest.raises(
            ConfigError, match=r"^augmentation: .* must be an augmentation that changes images: otherwise"
        ):
            PiModel(view)
    for view in (
        ClassicAugmentation(crop=1),
        ClassicAugmentation(flip=True),
        ClassicAugmentation(noise=0.1),
        ClassicAugmentation(cutout=2),
        ClassicAugmentation(rotate=5),
    ):
        PiModel(view)


def test_extra_images_have_their_weight_and_their_own_batch_statistics() -> None:
    labels = torch.arange(64) % 10
    term = ExtraImages(NoAugmentation(), weight=0.25, ratio=0.5)
    module, step = _with_term(term, "extra", _noise(64), labels)
    network = module.networks["classifier"]
    loss = term(step, network)
    batch = step.batch("extra")
    assert len(batch.images) == 8
    torch.testing.assert_close(loss, 0.25 * F.cross_entropy(network(batch.images), batch.known_labels))


@torch.no_grad()
def test_extra_images_with_probabilities_as_labels() -> None:
    """-E sum_k t_k log p_k; a one-hot row is the label's cross-entropy."""
    labels = torch.arange(64) % 10
    one_hot, soft = F.one_hot(labels, 10).float(), torch.rand(64, 10, generator=torch.Generator().manual_seed(0))
    soft = soft / soft.sum(1, keepdim=True)
    term = ExtraImages(NoAugmentation())
    losses = []
    for targets in (labels, one_hot, soft):
        module, step = _with_term(term, "extra", _noise(64), targets)
        losses.append(term(step, module.networks["classifier"]))
    torch.testing.assert_close(losses[0], losses[1])
    logits, targets = module.networks["classifier"](step.batch("extra").images), step.batch("extra").known_labels
    torch.testing.assert_close(losses[2], -(targets * logits.log_softmax(1)).sum(1).mean())


@pytest.mark.parametrize(
    ("annealing", "factors"),
    [
        ("none", (1.0, 1.0, 1.0)),
        ("linear", (1.0, 0.5, 0.25)),
        ("cosine", (1.0, 0.5, (1 + math.cos(0.75 * math.pi)) / 2)),
    ],
)
def test_the_weight_of_extra_images_falls_until_a_share_of_the_fit(annealing: Any, factors: tuple[float, ...]) -> None:
    term = ExtraImages(NoAugmentation(), weight=0.5, until=0.8, annealing=annealing)
    weights = [term.weight_at(progress) for progress in (0.0, 0.4, 0.6)]
    assert weights == pytest.approx([0.5 * factor for factor in factors])
    assert [term.active(progress) for progress in (0.0, 0.79, 0.8, 0.9)] == [True, True, False, False]


def test_the_last_steps_are_on_real_images_alone() -> None:
    """Neither computed nor counted: images and operations are those of a fit without the term."""
    inputs = {**inputs_for(classifier_stage()), "extra": Input(_noise(64), torch.arange(64) % 10)}
    bare, _ = fitted(classifier_stage(10))
    whole, parted = (
        fitted(classifier_stage(10, terms=(ExtraImages(TURNED, until=until),)), inputs=inputs)[0]
        for until in (1.0, 0.7)
    )
    assert [module.images["classifier"] for module in (bare, whole, parted)] == [160, 320, 160 + 7 * 16]
    assert bare.flops < parted.flops < whole.flops
    assert (parted.flops - bare.flops) * 10 == (whole.flops - bare.flops) * 7


def test_separate_batch_norm_trains_an_auxiliary_weight_for_extra_images_alone() -> None:
    stage = classifier_stage(classifier=SeparateBatchNorm(CNN8), terms=(ExtraImages(TURNED, separate_batch_norm=True),))
    inputs = {**inputs_for(stage), "extra": Input(_noise(64), torch.arange(64) % 10)}
    start = built(stage, inputs).networks["classifier"]
    plain = built(classifier_stage()).networks["classifier"]
    state = start.state_dict()
    assert {name for name in state if "auxiliary" not in name} == set(plain.state_dict())
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())
    trained = fitted(stage, inputs=inputs)[0].networks["classifier"]
    for layer in batch_norms(trained):
        assert layer.auxiliary_weight is not None
        assert not torch.equal(layer.weight, layer.auxiliary_weight)
    images = to_float(_noise(8))
    before = trained.eval()(images)
    for layer in batch_norms(trained):
        assert layer.auxiliary_weight is not None
        layer.auxiliary_weight.data.fill_(7.0)
    assert torch.equal(trained(images), before)
    with auxiliary_batch_norm(trained):
        assert not torch.equal(trained(images), before)
    assert torch.equal(trained(images), before)


def test_separate_batch_norm_needs_batch_norm() -> None:
    with pytest.raises(ConfigError, match=r"^strategy.samples.batch_norm=separate: this classifier has no batch norm"):
        SeparateBatchNorm(PlainClassifier())(SPEC)
    with pytest.raises(ValueError, match="SeparateBatchNorm"):
        auxiliary_batch_norm(CNN8(SPEC))


def test_terms_sum_up() -> None:
    labels = torch.arange(64) % 10
    term = ExtraImages(TURNED, weight=0.25)
    module, step = _with_term(term, "extra", _noise(64), labels)
    network: nn.Module = module.networks["classifier"]
    recipe = classifier_stage().recipe
    bare = LabelledLoss(recipe.augmentation, recipe.criterion, torch.full((10,), 4))(step, network)
    torch.testing.assert_close(module.updates[0].loss(step), bare + term(step, network))


def test_a_term_of_weight_zero_changes_no_weight() -> None:
    stage = classifier_stage()
    inputs = {**inputs_for(stage), "extra": Input(_noise(64), torch.arange(64) % 10)}
    bare, _ = fitted(stage)
    silent, _ = fitted(classifier_stage(terms=(ExtraImages(TURNED, weight=0.0),)), inputs=inputs)
    for one, other in zip(bare.networks.parameters(), silent.networks.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (lambda: ExtraImages(TURNED, weight=-1.0), "weight: -1.0 must be at least 0"),
        (lambda: ExtraImages(TURNED, ratio=0.0), "ratio: 0.0 must be above 0"),
        (lambda: ExtraImages(TURNED, until=0.0), "until: 0.0 must be a share in (0, 1]"),
        (lambda: ExtraImages(TURNED, annealing="up"), "annealing: up must be none, linear or cosine"),  # type: ignore[arg-type]
        (lambda: FixMatch(TURNED, TURNED, threshold=1.0), "threshold: 1.0 must be in [0, 1)"),
        (lambda: FixMatch(TURNED, TURNED, weight=-1.0), "weight: -1.0 must be at least 0"),
        (lambda: FixMatch(TURNED, TURNED, ratio=0), "ratio: 0 must be above 0"),
        (lambda: PiModel(TURNED, weight=-1.0), "weight: -1.0 must be at least 0"),
        (lambda: PiModel(TURNED, ramp_up=0.0), "ramp_up: 0.0 must be in (0, 1]"),
        (lambda: PiModel(TURNED, ratio=0), "ratio: 0 must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(bad: Callable[[], object], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bad()
    assert str(caught.value) == line
