"""Studies and verdicts from Python: many runs as one table, or as one page."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from trigan.api.run_handle import open_picture

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

    from trigan.studies.study_file import StudyFile
    from trigan.tables.table import Table


@dataclass(frozen=True)
class Study:
    """A study at a scale, with the jobs that are finished.

    Attributes:
        file: what ``study.yaml`` says.
        overrides: settings for every job.
        config_dir: a folder with groups of your own.
    """

    file: "StudyFile"
    overrides: tuple[str, ...] = ()
    config_dir: Path | None = None

    def status(self) -> "pd.DataFrame":
        """A row for each job: ``row``, ``column``, ``trial``, ``state`` (done, running, failed or missing), ``run``."""
        import pandas as pd

        from trigan.studies.job_cache import load_jobs
        from trigan.studies.study_status import job_statuses

        found = job_statuses(load_jobs(self.file, self.overrides, self.config_dir))
        rows = [
            (one.job.row.name, one.job.column.name, one.job.trial, one.state, one.job.hash or None, one.reason)
            for one in found
        ]
        return pd.DataFrame(rows, columns=["row", "column", "trial", "state", "run", "reason"])

    def table(self) -> "pd.DataFrame":
        """The table as numbers: a row for each cell, a column for each figure; scores are in [0, 1].

        Raises:
            ConfigError: no run is finished.
        """
        import pandas as pd

        from trigan.tables.table import table_data

        return pd.DataFrame(table_data(self._written[0]))

    def figure(self, name: str = "comparison") -> "Image":
        """A picture of the study: ``comparison``, the trials and means of every row."""
        return open_picture(self._written[1], name)

    @cached_property
    def _written(self) -> "tuple[Table, Path]":
        """The table of what is finished now, and the folder of its files."""
        from trigan.studies.run_study import write_study_table
        from trigan.studies.study_report import jobs_to_report

        return write_study_table(self.file, jobs_to_report(self.file, self.overrides, self.config_dir))

    def _repr_html_(self) -> str:
        from trigan.studies.study_table import render_table

        return render_table(self._written[0], "html")


@dataclass(frozen=True)
class Verdict:
    """The page that says whether a GAN helps on some images.

    Attributes:
        page: the Markdown file; its picture lies beside it.
    """

    page: Path

    @property
    def text(self) -> str:
        """The page as Markdown."""
        return self.page.read_text(encoding="utf-8")

    def figure(self, name: str = "comparison") -> "Image":
        """The picture of the page."""
        return open_picture(self.page.parent, name)

    def _repr_markdown_(self) -> str:
        return self.text


def study(
    name: str,
    *overrides: str,
    scale: str | None = None,
    workers: int | None = None,
    retry: bool = False,
    run: bool = True,
    tuned: int | None = None,
    config_dir: Path | None = None,
) -> Study:
    """Run what is missing of a study, as ``trigan study`` does; each job is a process of its own.

    Args:
        name: a study of ``./experiments`` or of trigan's own, or a path.
        overrides: settings for every job, e.g. ``"logger=none"``.
        scale: one of the study's scales; None: its first.
        workers: jobs at a time; None: one per core.
        retry: also run again what failed in an earlier call.
        run: False opens the study as it is and runs nothing.
        tuned: search trials on counted validation labels that every row gets; None: no row is tuned.
        config_dir: a folder with groups of your own.

    Returns:
        The study with its finished jobs.

    Raises:
        ConfigError: no such study, or a job that cannot be composed; then nothing has run.

    Example:
        >>> import trigan
        >>> demo = trigan.study("demo", run=False)
        >>> demo.status().state.unique().tolist()
        ['missing']
    """
    from trigan.studies.study_file import find_study, read_study
    from trigan.studies.tuned_settings import read_tuned

    file = read_study(find_study(name), scale)
    if tuned is not None and run:
        from trigan.search.tuned_study import tune_study

        file = tune_study(file, overrides, tuned, workers=workers, config_dir=config_dir)
    elif tuned is not None:
        file = read_tuned(file, overrides, config_dir, tuned)
    if run:
        from trigan.studies.run_study import run_study

        run_study(file, overrides, workers=workers, retry=retry, config_dir=config_dir)
    return Study(file, overrides, config_dir)


def verdict(
    *overrides: str,
    minutes: float = 30.0,
    trials: int | None = None,
    workers: int | None = None,
    metric: str | None = None,
    config_dir: Path | None = None,
) -> Verdict:
    """Run a small fixed study on any images and write one page that says whether a GAN helps.

    Args:
        overrides: data and regime: ``"data=folder"``, ``"data.root=MY_IMAGES"``, ``"regime.labels_per_class=5"``.
        minutes: trials are added while one more fits; the first one always runs.
        trials: at most so many; None: ten.
        workers: jobs at a time; None: one per core.
        metric: the score that rows are compared by, e.g. ``"auroc"``; None: accuracy.
        config_dir: a folder with groups of your own.

    Returns:
        The page. A later call with more minutes adds trials to it.

    Raises:
        ConfigError: a setting makes no sense here; then nothing has run.

    Example:
        >>> import trigan
        >>> page = trigan.verdict("data=folder", "data.root=MY_IMAGES", minutes=60)  # doctest: +SKIP
    """
    from trigan.studies.verdict.verdict_study import VerdictRuns

    return Verdict(VerdictRuns(overrides, config_dir, metric).run(minutes, trials, workers))
