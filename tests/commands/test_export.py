"""The exported files give the run's own numbers, and say how to use them."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from finished_runs import RUNS, run_words
from torch import Tensor, nn

from tests.support.drawn import latents
from trigan.commands.main import main
from trigan.config.compose import compose
from trigan.datasets.stream import to_float
from trigan.interop import onnx_file
from trigan.runs.finished_run import open_run
from trigan.samples.filters import outputs as outputs_of

torch.set_num_threads(1)

Runs = dict[str, Path]
Capture = pytest.CaptureFixture[str]


def run_file(path: Path, **inputs: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return torch.from_numpy(found)


@pytest.mark.parametrize("name", RUNS)
def test_files_give_the_runs_numbers(name: str, runs: Runs, outputs: Path, tmp_path: Path, capsys: Capture) -> None:
    place = tmp_path / "model"
    assert main(["export", str(runs[name]), "--out", str(place)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(place)
    finished = open_run(runs[name])
    players = set(finished.networks)
    assert {path.name for path in place.iterdir()} == {"trigan.json", "README.txt"} | {
        f"{player}.{kind}" for player in players for kind in ("onnx", "safetensors")
    }
    for player in players:
        kept = (runs[name] / "weights" / f"{player}.safetensors").read_bytes()
        assert (place / f"{player}.safetensors").read_bytes() == kept
        assert any(line.startswith(f"{player}.onnx: at most ") and line.endswith("off torch") for line in lines)
    images = compose(run_words(name, outputs)).load_data().images[:50]
    for count in (1, 50):
        found = run_file(place / "classifier.onnx", images=to_float(images[:count].clone()))
        torch.testing.assert_close(found, outputs_of(finished.classifier, images[:count]), rtol=1e-4, atol=1e-4)
    if "generator" in players:
        inputs: dict[str, Tensor] = {"z": latents(1, 0, 9, finished.generator.latent)}
        if finished.generator.classes:
            inputs["y"] = torch.arange(9)
        with torch.no_grad():
            torch.testing.assert_close(
                run_file(place / "generator.onnx", **inputs), finished.generator(*inputs.values()), rtol=1e-4, atol=1e-5
            )


def test_what_the_folder_says(runs: Runs, tmp_path: Path) -> None:
    place = tmp_path / "model"
    assert main(["export", str(runs["conditional"]), "--out", str(place), "--no-onnx"]) == 0
    assert sorted(path.suffix for path in place.iterdir()) == [".json", ".safetensors", ".safetensors", ".txt"]
    said = json.loads((place / "trigan.json").read_text())
    assert said["classes"] == list("0123456789")
    assert said["image"]["normalisation"] == "u8 / 127.5 - 1"
    assert (said["image"]["channels"], said["image"]["size"], said["latent"]) == (1, 8, 64)
    assert said["networks"]["generator"]["inputs"] == ["z", "y"]
    assert said["config"]["_id_"] == "strategy/augment@1"
    text = (place / "README.txt").read_text()
    for part in (runs["conditional"].name, "u / 127.5 - 1", "(N, 1, 8, 8)", "labels 0..9", "0, 1, 2"):
        assert part in text
    assert "onnxruntime" not in text


def test_without_the_package_one_line_says_how_to_get_it(
    runs: Runs, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    hidden = {"onnx"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in hidden else real(name, *rest))
    words = ["export", str(runs["pixels"]), "--out", str(tmp_path / "model")]
    assert main(words) == 2
    line = capsys.readouterr().err
    assert "pip install 'trigan[onnx]', or add --no-onnx" in line
    assert list(tmp_path.iterdir()) == []
    hidden = {"onnxruntime"}
    assert main(words) == 0
    assert "classifier.onnx: not checked: onnxruntime is not installed" in capsys.readouterr().out


class Wrong(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Any:
        return self.network(*inputs) * 1.01


def test_a_file_with_other_numbers_is_refused(
    runs: Runs, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = onnx_file.onnx_exportable
    monkeypatch.setattr(onnx_file, "onnx_exportable", lambda network: Wrong(right(network)))
    assert main(["export", str(runs["joint"]), "--out", str(tmp_path / "model")]) == 3
    assert "classifier.onnx: onnxruntime's outputs differ from torch's by" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken(runs: Runs, tmp_path: Path, capsys: Capture) -> None:
    words = ["export", str(runs["pixels"]), "--out", str(tmp_path / "model"), "--no-onnx"]
    assert [main(words), main(words), main([*words, "--force"])] == [0, 2, 0]
    assert "exists already" in capsys.readouterr().err


def test_the_run_is_left_as_it_was(runs: Runs) -> None:
    """Making the traced form changes no network that is open."""
    finished = open_run(runs["spectral"])
    before = {name: value.clone() for name, value in finished.classifier.state_dict().items()}
    onnx_file.onnx_exportable(finished.classifier)
    after = finished.classifier.state_dict()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
