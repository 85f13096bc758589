"""Damaged files are told in one line, or rebuilt; none gives a traceback, and none another number than before."""

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_makers import make_record
from search_fixtures import ACCURACY, Children, made, score, study_of, target
from study_fixture import STUDY, write_study

from trigan.artifacts.checkpoint import checkpoint_path
from trigan.artifacts.store import Store
from trigan.commands.main import main
from trigan.config.compose import Composer
from trigan.datasets.sources.cache import cached
from trigan.datasets.splits.splitter import index_digest
from trigan.errors import ArtifactError
from trigan.records import failure
from trigan.records import file_index as file_index_module
from trigan.records.record import write_record
from trigan.records.seal_ledger import append_use
from trigan.search.trial_accounting import Budget
from trigan.search.worker import SearchSettings
from trigan.studies.jobs import StudyJob
from trigan.studies.plan import StudyPlan
from trigan.studies.study_file import read_study
from trigan.tracking import MetricsFile
from trigan.training.fit import FitResult, TrainerSettings
from trigan.training.stage import Stage

from ..training.tiny import Recorder, classifier_stage, copied, digits, fitted, inputs_for, same
from .damage import CASES, damaged

Say = Callable[[Sequence[str]], tuple[int, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def said(words: Sequence[str]) -> tuple[int, str, str]:
        code = main(list(words))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return said


def _finish(job: StudyJob, rows: np.ndarray, right: int) -> None:
    """A record with predictions of a test set that its trial drew."""
    import torch

    from trigan.identity import tensor_digest

    labels = np.arange(len(rows)) % 2
    scores = np.eye(2, dtype=np.float32)[np.where(np.arange(len(rows)) < right, labels, 1 - labels)]
    split = {"test_redrawn": True, "n_test": len(rows), "test": {"sha256": index_digest(rows)}, "fingerprint": "f"}
    given = {"split": split, "predictions": tensor_digest(torch.from_numpy(scores)), "cost": {"flops": 10**12}}
    record = {**make_record(right / len(rows), job.trial, **given), "run": job.hash}
    write_record(job.record_path, record)
    np.savez_compressed(job.record_path.with_name("predictions.npz"), scores=scores, labels=labels, rows=rows)


@pytest.fixture
def finished(tmp_path: Path, small_conf: None, composer: Composer) -> tuple[list[str], Sequence[StudyJob]]:
    """The words that name a study with its outputs, and its finished jobs."""
    study, own = write_study(tmp_path / "table", STUDY), f"paths.outputs={tmp_path}"
    jobs = StudyPlan(composer, read_study(study), [own]).jobs().runnable
    draw = np.random.default_rng(0)
    for job in jobs:
        _finish(job, np.sort(draw.permutation(300)[:90]), 60 + job.trial + 7 * (job.row.name != "bare"))
    for one in jobs[:3]:
        use = {"trial": one.trial, "row": one.row.name}
        append_use(tmp_path / "runs", one.hash, one.trial, use, {"fingerprint": "f", "test": {"sha256": "t"}})
    return [str(study), own], jobs


@pytest.mark.parametrize("seeds", CASES)
@pytest.mark.parametrize("name", ["record.json", "predictions.npz"])
def test_a_table(name: str, seeds: range, finished: tuple[list[str], Sequence[StudyJob]], say: Say) -> None:
    words, jobs = finished
    command = ["table", *words, "--format", "csv"]
    code, whole, _ = say(command)
    assert code == 0
    path, other = (job.record_path.with_name(name) for job in jobs[:2])
    refused = 0
    for how in damaged(path, other.read_bytes(), seeds):
        code, out, err = say(command)
        refused += code == 3
        assert (code == 0 and out == whole) or (code == 3 and str(path) in err), how
        assert say(["study", *words, "--status"])[0] in (0, 3), how
    assert refused >= len(seeds) // 2
    assert say(command)[:2] == (0, whole)


@pytest.mark.parametrize("seeds", CASES)
def test_compare(seeds: range, finished: tuple[list[str], Sequence[StudyJob]], say: Say, tmp_path: Path) -> None:
    _, jobs = finished
    command = ["compare", "--outputs", str(tmp_path), "--format", "csv"]
    whole = say(command)
    assert whole[0] == 0
    path, other = (job.record_path for job in jobs[:2])
    for how in damaged(path, other.read_bytes(), seeds):
        code, out, err = say(command)
        assert (code, out) == whole[:2] or (code == 3 and path.parent.name in err), how


@pytest.mark.parametrize("seeds", CASES)
@pytest.mark.parametrize("kind", ["jobs", "ledger", "index", "failure"])
def test_the_state_of_a_study(
    kind: str,
    seeds: range,
    finished: tuple[list[str], Sequence[StudyJob]],
    say: Say,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A list of jobs and an index are made again; the ledger only counts settings, and says so if it cannot."""
    words, jobs = finished
    monkeypatch.setattr(file_index_module, "_MIN_ENTRIES", 1)
    monkeypatch.setattr(file_index_module, "_SETTLED_NS", 0)
    if kind == "failure":
        jobs[0].record_path.unlink()
        failure.write(jobs[0].record_path.parent, failure.Failure("exit 1", "it broke"))
    commands = [["study", *words, "--status"], ["table", *words, "--format", "csv"]]
    whole = [say(command)[:2] for command in commands]
    found = {
        "jobs": next((tmp_path / "cache" / "jobs").iterdir()),
        "ledger": tmp_path / "runs" / "sealed_tests.jsonl",
        "index": tmp_path / "runs" / file_index_module.INDEX_NAME,
        "failure": jobs[0].record_path.with_name("failure.json"),
    }
    for how in damaged(found[kind], jobs[1].record_path.read_bytes(), seeds):
        for command, expected in zip(commands, whole, strict=True):
            code, out, err = say(command)
            told = code == 3 and str(found[kind]) in err
            reason = kind == "failure" and out.replace("\n", "").startswith("failed") and code == 0
            assert (code, out) == expected or (kind in ("ledger", "failure") and told) or reason, how


@pytest.mark.parametrize("seeds", CASES)
@pytest.mark.parametrize("name", ["step-000000006.ckpt", "step-000000006.ckpt.sha256", "metrics.jsonl"])
def test_an_unfinished_fit(name: str, seeds: range, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It goes on from the checkpoint before, or from the start, and ends with the same weights."""
    stage: Stage = classifier_stage(8)
    settings, inputs = TrainerSettings(checkpoint_every=3), inputs_for(stage)
    whole, _ = fitted(stage, settings, inputs)

    def stop(module: Any, metrics: dict[str, float]) -> None:
        MetricsFile(folder / "metrics.jsonl").log("c", module.completed_steps, {"loss": 1.0})
        if module.completed_steps == 7:
            raise RuntimeError("killed")

    folder = tmp_path / "stage"
    with pytest.raises(RuntimeError, match="killed"):
        fitted(stage, settings, inputs, folder / "checkpoints", [Recorder(stop)])
    places = {path.name: path for path in folder.rglob("*") if path.is_file()}
    assert checkpoint_path(folder, 6).name in places
    kept = tmp_path / "kept"
    shutil.copytree(folder, kept)
    other = places[name.replace("06.", "03.")].read_bytes()
    for seed in seeds:
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        for how in damaged(places[name], other, range(seed, seed + 1)):
            caplog.clear()
            module, ending = fitted(stage, settings, inputs, folder / "checkpoints")
            assert ending == FitResult("finished", 8), how
            assert same(copied(module.state_dict()), copied(whole.state_dict())), how
            assert len(caplog.records) <= 2, how
            MetricsFile(folder / "metrics.jsonl").truncate_after(6)
            assert all(row["stage"] for row in MetricsFile.read(folder / "metrics.jsonl"))


@pytest.mark.parametrize("seeds", CASES)
def test_a_finished_stage(seeds: range, tmp_path: Path) -> None:
    """It is used as it was, or trained again."""
    store = Store(tmp_path)
    for digest in ("a" * 32, "b" * 32):
        with store.stage(digest, {}, "gan") as handle:
            (handle.directory / "generator.safetensors").write_bytes(digest.encode() * 50)
            handle.commit({"cost": {"flops": 1}})
    for name in ("manifest.json", "generator.safetensors"):
        for seed in seeds:
            folder = tmp_path / ("a" * 32)
            shutil.copytree(folder, tmp_path / "kept")
            for how in damaged(folder / name, (tmp_path / ("b" * 32) / name).read_bytes(), range(seed, seed + 1)):
                with store.stage("a" * 32, {}, "gan") as handle:
                    sound = handle.ready and handle.manifest == {"cost": {"flops": 1}}
                    assert not handle.ready or (sound and (folder / name).stat().st_size), how
                folder.mkdir(exist_ok=True)
            shutil.rmtree(folder)
            (tmp_path / "kept").rename(folder)


@pytest.mark.parametrize("seeds", CASES)
def test_decoded_images(seeds: range, tmp_path: Path) -> None:
    """They are decoded again, whatever was changed: an image, a label, a class name or the fingerprint."""
    kept = digits()
    for key in ("one", "other"):
        cached(tmp_path, key, lambda: kept)
    path, other = sorted((tmp_path / "decoded").glob("*.safetensors"))
    for how in damaged(path, other.read_bytes()[:-9], seeds):
        for key in ("one", "other"):
            found = cached(tmp_path, key, lambda: kept)
            assert (found.fingerprint, found.class_names) == (kept.fingerprint, kept.class_names), how
            assert bool((found.images == kept.images).all()), how
            assert bool((found.labels == kept.labels).all()), how


@pytest.mark.parametrize("seeds", CASES)
def test_a_search(seeds: range, tmp_path: Path) -> None:
    """The journal of a search is refused, or says what it said; only its last lines may be lost, as by a kill."""
    aim, another = target(tmp_path / "a"), target(tmp_path / "b")
    for one in (aim, another):
        made(one, Children(score, one.outputs), SearchSettings(Budget(trials=4), ACCURACY)).run()

    def values() -> list[tuple[Any, ...]]:
        return [(trial.number, trial.value, dict(trial.params)) for trial in study_of(aim).trials]

    whole = values()
    other = (another.folder / "journal.log").read_bytes().replace(b'"toy-1"', b'"toy-2"')
    for how in damaged(aim.folder / "journal.log", other, seeds):
        with suppress(ArtifactError):
            found = [one for one in values() if one[1] is not None]
            assert found == whole[: len(found)], how


@pytest.mark.parametrize("seeds", CASES)
def test_a_validation_record(seeds: range, tmp_path: Path) -> None:
    from trigan.atomic import checksum
    from trigan.runs.validation_run import read_validation_record

    path = tmp_path / "validation.json"
    result = {"status": "finished", "validation": {"accuracy": 0.9}, "cost": {"flops": 1}}
    record: dict[str, Any] = {"schema_version": 2, "run": "a", "result": result}
    path.write_text(json.dumps({**record, "checksum": checksum(record)}))
    for how in damaged(path, path.read_bytes()[::-1], seeds):
        with suppress(ArtifactError):
            assert read_validation_record(path)["result"] == result, how
