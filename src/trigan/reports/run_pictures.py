"""The pictures of one finished run, drawn from its files when somebody looks: jobs of a study don't draw them."""

from pathlib import Path
from typing import Any

from trigan.plots import run_plots
from trigan.plots.plot_style import no_result_lost
from trigan.records.record import RECORD_NAME, read_record
from trigan.reports import report_data as files


def draw_missing_pictures(run: Path) -> None:
    """Write ``confusion.png``, ``losses.png`` and ``features.png`` of the run in this folder, those that lack.

    A picture that cannot be drawn is a warning. An `ArtifactError` says which file of the run is damaged.
    """
    drawn_from = {_confusion: RECORD_NAME, _losses: files.METRICS, _features: files.FEATURES}
    for draw, source in drawn_from.items():
        path = run / files.PICTURES / f"{draw.__name__[1:]}.png"
        if (run / source).is_file() and not path.is_file():
            with no_result_lost():
                draw(run, read_record(run / RECORD_NAME), path)


def _confusion(run: Path, record: Any, path: Path) -> None:
    run_plots.plot_confusion_matrix(record["result"]["test"]["confusion"], files.class_names(record), path)


def _losses(run: Path, record: Any, path: Path) -> None:
    if rows := files.read_metrics(run / files.METRICS):
        run_plots.plot_loss_curves(rows, path)


def _features(run: Path, record: Any, path: Path) -> None:
    labels = files.read_predictions(run / files.PREDICTIONS)[1]
    features, index = files.read_features(run / files.FEATURES, len(labels))
    if features.shape[1] > 1:  # two images or one feature have a single component, which makes no map
        run_plots.plot_feature_map(features, labels[index], files.class_names(record), path)
