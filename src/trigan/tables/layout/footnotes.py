"""What stands under a table: what the marks mean, and in plain words what the table shows and what it does not."""

from collections.abc import Iterator

from trigan.records.record import EXTERNAL
from trigan.tables.layout.formatting import TextFormat, format_range, join_names
from trigan.tables.paired_comparison import PairedComparison
from trigan.tables.published import TAGS
from trigan.tables.table import Table

#: What a run's stamps mean.
STAMPS = {
    "matched-ensemble": "matched compute spent on an ensemble",
    "matched-longer": "matched compute spent on longer training",
    "matched-restarts": "matched compute spent on restarts, the best chosen on validation labels",
    "missing-classes": "no sample of some classes passed the filters",
    "no-pseudo-labels": "no pseudo-label reached the threshold, so C was trained on the labelled images alone",
    "no-samples": "no sample passed the filters, so C was trained on the real images alone",
    "val-large": "a large validation set chose the weights, as in most papers",
}


def footnotes(table: Table, fmt: TextFormat, best_mark: str) -> list[str]:
    """The footers, one line each, only those that the table needs. ``best_mark`` says how the best is marked."""
    return [
        *_numbers(table, fmt),
        *_marks(table, best_mark),
        *_sight(table),
        *_exceptions(table),
        *_detectable(table, fmt),
        *_origin(table),
        *_published(table),
    ]


def _numbers(table: Table, fmt: TextFormat) -> Iterator[str]:
    kinds = {cell.evidence for cell in table.cells.values() if cell.values}
    contrasts = [*table.differences.values(), *table.primary]
    if kinds & {"values", "range"}:
        yield "Below 5 trials: mean (lowest to highest), and no interval; below 3, the values."
    if kinds & {"exploratory", "headline"}:
        yield "± is the sample standard deviation over trials."
    corrected = any(cell.test_over_train is not None for cell in table.cells.values())
    if any(one.kind in ("exploratory", "headline") for one in contrasts):
        factor = ", with Nadeau and Bengio's factor, as trials redraw the test set" if corrected else ""
        yield f"[a, b] is the 95 % paired t interval of the difference in {fmt.unit}{factor}."
    if any(one.kind == "exploratory" for one in contrasts):
        yield "Intervals of fewer than 10 trials are exploratory."
    if any(one.p is not None for one in contrasts):
        yield "p is two-sided, against no difference; Holm's p is adjusted over the primary comparisons."
        if corrected:
            yield "No sign-flip p is given where trials redraw the test set: it holds for independent trials alone."


def _marks(table: Table, best_mark: str) -> Iterator[str]:
    if table.best:
        better = "highest" if table.metric.higher_is_better else "lowest"
        yield f"{best_mark}: {better} mean of its column; no statement about significance."
    if not table.metric.percent:
        return
    if any(cell.n >= 5 for cell in table.cells.values()):
        yield (
            f"†: not worse than the best by more than {table.spec.margin:g} points at 95 %, "
            "at equal L/U/V/X; without †: not resolved."
        )
    elif table.best:
        yield "No † is given below 5 trials."


def _sight(table: Table) -> Iterator[str]:
    yield (
        "L: labelled training images; U: unlabelled ones; V: labels for selection; X: other images. "
        "Rows are compared only where all four are equal."
    )
    yield "Cost: counted operations and images of all stages that a run stands on, reused or not (mean over runs)."


def _exceptions(table: Table) -> Iterator[str]:
    cells = table.cells.values()
    if any(cell.diverged for cell in cells):
        yield "Diverged runs stay in the mean, with their last healthy weights (or chance)."
    if any(cell.records and cell.incomplete for cell in cells):
        yield "Incomplete cells lack trials; they are neither compared nor marked."
    if any(cell.several_seeds for cell in cells):
        yield "Where a trial has several seeds, its value is their mean."
    protocols = sorted({str(r["result"]["protocol"]) for cell in cells for r in cell.records})
    if len(protocols) > 1:
        yield f"Records of different protocol versions stand side by side: {join_names(protocols)}."


def _detectable(table: Table, fmt: TextFormat) -> Iterator[str]:
    several = len(table.spec.columns) > 1
    parts = [
        f"{fmt.value(found.difference)} {fmt.unit}{f' on {column}' if several else ''} "
        f"(n = {found.n}, sd of paired differences {fmt.value(found.sd)})"
        for column, found in table.detectable.items()
    ]
    if parts:
        yield f"Minimal detectable difference (paired t, 5 % two-sided, power 80 %): {'; '.join(parts)}."


def _origin(table: Table) -> Iterator[str]:
    trials = sorted({trial for cell in table.cells.values() for trial in cell.expected})
    if trials:
        yield f"Trials: {', '.join(map(str, trials))}."
    meaning = {
        "last": "last = weights at the end of training",
        "val": "val = checkpoint with the best validation score",
    }
    rules = sorted({rule for cell in table.cells.values() for rule in cell.rules})
    if rules:
        yield f"Selection rule: {'; '.join(meaning[rule] for rule in rules)}."
    yield from _searches(table)
    if any(EXTERNAL in cell.stamps for cell in table.cells.values()):
        yield (
            "external: predictions of a program outside trigan for the same test images, scored here; "
            "data used, selection and cost are as its authors state them."
        )
    yield from _stamps(table)


