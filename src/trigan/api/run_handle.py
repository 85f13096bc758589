"""One run from Python: made with `run`, opened again with `load`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigan.errors import ConfigError
from trigan.records.record import RECORD_NAME, Record, read_record

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image
    from torch import Tensor

    from trigan.runs.finished_run import FinishedRun


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: where its files lie: record, curves, predictions, weights, pictures.
        allow: modules of your own that its config may name.
    """

    directory: Path
    allow: tuple[str, ...] = ()

    @cached_property
    def record(self) -> Record:
        """What the run ended with: ``record["result"]["test"]["accuracy"]`` and the rest."""
        return read_record(self.directory / RECORD_NAME)

    @property
    def accuracy(self) -> float:
        """Accuracy on the test set, in [0, 1]."""
        return float(self.record["result"]["test"]["accuracy"])

    def history(self) -> "pd.DataFrame":
        """Curves of all stages: a row for each logged moment, with ``stage``, ``images`` seen and a column per key."""
        import pandas as pd

        from trigan.tracking import MetricsFile
        from trigan.training.callbacks import METRICS_NAME

        return pd.DataFrame(list(MetricsFile.read(self.directory / METRICS_NAME)))

    def classify(self, images: Any) -> "Tensor":
        """Logits of the run's classifier.

        Args:
            images: uint8 (N, C, S, S) in 0..255 or float (N, C, S, S) in [-1, 1], a tensor or an array, of the
                channels and size of the run's data.

        Returns:
            Logits (N, K) on the CPU; ``.argmax(1)`` gives labels, ``record["result"]["data"]["classes"]`` their names.

        Raises:
            DataError: the images have another shape or type.
        """
        import torch

        return self._opened.logits(torch.as_tensor(images))

    def sample(self, labels: Sequence[int], seed: int = 0) -> "Tensor":
        """Images of the run's generator.

        Args:
            labels: the class of each image; the samples of an unconditional generator are labelled by the classifier.
            seed: image i depends on (generator, seed, i) and its label.

        Returns:
            uint8 (N, C, S, S) in 0..255.

        Raises:
            ConfigError: the run has no generator, or a label is none of its classes.
            ArtifactError: too few samples of an unconditional generator have a confident label.
        """
        return self._opened.sample(labels, seed)

    def figure(self, name: str) -> "Image":
        """A picture of the run, e.g. ``samples``, ``losses`` or ``confusion``; the first whose name starts so.

        Raises:
            ConfigError: there is none of that name.
        """
        from trigan.reports.run_pictures import draw_missing_pictures

        draw_missing_pictures(self.directory)
        return open_picture(self.directory / "pictures", name)

    @cached_property
    def _opened(self) -> "FinishedRun":
        from trigan.runs.finished_run import open_run

        return open_run(self.directory, allow=self.allow)

    def _repr_html_(self) -> str:
        tags, result = self.record["tags"], self.record["result"]
        title = f"{tags['strategy']} on {tags['data']}, trial {tags['trial']}"
        return (
            f"<b>{title}</b>: {100 * result['test']['accuracy']:.2f} % test accuracy<br><code>{self.directory}</code>"
        )


def run(*overrides: str, force: bool = False, config_dir: Path | None = None) -> Run:
    """Run one config to its end, or find it finished; what ``trigan run`` does.

    Args:
        overrides: settings as on the command line: ``"strategy=joint"``, ``"data=digits"``, ``"trial=3"``.
        force: compute a finished run anew.
        config_dir: a folder with groups of your own.

    Returns:
        The run; the same call again returns it at once.

    Raises:
        TriganError: one line that names the setting, what was expected and the mend.

    Example:
        >>> import trigan
        >>> one = trigan.run("debug=fast", "logger=none", "callbacks=quiet")
        >>> 0 <= one.accuracy <= 1
        True
        >>> one.classify(trigan.data("digits").images[:5]).shape
        torch.Size([5, 10])
    """
    from trigan.runs.run_words import run_words

    return Run(run_words(overrides, force=force, config_dir=config_dir), _allowed(overrides))


def load(path_or_hash: str | Path, outputs: Path = Path("outputs"), allow: Sequence[str] = ()) -> Run:
    """Open a finished run.

    Args:
        path_or_hash: its directory, or the first characters of its hash.
        outputs: the folder that holds ``runs``.
        allow: modules of your own that its config may name.

    Raises:
        ConfigError: no such run, or several.
        ArtifactError: it is not finished, or its record is damaged.

    Example:
        >>> import trigan
        >>> one = trigan.run("debug=fast", "logger=none", "callbacks=quiet")
        >>> trigan.load(one.directory).accuracy == one.accuracy
        True
    """
    from trigan.runs.finished_run import find_run

    found = Run(find_run(str(path_or_hash), outputs).absolute(), tuple(allow))
    _ = found.record  # a run that is not finished is refused here
    return found


def open_picture(folder: Path, name: str) -> "Image":
    """The first PNG of ``folder`` whose name starts with ``name``."""
    from PIL import Image

    found = sorted(path.stem for path in folder.glob("*.png"))
    chosen = next((stem for stem in found if stem.startswith(name)), None)
    if chosen is None:
        raise ConfigError(f"figure {name!r}: there is none in {folder}; figures: {', '.join(found) or 'none'}")
    with Image.open(folder / f"{chosen}.png") as image:
        return image.copy()


def _allowed(overrides: Sequence[str]) -> tuple[str, ...]:
    """The modules that ``runtime.allow=[...]`` names."""
    given = [text.partition("=")[2].strip("[]") for text in overrides if text.startswith("runtime.allow=")]
    return tuple(name.strip() for name in given[-1].split(",") if name.strip()) if given else ()
