"""`trigan study --tuned N`: every row gets the same number of search trials, or the study is refused in one line."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from few_steps import small
from record_makers import make_records
from study_fixture import write_study

from trigan.commands.main import main
from trigan.config.compose import Composer
from trigan.errors import ConfigError, TriganError
from trigan.search import tuned_study
from trigan.search.search_results import SearchResult
from trigan.search.strategy_search import StrategySearch
from trigan.search.tuned_study import row_space, tune_study
from trigan.search.worker import SearchSettings
from trigan.studies import job_cache
from trigan.studies.plan import StudyPlan
from trigan.studies.study_file import StudyFile, read_study
from trigan.studies.tuned_settings import read_tuned
from trigan.tables.layout.footnotes import footnotes
from trigan.tables.table import TableSpec, build_table

FIXMATCH = ["strategy=baseline", "strategy.unlabelled=fixmatch"]
STUDY: dict[str, Any] = {
    "trials": [3, 4],
    "fixed": ["data=digits", "regime.labels_per_class=20", "logger=none", "data.suggested.steps=2"],
    "rows": [
        {"name": "bare", "set": ["strategy=baseline", "augmentation=none"]},
        {"name": "fix", "set": FIXMATCH},
        {"name": "fix, matched", "set": FIXMATCH, "match": ["joint"]},
        {"name": "joint", "set": ["strategy=joint"]},
    ],
    "reference": "bare",
}


@pytest.fixture
def study(tmp_path: Path) -> StudyFile:
    return read_study(write_study(tmp_path / "mine", STUDY))


@pytest.fixture(scope="module")
def whole() -> Composer:
    return Composer()


class Searches:
    """Stands for the searches: each finds its default point, and remembers what it was asked for."""

    def __init__(self, count: int | None = None) -> None:
        self.count, self.asked = count, list[list[StrategySearch]]()

    def __call__(self, searches: Sequence[StrategySearch], settings: SearchSettings) -> list[SearchResult]:
        self.asked.append(list(searches))
        count = self.count or settings.budget.trials or 0
        return [
            SearchResult(
                one,
                "accuracy",
                0.5,
                Counter(COMPLETE=count),
                tuple(one.space.overrides(one.space.default_point)),
                "",
                (f"tuned.search={one.name}", f"tuned.trials={count}", "tuned.labels=40", f"tuned.trial={one.trial}"),
            )
            for one in searches
        ]


@pytest.mark.parametrize(
    ("words", "space", "more", "left_out"),
    [
        (["strategy=baseline"], "baseline", (), ()),
        (["strategy=baseline", "augmentation=none"], "baseline", (), ("augmentation",)),
        (["strategy=baseline", "strategy.unlabelled=self_training"], "baseline_self_training", (), ()),
        (FIXMATCH, "baseline_fixmatch", (), ()),
        (["strategy=joint"], "joint", ("strategy/objective=feature_matching",), ()),
        (["strategy=joint", "strategy/objective=triple_gan", "architecture=cgan"], "joint_triple_gan", (), ()),
        (["strategy=features"], "features", (), ()),
        (["strategy=features", "strategy.backbone=simclr"], "features_simclr", (), ()),
        (["strategy=augment", "strategy.samples.ratio=2"], "augment", (), ("strategy.samples.ratio",)),
    ],
)
def test_a_row_takes_the_space_of_its_strategy_without_what_it_sets(
    words: list[str], space: str, more: tuple[str, ...], left_out: tuple[str, ...], whole: Composer
) -> None:
    from trigan.search.space import find_space

    found, full = row_space(whole, ["data=digits", *words]), find_space(space)
    assert (found.name, found.strategy) == (space, more)
    assert [one.key for one in found.dimensions] == [one.key for one in full.dimensions if one.key not in left_out]


def test_what_cannot_be_tuned_is_refused_in_one_line(whole: Composer, study: StudyFile, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no search space fits its strategy; write DIR/search/NAME\.yaml"):
        row_space(whole, ["data=digits", "strategy=joint", "architecture=cgan", "strategy/objective=acgan"])
    with pytest.raises(ConfigError, match=r"--tuned: row 'bare', column 'all': .*there are no validation labels here"):
        tune_study(study, ["regime.validation=none"], 2)
    (tmp_path / "search").mkdir()
    own = "strategy: [strategy=baseline, strategy/unlabelled=none]\nspace:\n  recipe.steps: "
    (tmp_path / "search" / "mine.yaml").write_text(own + "{default: 5, int: [1, 9]}\n")
    with pytest.raises(ConfigError, match=r"steps=\d+ lies outside int \[1, 9\] of space mine; set it in the row"):
        row_space(Composer(tmp_path), ["data=digits", "strategy=baseline"], tmp_path)
    with pytest.raises(ConfigError, match="it sets all that space mine searches, so there is nothing to tune"):
        row_space(Composer(tmp_path), ["data=digits", "strategy=baseline", "recipe.steps=3"], tmp_path)


def test_every_row_has_the_settings_of_a_search_of_its_own(
    study: StudyFile, whole: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A matched row shares the search of its own settings; the user's settings hold for the searches, too."""
    searches = Searches()
    monkeypatch.setattr(tuned_study, "run_searches", searches)
    own = [f"paths.outputs={tmp_path}", "classifier.dropout=0.25"]
    with pytest.raises(ConfigError, match=r"--tuned 2: no finished search .*`trigan study mine --tuned 2`"):
        read_tuned(study, own, None, 2)
    tuned = tune_study(study, own, 2)
    assert [one.space.name for one in searches.asked[0]] == ["baseline", "baseline_fixmatch", "joint"]
    assert all(one.trial == 3 and one.validation_labels == 40 for one in searches.asked[0])
    assert not any("classifier.dropout" in one.space.default_point for one in searches.asked[0])
    assert read_tuned(study, own, None, 2) == tuned
    assert read_tuned(study, own, None, None) is study
    plan = StudyPlan(whole, tuned, own)
    jobs = plan.jobs()
    for job in jobs.runnable:
        run = whole.compose(job.arguments)
        assert run.config["tuned"]["search"] == tuned.tuned[job.row.name]["all"][-4].partition("=")[2]
        assert (run.config["tuned"]["trials"], run.config["tuned"]["trial"]) == (2, 3)
        assert run.config["classifier"]["dropout"] == 0.25
    assert tuned.tuned["fix"] == tuned.tuned["fix, matched to joint"]
    assert jobs.variant == f"2 search trials a row {' '.join(own)}"
    assert jobs.named(tuned).title == f"mine (with {jobs.variant})"
    plain = {job.hash for job in StudyPlan(whole, study, own).jobs().runnable}
    assert not plain & {job.hash for job in jobs.runnable}
    assert job_cache.cache_path(tuned, own, None) != job_cache.cache_path(study, own, None)


