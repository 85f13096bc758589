"""Finding a finished run and opening it: what is wrong with it is one line, and nothing from its files is trusted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.drawn import generate
from trigan.commands.main import main
from trigan.datasets.stream import to_float
from trigan.datasets.types import DataSpec
from trigan.errors import TriganError
from trigan.runs import finished_run
from trigan.runs.finished_run import find_run, open_run

torch.set_num_threads(1)

Runs = dict[str, Path]


def test_a_run_is_found_by_path_record_and_hash(runs: Runs, outputs: Path) -> None:
    directory = runs["joint"]
    for named in (str(directory), str(directory / "record.json"), directory.name, directory.name[:8]):
        assert find_run(named, outputs) == directory
    # ordinary runs lie beside the debug ones
    assert find_run(directory.name[:8], outputs / "debug") == directory


def test_what_is_opened_is_what_the_run_left(runs: Runs) -> None:
    joint, pixels, spectral = (open_run(runs[name]) for name in ("joint", "pixels", "spectral"))
    assert joint.spec == DataSpec(1, 8, 10)
    assert spectral.spec == DataSpec(3, 14, 10)
    assert joint.classes == tuple("0123456789")
    assert set(joint.networks) == {"classifier", "generator"}
    assert set(pixels.networks) == {"classifier"}
    assert (joint.probabilistic, pixels.probabilistic) == (True, False)
    for network in (*joint.networks.values(), *spectral.networks.values()):
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_logits_of_bytes_and_floats(runs: Runs, outputs: Path) -> None:
    """Those in the run's own predictions, however the images come."""
    finished = open_run(runs["joint"].name[:8], outputs)
    images = torch.randint(0, 256, (300, 1, 8, 8), dtype=torch.uint8)
    logits = finished.logits(images)
    assert logits.shape == (300, 10)
    assert torch.equal(finished.logits(to_float(images.clone())), logits)
    assert torch.equal(finished.logits(images), logits), "the images were changed"
    assert finished.logits(images[:0]).shape == (0, 10)
    with pytest.raises(TriganError, match=r"images: expected shape \(N, 1, 8, 8\), got \(3, 8, 8\)"):
        finished.logits(images[:3, 0])


@pytest.mark.parametrize("name", ["conditional", "several"])
def test_samples_of_a_conditional_generator(name: str, runs: Runs) -> None:
    """As `trigan sample` draws them: image i from the seed's number i and label i."""
    finished = open_run(runs[name])
    labels = torch.arange(30) % 10
    images = finished.sample(labels, seed=3)
    assert torch.equal(images, generate(finished.generator, 3, 30, labels).images)
    assert torch.equal(finished.sample([0, 1, 2], seed=3), images[:3])
    with pytest.raises(TriganError, match=r"labels: expected 0\.\.9, got 0\.\.10"):
        finished.sample([0, 10])


