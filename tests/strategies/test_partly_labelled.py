"""Strategies whose conditional GAN takes L with its labels and U without."""

from pathlib import Path
from typing import Any

import pytest
import torch

from trigan.datasets.inputs import Input
from trigan.errors import ConfigError
from trigan.strategies.pretraining import Untrained
from trigan.strategies.strategy import Strategy

from ..training.tiny import view, with_parts
from .recipes import CGAN_STAGE, augment, features, make_runner

STRATEGIES: dict[str, Any] = {
    "augment": lambda **changes: augment(gan=CGAN_STAGE, **changes),
    "features": lambda **changes: features(gan=CGAN_STAGE, **changes),
    "untrained": lambda **changes: features(gan=CGAN_STAGE, backbone=Untrained(), **changes),
}


def real_of_gan(strategy: Strategy, seen: Any, root: Path) -> Input:
    """The training images of the GAN, after the whole run."""
    runner, taken = make_runner(root), dict[str, Input]()
    train = runner.train

    def watched(name: str, stage: Any, inputs: Any, seed: int | None = None) -> Any:
        taken.update({name: inputs["real"]} if name.endswith("gan") else {})
        return train(name, stage, inputs, seed)

    runner.train = watched  # type: ignore[method-assign]
    strategy.run(seen, runner)
    (real,) = taken.values()
    return real


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_gan_takes_l_with_labels_and_u_without_and_the_row_counts_both(name: str, tmp_path: Path) -> None:
    counts = {}
    for images, labelled, unlabelled in (("labelled", 40, 0), ("auto", 40, 0), ("partly_labelled", 40, 200)):
        seen = with_parts(view())
        real = real_of_gan(STRATEGIES[name](gan_images=images), seen, tmp_path / images)
        known = real.known_labels >= 0
        assert (int(known.sum()), int((~known).sum())) == (labelled, unlabelled), images
        assert real.known_labels[known].tolist() == seen.labelled.labels.tolist()
        counts[images] = dict(seen.close())
    assert counts["auto"] == counts["labelled"]
    assert (counts["auto"]["U"], counts["partly_labelled"]["U"]) == (0, 200)


@pytest.mark.parametrize("name", ["augment", "features"])
def test_it_needs_unlabelled_images(name: str, tmp_path: Path) -> None:
    without = with_parts(view(), unlabelled=view().unlabelled[:0], order=torch.arange(40))
    with pytest.raises(ConfigError, match=r"strategy.gan_images=partly_labelled needs unlabelled images"):
        STRATEGIES[name](gan_images="partly_labelled").run(without, make_runner(tmp_path))
