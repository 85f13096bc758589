"""Training: error and losses of each player over images seen, and generated images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image

from trigan.plots.run_plots import Curve, loss_curves
from trigan.reports.figures import (
    Axis,
    Dot,
    Figure,
    Frame,
    Part,
    Section,
    Series,
    images_axis,
    linear_axis,
    picture_address,
    render,
    tick_text,
)
from trigan.reports.report_data import (
    METRICS,
    PICTURES,
    ReportData,
    median_run,
    median_run_text,
    read_metrics,
    wrap_damage,
)
from trigan.tables.layout.formatting import format_curve_images

#: Errors in % that an axis may have ticks at.
_ERRORS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
#: Points of one curve on the page; a longer one is averaged into that many segments.
MAX_POINTS = 120
#: Limit of all grids together, in bytes of base64 text.
MAX_BYTES = 6_000_000
_OVER_TRAINING = "-over-training"


def errors(report: ReportData) -> Section | None:
    """Error during C's last fit, a line a row; None if no run kept snapshots."""
    parts = []
    for column in report.table.spec.columns:
        curves = {row: cell.curve for row, cell in report.cells(column).items() if cell.curve}
        if curves:
            kinds = {kind for cell in report.cells(column).values() for kind in cell.curve_images}
            title = format_curve_images(kinds)
            parts.append(Part(report.subheading(column), figures=[_errors(column, curves, title)]))
    return Section("errors", "Error while training", render("errors.html.j2", {"parts": parts})) if parts else None


def _errors(column: str, curves: Mapping[str, Mapping[int, Sequence[float]]], title: str) -> Figure:
    percent = [100 * error for points in curves.values() for errors in points.values() for error in errors]
    low = max((tick for tick in _ERRORS if tick <= min(percent)), default=_ERRORS[0])
    high = min((tick for tick in _ERRORS if tick > max(percent)), default=_ERRORS[-1])
    ticks = tuple((tick, tick_text(tick)) for tick in _ERRORS if low <= tick <= high)
    y = Axis(low, high, ticks, f"{title.lower()}, %", log=True)
    frame = Frame(images_axis(max(max(points) for points in curves.values()), "images seen"), y, 560, 320)
    series, texts = [], []
    for row, points in curves.items():
        means = {seen: 100 * fmean(errors) for seen, errors in points.items()}
        line = [frame.at(seen, max(mean, low)) for seen, mean in means.items()]
        dots = [Dot(frame.at(seen, max(100 * e, low)), 2.0) for seen, errors in points.items() for e in errors]
        series.append(Series(line, dots))
        first, last = min(means), max(means)
        texts.append(f"{row} from {means[first]:.2g} after {first} images to {means[last]:.2g} after {last}")
    alt = f"{title} in % over images seen on {column}: {'; '.join(texts)}"
    key = [("line", index, row) for index, row in enumerate(curves)]
    return Figure("chart", {"frame": frame, "series": series, "texts": ()}, alt, key=key)


def curves(report: ReportData) -> Section:
    """Losses of each player and stage, for one run a cell."""
    parts = []
    for column in report.table.spec.columns:
        shown, without = [], []
        for row, cell in report.cells(column).items():
            path = report.file(median_run(cell), METRICS)
            stages = loss_curves(read_metrics(path)) if path is not None else {}
            shown += [_stage(median_run_text(report, row, cell), stage, found) for stage, found in stages.items()]
            without += [] if stages else [row]
        note = f"No loss was logged, or the file is not here: {'; '.join(without)}." if without else ""
        parts.append(Part(report.subheading(column), panels=shown, note=note))
    return Section("curves", "Learning curves", render("curves.html.j2", {"parts": parts, "points": MAX_POINTS}))


