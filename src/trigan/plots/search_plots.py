"""Plots of a search: the score of each trial, and the importance of each setting."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from trigan.plots.plot_style import COLOURS, GREY, OUTSIDE, saved_figure


def plot_search_history(
    trials: Sequence[tuple[int, float | None, str]], metric: str, higher: bool, title: str, path: Path
) -> None:
    """Score by trial number, and the best so far as a line: the highest, or the lowest unless ``higher``.

    ``trials`` are (number, score or None, ``finished``, ``pruned`` or ``failed``), in order.
    """
    from matplotlib.ticker import MaxNLocator

    looks = (("finished", "o", "finished"), ("pruned", "v", "pruned, at its last evaluation"))
    failed = [number for number, _, how in trials if how == "failed"]
    with saved_figure(path, 7.5, 3.4) as figure:
        axes = figure.subplots()
        axes.set(title=title, xlabel="trial", ylabel=f"validation {metric}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for (kind, mark, label), colour in zip(looks, COLOURS, strict=False):
            points = np.array([(number, value) for number, value, how in trials if how == kind and value is not None])
            if len(points):
                numbers, values = points.T
                if kind == "finished":
                    best = np.maximum.accumulate(values) if higher else np.minimum.accumulate(values)
                    axes.step(numbers, best, where="post", color=colour, label="best so far")
                axes.plot(numbers, values, mark, color=colour, markersize=4.5, label=label)
        if failed:
            bottom = axes.get_xaxis_transform()
            axes.plot(failed, np.zeros(len(failed)), "x", color=GREY, transform=bottom, clip_on=False, label="failed")
        if not trials:
            axes.text(0.5, 0.5, "no trial has ended", ha="center", color=GREY, transform=axes.transAxes)
        else:
            axes.legend(**OUTSIDE)


def plot_setting_importance(shares: Mapping[str, float], title: str, path: Path) -> None:
    """A bar for each setting, the most important at the top; ``shares`` sum to 1."""
    ordered = sorted(shares.items(), key=lambda item: item[1])
    with saved_figure(path, 7.5, 0.34 * len(ordered) + 1.0) as figure:
        axes = figure.subplots()
        axes.set(title=title, xlabel="importance (PED-ANOVA)", xlim=(0, 1))
        axes.barh([name for name, _ in ordered], [share for _, share in ordered], color=COLOURS[0], height=0.6)
        axes.grid(False, axis="y")
