"""`trigan verdict`: its trials, its budgets of labels, where the page goes; the jobs themselves are stood in for."""

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from record_makers import make_record
from verdict_numbers import disagreements

from trigan.commands.main import main
from trigan.config.compose import Composer
from trigan.errors import ConfigError
from trigan.execution.job import Job, JobResult
from trigan.execution.pool import LocalEngine
from trigan.records.record import read_record, write_record
from trigan.runs.run_words import run_words
from trigan.studies.plan import StudyPlan
from trigan.studies.verdict.duration_estimate import DurationEstimates
from trigan.studies.verdict.verdict_study import VerdictRuns

SCORES = {"baseline: classic": 0.80, "baseline: FixMatch": 0.83, "joint: feature matching": 0.88}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """The configs of all jobs that were run, each of which has left a record."""
    composer, configs = Composer(), []

    def run_jobs(self: LocalEngine, jobs: Sequence[Job], logs: Path) -> list[JobResult]:
        for job in jobs:
            composed = composer.compose(job.overrides)
            config = composed.config
            configs.append(config)
            place = composed.paths.runs / composed.run_hash(composed.load_data().fingerprint)
            per_class = config["regime"]["labels_per_class"]
            score = SCORES.get(str(config["row"]), 0.7) + 0.001 * config["trial"] + 0.02 * ((per_class or 9) > 5)
            data_used = {
                "L": per_class or 9,
                "U": 0 if config["row"] in ("baseline: bare", "baseline: classic") else 100,
            }
            made = make_record(score, config["trial"], data_used=data_used)
            record = {**made, "run": place.name, "config": {**made["config"], "augmentation": config["augmentation"]}}
            write_record(place / "record.json", record)
        return [JobResult(job, 0, 1.0, tmp_path / "none.log") for job in jobs]

    monkeypatch.setattr(LocalEngine, "run", run_jobs)
    monkeypatch.setattr(LocalEngine, "__enter__", lambda self: self)
    monkeypatch.setattr(LocalEngine, "__exit__", lambda self, *given: None)
    return configs


