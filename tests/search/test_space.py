"""Search spaces: each fits the config, is no group of `trigan run`, and says in one line what is wrong with it."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from few_steps import composer
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from trigan.config.settings_file import dotted_key
from trigan.errors import ConfigError
from trigan.search.space import Dimension, SearchSpace, check_defaults, find_space, list_spaces, read_space
from trigan.search.sweep import agent_command, sweep_parameter

SPACES = sorted(list_spaces())


def ends(one: Dimension) -> tuple[Any, ...]:
    return one.values if one.kind != "choice" else (one.values[0], one.values[-1])


def at(space: SearchSpace, end: int) -> dict[str, Any]:
    """The point of all first, or of all last, ends."""
    return {one.key: ends(one)[end] for one in space.dimensions}


def test_every_strategy_has_a_space() -> None:
    assert set(composer().groups["strategy"]) <= set(SPACES)


@pytest.mark.parametrize("name", SPACES)
def test_a_space_fits_the_config(name: str) -> None:
    """Its defaults are the config's, its distributions contain them, and its ends compose."""
    space = find_space(name)
    plain = composer().compose(space.strategy)
    check_defaults(space, plain)
    assert all(one.contains(one.default) for one in space.dimensions)
    default = composer().compose([*space.strategy, *space.overrides(space.default_point)])
    assert default.run_hash("f") == plain.run_hash("f"), "the first trial is not the default"
    low, high = (composer().compose([*space.strategy, *space.overrides(at(space, end))]) for end in (0, -1))
    assert not low.unused, "a setting has no effect"
    assert len({low.run_hash("f"), high.run_hash("f"), plain.run_hash("f")}) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_corners_and_choices_compose(name: str) -> None:
    space = find_space(name)
    for one in space.dimensions:
        for value in one.values:
            composer().compose([*space.strategy, *space.overrides({**space.default_point, one.key: value})])
    for values in itertools.product(*map(ends, space.dimensions[:4])):
        point = dict(zip(space.default_point, values, strict=False))
        composer().compose([*space.strategy, *space.overrides({**space.default_point, **point})])


@pytest.mark.parametrize(
    "name", [name if name == "features" else pytest.param(name, marks=pytest.mark.slow) for name in SPACES]
)
def test_what_an_agent_writes_composes(name: str) -> None:
    """Each value of each parameter, through W&B's own making of a command, is the setting it was drawn for."""
    space = find_space(name)
    template = agent_command([*space.strategy, "logger=none"])
    unconditional = {one.key for one in space.dimensions if not one.unless}
    point = {key: value for key, value in at(space, -1).items() if key in unconditional}
    args = {dotted_key(one.key): {"value": point[one.key]} for one in space.dimensions if one.key in point}
    variables = create_sweep_command_args({"args": args})
    words = template[:-1] + variables["args_no_hyphens"]
    assert words[:4] == ["${env}", "${program}", "run", "--validation-only"]
    own = replace(space, dimensions=tuple(one for one in space.dimensions if one.key in point))
    ours = composer().compose([*space.strategy, *own.overrides(point)])
    assert composer().compose(words[4:]).run_hash("f") == ours.run_hash("f")


def test_parameters_are_flat_and_null_is_told() -> None:
    assert sweep_parameter(Dimension("a.b", None, "choice", (None, 1.0)), False) == {"values": ["null", 1.0]}
    rate = Dimension("rate", 0.001, "log_uniform", (1e-4, 1e-2))
    assert sweep_parameter(rate, False) == {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}
    assert sweep_parameter(rate, True) == {"values": [1e-4, 0.0004642, 0.001, 0.002154, 1e-2]}
    assert sweep_parameter(Dimension("n", 8, "log_int", (1, 64)), False) == {"values": [1, 4, 8, 16, 64]}
    assert sweep_parameter(Dimension("n", 2, "int", (1, 4)), False) == {
        "distribution": "int_uniform",
        "min": 1,
        "max": 4,
    }
    assert dotted_key("strategy/probe") == "strategy.probe"


