"""Plots of a run and of a table: loss curves, confusion matrix, feature map, comparison of rows."""

import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from trigan.plots.plot_style import COLOURS, GREY, OUTSIDE, drawable, saved_figure
from trigan.tables.cell import Cell
from trigan.tables.layout.formatting import TextFormat, data_used_text, format_images, shorten
from trigan.tables.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: One curve: images seen and values, both (N,).
Curve = tuple[np.ndarray, np.ndarray]
#: Markers of classes, one for each round of the colours.
_MARKS = "os^Dv"
#: Letters of a class's name.
_LETTERS = 14
#: Style of a mean beside its line.
_BESIDE: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8.5, "annotation_clip": False}


def loss_curves(metrics_rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Curve]]:
    """Curves in ``metrics.jsonl``, by stage and by name (``discriminator``, or ``classifier, validation``)."""
    points: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in metrics_rows:
        for key, value in row.items():
            stage, _, rest = key.partition("/")
            split, _, quantity = rest.partition("/")
            if quantity.endswith("loss") and isinstance(value, int | float) and "images" in row:
                player = quantity.removesuffix("loss").rstrip("_").replace("_", " ") or "loss"
                name = player if split == "train" else f"{player}, {split}"
                points.setdefault(stage, {}).setdefault(name, []).append((float(row["images"]), float(value)))
    return {
        stage: {name: tuple(np.array(sorted(found, key=itemgetter(0))).T) for name, found in curves.items()}
        for stage, curves in points.items()
    }


