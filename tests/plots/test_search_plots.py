"""Plots of a search: same numbers, same bytes; and none of them needs a finished trial."""

from pathlib import Path

from PIL import Image

from trigan.plots.search_plots import plot_search_history, plot_setting_importance


def test_history_shows_all_kinds_of_trials(tmp_path: Path) -> None:
    trials: list[tuple[int, float | None, str]] = [(0, 0.5, "finished"), (1, 0.2, "pruned"), (2, None, "failed")]
    for name in ("one", "two"):
        plot_search_history(trials, "accuracy", True, "toy", tmp_path / f"{name}.png")
    plot_search_history([], "nll", False, "toy", tmp_path / "none.png")
    plot_search_history(trials[1:], "nll", False, "toy", tmp_path / "unfinished.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert len({path.read_bytes() for path in tmp_path.glob("*.png")}) == 3


def test_the_importance_plot_grows_with_the_settings(tmp_path: Path) -> None:
    shares = {"recipe.optimizer.learning_rate": 0.7, "augmentation": 0.2, "classifier.dropout": 0.1}
    plot_setting_importance(shares, "toy", tmp_path / "three.png")
    plot_setting_importance({"augmentation": 1.0}, "toy", tmp_path / "one.png")
    assert Image.open(tmp_path / "three.png").height > Image.open(tmp_path / "one.png").height