def test_a_verdict(told: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["verdict", "--yes", "regime.labels_per_class=5", "data.suggested.gan_steps=7", f"paths.outputs={tmp_path}"]
    assert main([*line, "--trials", "1"]) == 0
    out = capsys.readouterr()
    said = [line for line in out.err.splitlines() if not line.startswith("working for")]  # on a slow machine
    assert said == ["verdict: trial 0, at most 1"]
    page = (tmp_path / "verdicts" / "digits-5-a-class" / "verdict.md").read_text()
    assert (tmp_path / "verdicts" / "digits-5-a-class" / "comparison.png").stat().st_size > 1000
    assert out.out.startswith("On these 1,797 images (500 to test on), whether a use of a GAN helps is not")
    assert out.out.endswith(
        f"page: {tmp_path}/verdicts/digits-5-a-class/verdict.html, verdict.md, table.csv, comparison.png\n"
    )
    # 0.88 is more than the baseline reaches with the most labels (0.82).
    assert "+5.0; baseline: FixMatch | L + U | 1.0 x | more than all tried | not decided at 1 trial |" in page
    assert "| 2 | 5 | 10 | 20 | 40 |" in page
    assert [config["regime"]["labels_per_class"] for config in told[13:]] == [2, 10, 20, 40]
    assert {config["regime"]["labels_per_class"] for config in told[:13]} == {5}
    assert all(config["strategy"]["gan"]["steps"] == 7 for config in told if config["row"] == "augment: DCGAN")
    assert [config["row"] for config in told[13:]] == ["baseline: classic"] * 4
    assert told[12]["row"].startswith("baseline: FixMatch, matched to "), "the three targets have equal operations"
    assert told[12]["strategy"]["matched_flops"] == 1_500_000_000_000
    told.clear()
    assert main([*line, "--trials", "1", "--metric", "macro_f1"]) == 0
    assert told == [], "what has a record is not run again"
    page = (tmp_path / "verdicts" / "digits-5-a-class" / "verdict.md").read_text()
    assert "test macro F1, %" in page
    assert "--trials 1 --metric macro_f1" in page


@pytest.mark.usefixtures("told")
def test_records_csv_pages_and_terminal_agree_on_every_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["verdict", "--yes", "regime=full", f"paths.outputs={tmp_path}", "--name", "mine", "--trials", "2"]
    assert main(line) == 0
    folder, terminal = tmp_path / "verdicts" / "mine", capsys.readouterr().out
    assert disagreements(folder, tmp_path / "runs", terminal) == []
    for name in ("table.csv", "verdict.md", "verdict.html"):  # the comparison sees a changed digit in each of them
        text = (folder / name).read_text()
        number = {"table.csv": "0:0.72 ", "verdict.md": "| 72.0", "verdict.html": ">72.0"}[name]
        (folder / name).write_text(text.replace(number, number.replace("2", "3")))
        seen = {one.split(":")[0] for one in disagreements(folder, tmp_path / "runs", terminal)}
        assert seen == ({name} if name == "table.csv" else {name, "pages"})
        (folder / name).write_text(text)


@pytest.mark.slow
@pytest.mark.usefixtures("told")
def test_intervals_agree_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["verdict", "--yes", "regime=full", f"paths.outputs={tmp_path}", "--name", "mine", "--trials", "6"]
    assert main(line) == 0
    folder, terminal = tmp_path / "verdicts" / "mine", capsys.readouterr().out
    assert disagreements(folder, tmp_path / "runs", terminal) == []
    table = (folder / "table.csv").read_text()
    rows = {row["row"]: row for row in csv.DictReader(table.splitlines())}
    for name, kind in (("baseline: bare", "difference"), ("joint: feature matching", "primary")):
        end = rows[name][f"{kind}_low"]
        (folder / "table.csv").write_text(table.replace(end, str(float(end) - 0.01)))
        wrong = f"table.csv: {name}: interval of the {kind}"
        assert wrong in disagreements(folder, tmp_path / "runs", terminal), "a changed interval is seen"


@pytest.mark.usefixtures("told")
def test_minutes_end_it_after_the_first_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["verdict", "--yes", f"paths.outputs={tmp_path}", "regime=full", "--minutes", "0.001", "--name", "mine"])
        == 0
    )
    out = capsys.readouterr()
    assert out.err.splitlines()[-1].startswith("1 trial took")
    page = (tmp_path / "verdicts" / "mine" / "verdict.md").read_text()
    assert page.startswith("# Verdict: digits, all labels\n\n**On these 1,797 images")
    # the time is that of this machine
    assert re.search(r"not decided after 1 trial; a verdict needs 10: 9 more, about \d+ minutes?\.", page)
    assert "Label equivalents are not given" in page


@pytest.mark.slow
@pytest.mark.usefixtures("told")
def test_pages_of_own_images_lie_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two folders of one name have pages of their own, headed by that name."""
    roots = [tmp_path / place / "shapes" for place in ("mine", "yours")]
    for number, root in enumerate(roots):
        for label in ("a", "b"):
            for i in range(8):
                save(root / "train" / label, i, number)
                save(root / "test" / label, i + 8, number)
    words = ["verdict", "--yes", "data=folder", "regime=full", f"paths.outputs={tmp_path}/out", "--trials", "1"]
    for root in roots:
        assert main([*words, f"data.root={root}"]) == 0
    capsys.readouterr()
    pages = sorted((tmp_path / "out" / "verdicts").glob("*/verdict.md"))
    assert len(pages) == 2
    assert all(re.fullmatch(r"shapes-[0-9a-f]{6}-all-labels", page.parent.name) for page in pages)
    assert all(page.read_text().startswith("# Verdict: shapes, all labels") for page in pages)


def save(folder: Path, number: int, of: int) -> None:
    """An image that no other number has."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.Generator(np.random.PCG64([number, of, *folder.name.encode()])).integers(0, 256, (8, 8))
    Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")


