"""A resumed fit equals an uninterrupted one; a diverged fit ends on its last finite checkpoint."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trigan.artifacts.checkpoint import checkpoint_path
from trigan.datasets.inputs import Input, Inputs
from trigan.errors import ConfigError, DivergedError
from trigan.losses.gan_losses import wasserstein
from trigan.losses.label_noise_losses import EarlyLearning
from trigan.networks.classifiers.cnn import SmallCNN
from trigan.networks.classifiers.mlp import MLP
from trigan.networks.gans.biggan import BigGANSmall
from trigan.networks.gans.dcgan import DCGAN
from trigan.networks.gans.r3gan import R3GAN
from trigan.tracking.tracker import Tracking
from trigan.training.adversary import TRADES, PGDTraining
from trigan.training.callbacks import MetricsWriter, SampleGrids
from trigan.training.fit import FitResult, TrainerSettings
from trigan.training.objectives import FeatureMatching, TripleGAN
from trigan.training.objectives.objective import Ramp
from trigan.training.players import PlayersModule
from trigan.training.selection import Selection
from trigan.training.stage import Stage
from trigan.training.terms.mixmatch import MixMatch
from trigan.training.terms.smoothness import VAT, MeanTeacher
from trigan.training.terms.thresholds import FlexMatch, FreeMatch, SoftMatch

from .tiny import (
    FURTHER,
    OBJECTIVES,
    PRETEXTS,
    TURNED,
    Recorder,
    built,
    classifier_stage,
    co_teaching_stage,
    copied,
    diffusion_stage,
    fitted,
    gan_stage,
    inputs_for,
    joint_stage,
    named,
    packed_gan,
    rcgan,
    regularised_gan,
    same,
    view,
    with_steps,
)

EACH_THIRD = TrainerSettings(checkpoint_every=3)
CRITIC = DCGAN(width=8, latent=8, discriminator_norm="none")
RESUMED: dict[str, Callable[[], Stage]] = {
    **OBJECTIVES,
    "triple_gan": lambda: joint_stage(TripleGAN(pretrain=0.3, ramp=Ramp(0.5, 0.2))),
    **PRETEXTS,
    "diffusion": diffusion_stage,
    "wasserstein": lambda: gan_stage(architecture=CRITIC, loss=wasserstein(discriminator_steps=5)),
    "spectral": lambda: gan_stage(architecture=replace(CRITIC, discriminator_norm="spectral")),
    "biggan": lambda: gan_stage(architecture=BigGANSmall(8, 8)),
    "r3gan": lambda: gan_stage(architecture=R3GAN(8, 8, conditional=True)),
    "regularised": regularised_gan,
    "packs": packed_gan,
    "rcgan": rcgan,
    "classifier": classifier_stage,
    "chosen classifier": lambda: classifier_stage(selection=Selection("val", 4)),
    "chosen joint": lambda: joint_stage(FeatureMatching(), selection=Selection("val", 4)),
    "pgd": lambda: classifier_stage(classifier=SmallCNN(4, dropout=0.5), adversary=PGDTraining(steps=2)),
    "trades": lambda: classifier_stage(adversary=TRADES(steps=2)),
    "noise": lambda: joint_stage(FeatureMatching(), classifier=MLP((16, 8))),
    "dropout": lambda: classifier_stage(classifier=SmallCNN(4, dropout=0.5)),
    "early learning": lambda: classifier_stage(criterion=EarlyLearning()),
    "flexmatch": lambda: classifier_stage(terms=(FlexMatch(TURNED, TURNED, threshold=0.15),)),
    "freematch": lambda: classifier_stage(terms=(FreeMatch(TURNED, TURNED),)),
    "softmatch": lambda: classifier_stage(terms=(SoftMatch(TURNED, TURNED),)),
    "vat": lambda: classifier_stage(classifier=SmallCNN(4, dropout=0.5), terms=(VAT(TURNED),)),
    "mean teacher": lambda: classifier_stage(classifier=SmallCNN(4, dropout=0.5), terms=(MeanTeacher(TURNED),)),
    "mixmatch": lambda: classifier_stage(terms=(MixMatch(TURNED),)),
    "co-teaching": lambda: co_teaching_stage(classifier=SmallCNN(4, dropout=0.5)),
}


def _inputs(stage: Stage) -> Inputs:
    seen = view(validation=True)
    return {"unlabelled": Input(seen.training_images), **inputs_for(stage, seen)}


def _writer(directory: Path) -> MetricsWriter:
    tracker = Tracking().open(None, {})  # type: ignore[arg-type]
    return MetricsWriter("stage", directory, tracker)


def _stop_at(step: int) -> Recorder:
    def stop(module: PlayersModule, metrics: dict[str, float]) -> None:
        if module.completed_steps == step:
            raise RuntimeError("power cut")

    return Recorder(stop)


@pytest.mark.parametrize(
    ("name", "stop"),
    [("dcgan", 2), *(pytest.param(*each.values, 8, marks=each.marks) for each in named(RESUMED, FURTHER[1:]))],
)
def test_a_resumed_fit_equals_an_uninterrupted_one(name: str, stop: int, tmp_path: Path) -> None:
    stage = with_steps(RESUMED[name](), 11)
    inputs = _inputs(stage)
    uninterrupted, ending = fitted(stage, EACH_THIRD, inputs, None, [_writer(tmp_path / "uninterrupted")])
    assert ending == FitResult("finished", 11)
    again = tmp_path / "again"
    with pytest.raises(RuntimeError, match="power cut"):
        fitted(stage, EACH_THIRD, inputs, again, [_writer(again), _stop_at(stop)])
    recorder = Recorder()
    resumed, ending = fitted(stage, EACH_THIRD, inputs, again, [_writer(again), recorder])
    assert ending == FitResult("finished", 11)
    assert recorder.began == [3 * (stop // 3)]
    assert same(copied(uninterrupted.state_dict()), copied(resumed.state_dict()))
    assert (again / "metrics.jsonl").read_bytes() == (tmp_path / "uninterrupted" / "metrics.jsonl").read_bytes()


def test_a_fit_is_resumed_repeatedly_and_from_before_a_damaged_checkpoint(tmp_path: Path) -> None:
    stage = gan_stage(12)
    uninterrupted, _ = fitted(stage)
    for stop in (4, 8, 11):
        with pytest.raises(RuntimeError, match="power cut"):
            fitted(stage, EACH_THIRD, checkpoints=tmp_path, callbacks=[_stop_at(stop)])
    newest = checkpoint_path(tmp_path, 9)
    newest.write_bytes(newest.read_bytes()[:-10])
    recorder = Recorder()
    resumed, _ = fitted(stage, EACH_THIRD, checkpoints=tmp_path, callbacks=[recorder])
    assert recorder.began == [6]
    assert same(copied(uninterrupted.state_dict()), copied(resumed.state_dict()))


def test_a_finished_fit_is_not_repeated(tmp_path: Path) -> None:
    uninterrupted, _ = fitted(gan_stage(4), EACH_THIRD, checkpoints=tmp_path)
    recorder = Recorder()
    again, ending = fitted(gan_stage(4), EACH_THIRD, checkpoints=tmp_path, callbacks=[recorder])
    assert (recorder.began, recorder.rows, ending) == ([4], [], FitResult("finished", 4))
    assert same(copied(uninterrupted.state_dict()), copied(again.state_dict()))


def test_callbacks_and_checkpoints_change_no_weight(tmp_path: Path) -> None:
    bare, _ = fitted(gan_stage(6))
    grids = SampleGrids(tmp_path, 3, 4, 2)
    watched, _ = fitted(gan_stage(6), TrainerSettings(checkpoint_every=1), None, tmp_path, [_writer(tmp_path), grids])
    assert same(copied(bare.state_dict()), copied(watched.state_dict()))
    assert len(list((tmp_path / "samples").glob("*.npy"))) == 3


class _SetWeight:
    """A callback that overwrites a weight after a step, as an exploding gradient would."""

    def __init__(self, player: str, step: int, value: float) -> None:
        self.player, self.step, self.value = player, step, value

    def on_fit_start(self, module: PlayersModule) -> None:
        pass

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        if module.completed_steps == self.step:
            with torch.no_grad():
                next(module.networks[self.player].parameters()).fill_(self.value)

    def on_fit_end(self) -> None:
        pass


class _StateAt:
    """Copies the state after a step."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.state: dict[str, torch.Tensor] = {}

    def on_fit_start(self, module: PlayersModule) -> None:
        pass

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        if module.completed_steps == self.step:
            self.state = copied(module.state_dict())

    def on_fit_end(self) -> None:
        pass