def test_samples_of_an_unconditional_generator(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifier labels them; those of a class are used in their order."""
    finished = open_run(runs["joint"])
    monkeypatch.setattr(finished_run, "LABEL_THRESHOLD", 0.0)
    drawn = generate(finished.generator, 1, 256).images
    classes = finished.logits(drawn).argmax(1)
    common = int(classes.bincount().argmax())
    images = finished.sample([common, common], seed=1)
    assert torch.equal(images, drawn[classes == common][:2])
    monkeypatch.setattr(finished_run, "LABEL_THRESHOLD", 1.1)
    with pytest.raises(TriganError, match="1 of 1 images were not found"):
        finished.sample([common])
    with pytest.raises(TriganError, match="has no generator"):
        open_run(runs["pixels"]).sample([0])


@pytest.mark.parametrize(
    ("named", "line"),
    [
        ("abc", "no run under"),
        ("some/where", "no such directory"),
        ("", "no such directory"),
    ],
)
def test_no_such_run(named: str, line: str, runs: Runs, outputs: Path) -> None:
    with pytest.raises(TriganError, match=line) as caught:
        find_run(named, outputs)
    assert "\n" not in str(caught.value)


def test_short_and_ambiguous_hashes(tmp_path: Path) -> None:
    for name in ("abcdef01", "abcdef02"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    with pytest.raises(TriganError, match="too short; give at least 4"):
        find_run("abc", tmp_path)
    with pytest.raises(TriganError, match="2 runs match: abcdef01, abcdef02"):
        find_run("abcdef", tmp_path)
    with pytest.raises(TriganError, match="nearest: abcdef01"):
        find_run("abcdee01", tmp_path)


def flip_a_bit(run: Path) -> None:
    path = run / "weights" / "classifier.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def cut(run: Path) -> None:
    path = run / "weights" / "classifier.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def edit(run: Path, change: Callable[[dict], None]) -> None:
    record = json.loads((run / "record.json").read_text())
    change(record)
    record.pop("checksum", None)  # of the record as it was written; without one it counts as older
    (run / "record.json").write_text(json.dumps(record))


def narrower(record: dict) -> None:
    record["config"]["strategy"]["joint"]["recipe"]["classifier"]["width"] = 8


def hostile(record: dict) -> None:
    record["config"]["strategy"]["joint"]["recipe"]["classifier"] = {"_target_": "os.system", "command": "touch hacked"}


def foreign(record: dict) -> None:
    record["config"]["strategy"]["joint"]["recipe"]["classifier"] = {"_target_": "json.decoder.JSONDecoder"}


def misspelt(record: dict) -> None:
    record["config"]["strategy"]["joint"]["recipe"]["btach"] = 3


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda run: (run / "record.json").unlink(), "holds no finished run"),
        (lambda run: (run / "record.json").write_text("{"), "not JSON"),
        (lambda run: (run / "weights" / "classifier.safetensors").unlink(), "has no classifier.safetensors"),
        (lambda run: (run / "weights" / "generator.safetensors").unlink(), "has no generator.safetensors"),
        (flip_a_bit, "its digest differs"),
        (cut, "is damaged"),
        (lambda run: edit(run, narrower), "does not fit the network"),
        (lambda run: edit(run, hostile), "os.system: not on the allow-list .* --allow MODULE"),
        (lambda run: edit(run, foreign), "json.decoder.JSONDecoder: not on the allow-list"),
        (lambda run: edit(run, misspelt), "strategy.joint.recipe.btach: .*no such argument; nearest: batch"),
        (lambda run: edit(run, lambda record: record["result"].pop("data")), "result.data is missing"),
        (lambda run: edit(run, lambda record: record["config"].pop("strategy")), "names no strategy"),
    ],
)
def test_a_spoilt_run_is_one_line(
    spoil: Callable[[Path], object], line: str, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(runs["joint"], run)
    spoil(run)
    with pytest.raises(TriganError, match=line) as caught:
        open_run(run)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "hacked").exists()


def test_settings_of_another_commit_say_whose_they_are(runs: Runs, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs["joint"], run)
    edit(run, misspelt)
    with pytest.raises(TriganError) as caught:
        open_run(run)
    assert "made it" not in str(caught.value)
    edit(run, lambda record: record["provenance"].update(commit="0123456789abcdef"))
    with pytest.raises(TriganError, match=r"nearest: batch \(commit 0123456789ab made it, this is .*, or run it again"):
        open_run(run)


def test_a_module_of_ones_own_must_be_allowed_by_the_user(runs: Runs, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs["joint"], run)
    edit(run, foreign)
    # it passes the list now, and is no classifier factory
    with pytest.raises(TriganError, match="does not fit the network that the record describes"):
        open_run(run, allow=["json"])


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "meta"])
def test_devices(device: str, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(runs["joint"]), "--per-class", "1", "--device", device]) == 2
    assert f"device={device}: " in capsys.readouterr().err
