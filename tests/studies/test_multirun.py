"""Expansion of swept values, and the run of each as a job of its own."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest

from trigan.commands.main import main
from trigan.config.compose import Composer
from trigan.errors import ConfigError
from trigan.execution.job import Job, JobResult
from trigan.execution.pool import LocalEngine
from trigan.runs import run_words as run_words_module
from trigan.runs.run_words import run_words
from trigan.studies.multirun import expand


def test_product_in_the_order_written(composer: Composer) -> None:
    assert expand(composer, ["strategy=one,two", "trial=1,2", "data.size=8"]) == [
        ("strategy=one", "trial=1", "data.size=8"),
        ("strategy=one", "trial=2", "data.size=8"),
        ("strategy=two", "trial=1", "data.size=8"),
        ("strategy=two", "trial=2", "data.size=8"),
    ]


def test_range_and_glob(composer: Composer) -> None:
    assert expand(composer, ["trial=range(3)"]) == [("trial=0",), ("trial=1",), ("trial=2",)]
    assert expand(composer, ["architecture=glob(*)"]) == [("architecture=large",), ("architecture=small",)]
    with pytest.raises(ConfigError, match="give the values as"):
        expand(composer, ["architecture.slope=interval(0,1)"])


@pytest.mark.usefixtures("small_conf", "no_server")
def test_every_job_is_checked_before_the_first_runs(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    ran: list[tuple[str, ...]] = []
    limits: list[float | None] = []

    def record(self: LocalEngine, jobs: Sequence[Job], logs: Path) -> list[JobResult]:
        ran.extend(job.overrides for job in jobs)
        limits.append(self.seconds)
        assert len({job.name for job in jobs}) == len(jobs)
        return [JobResult(job, int("trial=2" in job.overrides), 1.0, tmp_path / "none.log") for job in jobs]

    monkeypatch.setattr(LocalEngine, "run", record)
    assert main(["run", "-m", "strategy=one,tow"]) == 2
    assert "strategy=tow: no such choice; choices: one, two" in capsys.readouterr().err
    assert main(["run", "-m", "hydra/launcher=joblib", "trial=1,2"]) == 2
    assert ran == []
    assert main(["run", "-m", "trial=0,1", "--force"]) == 0
    assert ran == [("--force", "trial=0"), ("--force", "trial=1")]
    assert main(["run", "-m", "trial=1,2", "--timeout", "5"]) == 1
    assert limits == [None, 300]
    assert "failed: 1_trial=2 (exit 1)" in caplog.text


def test_a_forked_job_runs_what_its_study_composed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words are not composed again, so the run of other words is composed."""
    import trigan.runs.run

    handed, ran = Composer().compose(["trial=3"]), []
    again = pickle.loads(handed.pickled() or b"")
    assert again == handed
    monkeypatch.setattr(run_words_module, "HANDED_OVER", [again])
    monkeypatch.setattr(trigan.runs.run, "run", lambda composed, *given: ran.append(composed) or tmp_path)
    assert run_words(["trial=3"]) == run_words(["trial=4"]) == tmp_path
    assert ran[0] is again
    assert ran[1].trial == 4
    assert Composer().compose(["trainer=ddp_cpu"]).pickled() is None  # each rank composes
