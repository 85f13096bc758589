"""A stage is trained once; every run that uses it is charged its full cost."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from trigan.datasets.inputs import Input
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.regime import Regime
from trigan.strategies import stage_runner as stage_runner_module
from trigan.strategies.baseline import Baseline
from trigan.strategies.joint import Joint
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.training.fit import TrainerSettings
from trigan.training.objectives import FeatureMatching
from trigan.training.players import PlayersModule
from trigan.training.stage import Stage

from ..training.tiny import (
    Recorder,
    classifier_stage,
    copied,
    digits,
    gan_stage,
    inputs_for,
    joint_stage,
    same,
    view,
    with_recipe,
)
from .recipes import augment, features, logits, make_runner, unseen_images

STAGES = {"gan": gan_stage, "classifier": classifier_stage, "joint": lambda: joint_stage(FeatureMatching())}


@contextmanager
def no_training() -> Iterator[None]:
    """Within it, any fit is a failure."""

    def refuse(*given: object) -> None:
        raise AssertionError("a stage was trained again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage_runner_module, "fit", refuse)
        yield


def _train(runner: StageRunner, stage: Stage) -> TrainedStage:
    return runner.train("stage", stage, inputs_for(stage))


@pytest.mark.parametrize("name", STAGES)
def test_the_second_run_trains_nothing_and_is_charged_everything(name: str, tmp_path: Path) -> None:
    first_runner, second_runner = make_runner(tmp_path, run="one"), make_runner(tmp_path, run="two")
    first = _train(first_runner, STAGES[name]())
    reused: list[TrainedStage] = []
    second_runner.on_reuse = reused.append
    with no_training():
        second = _train(second_runner, STAGES[name]())
        _train(second_runner, STAGES[name]())
    assert reused == [second]
    assert first.cost.flops > 0
    assert second.seconds == first.seconds
    assert second.cost == first.cost
    assert second_runner.total_cost() == first_runner.total_cost() == first.cost
    assert (second.digest, second.status, second.step, second.directory) == (
        first.digest,
        first.status,
        first.step,
        first.directory,
    )
    for player, network in first.networks.items():
        assert same(copied(network.state_dict()), copied(second.networks[player].state_dict()))
        assert not second.networks[player].training
    assert first_runner.store.users(first.digest) == ("one", "two")


def test_a_stage_that_a_run_needs_twice_is_charged_once(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    _train(runner, gan_stage())
    cost = runner.total_cost()
    _train(runner, gan_stage())
    assert runner.total_cost() == cost


def test_augment_and_features_share_the_gan(tmp_path: Path) -> None:
    """With an unconditional GAN; and the teacher of augment is the classifier of the bare baseline."""
    one, two, three = (make_runner(tmp_path, run=run) for run in ("augment", "features", "baseline"))
    augment().run(view(), one)
    with no_training():
        features().run(view(), two)
        Baseline(classifier_stage()).run(view(), three)
    by_name = {trained.name: trained for trained in one.trained_stages}
    assert two.trained_stages[0].digest == by_name["gan"].digest
    assert three.trained_stages[0].digest == by_name["teacher"].digest
    assert two.total_cost().flops > by_name["gan"].cost.flops


def test_one_gan_serves_every_label_budget(tmp_path: Path) -> None:
    """The GAN uses no label, so it does not depend on which images have one."""
    few, more = (draw_split(digits(), Regime(labels_per_class=n, validation="none"), 0).view for n in (2, 4))
    one, two = (make_runner(tmp_path, run=run) for run in ("two labels a class", "four"))
    features().run(few, one)
    with no_training():
        features().run(more, two)
    assert len(more.labelled.labels) == 2 * len(few.labelled.labels)
    assert one.trained_stages[0].digest == two.trained_stages[0].digest


def test_a_different_stage_is_trained(tmp_path: Path) -> None:
    """Settings, images, labels, seed, precision and a debug run's length are all part of what a stage is."""
    runner, stage = make_runner(tmp_path), classifier_stage()
    inputs = dict(inputs_for(stage))
    labelled = inputs["labelled"]
    other_image, other_label = labelled.images.clone(), labelled.known_labels.clone()
    other_image[0, 0, 0, 0] += 1
    other_label[0] = (other_label[0] + 1) % 10
    digests = [
        runner.train("stage", stage, inputs).digest,
        runner.train("stage", with_recipe(stage, batch=8), inputs).digest,
        runner.train("stage", stage, {"labelled": Input(other_image, labelled.labels)}).digest,
        runner.train("stage", stage, {"labelled": Input(labelled.images, other_label)}).digest,
        runner.train("stage", stage, inputs, seed=1).digest,
        replace_settings(runner, TrainerSettings(precision="64-true")).train("stage", stage, inputs).digest,
        StageRunner(runner.store, "run", runner.spec, 0, runner.settings, 3).train("stage", stage, inputs).digest,
    ]
    assert len(set(digests)) == len(digests)
    quicker = replace_settings(runner, TrainerSettings(checkpoint_every=1, devices=1))
    with no_training():
        assert quicker.train("another name", stage, inputs).digest == digests[0]


