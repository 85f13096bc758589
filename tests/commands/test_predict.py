"""New images through a finished run: the same numbers as the run's own, whatever file they come in."""

import csv
import io
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from finished_runs import RUNS, run_words
from PIL import Image
from torch import Tensor

from trigan.commands.main import main
from trigan.config.compose import compose
from trigan.datasets.sources.folder import Folder
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.types import LabelledImages
from trigan.runs.finished_run import open_run
from trigan.samples.filters import outputs as outputs_of

torch.set_num_threads(1)

Runs = dict[str, Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tests(runs: Runs, outputs: Path) -> dict[str, LabelledImages]:
    """The test images of each run, as the run saw them."""
    found = {}
    for name in RUNS:
        composed = compose(run_words(name, outputs))
        built = composed.build()
        found[name] = draw_split(composed.load_data(), built.regime, composed.trial).test.open("frozen")
    return found


def picture(image: Tensor) -> Image.Image:
    return Image.fromarray(image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).contiguous().numpy())


def as_folder(images: Tensor, root: Path) -> Path:
    for number, image in enumerate(images):
        path = root / f"part{number // 200}" / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(image).save(path)
    return root


def as_parquet(images: Tensor, root: Path) -> Path:
    def encoded(image: Tensor) -> dict[str, object]:
        buffer = io.BytesIO()
        picture(image).save(buffer, "png")
        return {"bytes": buffer.getvalue(), "path": None}

    features = datasets.Features({"image": datasets.Image(), "name": datasets.Value("string")})
    columns = {"image": [encoded(image) for image in images], "name": ["x"] * len(images)}
    datasets.Dataset.from_dict(columns, features=features).to_parquet(root / "images.parquet")
    return root / "images.parquet"


def as_npz(images: Tensor, root: Path) -> Path:
    arrays = images.permute(0, 2, 3, 1).numpy()
    labels = np.zeros((len(images), 1), dtype=np.uint8)
    np.savez(root / "images.npz", test_images=arrays[..., 0] if arrays.shape[3] == 1 else arrays, test_labels=labels)
    return root / "images.npz"


def predicted(capsys: Capture, *words: object, code: int = 0) -> list[dict[str, str]]:
    assert main(["predict", *map(str, words)]) == code
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("joint", as_folder),
        ("conditional", as_npz),
        ("spectral", as_parquet),
        ("spectral", as_npz),
        ("pixels", as_folder),
    ],
)
def test_the_runs_own_test_images_get_its_own_predictions(
    name: str, form: object, runs: Runs, tests: dict[str, LabelledImages], tmp_path: Path, capsys: Capture
) -> None:
    rows = predicted(capsys, runs[name], form(tests[name].images, tmp_path), "--batch", 100)  # type: ignore[operator]
    with np.load(runs[name] / "predictions.npz") as kept:
        scores, labels = kept["scores"], kept["labels"]
    assert np.array_equal(labels, tests[name].labels.numpy())
    assert len(rows) == len(scores)
    assert len({row["path"] for row in rows}) == len(rows)
    assert [int(row["prediction"]) for row in rows] == scores.argmax(1).tolist()
    if name == "pixels":
        assert set(rows[0]) == {"path", "prediction"}
        return
    expected = torch.from_numpy(scores).double().softmax(1).numpy()
    found = np.array([[float(row[f"p_{k}"]) for k in range(10)] for row in rows])
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose([float(row["confidence"]) for row in rows], expected.max(1), atol=2e-6)


def test_scores_that_are_no_probabilities_are_said_so(
    runs: Runs, tests: dict[str, LabelledImages], tmp_path: Path, capsys: Capture
) -> None:
    picture(tests["pixels"].images[0]).save(tmp_path / "a.png")
    assert main(["predict", str(runs["pixels"]), str(tmp_path / "a.png")]) == 0
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "not probabilities" in said.err
    assert said.out.startswith("path,prediction\n")


def test_any_picture_is_fitted_as_the_data_source_does(runs: Runs, tmp_path: Path, capsys: Capture) -> None:
    """Colour, transparency, 16 bits, oblong and large: against the images that a data source makes of the files."""
    random = np.random.default_rng(0)
    for folder, mode in (("a", "RGB"), ("a", "RGBA"), ("b", "L"), ("b", "P")):
        (tmp_path / folder).mkdir(exist_ok=True)
        pixels = random.integers(0, 256, (37, 61, 4), dtype=np.uint8)
        image = Image.fromarray(pixels).convert("RGBA" if mode == "RGBA" else mode)
        image.save(tmp_path / folder / f"{mode}.png")
    Image.fromarray(random.integers(0, 65536, (20, 30), dtype=np.uint16)).save(tmp_path / "b" / "deep.png")
    for name in ("joint", "spectral"):
        finished = open_run(runs[name])
        source = Folder(str(tmp_path), image_size=finished.spec.size, channels=finished.spec.channels).load()
        rows = predicted(capsys, runs[name], tmp_path)
        assert [Path(row["path"]).name for row in rows] == ["RGB.png", "RGBA.png", "L.png", "P.png", "deep.png"]
        expected = outputs_of(finished.classifier, source.images).softmax(1).amax(1)
        np.testing.assert_allclose([float(row["confidence"]) for row in rows], expected, atol=1e-5)


def test_what_cannot_be_read_is_a_warning_and_exit_3(
    runs: Runs, tests: dict[str, LabelledImages], tmp_path: Path, capsys: Capture
) -> None:
    root = as_folder(tests["joint"].images[:5], tmp_path)
    (root / "part0" / "00002.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    (root / "bad.npz").write_bytes(b"nonsense")
    (root / "bad.parquet").write_bytes(b"nonsense")
    np.savez(root / "none.npz", x=np.zeros((3, 8, 8)))
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.png").write_bytes(b"x")
    out = tmp_path / "new" / "out.csv"
    assert main(["predict", str(runs["joint"]), str(root), "--out", str(out)]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 6
    assert lines[0].endswith("not read: 1 files that end in .txt (notes.txt); 1 hidden files and folders (.hidden.png)")
    for line, name in zip(lines[1:], ["bad.npz", "bad.parquet", "none.npz", "00002.png"], strict=False):
        assert line.startswith("trigan: warning: skipped: ")
        assert name in line
    assert lines[-1] == "trigan: warning: 4 images could not be read and have no row"
    rows = list(csv.DictReader(out.open()))
    assert [Path(row["path"]).stem for row in rows] == ["00000", "00001", "00003", "00004"]
    assert sorted(path.name for path in out.parent.iterdir()) == ["out.csv"]


def test_bad_places(runs: Runs, tmp_path: Path, capsys: Capture) -> None:
    run = str(runs["joint"])
    (tmp_path / "empty").mkdir()
    for path, line in ((tmp_path / "gone", "does not exist"), (tmp_path / "empty", "holds no images")):
        assert main(["predict", run, str(path)]) == 2
        assert line in capsys.readouterr().err
    picture(torch.zeros(1, 8, 8, dtype=torch.uint8)).save(tmp_path / "a.png")
    (tmp_path / "file").write_text("")
    assert main(["predict", run, str(tmp_path / "a.png"), "--out", str(tmp_path / "file" / "out.csv")]) == 3
    assert "cannot write" in capsys.readouterr().err
