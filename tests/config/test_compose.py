"""What a user gets wrong is refused before any work, in one line: the key, what is allowed, the nearest match."""

from pathlib import Path

import pytest
import yaml

from trigan.config.compose import Composer
from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError

LINES = {
    "arch=dcgan": "arch: no such setting; nearest: architecture",
    "architecture=lage": "architecture=lage: no such choice; choices: large, small; nearest: large",
    "architecture=lar-ge": "architecture=lar-ge: no such choice; choices: large, small; nearest: large",
    "architecture=mine": (
        "architecture=mine: no such choice; choices: large, small; "
        "choices of your own are found with --config-dir FOLDER"
    ),
    "architecture.widht=3": "architecture.widht: no such setting; nearest: architecture.width",
    "width=3": "width: no such setting; nearest: architecture.width",
    "my/images": "my/images: no setting; settings are written key=value, e.g. data=folder data.root=my/images",
    "strategy={stepz:3}": "strategy.stepz: no such setting; nearest: strategy.steps",
    "trial=abc": "trial=abc: expected an int >= 0",
    "trial=-1": "trial=-1: expected an int >= 0",
    "trial=true": "trial=true: expected an int >= 0",
    "trial=null": "trial=null: expected an int >= 0",
    "study=3": "study=3: expected a string or null; as text: \"study='3'\"",
    "paths.cache=1": "paths.cache=1: expected a path; as text: \"paths.cache='1'\"",
    "runtime.threads=0": "runtime.threads=0: expected an int >= 1",
    "notes.rounds=2.5": "notes.rounds=2.5: expected an int",
    "architecture.width=2.5": "architecture.width=2.5: expected an int",
    "architecture.width=0": "architecture.width=0: expected at least 1; give architecture.width=32",
    "architecture.widths=[1,a]": "architecture.widths=[1, 'a']: expected a list, each an int",
    "architecture.widths=3": "architecture.widths=3: expected a list, each an int",
    "architecture.kind=residul": ("architecture.kind=residul: expected one of plain, residual; nearest: residual"),
    "architecture=null": "architecture=null: a choice is needed; choices: large, small",
    "strategy=[one,two]": "strategy=one,two: one choice is needed; several runs: -m strategy=A,B",
    "strategy.flag=1": "strategy.flag=1: expected true or false",
    "strategy.steps=1e3": "strategy.steps=1000.0: expected an int",
    "strategy.matched_flops=inf": "strategy.matched_flops: expected a finite number, got inf",
    "architecture.slope=nan": "architecture.slope: expected a finite number, got nan",
    "strategy.steps=${nope}": "strategy.steps: Interpolation key 'nope' not found",
    "strategy.network=3": "strategy.network=3: expected a node whose _target_ builds a Network",
    "data=rooted": "data.root: has no default and was not given; add data.root=VALUE",
    "debug.max_steps=3": "debug.max_steps: no such setting while debug is null; choices of debug: fast",
    "+foo=1": "foo: no such setting (and + adds none)",
    "+trial=1": "+trial=1: the setting exists, so nothing is added with +; write trial=1",
    "++trial=1": "++trial=1: the setting exists, so nothing is added with +; write trial=1",
    "~logger": "~logger: settings are not removed with ~; give null, or the choice `none` where a group has it",
    "trial=1,2": "trial=1,2: several values need --multirun (-m); a list is written [a,b]",
    "hydra.run.dir=x": (
        "hydra.run.dir=x: Hydra's own settings have no effect here, but for hydra/launcher and hydra.launcher.* "
        "of several jobs (-m, trigan study); each job is a process of its own"
    ),
    "hydra/launcher=joblib": (
        "hydra/launcher=joblib: Hydra's own settings have no effect here, but for hydra/launcher and hydra.launcher.* "
        "of several jobs (-m, trigan study); each job is a process of its own"
    ),
    "trial": "trial: no setting; settings are written key=value",
    "architecture.widths=[1": (
        "architecture.widths=[1: cannot be read (no viable alternative at input '[1'); "
        "quote values with spaces, commas or brackets, within the shell's quotes: \"data.root='my images'\""
    ),
}


