"""Data sets and splits from Python, as the command line's ``data`` and ``regime`` groups give them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trigan.datasets.splits.splitter import DataSplit
    from trigan.datasets.types import ImageDataset


def data(choice: str = "digits", *, cache: Path = Path("outputs/cache"), **settings: Any) -> "ImageDataset":
    """Load a data set.

    Args:
        choice: a choice of the group ``data``: ``digits``, ``mnist``, ``cifar10``, ``folder``, ``npz``, ``hub``, ...
        cache: where decoded images are kept.
        settings: of that choice, e.g. ``root="my_images"``, ``image_size=32``.

    Returns:
        Images uint8 (N, C, S, S), labels int64 (N,) with -1 for none, class names and the fingerprint.

    Raises:
        ConfigError: no such choice or setting.
        DataError: the images are missing or unreadable.

    Example:
        >>> import trigan
        >>> digits = trigan.data("digits")
        >>> tuple(digits.images.shape), len(digits.class_names)
        ((1797, 1, 8, 8), 10)
    """
    from trigan.config.compose import compose
    from trigan.config.override_rules import hydra_literal

    words = [f"data={choice}", *(f"data.{name}={hydra_literal(value)}" for name, value in settings.items())]
    return compose([*words, f"paths.cache={hydra_literal(str(cache))}"]).load_data()  # type: ignore[no-any-return]


def draw(source: "ImageDataset", *, regime: str = "default", trial: int = 0, **settings: Any) -> "DataSplit":
    """Draw the split of a trial: which images train, validate, stay unlabelled and test.

    Args:
        source: what `data` gave.
        regime: a choice of the group ``regime``.
        trial: another number is another draw of the split and of the known labels.
        settings: of the regime, e.g. ``labels_per_class=10``.

    Returns:
        ``view`` with the images to train on, ``test`` (sealed until ``test.open(digest)``) and ``info`` for the record.

    Raises:
        ConfigError: no such regime or setting.
        DataError: the images cannot supply what the regime demands.

    Example:
        >>> import trigan
        >>> split = trigan.draw(trigan.data("digits"), labels_per_class=5, trial=1)
        >>> len(split.view.labelled.images), len(split.view.unlabelled)
        (50, 1208)
    """
    from trigan.config.compose import compose
    from trigan.config.override_rules import hydra_literal
    from trigan.datasets.splits.draw_split import draw_split

    words = [f"regime={regime}", *(f"regime.{name}={hydra_literal(value)}" for name, value in settings.items())]
    return draw_split(source, compose(words).build().regime, trial)