def _stage(run: str, stage: str, curves: Mapping[str, Curve]) -> Figure:
    thinned = {name: _thinned(curve) for name, curve in curves.items()}
    losses = [loss for points in thinned.values() for _, loss in points]
    x = images_axis(max(float(seen.max()) for seen, _ in curves.values()) or 1.0, "images seen")
    frame = Frame(x, linear_axis(losses or [0.0, 1.0], "loss"), height=230)
    series, words = [], []
    for name, (seen, values) in curves.items():
        points, lost = thinned[name], seen[~np.isfinite(values)].tolist()
        if points:
            words.append(f"{name} from {points[0][1]:.3g} to {points[-1][1]:.3g}")
        crosses = [Dot(frame.at(images, frame.y.low), 4.0, diverged=True) for images in lost[:MAX_POINTS]]
        series.append(Series([frame.at(*point) for point in points], crosses))
        words += [f"{name}: {len(lost)} values not finite"] if len(lost) else []
    alt = f"Losses of stage {stage} of {run}, over images seen: {'; '.join(words)}"
    key = [("line", index, name) for index, name in enumerate(thinned)]
    return Figure("chart", {"frame": frame, "series": series, "texts": ()}, alt, title=f"{run}: {stage}", key=key)


def _thinned(curve: Curve) -> list[tuple[float, float]]:
    """At most ``MAX_POINTS`` points of a curve, each the mean of a segment's finite values."""
    seen, values = (np.array_split(part, min(len(part), MAX_POINTS)) for part in curve)
    return [(x.mean(), v[np.isfinite(v)].mean()) for x, v in zip(seen, values, strict=True) if np.isfinite(v).any()]


def samples(report: ReportData) -> Section:
    """The grids of one run a cell, up to ``MAX_BYTES``."""
    left, parts, omitted = MAX_BYTES, [], []
    for column in report.table.spec.columns:
        final: list[Figure] = []
        over: list[Figure] = []
        for (source, size, over_training), runs in _grids(report, column).items():
            if len(source) > left:
                omitted += [f"{run}, {column}" for run in runs]
            else:
                left -= len(source)
                (over if over_training else final).append(_grid(source, size, over_training, "; ".join(runs)))
        if final or over:
            parts.append(Part(report.subheading(column), panels=final, figures=over))
    values = {"parts": parts, "omitted": list(dict.fromkeys(omitted)), "folder": PICTURES}
    return Section("samples", "Samples", render("samples.html.j2", values))


def _grids(report: ReportData, column: str) -> dict[tuple[str, tuple[int, int], bool], list[str]]:
    """Each picture (its address, its size, whether it is over training) with its runs: rows may share a GAN."""
    grids: dict[tuple[str, tuple[int, int], bool], list[str]] = {}
    for row, cell in report.cells(column).items():
        folder = report.file(median_run(cell), PICTURES)
        for path in sorted(folder.glob("samples-*.png")) if folder is not None else []:
            stage = path.stem.removeprefix("samples-").removesuffix(_OVER_TRAINING)
            run = f"{median_run_text(report, row, cell)}: {stage}"
            grids.setdefault((*encode_image(path), path.stem.endswith(_OVER_TRAINING)), []).append(run)
    return grids


def _grid(source: str, size: tuple[int, int], over_training: bool, runs: str) -> Figure:
    """A grid over training is wide: a narrow page scrolls it and does not shrink it."""
    data = {"source": source, "size": size, "css": ""}
    if over_training:
        alt = f"Images generated by {runs}, side by side at several steps of training"
        return Figure("image", data, alt, "Over training.", runs, scroll=f"Over training: {runs}")
    return Figure("image", data, f"Images generated by {runs}, at the end of training", "At the end of training.", runs)


def encode_image(path: Path) -> tuple[str, tuple[int, int]]:
    """A small sharp version of a picture, grey PNG or colour JPEG: its ``data:`` address and size.

    Raises:
        ArtifactError: the picture is damaged.
    """
    with wrap_damage(path), Image.open(path) as file:
        picture = file.convert("RGB")
    pixels = np.asarray(picture)
    grey = (pixels == pixels[..., :1]).all()
    return picture_address(picture.convert("L") if grey else picture, "png" if grey else "jpeg"), picture.size
