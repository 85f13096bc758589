"""A run whose C begins with pretrained weights: what its record says, and that other weights are another run."""

from pathlib import Path
from typing import Any

import pytest
import timm_package
import torch
from few_steps import composer, small
from safetensors.torch import load_file, save_file

from trigan.errors import ConfigError
from trigan.records.record import read_record
from trigan.runs.finished_run import open_run
from trigan.runs.run import run
from trigan.scores import METRICS
from trigan.tables.cell import Cell
from trigan.tables.paired_comparison import data_difference


def weights_of(seed: int, file: Path) -> str:
    timm_package.make_importable()
    import timm

    torch.manual_seed(seed)
    network = timm.create_model("test_resnet", pretrained=False)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, file)
    return str(file)


def finished(outputs: Path, *words: str) -> Any:
    given = ["classifier=timm", "classifier.name=test_resnet", "data.image_size=32", f"paths.outputs={outputs}"]
    return read_record(run(composer().compose(small(*given, *words))) / "record.json")


def test_pretrained_weights_are_external_data_and_part_of_the_runs_identity(tmp_path: Path) -> None:
    file, other = weights_of(0, tmp_path / "a.safetensors"), weights_of(1, tmp_path / "b.safetensors")
    outputs, size = tmp_path / "outputs", "classifier.input_size=32"
    plain = finished(outputs)
    pretrained = finished(outputs, f"classifier.weights={file}", size)
    again = finished(outputs, f"classifier.weights={other}", size)
    digests = [one["result"]["stages"][0]["classifier"].get("pretrained") for one in (plain, pretrained, again)]
    assert digests[0] is None
    assert digests[1] != digests[2]
    assert [one["result"]["data_used"]["X"] for one in (plain, pretrained, again)] == [0, 1, 1]
    assert not [stamp for stamp in plain["result"]["stamps"] if "pretrained" in stamp]
    assert f"pretrained-{digests[1][0][:12]}" in pretrained["result"]["stamps"]
    (tmp_path / "copy.safetensors").write_bytes(Path(file).read_bytes())
    assert finished(outputs, f"classifier.weights={tmp_path}/copy.safetensors", size)["run"] == pretrained["run"]
    assert len({one["run"] for one in (plain, pretrained, again)}) == 3
    bare, first, second = (Cell((one,), (0,), METRICS["accuracy"]) for one in (plain, pretrained, again))
    assert data_difference(first, bare) == "also uses images of other data sets"
    assert data_difference(first, second) == "uses other pretrained weights"
    assert data_difference(first, first) == ""


def test_a_run_on_pretrained_weights_opens_without_their_file(tmp_path: Path) -> None:
    file = weights_of(0, tmp_path / "a.safetensors")
    record = finished(tmp_path / "outputs", f"classifier.weights={file}", "classifier.input_size=32")
    Path(file).unlink()
    opened = open_run(tmp_path / "outputs" / "runs" / record["run"])
    assert opened.logits(torch.zeros(2, 1, 32, 32, dtype=torch.uint8)).shape == (2, 10)


@pytest.mark.parametrize(
    "words", [["strategy.unlabelled=self_training"], ["strategy=augment", "strategy.schedule=pretrain"]]
)
def test_every_fit_of_c_begins_with_them_or_with_weights_that_did(words: list[str], tmp_path: Path) -> None:
    file = weights_of(0, tmp_path / "a.safetensors")
    record = finished(tmp_path / "outputs", f"classifier.weights={file}", "classifier.input_size=32", *words)
    fits = {
        one["name"]: one["classifier"].get("pretrained") for one in record["result"]["stages"] if "classifier" in one
    }
    assert fits.get("teacher")
    assert record["result"]["data_used"]["X"] == 1
    continued = [name for name, weights in fits.items() if weights is None]
    assert continued == (["classifier"] if "strategy=augment" in words else [])


def test_a_frozen_network_has_the_weights_of_the_file_and_another_head(tmp_path: Path) -> None:
    """Its batch-norm statistics too: they are not those of the run's images."""
    file = weights_of(0, tmp_path / "a.safetensors")
    words = [f"classifier.weights={file}", "classifier.input_size=32", "classifier.frozen=true"]
    record = finished(tmp_path / "outputs", *words)
    result = record["result"]
    assert result["data_used"]["X"] == 1
    assert [stamp for stamp in result["stamps"] if stamp.startswith("pretrained-")]
    folder, state = tmp_path / "outputs" / "runs" / record["run"], load_file(file)
    kept = load_file(folder / "weights" / "classifier.safetensors")
    bodies = {name.removeprefix("body.body.body."): value for name, value in kept.items() if name.startswith("body.")}
    assert bodies
    assert any("running_mean" in name for name in bodies)
    for name, value in bodies.items():
        assert torch.equal(value, state[name]), name
    tuned = finished(tmp_path / "outputs", *words[:2])
    assert tuned["run"] != record["run"]
    assert result["cost"]["flops"] < tuned["result"]["cost"]["flops"]
    assert float(kept["head.bias"].abs().max()) > 0
    assert open_run(folder, tmp_path / "outputs").classifier is not None


def test_a_frozen_network_needs_weights() -> None:
    with pytest.raises(ConfigError, match=r"classifier\.frozen: True must be false without classifier.weights"):
        composer().compose(["classifier=timm", "classifier.name=test_resnet", "classifier.frozen=true"])
