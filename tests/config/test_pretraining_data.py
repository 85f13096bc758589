"""`strategy.pretrain.data=`: a choice of data at another place, from the command line to the record."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_data
from few_steps import composer, small

from trigan.config.compose import RunConfig
from trigan.errors import ConfigError, TriganError
from trigan.runs.finished_run import open_run
from trigan.runs.run import run

KEY = "strategy.pretrain.data"


def composed(place: Path, *more: str) -> RunConfig:
    given = ["strategy=features", f"{KEY}=folder", f"paths.outputs={place / 'outputs'}", *more]
    return composer().compose(small(*given))


def test_a_run_says_which_other_data_set_it_saw(tmp_path: Path) -> None:
    """Coloured 16 x 16 images for the GAN, grey 8 x 8 digits for the probe; and the same run from another place."""
    root = tiny_data.folder(tmp_path / "other")
    mine = composed(tmp_path, f"{KEY}.root={root}")
    directory = run(mine)
    result: Any = json.loads((directory / "record.json").read_text())["result"]
    other = mine.load_external()
    images = 3 * (tiny_data.TRAIN + tiny_data.TEST)
    assert result["data_used"]["X"] == images
    assert result["external"] == {
        "name": other.name,
        "fingerprint": other.fingerprint,
        "images": images,
        "dropped_in_test": 0,
    }
    assert set(open_run(directory).networks) == {"classifier", "generator"}
    again = composed(tmp_path, f"{KEY}.root={tiny_data.folder(tmp_path / 'copy')}")
    assert again.run_hash("f") == mine.run_hash("f")
    fewer = composed(tmp_path, f"{KEY}.root={tiny_data.folder(tmp_path / 'fewer', per_class=5)}")
    assert fewer.run_hash("f") != mine.run_hash("f")


def test_files_that_change_while_a_process_runs_change_the_hash(tmp_path: Path) -> None:
    root = tiny_data.folder(tmp_path / "other")
    mine = composed(tmp_path, f"{KEY}.root={root}")
    before = mine.run_hash("f")
    assert mine.run_hash("f") == before
    next(path for path in sorted(root.rglob("*.png"))).unlink()
    assert mine.run_hash("f") != before


def test_its_settings_are_its_own(tmp_path: Path) -> None:
    """Those of the run's data set have no say in them, and the other way round."""
    root = tiny_data.folder(tmp_path / "other")
    mine = composed(tmp_path, f"{KEY}.root={root}", f"{KEY}.image_size=9", "data.image_size=12", "data.channels=3")
    assert mine.load_external().spec.size == 9
    assert (mine.load_data().spec.size, mine.load_data().spec.channels) == (12, 3)
    assert mine.build().strategy.pretrain.data.root == str(root)


def test_without_one_nothing_is_external() -> None:
    for words in ([], [f"{KEY}=null"]):
        plain = composer().compose(["strategy=features", *words])
        assert plain.load_external() is None
        assert plain.build().strategy.pretrain.data is None
        assert plain.run_hash("f") == composer().compose(["strategy=features"]).run_hash("f")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([f"{KEY}=digitz"], r"strategy.pretrain.data=digitz: no such choice; choices: .*; nearest: digits"),
        ([f"{KEY}.root=FOLDER"], r"strategy.pretrain.data.root: no such setting while strategy.pretrain.data is null"),
        ([f"{KEY}=npz", f"{KEY}.rot=1"], r"strategy.pretrain.data.rot: no such setting; nearest: .*data.root"),
        ([f"{KEY}=npz", f"{KEY}.image_size=5"], r"^strategy.pretrain.data.image_size: 5 must be in 8..512"),
        ([f"{KEY}=npz", f"{KEY}.channels=x"], r"^strategy.pretrain.data.channels=x: expected an int or null"),
        ([f"{KEY}=hub"], r"nothing to read: set strategy.pretrain.data.repo=OWNER/NAME"),
        ([f"{KEY}=digits", "strategy.backbone=pixels"], r"^strategy.pretrain.data: nothing is trained on another"),
        ([f"{KEY}=digits", "strategy=joint"], r"^strategy.pretrain.data: has no place beside the other choices"),
        (["strategy.backbone=trainde"], r"strategy/backbone=trainde: no such choice; .*; nearest: trained"),
    ],
)
def test_what_makes_no_sense_is_one_line(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        composer().compose(["strategy=features", *words])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["npz", "mnist"])
def test_a_place_that_is_none_is_named_by_its_own_setting(kind: str, tmp_path: Path) -> None:
    missing = tmp_path / "data.npz"
    lost = composer().compose(["strategy=features", f"{KEY}={kind}", f"{KEY}.root={missing}"])
    with pytest.raises(TriganError, match=rf"^strategy.pretrain.data.root={missing} does not exist") as caught:
        lost.run_hash("f")
    assert "\n" not in str(caught.value)
