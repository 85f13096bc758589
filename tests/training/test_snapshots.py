"""Snapshots of C along a fit, which do not change the fit."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch

from trigan.errors import ConfigError
from trigan.training.fit import TrainerSettings, fit
from trigan.training.objectives import FeatureMatching, SharedNetwork
from trigan.training.selection import Selection, Snapshots
from trigan.training.stage import Stage

from .tiny import SPEC, Recorder, built, classifier_stage, copied, inputs_for, joint_stage, same, with_recipe

STEPS, COUNT = 12, 4


def stages() -> list[Stage]:
    return [classifier_stage(STEPS), joint_stage(FeatureMatching(), STEPS), joint_stage(SharedNetwork(), STEPS)]


def with_snapshots(stage: Stage, count: int = COUNT) -> Stage:
    return with_recipe(stage, selection=Selection("last", snapshots=count))


@pytest.mark.parametrize("stage", stages())
def test_snapshots_are_the_recalibrated_classifier_at_their_steps(stage: Stage) -> None:
    stage = with_snapshots(stage)
    inputs = inputs_for(stage)
    by_hand = {}

    def look(module: object, metrics: object) -> None:
        network = deepcopy(module.evaluation_network("classifier"))  # type: ignore[attr-defined]
        module.recalibrate(network)  # type: ignore[attr-defined]
        by_hand[module.completed_steps * module.plan.batch] = getattr(network, "classifier", network)  # type: ignore[attr-defined]

    module = built(stage, inputs)
    fit(module, TrainerSettings(), callbacks=[Recorder(look)])
    kept = stage.finish(module, inputs)
    taken = kept["snapshots"].by_images_seen()
    assert list(taken) == [module.plan.batch * step for step in (3, 6, 9, 12)]
    for images, network in taken.items():
        assert same(copied(network.state_dict()), copied(by_hand[images].state_dict()))
        assert not network.training
    assert not same(copied(taken[min(taken)].state_dict()), copied(taken[max(taken)].state_dict()))
    assert same(copied(taken[max(taken)].state_dict()), copied(kept["classifier"].state_dict()))


@pytest.mark.parametrize("stage", stages())
def test_a_fit_and_its_cost_are_the_same_without_them(stage: Stage) -> None:
    ends = []
    for one in (stage, with_snapshots(stage)):
        inputs = inputs_for(one)
        module = built(one, inputs)
        fit(module, TrainerSettings())
        ends.append((one.finish(module, inputs)["classifier"], module.flops, module.images))
    (network, *cost), (other, *same_cost) = ends
    assert same(copied(network.state_dict()), copied(other.state_dict()))
    assert cost == same_cost


def test_a_resumed_fit_keeps_the_same_ones(tmp_path: Path) -> None:
    stage = with_snapshots(classifier_stage(STEPS))
    inputs = inputs_for(stage)
    uninterrupted, broken, resumed = (built(stage, inputs) for _ in range(3))
    settings = TrainerSettings(checkpoint_every=1)
    fit(uninterrupted, settings)

    class Stop(Exception):
        pass

    def stop(module: object, metrics: object) -> None:
        if module.completed_steps == 8:  # type: ignore[attr-defined]
            raise Stop

    with pytest.raises(Stop):
        fit(broken, settings, tmp_path, callbacks=[Recorder(stop)])
    fit(resumed, settings, tmp_path)
    assert uninterrupted.snapshots is not None
    assert resumed.snapshots is not None
    assert same(copied(uninterrupted.snapshots.state_dict()), copied(resumed.snapshots.state_dict()))


@pytest.mark.parametrize("stage", stages())
def test_they_are_loaded_as_they_were_saved_even_if_some_were_never_taken(stage: Stage) -> None:
    stage = with_snapshots(stage, STEPS + 5)
    inputs = inputs_for(stage)
    module = built(stage, inputs)
    fit(module, TrainerSettings())
    kept = stage.finish(module, inputs)
    skeleton = stage.skeleton(SPEC)
    assert set(skeleton) == set(kept)
    skeleton["snapshots"].load_state_dict(kept["snapshots"].state_dict())
    taken = skeleton["snapshots"].by_images_seen()
    assert sorted(taken) == [module.plan.batch * step for step in range(1, STEPS + 1)]
    images = torch.zeros(2, 1, 8, 8)
    for seen, network in kept["snapshots"].by_images_seen().items():
        assert torch.equal(network(images), taken[seen](images))


def test_none_and_less_than_one() -> None:
    stage = classifier_stage(STEPS)
    assert built(stage).snapshots is None
    assert "snapshots" not in stage.skeleton(SPEC)
    assert Snapshots([]).by_images_seen() == {}
    with pytest.raises(ConfigError, match=r"^snapshots: 0 must be at least 1, or null"):
        Selection(snapshots=0)
