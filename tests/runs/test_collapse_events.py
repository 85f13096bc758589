"""An event of the collapse watch in what a run leaves: record, metrics, picture and terminal."""

import json
import logging
from pathlib import Path

import pytest

from trigan.plots import sample_grids
from trigan.records.record import read_record
from trigan.runs.run_words import run_words

RUN = (
    *("strategy=augment", "strategy.gan.steps=60", "recipe.steps=4", "logger=none", "regime.labels_per_class=4"),
    *("architecture.width=8", "architecture.latent=8", "classifier.width=8", "strategy.teacher_folds=0"),
    *("strategy.gan.watch.least_steps=12", "strategy.gan.watch.thresholds.diversity=9", "strategy.samples.ratio=1"),
)


def test_an_event_is_in_the_record_the_metrics_the_picture_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    titles: list[str] = []
    save = sample_grids._save

    def noted(titled, path, names):  # type: ignore[no-untyped-def]
        titles.extend(title for _, title in titled if "over-training" in path.name)
        save(titled, path, names)

    monkeypatch.setattr(sample_grids, "_save", noted)
    with caplog.at_level(logging.WARNING):
        directory = run_words([*RUN, f"paths.outputs={tmp_path}"])
    result = read_record(directory / "record.json")["result"]
    (gan,) = (stage for stage in result["stages"] if stage["kind"] == "gan")
    assert [(one["step"], one["images"], one["action"]) for one in gan["events"] if one["signal"] == "diversity"] == [
        (36, 36 * 64, "warn")
    ]
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    looked = {row["images"]: row["gan/watch/alarms"] for row in rows if "gan/watch/diversity" in row}
    assert set(looked) == {64 * step for step in (12, 24, 36, 48, 60)}
    assert looked[24 * 64] == 0.0 < looked[36 * 64]
    lines = [one.getMessage() for one in caplog.records if "diversity is" in one.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith("collapse watch, step 36 of 60: diversity is ")
    marked = [title for title in titles if "!diversity" in title]
    assert len(marked) == 1
    assert (directory / "pictures" / "samples-gan-over-training.png").is_file()
