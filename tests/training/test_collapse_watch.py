"""The collapse watch: a look changes nothing, and each action is a function of what the checkpoint holds."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from trigan.artifacts.checkpoint import load_latest
from trigan.errors import ConfigError
from trigan.networks.gans.dcgan import DCGAN
from trigan.networks.gans.pacgan import PacGAN
from trigan.networks.gans.sngan import SNGAN
from trigan.training.collapse_watch import CollapseWatch, Thresholds, event_line
from trigan.training.fit import FitResult, TrainerSettings
from trigan.training.players import PlayersModule
from trigan.training.stages.gan_stage import GANStage

from .tiny import CGAN8, EDM8, Recorder, built, copied, diffusion_stage, fitted, gan_stage, inputs_for, same

EACH_THIRD = TrainerSettings(checkpoint_every=3)
OFF = Thresholds(0.0, 0.0, math.inf, 0.0, 0.0, 0.0, 0.0, 0.0, math.inf)
#: A look after every second step, each of which may be an alarm.
LOOKS = CollapseWatch("warn", looks=6, least_steps=1, images=60, patience=1, start=0.0, thresholds=OFF)
PACKED = PacGAN(DCGAN(width=8, latent=8, discriminator_norm="spectral", minibatch_std=2), 2)
CRITIC = DCGAN(width=8, latent=8, discriminator_norm="none")


@cache
def limit() -> float:
    """A threshold of ``copy_distance``, which falls while G learns, that only the later looks are below."""
    looks = fitted(gan_stage(12, watch=LOOKS))[0].watch.looks  # type: ignore[union-attr]
    values = [look["copy_distance"] for look in looks]
    assert values[0] > values[1] > min(values[2:]), values
    return (values[1] + min(values[2:])) / 2


def watched(action: Any, **changes: Any) -> GANStage:
    watch = replace(LOOKS, action=action, thresholds=replace(OFF, copy_distance=limit()))
    own = {name: changes.pop(name) for name in list(changes) if hasattr(watch, name)}
    return gan_stage(12, watch=replace(watch, **own), **changes)


def states(stage: GANStage, folder: Path | None = None) -> tuple[PlayersModule, FitResult, dict[int, Any]]:
    """The fit, and its weights after each step."""
    kept: dict[int, Any] = {}
    recorder = Recorder(lambda module, _: kept.update({module.completed_steps: copied(module.state_dict())}))
    return *fitted(stage, EACH_THIRD, None, folder, [recorder]), kept


def alarm_step(module: PlayersModule) -> int:
    assert module.watch is not None
    return int(module.watch.events[0]["step"])


@pytest.mark.parametrize("architecture", [None, CGAN8, SNGAN(8, 8), PACKED])
def test_looks_change_no_weight_no_count_and_no_random_number(architecture: Any) -> None:
    looked, bare = (
        gan_stage(12, *([architecture] if architecture else []), watch=one)
        for one in (replace(LOOKS, thresholds=replace(OFF, diversity=1e9)), replace(LOOKS, action=None))
    )
    before = torch.random.get_rng_state()
    module, ending = fitted(looked)
    assert torch.equal(before, torch.random.get_rng_state())
    other, expected = fitted(bare)
    assert ending == expected == FitResult("finished", 12)
    assert same(copied(module.state_dict()), copied(other.state_dict()))
    assert (module.flops, module.images) == (other.flops, other.images)
    assert module.watch is not None
    assert other.watch is not None
    assert [look["step"] for look in module.watch.looks] == [2, 4, 6, 8, 10, 12]
    assert [event["signal"] for event in module.watch.events] == ["diversity"]
    assert not other.watch.looks
    assert ("class_diversity" in module.watch.looks[-1]) == (architecture is CGAN8)


def test_signals_are_metrics_of_the_steps_of_their_looks() -> None:
    recorder = Recorder()
    fitted(gan_stage(12, watch=LOOKS), callbacks=[recorder])
    rows = {step: {name for name in row if name.startswith("watch/")} for step, row in recorder.rows}
    assert {step for step, names in rows.items() if names} == {2, 4, 6, 8, 10, 12}
    names = {"coverage", "diversity", "duplicates", "copy_distance", "gradient", "real_accuracy", "alarms"}
    assert {f"watch/{name}" for name in names} <= rows[12]


def test_stop_ends_the_fit_with_the_weights_of_the_last_healthy_look(tmp_path: Path) -> None:
    _, _, plain = states(watched("warn"))
    module, ending, kept = states(watched("stop"), tmp_path)
    assert module.watch is not None
    step, to = alarm_step(module), module.watch.events[0]["to"]
    assert 0 < to < step < 12
    assert ending == FitResult("finished", to)
    assert same(copied(module.state_dict()), plain[to])
    assert max(kept) == step
    assert module.images["discriminator"] == 2 * 16 * step  # those of the steps that were thrown away count
    recorder = Recorder()
    again, ending = fitted(watched("stop"), EACH_THIRD, None, tmp_path, [recorder])
    assert (ending, recorder.rows) == (FitResult("finished", to), [])
    assert same(copied(again.state_dict()), plain[to])


def test_rollback_goes_on_from_the_healthy_weights_with_later_batches_and_a_lower_rate() -> None:
    _, _, plain = states(watched("warn"))
    module, ending, kept = states(watched("rollback", limit=1))
    assert module.watch is not None
    event = module.watch.events[0]
    step, to = event["step"], event["to"]
    assert ending == FitResult("finished", 12)
    assert same(kept[to], plain[to])
    assert same(kept[step], plain[to])
    assert not same(kept[step + 1], plain[to + 1])
    assert module.watch.rate == 0.5
    assert module.images["discriminator"] == 2 * 16 * 12
    later = [one["action"] for one in module.watch.events[1:]]
    assert set(later) <= {"warn"}  # the limit is one
    assert module.flops > fitted(watched("warn"))[0].flops  # looks that decide something count


@pytest.mark.parametrize(("changes", "term"), [({}, None), ({"cure": "penalty", "architecture": CRITIC}, "train/cure")])
def test_cure_changes_the_loss_of_d_from_the_next_step(changes: dict[str, Any], term: str | None) -> None:
    if term is not None:  # another D, another course of its signals: alarm at the second look
        changes = {**changes, "thresholds": replace(OFF, diversity=1e9), "start": 0.3}
    recorder = Recorder()
    _, _, plain = states(watched("warn", **changes))
    module, _, cured = states(watched("cure", **changes))
    fitted(watched("cure", **changes), callbacks=[recorder])
    step = alarm_step(module)
    assert same(cured[step], plain[step])
    assert not same(cured[step + 1], plain[step + 1])
    assert module.watch is not None
    assert module.watch.events[0]["action"] == "cure"
    assert module.watch.rate == 1.0
    if term is not None:
        assert {at for at, row in recorder.rows if term in row} == set(range(step + 1, 13))
        assert module.watch.cures > 1  # the penalty doubles at further alarms


@pytest.mark.parametrize("action", ["rollback", "cure", "stop"])
@pytest.mark.parametrize("late", [False, True], ids=["before the alarm", "after the alarm"])
def test_a_resumed_fit_acts_like_an_uninterrupted_one(action: Any, late: bool, tmp_path: Path) -> None:
    module, ending = fitted(watched(action), EACH_THIRD)
    assert module.watch is not None
    power_cut = min(alarm_step(module) + 2, 11) if late else alarm_step(module) - 1

    def stop(one: PlayersModule, _: dict[str, float]) -> None:
        if one.completed_steps == power_cut:
            raise RuntimeError("power cut")

    if action != "stop" or not late:
        with pytest.raises(RuntimeError, match="power cut"):
            fitted(watched(action), EACH_THIRD, None, tmp_path, [Recorder(stop)])
    again, ending_again = fitted(watched(action), EACH_THIRD, None, tmp_path)
    assert again.watch is not None
    assert ending == ending_again
    assert same(copied(module.state_dict()), copied(again.state_dict()))
    assert module.watch.looks == again.watch.looks
    assert module.watch.events == again.watch.events
    assert module.images == again.images


def test_a_checkpoint_from_before_the_watch_is_resumed(tmp_path: Path) -> None:
    module, _ = fitted(gan_stage(12, watch=LOOKS), EACH_THIRD, checkpoints=tmp_path)
    checkpoint = load_latest(tmp_path)
    assert checkpoint is not None
    del checkpoint["watch"]
    resumed = built(gan_stage(12, watch=LOOKS))
    resumed.restore(checkpoint)
    assert resumed.completed_steps == 12
    assert same(copied(resumed.state_dict()), copied(module.state_dict()))


def poison(step: int) -> Recorder:
    def spoil(module: PlayersModule, _: dict[str, float]) -> None:
        if module.completed_steps == step:
            with torch.no_grad():
                next(module.networks["generator"].parameters()).fill_(float("nan"))

    return Recorder(spoil)


@pytest.mark.parametrize(("action", "step"), [("rollback", 7), ("rollback", 1), ("cure", 7)])
def test_values_that_are_not_finite_are_left_behind(action: Any, step: int) -> None:
    stage = gan_stage(12, watch=replace(LOOKS, action=action))
    module, ending = fitted(stage, EACH_THIRD, callbacks=[poison(step)])
    assert ending == FitResult("finished", 12)
    assert module.watch is not None
    (event,) = module.watch.events
    assert (event["signal"], event["step"], event["to"]) == ("not_finite", step + 1, step - step % 2 if step > 1 else 0)
    assert all(value.isfinite().all() for value in module.networks.state_dict().values())
    assert module.watch.rate == 0.5


@pytest.mark.parametrize("action", ["warn", "stop"])
def test_otherwise_such_a_fit_has_diverged_and_the_event_is_noted(action: Any) -> None:
    stage = gan_stage(12, watch=replace(LOOKS, action=action))
    module, ending = fitted(stage, EACH_THIRD, callbacks=[poison(7)])
    assert (ending.status, ending.step) == ("diverged", 0)
    assert module.watch is not None
    assert [event["signal"] for event in module.watch.events] == ["not_finite"]


def test_a_denoiser_is_looked_at_too_without_signals_of_d() -> None:
    watch = replace(LOOKS, looks=2, thresholds=replace(OFF, diversity=1e9), patience=2)
    stage = diffusion_stage(4, architecture=EDM8, watch=watch)
    module, _ = fitted(stage, inputs=inputs_for(stage))
    assert module.watch is not None
    assert [event["step"] for event in module.watch.events] == [4]
    assert "gradient" not in module.watch.looks[0]
    assert not fitted(diffusion_stage(4))[0].watch.looks  # type: ignore[union-attr]  # off by default


def test_few_images_and_short_fits_are_not_looked_at() -> None:
    assert not CollapseWatch().due_steps(built(gan_stage(40)).plan)
    assert sorted(CollapseWatch().due_steps(built(gan_stage(1000)).plan)) == list(range(100, 1001, 100))
    stage = gan_stage(12, watch=LOOKS)
    few = {"real": replace(inputs_for(stage)["real"], images=inputs_for(stage)["real"].images[:20])}
    assert not built(stage, few).watch.due_steps  # type: ignore[union-attr]


def test_an_alarm_needs_bad_looks_in_a_row_after_the_start() -> None:
    settings = CollapseWatch(looks=4, least_steps=1, start=0.5, patience=2)
    watch = built(gan_stage(4, watch=settings)).watch
    assert watch is not None
    bad, good = {"coverage": 0.0}, {"coverage": 0.5}
    assert [len(watch.judge(one, step)) for step, one in enumerate((bad, bad, bad, bad), 1)] == [0, 0, 1, 0]
    watch.bad = {}
    assert [len(watch.judge(one, 4)) for one in (bad, good, bad, bad, bad)] == [0, 0, 0, 1, 0]


def test_an_event_is_one_line_with_what_may_be_tried() -> None:
    event = {"step": 600, "signal": "coverage", "value": 0.0123456, "threshold": 0.02, "action": "warn"}
    assert event_line(event, 1000) == (
        "collapse watch, step 600 of 1000: coverage is 0.0123 (below 0.02): samples reach few of the training images; "
        "try another loss or a gradient penalty; strategy.gan.watch.action=rollback acts by itself"
    )
    assert event_line({**event, "action": "rollback", "to": 400}, 1000).endswith(
        "; back to the weights of step 400, at a lower learning rate"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CollapseWatch(looks=0), "looks: 0 must be at least 1"),
        (lambda: CollapseWatch(images=10), "images: 10 must be at least 30"),
        (lambda: CollapseWatch(start=2.0), "start: 2.0 must be in"),
        (lambda: Thresholds(coverage=-1.0), "coverage: -1.0 must be at least 0"),
        (lambda: gan_stage(watch=CollapseWatch("cure", cure="penalty")), "watch.cure=penalty: R1 needs a D"),
        (lambda: diffusion_stage(watch=CollapseWatch("cure")), "watch.action: cure must be warn, stop"),
    ],
)
def test_wrong_settings_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)