def plot_loss_curves(metrics_rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Training losses over images seen, one panel a stage, one line a loss; dashed: losses on other splits.

    ``metrics_rows``, as in ``metrics.jsonl``: ``{"stage": "gan", "images": 640, "gan/train/generator_loss": 0.7}``.
    Keys that end in ``loss`` are drawn; values that are not finite leave a gap, marked on the axis.
    """
    stages = loss_curves(metrics_rows)
    with saved_figure(path, 7.5, 2.6 * max(1, len(stages)) + 0.3) as figure:
        panels = figure.subplots(max(1, len(stages)), 1, squeeze=False)[:, 0]
        if not stages:
            panels[0].text(0.5, 0.5, "no loss was logged", ha="center", color=GREY)
            panels[0].set_axis_off()
        for axes, (stage, curves) in zip(panels, stages.items(), strict=False):
            for index, (name, curve) in enumerate(curves.items()):
                _draw_curve(axes, name, curve, COLOURS[index % len(COLOURS)])
            axes.set(title=stage, xlabel="images seen", ylabel="loss")
            axes.xaxis.set_major_formatter(lambda value, _: format_images(value) if value >= 1000 else f"{value:g}")
            axes.legend(**OUTSIDE)


def _draw_curve(axes: "Axes", name: str, curve: Curve, colour: str) -> None:
    """The curve; a long one as a faint line under its running mean."""
    images, values = curve
    dashed = "--" if ", " in name else "-"
    window = len(values) // 25
    if window >= 3 and np.isfinite(values).all():
        axes.plot(images, values, color=colour, alpha=0.25, linewidth=0.8)
        kernel = np.ones(window)
        weights = np.convolve(np.ones(len(values)), kernel, mode="same")
        axes.plot(images, np.convolve(values, kernel, mode="same") / weights, dashed, color=colour, label=name)
    else:
        mark = "o" if len(values) == 1 else None
        axes.plot(images, np.where(np.isfinite(values), values, np.nan), dashed, marker=mark, color=colour, label=name)
    lost = images[~np.isfinite(values)]
    if len(lost):
        style: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False, "markersize": 5}
        axes.plot(lost, np.zeros(len(lost)), "x", color=colour, label=f"{name}: not finite", **style)


def plot_confusion_matrix(matrix: ArrayLike, names: Sequence[str], path: Path) -> None:
    """A confusion matrix of counts (K, K), rows true, coloured by share of the true class; counts up to 20 classes."""
    counts = np.asarray(matrix, dtype=np.int64)
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    size = min(12.0, max(3.6, 0.46 * len(counts) + 1.6))
    with saved_figure(path, size + 0.7, size) as figure:
        axes = figure.subplots()
        image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        labels = [shorten(drawable(name), _LETTERS) for name in names]
        step = math.ceil(len(counts) / 40)
        long = max(map(len, labels), default=0) > 3
        ticks = range(0, len(counts), step)
        axes.set_xticks(ticks, labels[::step], rotation=45 if long else 0, ha="right" if long else "center")
        axes.set_yticks(ticks, labels[::step])
        axes.tick_params(length=0)
        right, total = np.trace(counts), counts.sum()
        title = f"{right} of {total} right ({right / max(1, total):.1%})"
        axes.set(title=title, xlabel="predicted", ylabel="true")
        if len(counts) <= 20:
            for (i, j), n in np.ndenumerate(counts):
                if n:
                    colour = "white" if share[i, j] > 0.55 else "black"
                    axes.text(j, i, str(n), ha="center", va="center", fontsize=8, color=colour)
        bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, format=lambda value, _: f"{value:.0%}")
        bar.outline.set_visible(False)
        bar.set_label("share of the true class")


def plot_feature_map(features: ArrayLike, labels: ArrayLike, names: Sequence[str], path: Path) -> None:
    """Images by the first two principal components of their features (N, at least 2), coloured by class.

    ``labels`` are the true classes (N,), 0..K-1 for the K ``names``.
    """
    points, classes = np.asarray(features), np.asarray(labels)
    with saved_figure(path, 6.2, 4.6) as figure:
        axes = figure.subplots()
        for k in np.unique(classes):
            style: dict[str, Any] = {"linestyle": "none", "markersize": 3.5, "alpha": 0.7}
            style |= {"color": COLOURS[k % len(COLOURS)], "marker": _MARKS[k // len(COLOURS) % len(_MARKS)]}
            axes.plot(*points[classes == k, :2].T, label=shorten(drawable(names[k]), _LETTERS), **style)
        title = f"features of {len(points)} test images"
        axes.set(title=title, xlabel="first principal component", ylabel="second")
        if len(names) <= 20:
            axes.legend(**OUTSIDE)


def plot_comparison(table: Table, path: Path) -> None:
    """A dot plot of a table: a panel a column, a line a row; each dot is a trial, the bar their mean.

    A trial has the same height within every line, which shows the pairs. Colours mark the kinds of data that a row
    used, hollow dots an incomplete cell, a cross a diverged trial.
    """
    spec, fmt = table.spec, TextFormat(table.metric)
    kinds = dict.fromkeys(data_used_text(cell) for cell in table.cells.values() if cell.records)
    palette = {kind: COLOURS[index % len(COLOURS)] for index, kind in enumerate(kinds)}
    width = 2.4 + 0.075 * max(map(len, spec.rows)) + 4.2 * len(spec.columns)
    with saved_figure(path, width, 1.5 + 0.42 * len(spec.rows)) as figure:
        panels = figure.subplots(1, len(spec.columns), sharey=True, squeeze=False)[0]
        for axes, column in zip(panels, spec.columns, strict=True):
            for index, row in enumerate(spec.rows):
                cell = table.cells[row, column]
                if cell.values:
                    _draw_cell(axes, index, cell, palette[data_used_text(cell)], fmt)
            axes.set(title=column, xlabel=f"test {table.metric.label}{' (%)' if table.metric.percent else ''}")
            axes.grid(axis="y", visible=False)
            axes.set_yticks(range(len(spec.rows)), spec.rows)
            axes.set_ylim(len(spec.rows) - 0.4, -0.6)
            axes.margins(x=0.12)
            axes.tick_params(axis="y", length=0)
        _legend(panels[-1], palette, list(table.cells.values()))


def _draw_cell(axes: "Axes", line: int, cell: Cell, colour: str, fmt: TextFormat) -> None:
    scale = 100 if cell.metric.percent else 1
    spread = np.linspace(-0.2, 0.2, len(cell.expected)) if len(cell.expected) > 1 else np.zeros(1)
    height = dict(zip(cell.expected, line + spread, strict=True))
    fill = "none" if cell.incomplete else colour
    dot: dict[str, Any] = {"color": colour, "markerfacecolor": fill, "markersize": 4.5, "alpha": 0.75}
    for trial, value in cell.values.items():
        axes.plot(scale * value, height[trial], "x" if cell.diverged_in(trial) else "o", **dot)
    if cell.summary is not None and cell.n > 2:
        mean = scale * cell.summary.mean
        # below the dots
        axes.plot([mean, mean], [line - 0.3, line + 0.3], color=colour, linewidth=2.5, alpha=0.55, zorder=1)
        text, side = fmt.value(cell.summary.mean), axes.get_yaxis_transform()
        axes.annotate(text, (1.0, line), (6, 0), xycoords=side, **_BESIDE)


def _legend(axes: "Axes", palette: Mapping[str, str], cells: Sequence[Cell]) -> None:
    """The meaning of colours and of the marks in use."""
    from matplotlib.lines import Line2D

    bar = {"marker": "|", "markersize": 13, "markeredgewidth": 2.5}
    marks: list[tuple[str, bool, dict[str, Any]]] = [
        *((f"uses {kind}", True, {"markersize": 7, "color": colour}) for kind, colour in palette.items()),
        ("one trial", True, {}),
        ("one trial, diverged", any(cell.diverged for cell in cells), {"marker": "x"}),
        ("trials are missing", any(cell.values and cell.incomplete for cell in cells), {"markerfacecolor": "none"}),
        ("mean (number at the right)", any(cell.n > 2 for cell in cells), bar),
    ]
    usual = {"marker": "o", "linestyle": "none", "markersize": 5, "color": GREY}
    handles = [Line2D([], [], label=label, **{**usual, **style}) for label, used, style in marks if used]
    axes.legend(handles=handles, **(OUTSIDE | {"bbox_to_anchor": (1.09, 0.5)}))