@pytest.mark.slow
def test_a_search_that_has_had_more_trials_is_not_passed_off_as_a_smaller_one(
    study: StudyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuned_study, "run_searches", Searches(count=4))
    with pytest.raises(ConfigError, match=r"--tuned 2: search baseline-\w+ has had 4 trials before; give --tuned 4"):
        tune_study(study, [f"paths.outputs={tmp_path}"], 2)

    def none_finished(searches: Sequence[StrategySearch], settings: SearchSettings) -> list[SearchResult]:
        return [SearchResult(one, "accuracy", None, Counter(FAIL=2)) for one in searches]

    monkeypatch.setattr(tuned_study, "run_searches", none_finished)
    with pytest.raises(TriganError, match=r"--tuned: row 'bare', column 'all': baseline: 2 trials .* none finished"):
        tune_study(study, [f"paths.outputs={tmp_path}"], 2)


def test_commands_that_run_nothing_need_a_finished_search(
    study: StudyFile, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, name = f"paths.outputs={tmp_path}", str(study.file)
    for words in (["study", name, "--status"], ["table", name], ["report", name]):
        assert main([*words, own, "--tuned", "2"]) == 2
        assert "--tuned 2: no finished search of study mine" in capsys.readouterr().err
    monkeypatch.setattr(tuned_study, "run_searches", Searches())
    tune_study(study, [own], 2)
    assert main(["study", name, "--status", own, "--tuned", "2"]) == 0
    assert "0 of 8 jobs done" in capsys.readouterr().out


def test_a_run_that_was_tuned_on_another_trials_split_has_a_stamp(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ["tuned.search=mine", "tuned.trials=2", "tuned.labels=40"]
    for trial, stamps in ((0, []), (1, ["tuned-on-another-trial"])):
        words = small("strategy=baseline", f"paths.outputs={tmp_path}", f"tuned.trial={trial}", *found)
        assert main(["run", *words]) == 0
        result = json.loads((Path(capsys.readouterr().out.strip()) / "record.json").read_text())["result"]
        assert (result["stamps"], result["data_used"]["V"]) == (stamps, 40)


@pytest.mark.parametrize(
    ("words", "name"), [(["tuned.trials=2"], "labels"), (["tuned.labels=40"], "trials")], ids=["labels", "trials"]
)
def test_a_search_without_labels_or_trials_is_refused(
    words: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *small("strategy=baseline"), "tuned.search=mine", *words]) == 2
    assert f"tuned.{name}=0: a search has chosen these settings (tuned.search=mine)" in capsys.readouterr().err


def test_tables_say_how_rows_were_tuned() -> None:
    def said(*configs: dict[str, Any]) -> str:
        rows = tuple(f"row {index}" for index in range(len(configs)))
        records = {(row, "x"): make_records([0.5], config=one) for row, one in zip(rows, configs, strict=True)}
        return "\n".join(footnotes(build_table(records, TableSpec("t", rows, ("x",))), "*"))

    twenty, forty = ({"tuned": {"search": f"s{n}", "trials": 20, "labels": n}} for n in (20, 40))
    assert "\nNot tuned: no row has settings that a search chose." in said({}, {"tuned": {"search": None, "trials": 0}})
    assert "\nTuned: 20 search trials a row on 20 to 40 validation labels." in said(twenty, forty)
    mixed = "\nTuned unequally: no search trials for row 0 and row 2; 20 search trials for row 1."
    assert mixed in said({}, twenty, {}).replace('"', "")


@pytest.mark.slow
def test_a_tuned_study_over_real_runs_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    control = {"name": "pixels", "set": ["strategy=features", "strategy.backbone=pixels"]}
    game = {"name": "EC-GAN", "set": ["strategy=joint", "strategy.objective=ec_gan", "architecture.width=4"]}
    path = write_study(tmp_path / "mine", {**STUDY, "rows": [*STUDY["rows"][:2], control, game]})
    words = ["study", str(path), "--tuned", "2", "--workers", "2", f"paths.outputs={tmp_path}/o", "classifier.width=4"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "2 search trials a row on 40 validation labels" in " ".join(said.split())
    assert "tuned-on-another-trial" in said
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "o" / "search" / "runs").glob("*/validation.json")}
    assert len(stamps) == 8, "two trials of each row, controls too"
    assert main(words) == 0
    assert capsys.readouterr().out == said
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
