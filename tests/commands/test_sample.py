"""Labelled images from a run's generator: the right ones, readable as a data set, and all or nothing on disk."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.drawn import generate
from trigan.commands.main import main
from trigan.config.compose import compose
from trigan.datasets.types import ImageDataset
from trigan.runs import write_samples
from trigan.runs.finished_run import open_run
from trigan.samples.filters import outputs as outputs_of
from trigan.samples.samplers import LatentTransform

torch.set_num_threads(1)

Runs = dict[str, Path]
Capture = pytest.CaptureFixture[str]


def drawn(run: Path, *words: object, code: int = 0) -> None:
    assert main(["sample", str(run), *map(str, words)]) == code


def read_back(data: str, root: Path, cache: Path) -> ImageDataset:
    """The data set as `trigan run data=... data.root=...` reads it."""
    words = [f"data={data}", f"data.root={root}", "data.image_size=null", "logger=none", f"paths.cache={cache}"]
    source: ImageDataset = compose(words).load_data()
    return source


@pytest.mark.parametrize(
    ("run", "form", "data"),
    [
        ("conditional", "folder", "folder"),
        ("conditional", "parquet", "folder"),
        ("conditional", "parquet", "hub"),
        ("several", "folder", "folder"),
    ],
)
def test_a_conditional_generators_samples_are_read_back_as_data(
    run: str, form: str, data: str, runs: Runs, tmp_path: Path, capsys: Capture
) -> None:
    root = tmp_path / "samples"
    drawn(runs[run], "--per-class", 7, "--out", root, "--format", form, "--seed", 3)
    assert capsys.readouterr().out == f"{root}\n"
    source = read_back(data, root, tmp_path / "cache")
    assert source.class_names == tuple("0123456789")
    assert source.official_test is None
    finished = open_run(runs[run])
    labels = torch.arange(70) % 10
    expected = generate(finished.generator, 3, 70, labels).images
    for label in range(10):  # sample i of the seed has label i % K
        assert torch.equal(source.images[source.labels == label], expected[labels == label])
    said = json.loads((root / "trigan.json").read_text())
    assert (said["run"], said["labels"], said["per_class"]["4"]) == (finished.run, "condition", 7)


def test_latents_are_drawn_as_wide_as_asked_for(runs: Runs, tmp_path: Path, capsys: Capture) -> None:
    root = tmp_path / "samples"
    drawn(runs["conditional"], "--per-class", 5, "--out", root, "--truncation", 0.5, "--latent-scale", 1.2)
    finished = open_run(runs["conditional"])
    expected = generate(
        finished.generator, 0, 50, torch.arange(50) % 10, latent_transform=LatentTransform(0.5, 1.2)
    ).images
    assert not torch.equal(expected, generate(finished.generator, 0, 50, torch.arange(50) % 10).images)
    source = read_back("folder", root, tmp_path / "cache")
    assert torch.equal(source.images[source.labels == 3], expected[torch.arange(50) % 10 == 3])
    said = json.loads((root / "trigan.json").read_text())
    assert (said["truncation"], said["latent_scale"]) == (0.5, 1.2)
    for option, value in (("--truncation", "0"), ("--latent-scale", "nan"), ("--latent-scale", "wide")):
        drawn(runs["conditional"], "--per-class", 1, option, value, code=2)
        assert f"{value}: expected a number above 0" in capsys.readouterr().err


def test_a_larger_number_begins_with_a_smaller_one(runs: Runs, tmp_path: Path) -> None:
    for count in (2, 40):
        drawn(runs["conditional"], "--per-class", count, "--out", tmp_path / str(count))
    files = sorted(path.relative_to(tmp_path / "2") for path in (tmp_path / "2").rglob("*.png"))
    assert [str(path) for path in files[:3]] == ["0/000000.png", "0/000001.png", "1/000000.png"]
    assert len(files) == 20
    for path in files:
        assert (tmp_path / "2" / path).read_bytes() == (tmp_path / "40" / path).read_bytes()


def test_the_runs_classifier_labels_an_unconditional_generators_samples(
    runs: Runs, tmp_path: Path, capsys: Capture
) -> None:
    """It is hardly trained, so some classes stay short: they are named, and what was found is there."""
    finished = open_run(runs["joint"])
    likeliest = outputs_of(finished.classifier, generate(finished.generator, 0, 2000).images).softmax(1).amax(1)
    threshold = float(likeliest.quantile(0.5))
    root = tmp_path / "samples"
    drawn(runs["joint"], "--per-class", 20, "--out", root, "--threshold", threshold, code=3)
    line = capsys.readouterr().err.splitlines()[-1]
    found = 0
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        images = np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())])
        probabilities = outputs_of(finished.classifier, torch.from_numpy(images)[:, None]).softmax(1)
        assert bool((probabilities.argmax(1) == int(folder.name)).all())
        assert bool((probabilities.amax(1) >= threshold - 1e-6).all())
        assert 0 < len(images) <= 20
        found += len(images)
    assert 0 < found < 200
    assert line.startswith(f"trigan: warning: {200 - found} of 200 images are missing (")


def test_a_threshold_sifts_a_conditional_generators_samples_too(runs: Runs, tmp_path: Path) -> None:
    finished = open_run(runs["conditional"])
    labels = torch.arange(500) % 10
    images = generate(finished.generator, 0, 500, labels).images
    given = outputs_of(finished.classifier, images).softmax(1).gather(1, labels[:, None])[:, 0]
    threshold = float(given.quantile(0.5))
    main(
        [
            "sample",
            str(runs["conditional"]),
            "--per-class",
            "3",
            "--out",
            str(tmp_path / "s"),
            "--threshold",
            str(threshold),
        ]
    )
    source = next((tmp_path / "s").glob("*/000000.png"))
    first = int(((given >= threshold) & (labels == int(source.parent.name))).nonzero()[0])
    assert torch.equal(torch.from_numpy(np.asarray(Image.open(source)).copy()), images[first, 0])


@pytest.mark.parametrize(
    ("run", "words", "code", "line"),
    [
        ("pixels", [], 2, "(features) has no generator"),
        ("joint", ["--threshold", "1"], 3, "not one image was written"),
        ("joint", ["--threshold", "2"], 2, "expected a number in 0..1"),
        ("joint", ["--seed", "-1"], 2, "--seed"),
        ("joint", ["--per-class", "0"], 2, "--per-class: 0: expected an int >= 1"),
        ("joint", ["--formt", "folder"], 2, "--formt: no such option; nearest: --format"),
    ],
)
def test_mistakes_leave_nothing(
    run: str, words: list[str], code: int, line: str, runs: Runs, tmp_path: Path, capsys: Capture
) -> None:
    drawn(runs[run], "--per-class", 2, "--out", tmp_path / "samples", *words, code=code)
    assert line in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken(runs: Runs, tmp_path: Path, capsys: Capture) -> None:
    run, root = runs["conditional"], tmp_path / "samples"
    root.mkdir()
    (root / "photo.jpg").write_text("mine")
    drawn(run, "--per-class", 1, "--out", root, code=2)
    assert "exists already" in capsys.readouterr().err
    drawn(run, "--per-class", 1, "--out", root, "--force", code=2)
    assert "was not written by trigan" in capsys.readouterr().err
    (root / "photo.jpg").unlink()
    drawn(run, "--per-class", 1, "--out", root)  # an empty folder may be filled
    drawn(run, "--per-class", 2, "--out", root, "--force", "--format", "parquet")
    assert sorted(path.name for path in root.iterdir()) == ["samples.parquet", "trigan.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["samples"]


def test_an_interruption_leaves_the_old_and_nothing_else(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "samples"
    drawn(runs["conditional"], "--per-class", 1, "--out", root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(write_samples, "write_json", interrupted)
    drawn(runs["conditional"], "--per-class", 2, "--out", root, "--force", code=130)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["samples"]


def test_the_default_place_is_under_outputs(runs: Runs, outputs: Path, tmp_path: Path) -> None:
    drawn(runs["conditional"], "--per-class", 1, "--outputs", tmp_path)
    assert (tmp_path / "samples" / runs["conditional"].name[:12] / "9" / "000000.png").is_file()
