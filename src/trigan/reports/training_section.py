"""How the runs trained: test error and losses of each player over images seen."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from trigan.plots.loss_curves import Curve, loss_curves
from trigan.reports.chart import (
    Axis,
    Frame,
    chart,
    cross,
    figure,
    images_axis,
    legend,
    line,
    linear_axis,
    mark,
    panels,
    tick_text,
)
from trigan.reports.report_data import (
    METRICS,
    ReportData,
    Section,
    by_column,
    median_run,
    median_run_text,
    read_metrics,
)
from trigan.tables.layout.html import escape

#: Errors in % that an axis may have ticks at.
_ERRORS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
#: Points of one curve on the page; a longer one is drawn by the means of that many stretches.
MAX_POINTS = 120


def errors(report: ReportData) -> Section | None:
    """Test error along C's last fit, a line a row; None where no run kept snapshots."""
    found = {
        column: {row: cell.curve for row, cell in report.cells(column) if cell.curve}
        for column in report.table.spec.columns
    }
    parts = {column: _errors(column, rows) for column, rows in found.items() if rows}
    if not parts:
        return None
    words = (
        "The classifier at evenly spaced moments of its last fit (<code>selection.snapshots</code>), evaluated after "
        "training; nothing was selected by these numbers. A line is the mean over trials, a dot a trial; errors are "
        "drawn in logarithms."
    )
    return Section("errors", "Test error while training", f"<p>{words}</p>\n{by_column(report, parts)}")


def _errors(column: str, rows: Mapping[str, Mapping[int, Sequence[float]]]) -> str:
    percent = [100 * error for points in rows.values() for errors in points.values() for error in errors]
    low = max((tick for tick in _ERRORS if tick <= min(percent)), default=_ERRORS[0])
    high = min((tick for tick in _ERRORS if tick > max(percent)), default=_ERRORS[-1])
    ticks = tuple((tick, tick_text(tick)) for tick in _ERRORS if low <= tick <= high)
    y = Axis(low, high, ticks, "test error, %", log=True)
    frame = Frame(images_axis(max(max(points) for points in rows.values()), "images seen"), y, 560, 320)
    marks, entries, said = [], [], []
    for index, (row, points) in enumerate(rows.items()):
        means = {seen: 100 * fmean(errors) for seen, errors in points.items()}
        marks.append(line([frame.at(seen, max(mean, low)) for seen, mean in means.items()], index))
        dots = [frame.at(seen, max(100 * error, low)) for seen, errors in points.items() for error in errors]
        marks += [mark(x, y, index, 2.0) for x, y in dots]
        entries.append((line([(0, 6), (18, 6)], index), row))
        first, last = min(means), max(means)
        said.append(f"{row} from {means[first]:.2g} after {first} images to {means[last]:.2g} after {last}")
    alt = f"Test error in % over images seen on {column}: {'; '.join(said)}"
    return figure(chart(frame, marks, alt) + legend(entries), "")


def curves(report: ReportData) -> Section:
    """Losses of each player and stage, for one run a cell."""
    parts = {}
    for column in report.table.spec.columns:
        shown, silent = [], []
        for row, cell in report.cells(column):
            path = report.file(median_run(cell), METRICS)
            stages = loss_curves(read_metrics(path)) if path is not None else {}
            shown += [_stage(median_run_text(report, row, cell), stage, found) for stage, found in stages.items()]
            silent += [] if stages else [row]
        text = panels(shown) if shown else ""
        if silent:
            text += f"<p>No loss was logged, or the file is not here: {escape('; '.join(silent))}.</p>"
        parts[column] = text
    words = (
        "One run a row, that of the trial with the median score; a long curve is drawn by the means of "
        f"{MAX_POINTS} stretches. A cross at the lower edge marks non-finite losses. Losses of different games "
        "have different units: compare a player with itself."
    )
    return Section("curves", "Learning curves", f"<p>{words}</p>\n{by_column(report, parts)}")


def _stage(run: str, stage: str, found: Mapping[str, Curve]) -> str:
    thin = {name: _thinned(curve) for name, curve in found.items()}
    finite = [value for _, values in thin.values() for value in values if np.isfinite(value)]
    y = linear_axis(finite or [0.0, 1.0], "loss")
    frame = Frame(
        images_axis(max(float(seen.max()) for seen, _ in found.values()) or 1.0, "images seen"), y, height=230
    )
    parts, entries, words = [], [], []
    for index, (name, (seen, values)) in enumerate(thin.items()):
        points = [frame.at(float(x), float(v)) for x, v in zip(seen, values, strict=True) if np.isfinite(v)]
        if points:
            parts.append(line(points, index))
            words.append(f"{name} from {values[np.isfinite(values)][0]:.3g} to {values[np.isfinite(values)][-1]:.3g}")
        lost = found[name][0][~np.isfinite(found[name][1])]
        parts += [cross(frame.at(float(x), y.low)[0], frame.height - frame.bottom, index) for x in lost[:MAX_POINTS]]
        words += [f"{name}: {len(lost)} values not finite"] if len(lost) else []
        entries.append((line([(0, 6), (18, 6)], index), name))
    alt = f"Losses of stage {stage} of {run}, over images seen: {'; '.join(words)}"
    return figure(chart(frame, parts, alt) + legend(entries), "", f"{run}: {stage}")


def _thinned(curve: Curve) -> Curve:
    """A curve of at most ``MAX_POINTS`` points, each the mean of a stretch's finite values."""
    seen, values = curve
    if len(seen) <= MAX_POINTS:
        return curve
    stretches = zip(np.array_split(seen, MAX_POINTS), np.array_split(values, MAX_POINTS), strict=True)
    kept = [(x.mean(), v[np.isfinite(v)].mean()) for x, v in stretches if np.isfinite(v).any()]
    return np.array([x for x, _ in kept]), np.array([v for _, v in kept])
