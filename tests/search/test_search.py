"""`trigan search`: workers over a shared list of trials, with children that only write what a run would have left."""

import json
import os
import signal
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from few_steps import small
from search_fixtures import ACCURACY, Children, made, points, score, study_of, target

from trigan.commands.main import main
from trigan.config.settings import UNHASHED_KEYS
from trigan.config.settings_file import merge_settings, read
from trigan.datasets.splits.sealed_test import SealedTest
from trigan.errors import ArtifactError, ConfigError, TriganError
from trigan.execution.job import Job
from trigan.execution.pool import Interrupted
from trigan.search import trial_accounting, worker
from trigan.search.running_trial import RunningTrial
from trigan.search.search_results import write_search_results
from trigan.search.storage import explain_storage_loss, open_storage, suggest
from trigan.search.trial_accounting import Budget
from trigan.search.worker import SearchSettings
from trigan.search.worker_lock import WorkerLock


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_the_first_is_the_default_and_the_same_seed_draws_the_same(kind: Any, tmp_path: Path) -> None:
    drawn = []
    for place in ("one", "two"):
        aim, children = target(tmp_path / place), Children(score, tmp_path / place)
        made(aim, children, SearchSettings(Budget(trials=12), ACCURACY, kind, seed=3)).run()
        drawn.append(children.started)
    assert drawn[0] == drawn[1]
    assert drawn[0][0] == "x=0.5_kind=a"
    assert len(set(drawn[0])) == 12


def test_the_budget_is_the_searchs_and_the_same_command_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "trigan")
    aim, children = target(tmp_path, "trial=2", "paths.outputs=o"), Children(score, tmp_path)
    made(aim, children, SearchSettings(Budget(trials=3), ACCURACY)).run()
    made(aim, children, SearchSettings(Budget(trials=5), ACCURACY)).run()
    made(aim, children, SearchSettings(Budget(trials=5), ACCURACY)).run()
    assert len(children.started) == 5
    assert "5/5 done; toy trial 4: accuracy" in caplog.text
    result = write_search_results(aim, study_of(aim), ACCURACY, "tpe")
    best = max(children.started, key=lambda words: float(words[2:].split("_")[0]))
    words = read(aim.folder / "best.yaml")
    assert words[:2] == ["strategy=toy", "trial=2"], "what says only where and how is left out"
    assert "_".join(words[2:4]) == best
    assert words[4:] == ["tuned.search='toy-1'", "tuned.trials=5", "tuned.labels=40", "tuned.trial=0"]
    about = yaml.safe_load((aim.folder / "best.yaml").read_text())["about"]
    assert (about["trials"], about["flops"]) == (5, 50.0)
    assert result.command == f"trigan run --settings {aim.folder}/best.yaml paths.outputs=o"
    assert result.lines()[0].endswith("on 40 validation labels, 5 trials (5 finished, 0 pruned, 0 failed)")
    assert len((aim.folder / "trials.csv").read_text().splitlines()) == 6
    assert (aim.folder / "history.png").stat().st_size > 1000


def test_failures_are_trials_and_end_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "trigan")

    def play(folder: Path, point: Mapping[str, str]) -> int:
        count = len(list(folder.parent.iterdir()))
        if count < 4:
            return (1, -9, 0)[count - 1]
        return score(folder, point, "diverged" if count == 4 else "finished")

    aim = target(tmp_path)
    made(aim, Children(play, tmp_path), SearchSettings(Budget(trials=6), ACCURACY)).run()
    assert [how for how, _ in points(aim)] == ["FAIL"] * 4 + ["COMPLETE"] * 2
    reasons = [trial.user_attrs.get("reason") for trial in study_of(aim).trials]
    assert reasons == ["exit 1", "killed by SIGKILL", "exit 0 without a record", "diverged", None, None]
    assert "6/6 done" in caplog.text


def test_a_trial_that_takes_too_long_is_ended_and_has_failed(tmp_path: Path) -> None:
    aim, children = target(tmp_path), Children(lambda folder, point: None, tmp_path)
    made(aim, children, SearchSettings(Budget(trials=2), ACCURACY, timeout=0.01)).run()
    assert points(aim) == [("FAIL", None)] * 2
    assert [trial.user_attrs["reason"] for trial in study_of(aim).trials] == ["timed out"] * 2
    assert children.signals == [(f"toy trial {n}", signal.SIGTERM) for n in (0, 1)]


