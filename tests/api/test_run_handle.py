"""A run from Python: made, opened again, used; the same run as the command line's."""

import numpy as np
import pytest
import torch

import trigan
from trigan.commands.main import main

SHORT = ("debug=fast", "debug.max_steps=3", "logger=none", "classifier.width=4", "architecture.width=4")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> trigan.Run:
    outputs = tmp_path_factory.mktemp("outputs")
    return trigan.run("strategy=joint", "architecture=cgan", f"paths.outputs={outputs}", *SHORT)


def test_the_command_line_finds_the_same_run(run: trigan.Run, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = run.directory.parents[1]
    assert main(["run", "strategy=joint", "architecture=cgan", f"paths.outputs={outputs}", *SHORT]) == 0
    assert capsys.readouterr().out.strip() == str(run.directory)


def test_a_finished_run_is_loaded_by_directory_and_by_hash(run: trigan.Run) -> None:
    assert trigan.load(run.directory).record == run.record
    assert trigan.load(run.directory.name[:8], outputs=run.directory.parents[1]).record == run.record
    with pytest.raises(trigan.ConfigError, match="no run"):
        trigan.load("0123456789", outputs=run.directory.parents[1])


def test_curves_and_pictures(run: trigan.Run) -> None:
    history = run.history()
    assert {"stage", "images"} < set(history.columns)
    assert (history.stage == "joint").all()
    assert run.figure("confusion").size[0] > 100
    with pytest.raises(trigan.ConfigError, match="figures: confusion"):
        run.figure("moon")
    assert "test accuracy" in run._repr_html_()


def test_classify_gives_the_stored_predictions(run: trigan.Run) -> None:
    digits = trigan.data("digits")
    split = trigan.draw(digits, trial=0)
    stored = np.load(run.directory / "predictions.npz")
    test = split.test.open("for this test")
    logits = run.classify(test.images)
    assert torch.allclose(logits, torch.from_numpy(stored["scores"]), atol=1e-5)
    assert torch.equal(run.classify(test.images.numpy()).argmax(1), logits.argmax(1))
    with pytest.raises(trigan.DataError, match="expected shape"):
        run.classify(test.images[:, :, :4])


def test_samples_are_functions_of_the_seed(run: trigan.Run) -> None:
    images = run.sample([0, 1, 2], seed=5)
    assert images.shape == (3, 1, 8, 8)
    assert images.dtype == torch.uint8
    assert torch.equal(images, run.sample([0, 1, 2], seed=5))
    assert not torch.equal(images, run.sample([0, 1, 2], seed=6))


def test_a_wrong_setting_is_one_line() -> None:
    with pytest.raises(trigan.ConfigError, match=r"strategy=jiont: no such choice.*nearest: joint"):
        trigan.run("strategy=jiont")
