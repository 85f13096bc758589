"""Names that a person reads, and real images in pictures only where they may be shown."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trigan.config.compose import Composer
from trigan.runs.tracked_run import StageView, run_info, shows_real_images
from trigan.runs.trained_run import RunLocation
from trigan.tracking import Tracker
from trigan.training.callbacks import REAL_NAME, sample_file


@pytest.mark.parametrize(
    ("words", "name", "group"),
    [
        (["strategy=joint", "trial=3"], "digits 10/class joint #3", "digits 10/class/joint"),
        (["study=demo", "row=bare", "regime=full"], "digits all labels bare #0", "demo/bare/digits all labels"),
        (["regime=noisy"], "digits all labels noise baseline #0", "digits all labels noise/baseline"),
        (["data=folder", "data.root=/data/pets"], "pets 10/class baseline #0", "pets 10/class/baseline"),
    ],
)
def test_names_say_data_labels_row_and_trial(words: list[str], name: str, group: str, tmp_path: Path) -> None:
    info = run_info(Composer().compose(words), RunLocation("0123", tmp_path / "record.json"))
    assert (info.name, info.group) == (name, group)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], True),
        (["data=folder", "data.root=/data/pets"], False),
        (["data=folder", "data.root=/data/pets", "callbacks.real_columns=3"], True),
    ],
)
def test_own_images_are_shown_only_to_those_who_ask(words: list[str], shown: bool) -> None:
    assert shows_real_images(Composer().compose(words)) == shown


class _Generator:
    classes = 2


def test_a_picture_has_real_images_only_where_they_are_shown(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    np.save(tmp_path / sample_file(64), np.zeros((2, 4, 8, 8, 1), np.uint8))
    np.save(tmp_path / REAL_NAME, np.zeros((2, 3, 8, 8, 1), np.uint8))
    widths = []
    for real in (False, True):
        view = StageView("gan", tmp_path, Tracker(), tmp_path / "pictures/samples-gan.png", ["a", "b"], real)
        view.show_samples({"generator": _Generator}, 64)
        widths.append(Image.open(view.picture).width)
    assert widths[1] > widths[0] + 3 * 40