def test_a_database_that_goes_away_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "trials.db"

    def play(folder: Path, point: Mapping[str, str]) -> int:
        with sqlite3.connect(file) as base:
            base.execute("DROP TABLE trial_params")
        return score(folder, point)

    where = f"sqlite:///{file}"
    worker = made(target(tmp_path), Children(play, tmp_path), SearchSettings(Budget(trials=2), ACCURACY), where=where)
    with pytest.raises(TriganError) as caught, explain_storage_loss(where):
        worker.run()
    assert str(caught.value).startswith(f"--storage {where}: lost (")
    assert "\n" not in str(caught.value)


def test_a_point_that_makes_no_sense_and_a_point_that_is_known_start_no_child(tmp_path: Path) -> None:
    aim, children = target(tmp_path, "refuse=b"), Children(score, tmp_path)
    folder = tmp_path / "search" / "runs" / "x=0.5_kind=a"
    folder.mkdir(parents=True)
    score(folder, {"x": "0.5"})
    made(aim, children, SearchSettings(Budget(trials=8), ACCURACY, "random")).run()
    done = points(aim)
    assert done[0] == ("COMPLETE", 0.5)
    assert len(children.started) == len([how for how, _ in done[1:] if how == "COMPLETE"]) < 7


def test_hopeless_trials_are_ended(tmp_path: Path) -> None:
    def play(folder: Path, point: Mapping[str, str]) -> int | None:
        """Ten looks, one a time; the first six trials are good, and those after them bad."""
        looks, order = (
            folder / "validation_curve.jsonl",
            [path.name for path in sorted(runs.iterdir(), key=lambda p: p.stat().st_ino)],
        )
        done = len(looks.read_text().splitlines()) if looks.exists() else 0
        if done == 10:
            return score(folder, point)
        bad = len(order) > 6
        with looks.open("a") as file:
            file.write(
                json.dumps({"images": 64 * (done + 1), "accuracy": 0.2 if bad else 0.9, "flops": done + 1}) + "\n"
            )
        return None

    runs = tmp_path / "search" / "runs"
    aim, children = target(tmp_path), Children(play, tmp_path)
    made(aim, children, SearchSettings(Budget(trials=8), ACCURACY)).run()
    assert [how for how, _ in points(aim)] == ["COMPLETE"] * 6 + ["PRUNED"] * 2
    pruned = study_of(aim).trials[6]
    assert sorted(pruned.intermediate_values) == [64, 128, 192], "not before the third look"
    assert pruned.user_attrs["flops"] == 3


def test_dead_workers_trials_are_begun_anew_and_none_twice(tmp_path: Path) -> None:
    aim, rules = target(tmp_path), SearchSettings(Budget(trials=4), ACCURACY, slots=2)
    dead = WorkerLock(tmp_path / "search" / "workers")
    with dead:
        first = made(aim, Children(lambda folder, point: None, tmp_path), rules, dead)
        first._round()  # two trials are at work
        assert [how for how, _ in points(aim)] == ["RUNNING", "RUNNING"]
        other = made(aim, Children(score, tmp_path), rules)
        other._rescue(other.trials())
        assert len(study_of(aim).trials) == 2, "its worker lives"
        dead._lock.release()  # kill -9
        two = [made(aim, Children(score, tmp_path), rules) for _ in range(2)]
        seen = [one.trials() for one in two]  # both look before either acts
        for one, books in zip(two, seen, strict=True):
            one._rescue(books)
        for one in two:
            one.run()
    every = study_of(aim).trials
    assert [how for how, _ in points(aim)] == ["COMPLETE"] * 4
    done = [tuple(trial.params.items()) for trial in every if trial.state.name == "COMPLETE"]
    assert len(done) == len(set(done)) == 4, "none lost, none doubled"
    assert {tuple(trial.params.items()) for trial in every[:2]} <= set(done)
    first._collect()  # the one that was taken for dead comes back, and is not heard
    assert [how for how, _ in points(aim)] == ["COMPLETE"] * 4


