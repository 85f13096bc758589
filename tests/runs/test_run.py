"""What a run leaves where: a validation-only or a failed run leaves no mark where another command reads one."""

import json
from pathlib import Path
from typing import Any

import pytest
from few_steps import composer, small
from PIL import Image

from trigan.config.compose import RunConfig
from trigan.datasets.sources.digits import Digits
from trigan.errors import DataError
from trigan.records import failure
from trigan.records.record import read_record
from trigan.runs import run as room
from trigan.runs.trained_run import TrainedRun
from trigan.runs.validation_run import VALIDATION_CURVE_NAME
from trigan.tables.classifier_differences import labelled_augmentation, not_applied
from trigan.tracking.tracker import RunInfo, Tracker, Tracking


def composed(outputs: Path) -> RunConfig:
    return composer().compose(small("strategy=baseline", "regime.validation=large", f"paths.outputs={outputs}"))


def refuse(trained: TrainedRun) -> None:
    raise DataError("no")


def test_a_validation_only_run_leaves_nothing_among_the_ordinary_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither when it fails nor when it is finished, and it logs to a tracker run of its own."""
    opened: list[RunInfo] = []

    def open_null(tracking: Tracking, info: RunInfo, config: object, directory: object = None) -> Tracker:
        opened.append(info)
        return Tracker()

    monkeypatch.setattr(Tracking, "open", open_null)
    with monkeypatch.context() as patch:
        patch.setattr(room, "finish_validation_run", refuse)
        with pytest.raises(DataError):
            room.run(composed(tmp_path), validation_only=True)
    (mark,) = tmp_path.rglob(failure.FAILURE_NAME)
    assert mark.parents[2] == tmp_path / "search"
    directory = room.run(composed(tmp_path), validation_only=True)
    assert not list(tmp_path.rglob(failure.FAILURE_NAME))
    assert not (tmp_path / "runs").exists()
    assert {info.id for info in opened} == {f"{directory.name}-validation-only"}
    assert room.run(composed(tmp_path)).name == directory.name == opened[-1].id
    assert opened[-1].tags == opened[0].tags[:-1]


def test_force_starts_a_new_validation_curve(tmp_path: Path) -> None:
    directory = room.run(composed(tmp_path), validation_only=True)
    curve = (directory / VALIDATION_CURVE_NAME).read_text()
    assert curve
    room.run(composed(tmp_path), force=True, validation_only=True)
    assert (directory / VALIDATION_CURVE_NAME).read_text() == curve


def test_an_error_after_the_record_leaves_no_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(tracker: Tracker, path: Path) -> None:
        raise RuntimeError("the tracker is gone")

    monkeypatch.setattr(Tracker, "log_record", fail)
    with pytest.raises(RuntimeError, match="the tracker is gone"):
        room.run(composed(tmp_path))
    assert len(list(tmp_path.rglob("record.json"))) == 1
    assert not list(tmp_path.rglob(failure.FAILURE_NAME))


def test_what_a_killed_attempt_left_half_written_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(room, "finish_run", refuse)
        with pytest.raises(DataError):
            room.run(composed(tmp_path))
    (mark,) = tmp_path.rglob(failure.FAILURE_NAME)
    assert json.loads(mark.read_text())["message"] == "no"
    (mark.parent / ".record.json.0123abcd.partial").write_text("{")
    assert room.run(composed(tmp_path)) == mark.parent
    names = {path.name for path in mark.parent.iterdir()}
    assert "record.json" in names
    assert not [name for name in names if name.endswith(".partial") or name == failure.FAILURE_NAME]


@pytest.mark.parametrize("words", [["strategy.unlabelled=fixmatch"], ["strategy=joint"], ["strategy.teacher=labelled"]])
def test_flips_of_the_users_own_images_are_decided_and_recorded(words: list[str], tmp_path: Path) -> None:
    """Every use of the augmentation has the decision, and the counts behind it are in the record."""
    digits = Digits().load()
    for label in range(10):
        (tmp_path / "images" / str(label)).mkdir(parents=True)
        for index, image in enumerate(digits.images[digits.labels == label][:20]):
            Image.fromarray(image[0].numpy()).save(tmp_path / "images" / str(label) / f"{index}.png")
    given = ["data=folder", f"data.root={tmp_path}/images", "data.image_size=8", f"paths.outputs={tmp_path}/outputs"]
    words = [*(["strategy=augment"] if "teacher" in words[0] else []), *words]
    record = read_record(room.run(composer().compose(small(*given, *words))) / "record.json")
    check = record["result"]["notes"]["mirror_check"]
    assert (check["flip"], check["images"]) == (False, 100)
    assert check["lost"] > 10 * check["won"]
    assert '"auto"' not in json.dumps([stage["classifier"]["augmented"] for stage in classifiers(record)])
    assert labelled_augmentation(record) == "classic(color_jitter=0.2, crop=0.125, rotate=10, scale=0.1)"
    assert not_applied(record) == ()


def classifiers(record: Any) -> list[Any]:
    return [stage for stage in record["result"]["stages"] if "classifier" in stage]
