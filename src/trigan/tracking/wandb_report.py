"""A W&B Report of a study, built with `wandb-workspaces` (the extra `reports`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trigan.errors import ConfigError
from trigan.tracking.tracker import short_error


@dataclass(frozen=True)
class ReportText:
    """The content of a report: ``paragraphs`` maps headings to Markdown; ``study`` is its name in W&B.

    ``metric`` is the summary key of the bar chart, ``curves`` those of the line charts, against their stage's images.
    """

    title: str
    description: str
    paragraphs: Mapping[str, str]
    study: str
    metric: str
    curves: Sequence[str]


def save_report(text: ReportText, entity: str, project: str, known: str = "") -> tuple[str, str]:
    """Save the report, over the one with the id ``known`` if given; return its id and its address.

    Raises:
        ConfigError: the extra is missing, or W&B refuses.
    """
    try:
        import wandb_workspaces.reports.v2 as v2
    except ImportError as error:
        raise ConfigError("W&B Reports need wandb-workspaces: pip install 'trigan[reports]'") from error
    reports: Any = v2
    try:
        report = reports.Report(
            project=project,
            entity=entity,
            title=text.title[:128],  # W&B's limit
            description=text.description,
            blocks=report_blocks(reports, text, entity, project),
            width="fluid",
        )
        report.id = known
        report.save()
        return str(report.id), str(report.url)
    except Exception as error:  # of any kind: the library, the server or the network
        raise ConfigError(f"W&B: the report of {text.title!r} can't be saved ({short_error(error)})") from error


def report_blocks(reports: Any, text: ReportText, entity: str, project: str) -> list[Any]:
    """The report's blocks: text, accuracy by row, curves, and the table of the study's aggregate run."""
    where = {"entity": entity, "project": project}
    study_is = "Config('study') = '{}'".format(text.study.replace("'", "\\'"))
    runs = reports.Runset(**where, name="runs", filters=f"{study_is} and JobType != 'study'")
    study = reports.Runset(**where, name="study", filters=f"{study_is} and JobType = 'study'")
    by_row = {"groupby": reports.Config("row"), "groupby_aggfunc": "mean"}
    bars = reports.BarPlot(title=text.metric, metrics=[text.metric], **by_row, groupby_rangefunc="minmax")
    lines = [reports.LinePlot(title=key, x=f"{key.split('/')[0]}/images", y=[key], **by_row) for key in text.curves]
    blocks: list[Any] = []
    for heading, words in text.paragraphs.items():
        blocks += [reports.H2(text=heading), reports.MarkdownBlock(text=words)]
    table = reports.WeavePanelSummaryTable(table_name="study/table")
    panels = [("Test accuracy by row", runs, [bars]), ("Curves", runs, lines), ("The table as numbers", study, [table])]
    for heading, runset, charts in panels:
        if charts:
            blocks += [reports.H2(text=heading), reports.PanelGrid(runsets=[runset], panels=charts)]
    return blocks