def test_mistakes_are_told_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["regime.labels_per_class=5000"], "class '0' has"),
        (["debug=fast"], "debug: a verdict on debug runs would mean nothing"),
        (["strategy=joint"], "study verdict sets strategy itself"),
        (["--minutes", "-2"], "--minutes: -2: expected a number above 0"),
        (["archtecture=dcgan"], "archtecture: no such setting; nearest: architecture"),
    ):
        assert main(["verdict", *words]) != 0
        assert said in capsys.readouterr().err


def test_the_plan_says_what_fits(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Measured on real stages; rows that need unlabelled images are left out where there are none."""
    words = ["regime=full", "data.suggested.steps=20", "data.suggested.gan_steps=20", f"paths.outputs={tmp_path}"]
    verdict = VerdictRuns([*words, "recipe.batch=32"])
    plan = verdict.plan(minutes=1.0, workers=2)
    assert not any("FixMatch" in row or "unlabelled" in row for row in plan.rows)
    assert {"baseline: strong", "augment: DCGAN", "features: D trained", "joint: feature matching"} <= plan.rows.keys()
    matched = plan.rows["baseline: classic, matched to augment: DCGAN"]
    assert matched > plan.rows["baseline: classic"], "it has the operations of a GAN"
    assert plan.trial == pytest.approx(sum(plan.rows.values()) / 2)
    assert (plan.images, plan.unlabelled, plan.test_images) == (1797, 0, 539)
    assert list(tmp_path.glob("runs/*")) == [], "nothing is stored"
    few = replace(plan, trial=0.25)
    assert few.fitting == 4
    assert "4 trials fit in 1 minutes; a verdict needs 10, which take about 3 minutes: --minutes 3" in str(few)
    long = replace(plan, trial=5.0)
    assert long.fitting == 1, "the first trial always runs"
    assert "no trial fits, and one is run all the same, in 1 minutes; a verdict needs 10, which take about 50" in str(
        long
    )
    assert "10 trials fit into 60 minutes" in str(replace(plan, trial=0.25, minutes=60.0))
    assert "4 trials fit; a verdict needs 10: leave --trials out" in str(replace(few, wanted=4))


def test_the_plan_counts_what_the_runs_count(tmp_path: Path) -> None:
    """Operations are extrapolated from a few steps, one checkpoint and a few samples; real runs count them all."""
    words = ["data.suggested.steps=40", "data.suggested.gan_steps=60", "recipe.batch=32", f"paths.outputs={tmp_path}"]
    labels = ["regime.labels_per_class=20", "classifier.width=8", "architecture.width=8"]
    verdict = VerdictRuns([*words, *labels])
    estimates = DurationEstimates(verdict.split.view)
    runs = StudyPlan(verdict.composer, verdict.study, verdict.overrides).runs(verdict.study.columns[0].name, 0)
    for name in ("baseline: classic", "baseline: FixMatch", "augment control: labelled", "features: D trained"):
        estimates.measure(name, runs[name])
        record = read_record(run_words([*runs[name].overrides, "logger=none"]) / "record.json")
        assert estimates.flops[name] == pytest.approx(record["result"]["cost"]["flops"], rel=0.02), name
        assert estimates.seconds[name] > 0


def test_it_asks_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(VerdictRuns, "plan", lambda *given: "the plan")
    monkeypatch.setattr(VerdictRuns, "run", lambda *given: pytest.fail("it ran without an answer"))
    monkeypatch.setattr("rich.prompt.Confirm.ask", lambda question, default: False)
    assert main(["verdict"]) == 0
    assert capsys.readouterr().out.startswith("the plan\nnothing was run")


def test_an_unknown_metric_is_refused_before_any_work() -> None:
    with pytest.raises(ConfigError, match="metric=auroc_: no such score; nearest: auroc; there are accuracy, "):
        VerdictRuns(metric="auroc_")
