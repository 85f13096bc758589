"""Quality beside gain, laid out: a row's difference to the reference and its generator's figures; rank correlations."""

from trigan.scores import Metric
from trigan.tables.generators.quality import RankCorrelation, agreements, generator_cells, shown_metrics
from trigan.tables.layout.block import Block
from trigan.tables.layout.formatting import TextFormat, format_p
from trigan.tables.table import Table

#: Heads of the columns.
_NAMES = {"fid": "FID", "gan_train": "CAS, %", "nas_100": "NAS 100 %, %"}


def quality(table: Table, column: str, where: str = "") -> list[Block]:
    """The view of one column: every row's gain beside its generator, and how the figures agree with the gain."""
    cells = generator_cells(table, column) if table.quality and not table.metric.figure else {}
    metrics = shown_metrics(cells)
    if not metrics:
        return []
    fmt, rows = TextFormat(table.metric), []
    for row in table.spec.rows:
        generators = cells[row].generators if row in cells else None
        figures = {} if generators is None else generators.figures
        copies = f" (copies in {generators.copying} of {generators.n})" if generators and generators.copying else ""
        gain = fmt.difference(table.differences[row, column])
        rows.append((row + copies, gain, *(_text(metric, figures.get(metric.figure)) for metric in metrics)))
    floor = next(one.generators.floor for one in cells.values() if one.generators is not None)
    rows.insert(0, ("real images", "-", *(_text(metric, floor.get(metric.figure)) for metric in metrics)))
    header = ("row", f"minus {table.spec.reference}", *(_NAMES.get(one.figure, f"{one.figure}, %") for one in metrics))
    return [
        Block(
            f"Gain beside the generator's quality{where}", header, tuple(rows), tight=frozenset(range(1, len(header)))
        ),
        _agreements(table, column, where),
    ]


def _text(metric: Metric, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if metric.percent else f"{value:.3g}"


def _agreements(table: Table, column: str, where: str) -> Block:
    rows = tuple(
        (
            one.strategy,
            _NAMES.get(one.metric.figure, one.metric.figure).removesuffix(", %"),
            *_correlation(one.between),
            f"{one.rows} rows",
            *_correlation(one.within),
            f"{one.rows} x {one.trials}",
        )
        for one in agreements(table, column)
    )
    header = ("strategy", "figure", "over rows' means", "p", "of", "over trials, within rows", "p", "of")
    title = f"Rank correlation of figure and gain{where} (+: the better figure has the larger gain)"
    return Block(title, header, rows, groups=((1, 5), (5, 8)), tight=frozenset(range(2, 8)))


def _correlation(one: RankCorrelation | None) -> tuple[str, str]:
    return ("-", "-") if one is None else (f"{one.rho:+.2f}", format_p(one.p))
