"""A W&B Report of a study, built with `wandb-workspaces` (the extra `reports`) and saved for the login there is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trigan.errors import ConfigError
from trigan.tracking.wandb_tracker import short_error

#: The most letters of a title that W&B takes.
_TITLE = 128


@dataclass(frozen=True)
class ReportText:
    """What a report says and shows.

    Attributes:
        title: of the study.
        description: one line below it.
        paragraphs: heading -> Markdown.
        group: the runs' W&B group, which is the study's name.
        metric: key of the summary that bars compare.
        curves: keys that are drawn against images seen.
    """

    title: str
    description: str
    paragraphs: Mapping[str, str]
    group: str
    metric: str
    curves: Sequence[str]


def save_report(text: ReportText, entity: str, project: str, known: str = "") -> tuple[str, str]:
    """Save the report, over the one with the id ``known`` if there is one; returns its id and its address.

    Raises:
        ConfigError: the extra is missing, or W&B refuses.
    """
    try:
        import wandb_workspaces.reports.v2 as reports
    except ImportError as error:
        raise ConfigError("W&B Reports need wandb-workspaces: pip install 'trigan[reports]'") from error
    try:
        report = reports.Report(
            project=project,
            entity=entity,
            title=text.title[:_TITLE],
            description=text.description,
            blocks=report_blocks(reports, text, entity, project),
            width="fluid",
        )
        report.id = known
        report.save()
        return str(report.id), str(report.url)
    except Exception as error:  # whatever the library, the server or the network make of it
        raise ConfigError(f"W&B: the report of {text.title!r} can't be saved ({short_error(error)})") from error


def report_blocks(reports: Any, text: ReportText, entity: str, project: str) -> list[Any]:
    """The text, accuracy by row, curves against images seen, and the table of the study's aggregate run."""
    where = {"entity": entity, "project": project}
    group = text.group.replace("'", "\\'")
    runs = reports.Runset(**where, name="runs", filters=f"Group = '{group}' and JobType != 'study'")
    study = reports.Runset(**where, name="study", filters=f"Group = '{group}' and JobType = 'study'")
    by_row = {"groupby": reports.Config("row"), "groupby_aggfunc": "mean"}
    bars = reports.BarPlot(title=text.metric, metrics=[text.metric], **by_row, groupby_rangefunc="minmax")
    lines = [reports.LinePlot(title=key, x="images", y=[key], **by_row) for key in text.curves]
    found: list[Any] = []
    for heading, words in text.paragraphs.items():
        found += [reports.H2(text=heading), reports.MarkdownBlock(text=words)]
    table = reports.WeavePanelSummaryTable(table_name="study/table")
    found += [reports.H2(text="Test accuracy by row"), reports.PanelGrid(runsets=[runs], panels=[bars])]
    if lines:
        found += [reports.H2(text="Curves"), reports.PanelGrid(runsets=[runs], panels=lines)]
    return [*found, reports.H2(text="The table as numbers"), reports.PanelGrid(runsets=[study], panels=[table])]
