"""``trigan metrics``: images from anywhere against training images, with stamps, a floor and one-line errors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from few_steps import composer
from PIL import Image

from trigan.commands.main import main
from trigan.datasets.sources.digits import Digits
from trigan.datasets.types import DataSpec
from trigan.errors import DataError
from trigan.runs.generators.image_sets import images_at, real_images
from trigan.samples.sample_files import PARQUET_NAME, parquet_writer

torch.set_num_threads(1)

Runs = dict[str, Path]
Capture = pytest.CaptureFixture[str]
DIGITS = Digits().load(None)  # type: ignore[arg-type]


def measured(out: Path, *words: object, code: int = 0) -> dict[str, Any]:
    assert main(["metrics", *map(str, words), "--out", str(out)]) == code
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return found


def folder(root: Path, rows: range, by_class: bool = False) -> Path:
    for row in rows:
        place = root / DIGITS.class_names[int(DIGITS.labels[row])] if by_class else root
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DIGITS.images[row, 0].numpy()).save(place / f"{row:04}.png")
    return root


@pytest.mark.parametrize("run", ["joint", "conditional", "several"])
def test_a_runs_generator_is_compared_with_its_own_training_images(
    run: str, runs: Runs, tmp_path: Path, capsys: Capture
) -> None:
    found = measured(tmp_path / "a", runs[run], "--images", 60)
    record = json.loads((runs[run] / "record.json").read_text())["result"]
    assert (found["embedding"], found["images"]) == ("random_conv@1", 60)
    assert found["fingerprint"] == record["data"]["fingerprint"]
    assert found["figures"]["fid"] > found["floor"]["fid"]
    if record["data_used"]["U"] == 0:
        assert "fld" in found["figures"]
    shown = capsys.readouterr().out
    assert "real images" in shown
    assert shown.splitlines()[-1] == f"{tmp_path / 'a' / 'metrics.json'}"
    assert Image.open(tmp_path / "a" / "neighbours.png").size[0] > 100
    assert measured(tmp_path / "b", runs[run], "--images", 60) == found


@pytest.mark.parametrize("run", ["joint", "conditional"])
def test_a_run_is_compared_with_images_without_labels(run: str, runs: Runs, tmp_path: Path) -> None:
    assert measured(tmp_path / "a", runs[run], folder(tmp_path / "real", range(100)), "--images", 50)["images"] == 50


def test_images_of_folders_and_files_are_compared_and_copies_named(tmp_path: Path, capsys: Capture) -> None:
    real, copies = folder(tmp_path / "real", range(200)), folder(tmp_path / "copies", range(100))
    fresh = folder(tmp_path / "fresh", range(200, 300))
    honest = measured(tmp_path / "a", fresh, real)
    assert not honest["copying"]
    assert "copies" not in capsys.readouterr().err
    caught = measured(tmp_path / "b", copies, real)
    assert caught["copying"]
    shown = capsys.readouterr()
    assert "the generator copies" in shown.err
    by_figure = {line.split()[1]: line.split()[3] for line in shown.out.splitlines() if line.startswith("│")}
    assert {name for name, value in by_figure.items() if value == "copies"} == set(caught["figures"]) - {
        "authenticity",
        "copies",
    }
    np.savez(tmp_path / "fresh.npz", images=DIGITS.images[200:300, 0].numpy())
    from_file = measured(tmp_path / "c", tmp_path / "fresh.npz", real)
    assert from_file["figures"] == honest["figures"]
    assert from_file["fingerprint"] == honest["fingerprint"]


def test_held_out_images_give_the_likelihood_divergence(tmp_path: Path) -> None:
    real, other = folder(tmp_path / "real", range(300)), folder(tmp_path / "other", range(600, 800))
    fresh, copies = folder(tmp_path / "fresh", range(300, 450)), folder(tmp_path / "copies", range(150))
    honest, caught = (
        measured(tmp_path / f"out-{one.name}", one, real, "--held-out", other)["figures"]["fld"]
        for one in (fresh, copies)
    )
    assert honest < caught


def test_labels_of_folders_and_classifiers_add_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    samples = folder(tmp_path / "samples", range(300), by_class=True)
    settings = ["data=digits", "debug=fast", "debug.max_steps=150", "classifier.width=8", "logger=none"]
    found = measured(tmp_path / "a", samples, *settings, "--embedding", "classifier", "--train")
    figures = found["figures"]
    assert found["embedding"].startswith("classifier-")
    assert figures["modes"] == 10
    assert 0 <= figures["reverse_kl"] < 0.1
    assert set(found["by_class"]) == set(DIGITS.class_names)
    assert min(figures["real_accuracy"], figures["gan_test"], figures["nas_100"]) > 0.8
    assert 0.5 < figures["gan_train"] <= 1.0
    again = measured(tmp_path / "b", samples, *settings, "--embedding", "classifier")
    assert again["embedding"] == found["embedding"]  # one classifier a fingerprint, whoever is scored


@pytest.mark.parametrize("kind", ["names", "numbers", "npz"])
def test_labels_of_files_are_those_of_folders(kind: str, tmp_path: Path) -> None:
    rows = range(300)
    images, labels = DIGITS.images[list(rows)], DIGITS.labels[list(rows)]
    place = tmp_path / ("samples.npz" if kind == "npz" else PARQUET_NAME)
    if kind == "npz":
        np.savez(place, images=images[:, 0].numpy(), labels=labels[:, None].numpy())
    else:
        backwards = list(reversed(DIGITS.class_names))  # the file has another order of the same names
        with parquet_writer(tmp_path, backwards if kind == "names" else DIGITS.class_names) as writer:
            writer.write(images, 9 - labels if kind == "names" else labels)
        if kind == "numbers":
            pq.write_table(pq.read_table(place).replace_schema_metadata(None), place)
    expected = measured(tmp_path / "a", folder(tmp_path / "samples", rows, by_class=True), "data=digits", "logger=none")
    found = measured(tmp_path / "b", place, "data=digits", "logger=none")
    assert set(found["by_class"]) == set(DIGITS.class_names)
    assert found["by_class"] == pytest.approx(expected["by_class"])
    assert found["figures"] == pytest.approx(expected["figures"])


def test_a_label_of_a_file_that_is_no_class_is_named(tmp_path: Path) -> None:
    images, labels = DIGITS.images[:40, 0].numpy(), np.full(40, "zebra")
    np.savez(tmp_path / "odd.npz", images=images, labels=labels)
    with pytest.raises(DataError, match=r"images\[0\]: its label 'zebra' is no class of the training images"):
        images_at(tmp_path / "odd.npz", DataSpec(1, 8, 10), DIGITS.class_names)
    assert set(images_at(tmp_path / "odd.npz", None)[0].labels.tolist()) == {-1}, "without classes it is no label"
    np.savez(tmp_path / "many.npz", images=images, labels=np.ones((40, 3), dtype=np.int64))
    found, _ = images_at(tmp_path / "many.npz", DataSpec(1, 8, 10), DIGITS.class_names)
    assert set(found.labels.tolist()) == {-1}, "several labels for each image"


def test_the_reference_has_no_test_image() -> None:
    config = composer().compose(["data=digits", "logger=none"])
    reals = real_images(config)
    training = {bytes(one.numpy().data) for one in reals.training.images}
    from trigan.datasets.splits.draw_split import draw_split

    split = draw_split(config.load_data(), config.build().regime, config.trial)
    test = {bytes(one.numpy().data) for one in split.test.open("frozen").images}
    assert len(test) > 500
    assert not training & test


def test_sizes_of_a_folder_are_those_of_its_first_image(tmp_path: Path) -> None:
    images, spec = images_at(folder(tmp_path / "real", range(3)), None)
    assert (spec.size, spec.channels) == (8, 1)
    assert torch.equal(images.images, DIGITS.images[:3])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fresh"], "REFERENCE: images of a path have no training images"),
        (["nothing/here", "real"], "nothing/here: no such file or folder"),
        (["fresh", "real", "--embedding", "classifier"], "need labelled training images"),
        (["fresh", "real", "--embedding", "mine"], "expected random_conv, classifier, or MODULE.FUNCTION"),
        (["fresh", "real", "--embedding", "os.getcwd"], "--allow os"),
        (["fresh", "real", "--weights", "inception.pt"], "nothing is downloaded"),
        (["fresh", "real", "data=digits"], "expected SAMPLES, and one REFERENCE"),
        (["fresh", "few"], "at least 20"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, rows in (("real", range(40)), ("fresh", range(40, 80)), ("few", range(5))):
        folder(tmp_path / name, rows)
    assert main(["metrics", *words, "--out", "out"]) > 1
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not Path("out").exists()