@pytest.mark.parametrize("name", ["dcgan", "conditional", "classifier", "chosen joint"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_divergence_ends_on_the_last_finite_checkpoint(name: str, value: float, tmp_path: Path) -> None:
    stage = with_steps(RESUMED[name](), 11)
    inputs = _inputs(stage)
    player = "classifier" if name != "dcgan" else "discriminator"
    at_step = _StateAt(6)
    callbacks = [at_step, _SetWeight(player, 7, value)]
    module, ending = fitted(stage, EACH_THIRD, inputs, tmp_path, callbacks)
    assert ending == FitResult("diverged", 6)
    assert same(copied(module.state_dict()), at_step.state)
    networks = stage.finish(module, inputs).values()
    assert all(torch.isfinite(value).all() for network in networks for value in network.state_dict().values())


def test_divergence_before_the_first_checkpoint_ends_on_the_first_weights(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        module, ending = fitted(gan_stage(), EACH_THIRD, None, folder, [_SetWeight("generator", 1, float("nan"))])
        assert ending == FitResult("diverged", 0)
        assert same(copied(module.state_dict()), copied(built(gan_stage()).state_dict()))


def test_a_fit_that_diverges_before_its_first_validation_gives_a_recalibrated_classifier(tmp_path: Path) -> None:
    """The last finite weights are kept, with statistics of real images."""
    stage = classifier_stage(12, selection=Selection("val", 1))
    inputs = _inputs(stage)
    poison = _SetWeight("classifier", 7, float("nan"))
    module, ending = fitted(stage, EACH_THIRD, inputs, tmp_path, [poison])
    assert ending == FitResult("diverged", 6)
    kept = stage.finish(module, inputs)["classifier"]
    weights = dict(module.averages["classifier"].named_parameters())
    assert all(torch.equal(value, weights[name]) for name, value in kept.named_parameters())
    assert any(float((buffer - 1).abs().max()) > 0.01 for key, buffer in kept.named_buffers() if "var" in key)


def test_a_diverged_fit_diverges_again_at_the_same_cost(tmp_path: Path) -> None:
    poison = _SetWeight("generator", 7, float("nan"))
    once, _ = fitted(gan_stage(11), EACH_THIRD, None, tmp_path, [poison])
    again, ending = fitted(gan_stage(11), EACH_THIRD, None, tmp_path, [poison])
    assert ending == FitResult("diverged", 6)
    assert (once.flops, once.images) == (again.flops, again.images)


def test_a_loss_that_is_not_finite_is_named() -> None:
    module = built(gan_stage())
    module.step_context.scalars.add("train/some_loss", torch.tensor(float("nan")))
    with pytest.raises(DivergedError, match="a player, batch 0: train/some_loss is nan"):
        module.flush()
    for value, fine in ((9e5, True), (-9e5, True), (2e12, False), (-2e12, False)):
        for name in ("train/some_loss", "train/some_logit"):
            module.step_context.scalars.add(name, torch.tensor(value))
        module.step_context.scalars.players["train/some_loss"] = "generator"
        if fine:
            assert module.flush() == {"train/some_loss": value, "train/some_logit": value}
        else:
            with pytest.raises(DivergedError, match=r"^generator, batch 0: train/some_loss is -?2e"):
                module.flush()
    with torch.no_grad():
        next(module.networks["generator"].parameters()).fill_(float("inf"))
    with pytest.raises(DivergedError, match="generator, batch 0: its weights are not finite"):
        module.flush()


@pytest.mark.parametrize("change", [{"accumulate": 0}, {"devices": 0}, {"checkpoint_every": 0}])
def test_trainer_settings_out_of_range_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"trainer.{next(iter(change))}: 0 must be at least 1"):
        TrainerSettings(**change)  # type: ignore[arg-type]