@pytest.mark.parametrize("word", ["search=baseline", "+search=baseline", "search.space=1"])
def test_a_space_is_no_setting_of_a_run(word: str) -> None:
    assert "search" not in composer().groups
    with pytest.raises(ConfigError, match=r"search.*: no such setting"):
        composer().compose([word])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("strategy: [a=b]\n", "space is missing: expected settings, each with"),
        (
            "strategy: joint\nspace: {a: {default: 1, int: [0, 2]}}\n",
            "strategy=joint: expected a list of settings, each written key=value",
        ),
        ("strategy: [a=b]\nspace: {}\n", "space={}: expected settings"),
        ("strategy: [a=b]\nspace: {a: {default: 1, normal: [0, 2]}}\n", "a.normal: no such key; nearest: uniform"),
        (
            "strategy: [a=b]\nspace: {a: {default: 1, int: [0, 2.5]}}\n",
            "a.int=[0, 2.5]: expected [low, high], ascending whole numbers",
        ),
        (
            "strategy: [a=b]\nspace: {a: {default: 1, uniform: [2, 0]}}\n",
            "a.uniform=[2, 0]: expected [low, high], ascending numbers",
        ),
        (
            "strategy: [a=b]\nspace: {a: {default: 1, log_uniform: [0, 2]}}\n",
            "expected [low, high], ascending numbers above 0",
        ),
        ("strategy: [a=b]\nspace: {a: {default: 3, int: [0, 2]}}\n", "the default 3 lies outside int [0, 2]"),
        ("strategy: [a=b]\nspace: {a: {default: x, choice: [x]}}\n", "two plain values or more"),
        ("strategy: [a=b]\nspace: {a: {default: true, choice: [1, 0]}}\n", "the default true lies outside"),
        (
            "strategy: [a=b]\nspace: {a: {default: 1, int: [0, 2], choice: [1, 2]}}\n",
            "KIND one of uniform, log_uniform",
        ),
        ("strategy: [a=b]\nspace: {a: {default: 1, int: [0]}}\n", "a.int is missing: expected [low, high]"),
        ("strategy: [", "while parsing"),
        ("strategy: [a=b]\nextends: basline\nspace: {n: {default: 1, int: [0, 2]}}\n", "basline: no such search space"),
        ("strategy: [a=b]\nextends: mine\nspace: {n: {default: 1, int: [0, 2]}}\n", "a space extends itself (mine)"),
        (
            "strategy: [a=b]\nspace: {n: {default: 1, int: [0, 2], unless: {m: 1}}}\n",
            "space.n.unless.m: no setting of this space",
        ),
    ],
)
def test_an_unsound_space_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_space(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_own_spaces_come_from_the_folder_of_groups(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "mine.yaml").write_text("strategy: [a=b]\nspace: {n: {default: 1, int: [0, 2]}}\n")
    assert find_space("mine", tmp_path).dimensions == (Dimension("n", 1, "int", (0, 2)),)
    with pytest.raises(ConfigError, match=r"basline: no such search space; there are .*; nearest: baseline"):
        find_space("basline")


def test_a_space_has_the_settings_of_the_one_that_it_extends(tmp_path: Path) -> None:
    """Its own distribution of a setting replaces the other's; one with ``unless`` is left alone where that holds."""
    (tmp_path / "search").mkdir()
    own = "{default: 0.5, uniform: [0.0, 1.0], unless: {mix: none}}"
    text = f"strategy: [strategy=baseline]\nextends: baseline\nspace: {{mine: {own}, classifier.dropout: {own}}}\n"
    (tmp_path / "search" / "mine.yaml").write_text(text)
    baseline, found = find_space("baseline"), find_space("mine", tmp_path)
    assert [one.key for one in found.dimensions] == [*(one.key for one in baseline.dimensions), "mine"]
    assert {one.key for one in found.dimensions if one not in baseline.dimensions} == {"mine", "classifier.dropout"}
    point = {**found.default_point, "mix": "mixup"}
    assert len(found.overrides(point)) == 6
    left_alone = {"mine=0.5", "classifier.dropout=0.5"}
    assert set(found.overrides(point)) - set(found.overrides({**point, "mix": "none"})) == {"mix=mixup", *left_alone}


def test_a_default_that_is_not_the_configs_is_refused() -> None:
    space = find_space("features")
    plain = composer().compose([*space.strategy, "loss.learning_rate=0.0004"])
    with pytest.raises(ConfigError, match=r"loss.learning_rate: its default is 0.001, .* has 0.0004"):
        check_defaults(space, plain)
