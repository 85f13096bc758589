"""The ledger of test sets: one line for each setting and test set, whatever runs beside it or was deleted."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from few_steps import small
from record_makers import make_record

from trigan.commands.main import main
from trigan.records.record import write_record
from trigan.records.seal_ledger import LEDGER_NAME, append_use, read_ledger, sealed_key, setting_digest
from trigan.runs import final_evaluation

KEY = ("f", "t")
SPLIT: dict[str, Any] = {"fingerprint": "f", "test": {"sha256": "t"}}


def full(*words: str) -> list[str]:
    """A run of two steps that is no debug run."""
    kept = [word for word in small("strategy=baseline", *words) if not word.startswith("debug")]
    return [*kept, "data.suggested.steps=2"]


def use(runs: Path, setting: int, trial: int = 0, **config: Any) -> None:
    append_use(runs, f"run-{setting}-{trial}", trial, {"lr": setting, "trial": trial, **config}, SPLIT)


def lines(runs: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (runs / LEDGER_NAME).read_text().splitlines()]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"trial": 0, "seed": 0}, {"trial": 1, "seed": 7}, True),
        ({"paths": {"runs": "a"}, "row": "x"}, {"paths": {"runs": "b"}, "row": "y"}, True),
        ({"data": {"source": {"root": "a"}}}, {"data": {"source": {"root": "b"}}}, True),
        ({"selection": {"snapshots": None}}, {"selection": {"snapshots": None, "rule": "val"}}, False),
        ({"s": {"c": {"selection": {"snapshots": 5}}}}, {"s": {"c": {"selection": {"snapshots": 9}}}}, True),
        ({"strategy": {"matched_flops": 1_004_000}}, {"strategy": {"matched_flops": 1_003_000}}, True),
        ({"strategy": {"matched_flops": 1_004_000}}, {"strategy": {"matched_flops": 2_004_000}}, False),
        ({"regime": {"labels": 5}}, {"regime": {"labels": 10}}, False),
        ({"tuned": {"search": "a"}}, {"tuned": {"search": None}}, False),
    ],
)
def test_what_is_one_setting(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    assert (setting_digest(one) == setting_digest(other)) == same


def test_submitted_predictions_count_by_row() -> None:
    about = {"study": "s", "scale": None, "row": "r", "column": "c", "trial": 0}
    first = setting_digest({"external": about})
    assert first == setting_digest({"external": {**about, "trial": 1, "split": "x"}})
    assert first != setting_digest({"external": {**about, "row": "other"}})


def test_one_line_a_setting_and_none_for_debug_runs(tmp_path: Path) -> None:
    for trial in range(3):
        use(tmp_path, 1, trial)
    use(tmp_path, 2)
    use(tmp_path, 3, debug={"max_steps": 5})
    append_use(tmp_path, "x", 0, {"lr": 9}, {"n_test": 5})  # a split that does not identify its test set
    assert [(line["run"], line["trial"]) for line in lines(tmp_path)] == [("run-1-0", 0), ("run-2-0", 0)]
    assert {key: len(found) for key, found in read_ledger(tmp_path).items()} == {KEY: 2}


def test_a_missing_file_is_made_of_the_records(tmp_path: Path) -> None:
    """Records of debug runs and damaged ones are left out; reading writes nothing."""
    for folder, config in (
        ("runs", {"lr": 1}),
        ("runs", {"lr": 2, "debug": {"max_steps": 1}}),
        ("external", {"lr": 3}),
    ):
        record = make_record(0.5, config=config, split=SPLIT)
        write_record(tmp_path / folder / record["run"] / "record.json", record)
    damaged = tmp_path / "runs" / "damaged" / "record.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    runs = tmp_path / "runs"
    assert {key: len(found) for key, found in read_ledger(runs).items()} == {KEY: 2}
    assert not (runs / LEDGER_NAME).exists()
    use(runs, 1)
    assert len(lines(runs)) == 2, "the first record's setting is there already"
    use(runs, 4)
    assert len(lines(runs)) == 3
    for path in runs.glob("*/record.json"):
        path.unlink()
    assert len(read_ledger(runs)[KEY]) == 3, "what was deleted has been seen"


def test_the_line_of_a_killed_process_is_passed_over(tmp_path: Path) -> None:
    use(tmp_path, 1)
    with (tmp_path / LEDGER_NAME).open("a") as file:
        file.write('{"data": "f", "te')
    assert len(read_ledger(tmp_path)[KEY]) == 1
    use(tmp_path, 2)
    assert len(read_ledger(tmp_path)[KEY]) == 2


def test_processes_side_by_side_lose_and_double_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from trigan.records.seal_ledger import append_use\n"
        "for n in range(20): append_use(Path(sys.argv[1]), str(n), 0, {'lr': n, 'own': n % 2 and sys.argv[2]}, "
        "{'fingerprint': 'f', 'test': {'sha256': 't'}})"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(k)], env=os.environ) for k in range(3)]
    assert [process.wait(120) for process in started] == [0, 0, 0]
    assert len(lines(tmp_path)) == len(read_ledger(tmp_path)[KEY]) == 10 + 3 * 10


def test_a_run_is_counted_before_its_score_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("while scoring")

    words = ["run", *full(f"paths.outputs={tmp_path}")]
    with monkeypatch.context() as patch:
        patch.setattr(final_evaluation, "classification_metrics", broken)
        with pytest.raises(RuntimeError, match="while scoring"):
            main(words)
    counted = lines(tmp_path / "runs")
    assert len(counted) == 1
    assert main(words) == 0
    assert lines(tmp_path / "runs") == counted
    record = json.loads((Path(capsys.readouterr().out.strip()) / "record.json").read_text())
    assert setting_digest(record["config"]) == counted[0]["setting"]
    assert sealed_key(record["result"]["split"]) == (counted[0]["data"], counted[0]["test"])


def test_runs_without_a_test_score_are_not_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = full(f"paths.outputs={tmp_path}", "regime.validation=large")
    assert main(["run", "--validation-only", *words]) == 0
    assert main(["run", *small("strategy=baseline", f"paths.outputs={tmp_path}")]) == 0, "a debug run"
    assert not list(tmp_path.rglob(LEDGER_NAME))