@pytest.mark.parametrize("kind", ["random", "tpe"])
@pytest.mark.parametrize("between", [False, True])
def test_a_killed_search_tries_the_points_of_one_that_was_not(
    kind: Any, between: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the trials 0, 3 and 12 (of these TPE models the last), between two settings or with a child at work."""
    rules = SearchSettings(Budget(trials=15), ACCURACY, kind, prune=False)

    def tried(folder: Path) -> list[dict[str, Any]]:
        return [dict(trial.params) for trial in trial_accounting.counted_trials(study_of(target(folder)).trials)]

    whole = target(tmp_path / "whole")
    made(whole, Children(score, whole.outputs), rules).run()
    killed = target(tmp_path / "killed")
    for number in (0, 3, 12):
        children, lock = Children(score, killed.outputs), WorkerLock(killed.outputs / "search" / "workers").__enter__()

        def dies(do: Callable[..., Any], key: str, number: int = number) -> Callable[..., Any]:
            def called(*given: Any) -> Any:
                completed = sum(trial.state.name == "COMPLETE" for trial in study_of(killed).trials)
                if completed == number and key in ("", getattr(given[1], "key", "")):
                    raise RuntimeError("kill -9")
                return do(*given)

            return called

        with monkeypatch.context() as patch:
            if between:
                patch.setattr("trigan.search.worker.suggest", dies(suggest, "kind"))
            else:
                patch.setattr(children, "start", dies(children.start, ""))
            with pytest.raises(RuntimeError, match="kill -9"):
                made(killed, children, rules, lock).run()
        lock._lock.release()
    made(killed, Children(score, killed.outputs), rules).run()
    assert len(tried(whole.outputs)) == 15
    assert tried(killed.outputs) == tried(whole.outputs)
    states = [trial.state.name for trial in study_of(killed).trials]
    assert (states.count("COMPLETE"), states.count("FAIL")) == (15, 3)


@pytest.mark.parametrize("change", [(b'"values":[', b'"values":[1'), (b'"state":1', b'"state":3'), ()])
def test_a_journal_that_was_changed_is_refused(change: Any, tmp_path: Path) -> None:
    aim = target(tmp_path)
    made(aim, Children(score, tmp_path), SearchSettings(Budget(trials=3), ACCURACY)).run()
    journal = aim.folder / "journal.log"
    content = journal.read_bytes()
    lines = content.splitlines(keepends=True)
    changed = content.replace(*change, 1) if change else b"".join([*lines[:2], b"\xff" + lines[2], *lines[3:]])
    assert changed != content
    journal.write_bytes(changed)
    with pytest.raises(ArtifactError, match=r"journal.log: line \d+ was damaged or changed"):
        study_of(aim)
    bare = [{key: value for key, value in json.loads(line).items() if key != "checksum"} for line in lines]
    journal.write_text("".join(json.dumps(line) + "\n" for line in bare))
    assert len(study_of(aim).trials) == 3, "one of an older version has no checksums"


def test_a_trial_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    aim, rules = target(tmp_path), SearchSettings(Budget(trials=1), ACCURACY)
    for _ in range(trial_accounting.ATTEMPTS):
        worker_lock = WorkerLock(tmp_path / "search" / "workers").__enter__()
        made(aim, Children(lambda folder, point: None, tmp_path), rules, worker_lock)._round()
        worker_lock._lock.release()  # kill -9
    made(aim, Children(score, tmp_path), rules).run()
    assert points(aim) == [("FAIL", None)]


def test_an_interrupted_search_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def play(folder: Path, point: Mapping[str, str]) -> int | None:
        os.kill(os.getpid(), signal.SIGINT)
        return None

    aim, rules = target(tmp_path), SearchSettings(Budget(trials=3), ACCURACY)
    children = Children(play, tmp_path)
    with pytest.raises(Interrupted):
        made(aim, children, rules).run()
    assert children.signals == [("toy trial 0", signal.SIGTERM)]
    assert points(aim) == [("WAITING", None)]
    made(aim, Children(score, tmp_path), rules).run()
    assert points(aim)[0] == ("COMPLETE", 0.5)
    assert len(points(aim)) == 3


def test_a_validation_that_a_killed_attempt_left_incomplete_is_skipped(tmp_path: Path) -> None:
    curve = tmp_path / "validation_curve.jsonl"
    rows = [json.dumps({"images": n, "accuracy": n / 100, "flops": n}) for n in (10, 20, 30)]
    curve.write_text(f"{rows[0]}\n{rows[1][:12]}{rows[1]}\n{rows[2]}\n{rows[2][:5]}")
    trial = RunningTrial(0, SimpleNamespace(), Job("toy trial 0", ()), tmp_path, curve.with_name("validation.json"))  # type: ignore[arg-type]
    assert list(trial.new_validations()) == [(10, 0.1), (30, 0.3)]


def test_a_journal_whose_last_line_is_torn_is_mended(tmp_path: Path) -> None:
    aim = target(tmp_path)
    made(aim, Children(score, tmp_path), SearchSettings(Budget(trials=2), ACCURACY)).run()
    with (aim.folder / "journal.log").open("a") as file:
        file.write('{"op_code":')
    made(aim, Children(score, tmp_path), SearchSettings(Budget(trials=3), ACCURACY)).run()
    assert [how for how, _ in points(aim)] == ["COMPLETE"] * 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["baseline"], "the budget is missing: --trials N, --hours H or --flops F"),
        (["--trials", "3"], "SPACE is missing; there are augment, baseline"),
        (["basline", "--trials", "3"], "basline: no such search space"),
        (
            ["baseline", "--trials", "3", "--metric", "test/accuracy"],
            "a search selects by a validation score, never by the test set",
        ),
        (["baseline", "--trials", "3", "--metric", "acuracy"], "no such score; .*nearest: accuracy"),
        (["baseline", "--trials", "3", "--metric", "nll", "--prune"], "give the accuracy, not nll"),
        (["baseline", "--trials", "0"], "expected an int >= 1"),
        (["baseline", "--hours", "no"], "expected a number above 0"),
    ],
)
def test_what_is_refused_in_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    import re

    assert main(["search", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(said, line)


@pytest.mark.usefixtures("no_server")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "regime.validation=auto: there are no validation labels here"),
        (["regime.labels_per_class=20", "selection.rule=last"], "set selection.rule=val"),
        (["regime.labels_per_class=20", "augmentation=none"], "space baseline sets augmentation itself"),
        (["regime.labels_per_class=20", "strategy=joint"], "space baseline sets strategy itself"),
        (["regime.labels_per_clas=20"], "no such setting; nearest: regime.labels_per_class"),
    ],
)
def test_settings_that_no_search_can_have(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "baseline", "--trials", "1", f"paths.outputs={tmp_path}", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "search").exists()


def test_settings_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    path.write_text("settings: [strategy=joint, trial=1, strategy/probe=knn]\n")
    assert merge_settings(path, ["trial=4", "strategy.probe=linear_svm"]) == [
        "strategy=joint",
        "trial=4",
        "strategy.probe=linear_svm",
    ]
    path.write_text("[a=b]\n")
    with pytest.raises(ConfigError, match="expected `settings:`"):
        read(path)


def test_a_storage_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello\n" * 3)
    with pytest.raises(ArtifactError, match=r"notes.txt: not a journal of a search"):
        open_storage(str(tmp_path / "notes.txt"), tmp_path)
    with pytest.raises(ConfigError, match=r"--storage nosuch://me@host/x: .*postgresql"):
        open_storage("nosuch://me:secret@host/x", tmp_path)


@pytest.mark.parametrize("trials", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_search_over_real_runs(
    trials: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """Two strategies, as many trials each, a few steps; then the best settings are run, and its record says so."""
    tiny = [word for word in small(steps=2) if not word.startswith(("strategy", "logger", "classifier.dropout"))]
    words = [*tiny, "regime.labels_per_class=20", f"paths.outputs={tmp_path}"]
    assert main(["search", "baseline", "joint", "--trials", str(trials), "--workers", "2", *words]) == 0
    said = capsys.readouterr()
    assert "every strategy gets the same number of trials" in said.err
    assert f"{2 * trials}/{2 * trials} done" in said.err
    assert not list(tmp_path.rglob("record.json")), "a trial left a record"
    sealed = [json.loads(path.read_text()) for path in tmp_path.rglob("validation.json")]
    assert len(sealed) == 2 * trials
    assert not any({"test", "predictions"} & set(record["result"]) for record in sealed)
    assert not list((tmp_path / "search" / "runs").rglob("predictions.npz"))
    (best,) = tmp_path.glob("search/baseline-*/best.yaml")
    assert main(["run", "--settings", str(best), f"paths.outputs={tmp_path}", "logger=none"]) == 0
    (path,) = tmp_path.rglob("record.json")
    record = json.loads(path.read_text())
    assert record["config"]["tuned"] == {"search": best.parent.name, "trials": trials, "labels": 40, "trial": 0}
    assert path.parent.name not in {one["run"] for one in sealed}, "what a search has chosen is another run"
    (same,) = (one for one in sealed if _computed(one) == _computed(record))
    assert record["result"]["validation"] == same["result"]["validation"]
    assert {**record["result"], "test": 0, "predictions": 0} == {**same["result"], "test": 0, "predictions": 0}


def _computed(record: dict[str, Any]) -> dict[str, Any]:
    """The part of a record's config that its result comes from."""
    return {key: value for key, value in record["config"].items() if key not in UNHASHED_KEYS}


def test_a_worker_beats_while_its_children_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "HEARTBEAT_SECONDS", 0.0)
    aim = target(tmp_path)
    with WorkerLock(tmp_path / "search" / "workers") as worker_lock:
        one = made(
            aim, Children(lambda folder, point: None, tmp_path), SearchSettings(Budget(trials=1), ACCURACY), worker_lock
        )
        one._round()
        one._beat()
        one._beat()
        assert study_of(aim).trials[0].user_attrs["heartbeat"] == 2


