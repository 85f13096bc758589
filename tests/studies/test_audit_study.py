"""``trigan audit`` and strict studies: a strategy with a recipe of its own is found before anything runs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from few_steps import composer, small
from record_makers import make_record
from torch import Tensor, nn

from trigan.commands.main import main
from trigan.config.compose import Composer
from trigan.errors import ConfigError
from trigan.losses.semi_supervised_losses import fixmatch_loss
from trigan.records.record import read_record
from trigan.runs.run import run
from trigan.studies.audit import audit_study
from trigan.studies.plan import StudyPlan
from trigan.studies.run_study import run_study
from trigan.studies.study_file import read_study
from trigan.tables.classifier_differences import audited_row, compare_rows, undeclared
from trigan.tables.layout.text import render_markdown
from trigan.tables.table import TableSpec, build_table
from trigan.training.step import TrainingStep
from trigan.training.terms.loss_terms import FixMatch

OWN = """\
defaults:
  - /stage/classifier@classifier
  - _self_
_target_: trigan.strategies.baseline.Baseline
classifier:
  recipe:
    optimizer: {betas: [0.9, 0.999]}
"""
STUDY: dict[str, Any] = {
    "title": "Two",
    "trials": 1,
    "fixed": ["logger=none", "debug=fast"],
    "rows": [{"name": "plain", "set": ["strategy=baseline"]}, {"name": "own", "set": ["strategy=own"]}],
    "reference": "plain",
}
BETAS = "own against plain: recipe.optimizer.betas is [0.9, 0.999], not [0.5, 0.999]"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A user's folder of groups, with a strategy that has a recipe of its own."""
    path = tmp_path / "conf/strategy/own.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(OWN)
    return tmp_path / "conf"


def study(folder: Path, **changes: Any) -> Path:
    path = folder / "study/study.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({**STUDY, **changes}))
    return path


def test_the_command_names_each_difference(conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["audit", str(study(tmp_path)), "--config-dir", str(conf), f"paths.outputs={tmp_path}"]
    assert main(words) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "all: 1 not declared, 0 declared by the study"
    assert f"  NOT DECLARED  {BETAS}" in lines
    rows = [STUDY["rows"][0], {**STUDY["rows"][1], "declares": ["recipe.optimizer"]}]
    study(tmp_path, rows=rows)
    assert main(words) == 0
    assert "all: 0 not declared, 1 declared by the study" in capsys.readouterr().out


def test_a_strict_study_runs_nothing(conf: Path, tmp_path: Path) -> None:
    read = read_study(study(tmp_path, strict=True))
    with pytest.raises(ConfigError) as caught:
        run_study(read, [f"paths.outputs={tmp_path}"], config_dir=conf)
    assert str(caught.value).startswith(f"study study is strict: {BETAS}; set it in `fixed`")
    assert not list(tmp_path.rglob("record.json"))


def test_augmentation_that_is_off_behind_the_settings_is_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two real runs of the same settings; in one of them FixMatch takes both views without augmentation."""

    def without_views(term: FixMatch, step: TrainingStep, network: nn.Module) -> Tensor:
        images = step.batch(term.stream).images
        return term.weight * fixmatch_loss(network(images), network(images), term.threshold)

    rows, given = {}, ("strategy=baseline", "strategy.unlabelled=fixmatch")
    for name in ("whole", "off"):
        with monkeypatch.context() as patch:
            if name == "off":
                patch.setattr(FixMatch, "__call__", without_views)
            directory = run(composer().compose(small(*given, f"paths.outputs={tmp_path / name}")))
        rows[name] = audited_row(read_record(directory / "record.json"), name, given, ())
    assert rows["whole"].not_applied == ()
    assert rows["whole"].counted["unlabelled images shown to C"] == rows["off"].counted["unlabelled images shown to C"]
    found = {one.setting: one.value for one in undeclared(compare_rows(rows["off"], rows["whole"]))}
    of_unlabelled = "augmentation of unlabelled images"
    assert {key: found[key] for key in found if key.startswith("augmentation")} == {
        of_unlabelled: "none",
        f"{of_unlabelled} by unlabelled.strong": "applied to none",
    }


EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*/study.yaml"))
#: Studies that are part of the quick tests; each audit composes every row.
QUICK = ("demo", "recipe", "ssl_labels", "transfer", "verdict")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.parent.name, marks=[] if path.parent.name in QUICK else pytest.mark.slow)
        for path in EXPERIMENTS
    ],
)
def test_our_studies_are_strict_and_declare_everything(path: Path) -> None:
    for scale in yaml.safe_load(path.read_text()).get("scales", {None: {}}):
        read = read_study(path, scale)
        assert read.strict
        one_column = read.model_copy(update={"columns": read.columns[:1]})
        found = audit_study(one_column, StudyPlan(Composer(check_devices=False), one_column))
        assert not [one for differences in found.values() for one in undeclared(differences)]


def test_a_number_whose_row_is_not_declared_has_a_mark() -> None:
    places, declared = {}, {}
    for name, betas in (("plain", [0.5, 0.999]), ("own", [0.9, 0.999])):
        optimizer = {"_id_": "optimizer/adam@1", "betas": betas}
        strategy = {"_id_": "strategy/baseline@1", "recipe": {"_id_": "recipe/recipe@1", "optimizer": optimizer}}
        record = make_record(0.5, trial=0)
        record["config"]["strategy"] = strategy
        places[name, "digits"], declared[name] = [record], ((f"strategy={name}",), ())
    spec = TableSpec("Two", ("plain", "own"), ("digits",), reference="plain", declared=declared)
    text = render_markdown(build_table(places, spec))
    first = next(line for line in text.splitlines() if line.startswith("| own |"))
    assert first.split("|")[2].strip() == "**50.0 (!)**"
    assert "Differences in C's training that the study does not declare" in text
    assert "| (!) own | plain | recipe.optimizer.betas | [0.9, 0.999] | [0.5, 0.999] |" in text
    named = replace(spec, declared={**declared, "own": ((), ("recipe",))})
    assert "(!)" not in render_markdown(build_table(places, named))