def _searches(table: Table) -> Iterator[str]:
    """Which rows' settings a search chose, and what it spent; those labels are in V."""
    found: dict[str, list[str]] = {}
    for row in table.spec.rows:
        for column in table.spec.columns:
            for record in table.cells[row, column].records:
                tuned = record["config"].get("tuned") or {}
                if tuned.get("search") is not None:
                    spent = f"{tuned['trials']} trials on {tuned['labels']} validation labels"
                    found.setdefault(f"{tuned['search']} ({spent})", []).append(row)
    for search, rows in sorted(found.items()):
        yield f"Settings chosen by the search {search}: {'; '.join(dict.fromkeys(rows))}."


def _stamps(table: Table) -> Iterator[str]:
    """What each stamp means, and whose it is: of how many of a row's runs, over all columns."""
    stamps = sorted({stamp for cell in table.cells.values() for stamp in cell.stamps if stamp != EXTERNAL})
    for stamp in stamps:
        rows = []
        for row in table.spec.rows:
            cells = [table.cells[row, column] for column in table.spec.columns]
            runs, all_runs = sum(cell.stamps.get(stamp, 0) for cell in cells), sum(len(cell.records) for cell in cells)
            if runs:
                rows.append(row if runs == all_runs else f"{row}, {runs} of {all_runs} runs")
        meaning = STAMPS.get(stamp)
        yield f"Stamp {stamp}{f' ({meaning})' if meaning else ''}: {'; '.join(rows)}."


def _published(table: Table) -> Iterator[str]:
    figures = [one.published for one in table.published]
    if not figures:
        return
    yield (
        "Published results are not tested against ours; only those are beside a cell whose data set, metric, split, "
        "labels for training and for selection and architecture class are those of the cell."
    )
    used = [f"[{tag}] {meaning}" for tag, meaning in TAGS.items() if any(figure.tag == tag for figure in figures)]
    yield f"Tags of published results, before the arXiv id: {'; '.join(used)}."
    kinds = {
        "sd": "sd = standard deviation",
        "sem": "sem = standard error of the mean",
        "interval95": "95 % = half a 95 % interval",
    }
    spreads = [meaning for kind, meaning in kinds.items() if any(figure.spread_kind == kind for figure in figures)]
    if spreads:
        yield f"Spreads of published results, as their authors give them: {'; '.join(spreads)}."
    for one in (one for one in table.published if not one.differs and one.published.note):
        yield f"Published beside {one.published.row}, {one.published.column}: {one.published.note}."


def summary_paragraph(table: Table, fmt: TextFormat) -> str:
    """A few sentences on what the table shows and what it does not."""
    return " ".join([*_what_n_allows(table), *_what_is_resolved(table), *_what_is_missing(table, fmt)])


def _what_n_allows(table: Table) -> Iterator[str]:
    cells = [cell for cell in table.cells.values() if cell.values]
    sizes = sorted({cell.n for cell in cells if not cell.incomplete} or {cell.n for cell in cells})
    if not sizes:
        yield "No run of this table is finished yet."
    elif sizes[0] < 3:
        trials = f"{format_range((sizes[0], sizes[-1]))} trial{'s' if sizes[-1] > 1 else ''}"
        yield f"With {trials} the values alone are shown: they say nothing about chance."
    elif sizes[0] < 5:
        yield (
            f"With {format_range((sizes[0], sizes[-1]))} trials no interval is given: "
            "a difference between means may be chance, even where the ranges do not overlap."
        )
    elif sizes[0] < 10:
        yield f"With {format_range((sizes[0], sizes[-1]))} trials the intervals are exploratory."


def _what_is_resolved(table: Table) -> Iterator[str]:
    """Which intervals leave out zero, by column: of the differences to the reference, then of the primary ones."""
    for column in table.spec.columns:
        where = f"On {join_names([column])}, against" if len(table.spec.columns) > 1 else "Against"
        named = [one for (_, place), one in table.differences.items() if place == column]
        yield from _verdicts(f"{where} {join_names([str(table.spec.reference)])}", named)
        family = [one for one in table.primary if one.column == column]
        yield from _verdicts(f"{where} the strongest baseline that used the same data", family)


def _verdicts(against: str, contrasts: list[PairedComparison]) -> Iterator[str]:
    found = [one for one in contrasts if one.kind in ("exploratory", "headline")]
    resolved = [one for one in found if one.p_holm is None or one.p_holm < 0.05]
    above = [one.row for one in resolved if one.low is not None and one.low > 0]
    below = [one.row for one in resolved if one.high is not None and one.high < 0]
    rest = [one.row for one in found if one.row not in (*above, *below)]
    parts = [
        f"{join_names(rows)} {'is' if len(rows) == 1 else 'are'} {verdict}"
        for rows, verdict in ((above, "higher"), (below, "lower"), (rest, "not resolved"))
        if rows
    ]
    if parts:
        yield f"{against}, by 95 % intervals of the paired differences, {'; '.join(parts)}."


def _what_is_missing(table: Table, fmt: TextFormat) -> Iterator[str]:
    limits = [found.difference for found in table.detectable.values()]
    if limits:
        span = " to ".join(dict.fromkeys(fmt.value(limit) for limit in (min(limits), max(limits))))
        yield f"True differences of less than about {span} {fmt.unit} would mostly go undetected with these trials."
    unequal = list(dict.fromkeys(row for (row, _), one in table.differences.items() if one.kind == "different_data"))
    if unequal:
        against = join_names([str(table.spec.reference)])
        yield f"Other data than that of {against}: {join_names(unequal)}; a difference there is not one of method alone."
    missing = sum(cell.incomplete for cell in table.cells.values())
    if missing:
        verb = "is" if missing == 1 else "are"
        yield f"Of {len(table.cells)} cells {missing} {verb} incomplete and not compared."