def replace_settings(runner: StageRunner, settings: TrainerSettings) -> StageRunner:
    return StageRunner(runner.store, "run", runner.spec, 0, settings)


@pytest.mark.parametrize("name", STAGES)
def test_a_stopped_stage_resumes_from_its_checkpoint(name: str, tmp_path: Path) -> None:
    def stop(module: PlayersModule, metrics: dict[str, float]) -> None:
        if module.completed_steps == 5:
            raise RuntimeError("power cut")

    settings, stage = TrainerSettings(checkpoint_every=2), STAGES[name]()
    whole = _train(make_runner(tmp_path / "whole", settings), stage)
    interrupted = make_runner(tmp_path, settings)
    interrupted.callbacks = lambda stage_name, directory: [Recorder(stop)]
    with pytest.raises(RuntimeError, match="power cut"):
        _train(interrupted, stage)
    (unfinished,) = interrupted.store.entries()
    assert (unfinished.state, unfinished.users) == ("unfinished", ("run",))
    seconds = float(next(tmp_path.rglob("seconds")).read_text())
    recorder, again = Recorder(), make_runner(tmp_path, settings)
    again.callbacks = lambda stage_name, directory: [recorder]
    resumed = _train(again, stage)
    assert recorder.began == [4]
    assert resumed.seconds is not None
    assert resumed.seconds > seconds > 0
    assert resumed.seconds == json.loads((resumed.directory / "manifest.json").read_text())["content"]["seconds"]
    assert resumed.cost == whole.cost
    for player, network in whole.networks.items():
        assert same(copied(network.state_dict()), copied(resumed.networks[player].state_dict()))
    assert not list(resumed.directory.rglob("*.ckpt")), "a finished stage keeps no checkpoints"


def test_a_damaged_stage_is_trained_again(tmp_path: Path) -> None:
    first = _train(make_runner(tmp_path), gan_stage())
    file = first.directory / "generator.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"spam")
    again = _train(make_runner(tmp_path), gan_stage())
    for player, network in first.networks.items():
        assert same(copied(network.state_dict()), copied(again.networks[player].state_dict()))


def test_the_manifest_describes_the_stage(tmp_path: Path) -> None:
    trained = _train(make_runner(tmp_path, TrainerSettings(precision="64-true")), gan_stage())
    text = (trained.directory / "manifest.json").read_text()
    for word in ("stage/gan@", "architecture/dcgan@", "half_life", "precision", "protocol", "real"):
        assert word in text, word
    assert json.loads(text)


def test_a_joint_row_keeps_all_its_players(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    outcome = Joint(joint_stage(FeatureMatching())).run(view(), runner)
    assert set(outcome.weights) == {"classifier", "generator"}
    with no_training():
        again = Joint(joint_stage(FeatureMatching())).run(view(), make_runner(tmp_path))
    assert torch.equal(logits(again.classifier, unseen_images()), logits(outcome.classifier, unseen_images()))
    (trained,) = runner.trained_stages
    assert outcome.weights.keys() == trained.networks.keys()
