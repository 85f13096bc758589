"""Every example runs as it is written, shortened by settings, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
SUPPORT = Path(__file__).parent / "support"
SHORT = ["debug=fast", "debug.max_steps=4", "callbacks=quiet"]
ARGUMENTS = {
    "custom_loss": [*SHORT, "architecture.width=4"],
    "own_images": ["MY_IMAGES", *SHORT, "architecture.width=4", "classifier.width=4", "callbacks=default"],
    "plain_lightning": ["3"],
    "read_records": [],
    "timm_classifier": SHORT,
}


def run(name: str, folder: Path, *launcher: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    words = [sys.executable, *launcher, str(EXAMPLES / f"{name}.py"), *ARGUMENTS[name]]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with images of two classes."""
    draw = np.random.Generator(np.random.PCG64(0))
    for kind, shade in (("cat", 60), ("dog", 190)):
        (tmp_path / "MY_IMAGES" / kind).mkdir(parents=True)
        for i in range(20):
            pixels = draw.integers(shade - 50, shade + 50, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "MY_IMAGES" / kind / f"{i}.png")
    return tmp_path


def test_examples_are_short_and_all_are_run() -> None:
    examples = list(EXAMPLES.glob("*.py"))
    assert {example.stem for example in examples} == set(ARGUMENTS)
    for example in examples:
        assert len(example.read_text().splitlines()) <= 60, example


def test_own_images(folder: Path) -> None:
    said = run("own_images", folder)
    assert "40 images of cat, dog" in said
    assert "with a GAN" in said
    assert (folder / "samples.png").is_file()


@pytest.mark.parametrize("name", ["custom_loss", "plain_lightning"])
def test_torch_examples(name: str, tmp_path: Path) -> None:
    said = run(name, tmp_path)
    assert ("probe on D's features" if name == "custom_loss" else "torch.Size([4, 1, 8, 8])") in said


@pytest.mark.slow
def test_timm(tmp_path: Path) -> None:
    said = run("timm_classifier", tmp_path, str(SUPPORT / "timm_package.py"))
    assert re.search(r"^small CNN: \d+\.\d %; first labels \[", said)
    assert re.search(r"^ResNet-10t of timm: \d+\.\d %; first labels \[", said, re.MULTILINE)


def test_records_in_pandas(tmp_path: Path) -> None:
    from record_makers import make_record

    from trigan.records.record import write_record

    for trial in range(2):
        place = tmp_path / "outputs" / "runs" / f"{trial:020x}"
        write_record(place / "record.json", {**make_record(0.9, trial), "run": place.name})
    said = run("read_records", tmp_path)
    assert "accuracy" in said
    assert "0.9" in said
