"""How the runs trained: losses of each player over images seen, and what the generators drew."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trigan.errors import ArtifactError
from trigan.results.cell import Cell
from trigan.results.curves import Curve, losses
from trigan.results.html import escape
from trigan.results.record import Record
from trigan.results.report.chart import Frame, chart, cross, figure, from_zero, key, line, linear, panels
from trigan.results.report.material import METRICS, PICTURES, Material, Section, by_column, read_metrics, typical

#: Points of one curve on the page; a longer one is drawn by the means of that many stretches.
POINTS = 120
#: Bytes of all sample sheets together, before they are written as text (which makes a third more of them).
SHEETS = 6_000_000


def which(material: Material, row: str, cell: Cell) -> str:
    """Which run stands for a cell, in words."""
    record = typical(cell)
    trial = record["labels"]["trial"]
    median = f", {material.table.metric.label} {material.wording.value(cell.values[trial])}" if cell.n > 2 else ""
    return f"{row}, trial {trial}{median}"


def curves(material: Material) -> Section:
    """Losses of each player and stage, for one run a cell."""
    parts = {}
    for column in material.table.spec.columns:
        shown, silent = [], []
        for row, cell in material.cells(column):
            path = material.file(typical(cell), METRICS)
            stages = losses(read_metrics(path)) if path is not None else {}
            shown += [_stage(which(material, row, cell), stage, found) for stage, found in stages.items()]
            silent += [] if stages else [row]
        text = panels(shown) if shown else ""
        if silent:
            text += f"<p>No loss was logged, or the file is not here: {escape('; '.join(silent))}.</p>"
        parts[column] = text
    words = (
        "One run a row, that of the trial with the median score; a long curve is drawn by the means of "
        f"{POINTS} stretches. A cross at the lower edge marks losses that were not finite. Losses of different games "
        "have different units: compare a player with itself."
    )
    return Section("curves", "Learning curves", f"<p>{words}</p>\n{by_column(material, parts)}")


def _stage(run: str, stage: str, found: Mapping[str, Curve]) -> str:
    thin = {name: _thinned(curve) for name, curve in found.items()}
    finite = [value for _, values in thin.values() for value in values if np.isfinite(value)]
    y = linear(finite or [0.0, 1.0], "loss")
    frame = Frame(from_zero(max(float(seen.max()) for seen, _ in found.values()) or 1.0, "images seen"), y, height=230)
    parts, entries, words = [], [], []
    for index, (name, (seen, values)) in enumerate(thin.items()):
        points = [frame.at(float(x), float(v)) for x, v in zip(seen, values, strict=True) if np.isfinite(v)]
        if points:
            parts.append(line(points, index))
            words.append(f"{name} from {values[np.isfinite(values)][0]:.3g} to {values[np.isfinite(values)][-1]:.3g}")
        lost = found[name][0][~np.isfinite(found[name][1])]
        parts += [cross(frame.at(float(x), y.low)[0], frame.height - frame.bottom, index) for x in lost[:POINTS]]
        words += [f"{name}: {len(lost)} values not finite"] if len(lost) else []
        entries.append((line([(0, 6), (18, 6)], index), name))
    alt = f"Losses of stage {stage} of {run}, over images seen: {'; '.join(words)}"
    return figure(chart(frame, parts, alt) + key(entries), f"{stage} of {run}")


def _thinned(curve: Curve) -> Curve:
    """A curve of at most ``POINTS`` points, each the mean of a stretch's finite values."""
    seen, values = curve
    if len(seen) <= POINTS:
        return curve
    stretches = zip(np.array_split(seen, POINTS), np.array_split(values, POINTS), strict=True)
    kept = [(x.mean(), v[np.isfinite(v)].mean()) for x, v in stretches if np.isfinite(v).any()]
    return np.array([x for x, _ in kept]), np.array([v for _, v in kept])


def samples(material: Material) -> Section:
    """Sheets that the runs left, as far as the page has room for them."""
    left, parts, no_room = SHEETS, {}, []
    for column in material.table.spec.columns:
        shown = []
        for row, cell in material.cells(column):
            record = typical(cell)
            for path in _sheets(material, record):
                kind, content, (width, height) = encoded(path)
                if len(content) > left:
                    no_room.append(f"{row}, {column}: {record['run']}/{PICTURES}/{path.name}")
                    continue
                left -= len(content)
                shown.append(
                    _sheet(
                        f"data:{kind};base64,{base64.b64encode(content).decode()}",
                        width,
                        height,
                        path,
                        which(material, row, cell),
                    )
                )
        if shown:
            parts[column] = panels(shown)
    body = by_column(material, parts) if parts else "<p>No run left sample sheets.</p>"
    if no_room:
        items = "".join(f"<li><code>{escape(one)}</code></li>" for one in no_room)
        body += f"<p>Left out, so that the page stays small; the files are in the runs' folders:</p><ul>{items}</ul>"
    words = "Of the rows with a generator, for the run of the trial with the median score: samples at the end of "
    words += "training, a row a class where the generator is told the class, and the same noise over training."
    return Section("samples", "Samples", f"<p>{words}</p>\n{body}")


def _sheets(material: Material, record: Record) -> list[Path]:
    folder = material.file(record, PICTURES)
    return sorted(folder.glob("samples-*.png")) if folder is not None else []


def _sheet(source: str, width: int, height: int, path: Path, run: str) -> str:
    stage = path.stem.removeprefix("samples-")
    over = stage.endswith("-over-training")
    stage = stage.removesuffix("-over-training")
    alt = f"Images generated by stage {stage} of {run}"
    alt += ", beside each other at several moments of training" if over else ", at the end of training"
    picture = f'<img src="{source}" width="{width}" height="{height}" alt="{escape(alt)}">'
    return figure(picture, f"{stage} of {run}: {'over training' if over else 'at the end'}")


def encoded(path: Path) -> tuple[str, bytes, tuple[int, int]]:
    """A picture as small as it is still sharp: media type, bytes and size.

    Grey ones become grey PNG, coloured ones JPEG.

    Raises:
        ArtifactError: the picture is damaged.
    """
    from PIL import Image

    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}): run its command again with --force") from error
    pixels, page = np.asarray(image), io.BytesIO()
    if (pixels == pixels[..., :1]).all():
        kind = "png"
        image.convert("L").save(page, "PNG", optimize=True)
    else:
        kind = "jpeg"
        image.save(page, "JPEG", quality=88, subsampling=0)
    return f"image/{kind}", page.getvalue(), image.size