@pytest.mark.parametrize(("argument", "line"), LINES.items(), ids=LINES)
def test_each_mistake_has_its_line(composer: Composer, argument: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        composer.compose([argument])
    assert str(caught.value) == line


def test_the_nearest_name_has_the_same_ends_before_the_same_spelling() -> None:
    assert nearest_hint("data.label", ["data.channels", "data.source.columns.label"]).endswith(".columns.label")


def test_defaults_compose_and_build(composer: Composer) -> None:
    composed = composer.compose([])
    assert composed.choices == {
        "architecture": "small",
        "data": "plain",
        "debug": None,
        "logger": "files",
        "strategy": "one",
        "trainer": "cpu",
    }
    built = composed.build()
    assert built.strategy.network == built.architecture
    assert built.architecture.widths == [1, 2]
    assert not hasattr(built, "paths")
    assert composed.trial == composed.seed == 0
    assert composed.debug is None


def test_good_overrides_arrive(composer: Composer) -> None:
    composed = composer.compose(["architecture=large", "architecture.slope=1", "trial=3", "debug=fast", "study='a, b'"])
    assert composed.build().strategy.network.width == 16
    assert composed.build().strategy.network.slope == 1
    assert (composed.trial, composed.seed, composed.config["study"]) == (3, 3, "a, b")
    assert composed.debug is not None
    assert composed.debug.max_steps == 20
    assert composed.paths.outputs == Path("outputs/debug").absolute()
    assert composed.paths.runs == Path("outputs/debug/runs").absolute()


def test_null_is_a_choice_where_it_is_the_default(composer: Composer) -> None:
    assert composer.compose(["debug=null"]).config == composer.compose([]).config


def test_composing_leaves_no_trace_for_the_next(composer: Composer) -> None:
    before = composer.compose([]).config
    composer.compose(["architecture=large", "trial=3", "runtime.threads=2"])
    with pytest.raises(ConfigError):
        composer.compose(["architecture.width=0"])
    assert composer.compose([]).config == before


def test_inner_groups_may_be_written_with_dots(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    (conf / "strategy" / "probe").mkdir(parents=True)
    (conf / "strategy" / "probe" / "svm.yaml").write_text("margin: 1\n")
    (conf / "strategy" / "probe" / "knn.yaml").write_text("neighbours: 3\n")
    (conf / "strategy" / "features.yaml").write_text("defaults: [{probe: svm}, _self_]\ngrid: 4\n")
    (conf / "strategy" / "joint.yaml").write_text("steps: 4\n")
    small = yaml.safe_load((Path(__file__).parents[1] / "small_conf" / "config.yaml").read_text())
    (conf / "config.yaml").write_text(yaml.safe_dump({**small, "defaults": ["_self_", {"strategy": "features"}]}))
    own = Composer(conf=conf)
    assert own.compose(["strategy.probe=knn"]).config["strategy"] == {"probe": {"neighbours": 3}, "grid": 4}
    assert own.compose(["strategy/probe=knn"]).config == own.compose(["strategy.probe=knn"]).config
    with pytest.raises(ConfigError, match=r"^strategy/probe: has no place beside the other choices of this run$"):
        own.compose(["strategy=joint", "strategy.probe=knn"])


def test_config_dir_adds_groups_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "architecture").mkdir()
    (tmp_path / "architecture" / "mine.yaml").write_text("_target_: fakes.Network\nwidth: 5\n")
    own = Composer(config_dir=tmp_path, conf=Path(__file__).parents[1] / "small_conf")
    assert own.groups["architecture"] == ["large", "mine", "small"]
    assert own.compose(["architecture=mine"]).build().strategy.network.width == 5
    with pytest.raises(ConfigError, match="no such folder"):
        Composer(config_dir=tmp_path / "nowhere")


def test_missing_and_misspelt_arguments_in_a_users_file(tmp_path: Path) -> None:
    (tmp_path / "architecture").mkdir()
    (tmp_path / "architecture" / "bare.yaml").write_text("_target_: fakes.Network\n")
    (tmp_path / "architecture" / "typo.yaml").write_text("_target_: fakes.Network\nwidth: 5\nslpoe: 1\n")
    (tmp_path / "architecture" / "gone.yaml").write_text("_target_: fakes.Netwerk\nwidth: 5\n")
    own = Composer(config_dir=tmp_path, conf=Path(__file__).parents[1] / "small_conf")
    for choice, line in {
        "bare": "architecture.width: not given, and fakes.Network has no default for it",
        "typo": "architecture.slpoe: fakes.Network has no such argument; nearest: slope",
        "gone": "architecture._target_=fakes.Netwerk: cannot be found; nearest: fakes.Network",
    }.items():
        with pytest.raises(ConfigError) as caught:
            own.compose([f"architecture={choice}"])
        assert str(caught.value).startswith(line)
        assert "\n" not in str(caught.value)


def test_an_error_that_is_not_ours_is_one_line_with_the_key(composer: Composer) -> None:
    with pytest.raises(ConfigError) as caught:
        composer.compose(["architecture={_target_:fakes.unreadable}"])
    assert "architecture" in str(caught.value)
    assert "\n" not in str(caught.value)