def test_a_sealed_run_never_opens_the_test_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(self: SealedTest, frozen: str) -> None:
        raise AssertionError("the seal was broken")

    monkeypatch.setattr(SealedTest, "open", opened)
    words = [*small(steps=2), "regime.labels_per_class=20", f"paths.outputs={tmp_path}"]
    assert main(["run", "--validation-only", *words]) == 0
    directory = Path(capsys.readouterr().out.strip())
    assert directory.parent == tmp_path / "search" / "runs"
    assert {path.name for path in directory.iterdir()} == {"config.yaml", "validation_curve.jsonl", "validation.json"}
    looks = [json.loads(line) for line in (directory / "validation_curve.jsonl").read_text().splitlines()]
    sealed = json.loads((directory / "validation.json").read_text())
    assert [look["images"] for look in looks] == [64, 128]
    assert looks[-1] == {
        "images": 2 * 64,
        "accuracy": sealed["result"]["validation"]["accuracy"],
        "flops": sealed["result"]["cost"]["flops"],
    }
    told: list[Any] = []
    tracker = SimpleNamespace(log_summary=told.append, finish=lambda: told.append("finished"))
    with monkeypatch.context() as by_a_sweep:
        by_a_sweep.setattr("trigan.runs.run.started_by_sweep_agent", lambda: True)
        by_a_sweep.setattr("trigan.runs.run._open_tracker", lambda *given: tracker)
        assert main(["run", "--validation-only", *words]) == 0
    assert told[0]["final/validation/accuracy"] == sealed["result"]["validation"]["accuracy"]
    assert told[1:] == ["finished"], "a sweep that asks for the same point again is told what came of it"
    (directory / "validation.json").write_text("{")
    assert main(["run", "--validation-only", *words]) == 3
    assert "validation.json is damaged" in capsys.readouterr().err


@pytest.mark.usefixtures("logged_out")
def test_a_sweep_that_nobody_is_logged_in_for_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["regime.labels_per_class=20", f"paths.outputs={tmp_path}", "logger.wandb.project=mine"]
    assert main(["wandb-sweep", "features", "--trials", "7", *words]) == 0
    said = capsys.readouterr().out.splitlines()
    spec = yaml.safe_load(Path(said[0]).read_text())
    assert said[1].endswith(f"wandb sweep --project mine {said[0]}")
    assert (spec["method"], spec["run_cap"], spec["project"], spec["program"]) == ("bayes", 7, "mine", "trigan")
    assert spec["metric"] == {"name": "final/validation/accuracy", "goal": "maximize"}
    assert spec["parameters"]["strategy.probe"] == {"values": ["linear_svm", "logistic_regression", "knn", "mlp"]}
    assert not any("parameters" in one for one in spec["parameters"].values()), "nested"
    assert spec["command"][:4] == ["${env}", "${program}", "run", "--validation-only"]
    assert spec["command"][4:] == ["strategy=features", *words, "${args_no_hyphens}"]
    assert main(["wandb-sweep", "features", "logger=none", *words[:2]]) == 2
    assert "take logger=wandb, or trigan search" in capsys.readouterr().err
