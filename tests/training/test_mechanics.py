"""Mechanics of optimization: steps of D, accumulation, clipping, rates, averages, precision."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from trigan.errors import ConfigError
from trigan.losses.gan_losses import non_saturating, wasserstein
from trigan.training.fit import TrainerSettings, fit
from trigan.training.objectives import (
    ACGAN,
    BadGAN,
    Conditional,
    FeatureMatching,
    GeneratedPseudoLabels,
    SharedNetwork,
    TripleGAN,
)
from trigan.training.objectives.objective import Ramp
from trigan.training.optimizers import EMA, SGD, Adam, Constant, Cosine, LinearTail, Schedule
from trigan.training.players import Update
from trigan.training.stage import Stage, StageContext
from trigan.training.step import TrainingPlan
from trigan.training.terms.loss_terms import ExtraImages, PiModel

from .tiny import (
    DESCENT,
    FURTHER,
    OBJECTIVES,
    SPEC,
    TURNED,
    Plain,
    PlainClassifier,
    Recorder,
    adams,
    built,
    classifier_stage,
    copied,
    fitted,
    gan_stage,
    inputs_for,
    joint_stage,
    named,
)

DOUBLE = TrainerSettings(precision="64-true")


def _steps_taken(module: nn.Module, player: str) -> int:
    states = module._optimizer_of[player].state.values()  # type: ignore[union-attr, operator, index]
    (count,) = {int(state["step"]) for state in states}
    return count


@pytest.mark.parametrize(("every", "steps", "updates"), [(1, 12, 12), (5, 12, 2), (5, 10, 2), (5, 4, 0)])
def test_discriminator_steps_per_generator_step(every: int, steps: int, updates: int) -> None:
    module, _ = fitted(gan_stage(steps, loss=non_saturating(discriminator_steps=every)))
    assert _steps_taken(module, "discriminator") == steps
    assert (_steps_taken(module, "generator") if updates else 0) == updates
    assert module.images == {"discriminator": steps * 32, "generator": updates * 16}
    if not updates:
        assert not module._optimizer_of["generator"].state


def test_an_update_is_due_in_the_last_of_every_few_steps() -> None:
    update = Update("generator", lambda step: torch.zeros(()), 1, every=3)
    assert [update.due(index) for index in range(7)] == [False, False, True, False, False, True, False]


@pytest.mark.parametrize("since", [0.0, 0.03, 0.07, 0.1, 0.25, 1 / 3, 0.99, 0.999])
@pytest.mark.parametrize("steps", [1, 7, 10, 100, 500])
def test_the_first_step_is_the_first_that_is_due(since: float, steps: int) -> None:
    update = Update("generator", lambda step: torch.zeros(()), 1, start=since)
    due = [index for index in range(steps) if update.due(index, index / steps)]
    assert update.first_step(steps) == (due[0] if due else steps)


def test_images_of_each_player() -> None:
    counts = {name: fitted(stage())[0].images for name, stage in OBJECTIVES.items() if name not in FURTHER}
    assert counts["dcgan"] == {"discriminator": 6 * 32, "generator": 6 * 16}
    assert counts["feature_matching"] == {"classifier": 6 * 48, "generator": 6 * 32}
    assert counts["pseudo_label"] == {"discriminator": 6 * 32, "generator": 6 * 16, "classifier": 6 * 32}
    assert counts["conditional"] == {"discriminator": 6 * 48, "generator": 6 * 16, "classifier": 6 * 48}
    due = {name: {u.player: u.images for u in built(OBJECTIVES[name]()).updates} for name in FURTHER}
    assert due["triple_gan"] == {"discriminator": 48, "generator": 16, "classifier": 48}
    assert due["bad_gan"] == {"classifier": 48, "generator": 32}
    assert due["acgan"] == {"classifier": 48, "generator": 16}


@pytest.mark.parametrize("name", ["gan", "penalty", "classifier"])
def test_two_micro_batches_equal_one_batch(name: str) -> None:
    """Without batch norm rows are independent: only the order of summation differs."""
    stages: dict[str, Stage] = {
        "gan": gan_stage(architecture=Plain()),
        "penalty": gan_stage(architecture=Plain(), loss=wasserstein(discriminator_steps=2)),
        "classifier": classifier_stage(classifier=PlainClassifier(), clip=0.1),
    }
    single, _ = fitted(stages[name], DOUBLE)
    parts, _ = fitted(stages[name], replace(DOUBLE, accumulate=2))
    first = copied(built(stages[name], settings=DOUBLE).state_dict())
    for key, value in single.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[key], value, rtol=1e-10, atol=1e-10)
    assert any(not torch.equal(first[key], value) for key, value in single.state_dict().items())
    assert parts.images == single.images
    assert parts.flops == single.flops


def test_a_batch_that_cannot_be_split_evenly_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"batch.*: 16 cannot be split evenly .* take a multiple of 3"):
        built(gan_stage(), settings=TrainerSettings(accumulate=3))
    stage = classifier_stage(terms=(ExtraImages(TURNED, ratio=0.3),))  # 5 extra images a step
    inputs = {**inputs_for(stage), "extra": inputs_for(stage)["labelled"]}
    built(stage, inputs)
    with pytest.raises(ConfigError, match=r"batch of extra images: 5 cannot be split evenly .* take a multiple of 2"):
        built(stage, inputs, TrainerSettings(accumulate=2))


@pytest.mark.parametrize("stage", [gan_stage, classifier_stage])
def test_one_image_a_micro_batch_is_refused(stage: Callable[..., Stage]) -> None:
    """Batch norm needs two."""
    built(stage(), settings=TrainerSettings(accumulate=8))
    with pytest.raises(ConfigError, match=r"^batch.*: 16 leaves .* trainer.accumulate=16 .* at least 32$"):
        built(stage(), settings=TrainerSettings(accumulate=16))


def test_there_are_two_extra_images_at_least() -> None:
    assert [ExtraImages(TURNED, ratio=ratio).stream_batch_size(16) for ratio in (0.01, 0.1, 0.25, 1.0)] == [2, 2, 4, 16]


@pytest.mark.parametrize("clip", [None, 1e-2])
def test_clipping_bounds_the_norm_of_the_gradient(clip: float | None) -> None:
    """With plain descent at rate 1 a step is the gradient, whose norm is bounded."""
    stage = gan_stage(1, optimizer={"generator": DESCENT, "discriminator": DESCENT}, clip=clip)
    first = built(stage)
    module, _ = fitted(stage)
    for player, network in module.networks.items():
        pairs = zip(network.parameters(), first.networks[player].parameters(), strict=True)
        length = float(torch.cat([(new - old).detach().flatten() for new, old in pairs]).norm())
        schedule = DESCENT.schedule(0.0)
        assert schedule == 1.0
        if clip is None:
            assert length > 2e-2, f"{player}: the gradient is so small that clipping it shows nothing"
        else:
            assert length == pytest.approx(clip, rel=1e-3)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Constant(), {0: 1.0, 10: 1.0, 19: 1.0}),
        (Cosine(), {0: 1.0, 10: 0.5, 19: (1 + math.cos(math.pi * 0.95)) / 2}),
        (LinearTail(0.2), {0: 1.0, 10: 1.0, 16: 1.0, 18: 0.5, 19: 0.25}),
        (LinearTail(1.0), {0: 1.0, 10: 0.5, 19: 0.05}),
    ],
)
def test_the_rate_follows_the_schedule(schedule: Schedule, factors: dict[int, float]) -> None:
    rates: dict[int, float] = {}
    recorder = Recorder(lambda module, _: rates.update({module.completed_steps - 1: _rate(module)}))
    stage = classifier_stage(20, optimizer=Adam(1e-3, schedule=schedule))
    fitted(stage, callbacks=[recorder])
    assert {step: rates[step] for step in factors} == pytest.approx({k: 1e-3 * f for k, f in factors.items()})


def _rate(module: nn.Module) -> float:
    return float(module._optimizer_of["classifier"].param_groups[0]["lr"])  # type: ignore[union-attr, index]


REFUSED: dict[str, Callable[[], object]] = {
    "fraction: 0.0 must be in (0, 1]": lambda: LinearTail(0.0),
    "learning_rate: 0.0 must be above 0": lambda: Adam(0.0),
    "learning_rate: -1.0 must be above 0": lambda: SGD(-1.0),
    "learning_rate: nan must be above 0": lambda: SGD(math.nan),
    "betas: [1.0, 0.5] must be two numbers in [0, 1)": lambda: Adam(betas=(1.0, 0.5)),
    "weight_decay: -0.1 must be at least 0": lambda: Adam(weight_decay=-0.1),
    "weight_decay: -0.2 must be at least 0": lambda: SGD(weight_decay=-0.2),
    "momentum: 1.0 must be in [0, 1)": lambda: SGD(momentum=1.0),
    "momentum: -0.5 must be in [0, 1)": lambda: SGD(momentum=-0.5),
    "clip: 0.0 must be above 0, or null": lambda: gan_stage(clip=0.0),
    "clip: -0.5 must be above 0, or null": lambda: classifier_stage(clip=-0.5),
    "steps: -1 must be at least 0": lambda: gan_stage(-1),
    "steps: 0 must be at least 1": lambda: classifier_stage(0),
    "steps: -2 must be at least 1": lambda: joint_stage(FeatureMatching(), -2),
    "batch: 1 must be at least 2": lambda: gan_stage(batch=1),
    "batch: 0 must be at least 2": lambda: classifier_stage(batch=0),
    "batch: -2 must be at least 2": lambda: joint_stage(FeatureMatching(), batch=-2),
    "half_life: 0 must be at least 1 image": lambda: EMA(half_life=0),
    "rampup_ratio: 0.0 must be in (0, 1]": lambda: EMA(rampup_ratio=0.0),
    "rampup_ratio: 1.5 must be in (0, 1]": lambda: EMA(rampup_ratio=1.5),
    "start: -0.1 must be in [0, 1]": lambda: Ramp(start=-0.1),
    "length: 1.1 must be in [0, 1]": lambda: Ramp(length=1.1),
    "weight: -1.0 must be at least 0": lambda: GeneratedPseudoLabels(weight=-1.0),
    "threshold: 1.0 must be in [0, 1)": lambda: GeneratedPseudoLabels(threshold=1.0),
    "alpha: 1.0 must be in (0, 1)": lambda: Conditional(alpha=1.0),
    "pair_weight: -0.1 must be at least 0": lambda: Conditional(pair_weight=-0.1),
    "unlabelled_weight: -1.0 must be at least 0": lambda: FeatureMatching(unlabelled_weight=-1.0),
    "labelled_fraction: 0.0 must be in (0, 1]": lambda: TripleGAN(labelled_fraction=0.0),
    "pretrain: 1.0 must be in [0, 1)": lambda: TripleGAN(pretrain=1.0),
    "alpha: 0.0 must be in (0, 1)": lambda: TripleGAN(alpha=0.0),
    "head_decay: -0.1 must be at least 0": lambda: TripleGAN(head_decay=-0.1),
    "pull_away: -0.1 must be at least 0": lambda: BadGAN(pull_away=-0.1),
    "weight: 0.0 must be above 0: G learns labels from this term alone": lambda: ACGAN(weight=0.0),
    "weight: 0.0 must be above 0: D learns from this term alone": lambda: SharedNetwork(weight=0.0),
    "consistency.stream: unlabelled must be a name of its own, such as consistency": lambda: joint_stage(
        FeatureMatching(), consistency=PiModel(TURNED)
    ),
}


@pytest.mark.parametrize(("line", "bad"), REFUSED.items(), ids=REFUSED)
def test_a_setting_out_of_range_is_named_with_its_value(line: str, bad: Callable[[], object]) -> None:
    with pytest.raises(ConfigError) as caught:
        bad()
    assert str(caught.value) == line


def _by_hand(history: list[Tensor], batch: int, half_life: int, ramp: float) -> Tensor:
    """Karras et al. 2022, appendix: beta = 0.5 ^ (batch / min(half-life, ramp * images seen)), one update at a time."""
    average, seen = history[0], 0
    for weight in history[1:]:
        seen += batch
        beta = 0.5 ** (batch / min(half_life, ramp * seen))
        average = beta * average + (1 - beta) * weight
    return average


@pytest.mark.parametrize(("half_life", "ramp"), [(64, 0.5), (10_000, 0.05), (20, 1.0)])
def test_the_average_follows_its_formula(half_life: int, ramp: float) -> None:
    weights: list[Tensor] = []
    recorder = Recorder(lambda module, _: weights.append(_flat(module.networks["classifier"])))
    stage = classifier_stage(20, ema=EMA(half_life, ramp))
    weights.append(_flat(built(stage, settings=DOUBLE).networks["classifier"]))
    module, _ = fitted(stage, DOUBLE, callbacks=[recorder])
    expected = _by_hand(weights, 16, half_life, ramp)
    torch.testing.assert_close(_flat(module.averages["classifier"]), expected, rtol=1e-12, atol=1e-14)
    assert not torch.equal(expected, weights[-1])


@pytest.mark.parametrize("every", [1, 5])
def test_the_average_of_a_player_with_rare_updates_counts_all_images(every: int) -> None:
    """Between two updates of G there are ``every`` batches."""
    weights: list[Tensor] = []
    recorder = Recorder(lambda module, _: weights.append(_flat(module.networks["generator"])))
    stage = gan_stage(20, loss=non_saturating(discriminator_steps=every))
    weights.append(_flat(built(stage, settings=DOUBLE).networks["generator"]))
    module, _ = fitted(stage, DOUBLE, callbacks=[recorder])
    expected = _by_hand(weights[::every], every * 16, 64, 0.5)
    torch.testing.assert_close(_flat(module.averages["generator"]), expected, rtol=1e-12, atol=1e-14)


def _flat(network: nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def test_the_first_average_is_near_the_weights() -> None:
    """The half-life is 0.8 images: the first weights are 20 half-lives old."""
    assert EMA(10_000, 0.05).decay(16, 16) == pytest.approx(0.5**20)


@pytest.mark.parametrize("name", named(OBJECTIVES))
@pytest.mark.parametrize(("precision", "dtype"), [("64-true", torch.float64), ("bf16-mixed", torch.float32)])
def test_precisions_run(name: str, precision: str, dtype: torch.dtype) -> None:
    settings = TrainerSettings(precision=precision)  # type: ignore[arg-type]
    stage = OBJECTIVES[name]()
    met: set[torch.dtype] = set()
    module = built(stage, settings=settings)
    layer = next(m for m in module.networks["generator"].modules() if isinstance(m, nn.ConvTranspose2d))
    layer.register_forward_hook(lambda *given: met.add(given[2].dtype))
    ending = fit(module, settings)
    networks = stage.finish(module, inputs_for(stage))
    assert (ending.status, ending.step) == ("finished", 6)
    assert met - {dtype} == ({torch.bfloat16} if precision == "bf16-mixed" else set())
    assert {weight.dtype for network in networks.values() for weight in network.parameters()} == {dtype}
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())


def test_plan_of_a_debug_run_is_short() -> None:
    context = StageContext(SPEC, 3, TrainerSettings(), max_steps=4)
    assert context.plan(100, 16) == TrainingPlan(4, 16, 1, log_every=1, seed=3)
    assert context.plan(2, 16).steps == 2
    assert StageContext(SPEC, 3, TrainerSettings()).plan(10_000, 16).log_every == 100


def test_initial_weights_depend_on_seed_and_player_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = built(gan_stage(), seed=5)
    assert torch.equal(before, torch.get_rng_state()), "building a stage moved torch's global random state"
    torch.manual_seed(2)
    two = built(gan_stage(loss=wasserstein(gradient_penalty=0.0), optimizer=adams(0.1)), seed=5)
    other = built(gan_stage(), seed=6)
    for player in ("generator", "discriminator"):
        assert torch.equal(_flat(one.networks[player]), _flat(two.networks[player]))
        assert not torch.equal(_flat(one.networks[player]), _flat(other.networks[player]))
