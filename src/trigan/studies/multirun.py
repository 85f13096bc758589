"""``trigan run -m``: every combination of the swept values, each job a process of its own.

Hydra's own sweep loop runs jobs in one process (a job that exits ends the rest with exit code 0, and Lightning's ranks
re-run the whole sweep), so only its expansion of the values is used.
"""

from collections import Counter
from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from trigan.config import override_rules
from trigan.config.compose import Composer, RunConfig
from trigan.errors import ConfigError
from trigan.execution.batch import BatchSummary, engine, run_batch, warn_about_stale_records
from trigan.execution.engines import EngineChoice
from trigan.execution.job import Job
from trigan.identity import canonical_json
from trigan.records.record import RECORD_NAME, read_record
from trigan.version import PROTOCOL_VERSION


def expand(composer: Composer, arguments: Sequence[str]) -> list[tuple[str, ...]]:
    """The overrides of each job: the product of the swept values, in the order they were written."""
    parsed = composer.parse(arguments)
    override_rules.check_form(parsed, composer.groups, multirun=True)
    words = [str(override.input_line) for override in parsed]
    # this parser knows the groups, so that `architecture=glob(*)` finds its choices
    parsed = OverridesParser.create(config_loader=composer.loader).parse_overrides(words)
    try:
        (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    except HydraException as error:
        raise ConfigError(
            f"--multirun: {override_rules.first_line(error)}; give the values as a=1,2 or a=range(3)"
        ) from error
    return [tuple(job) for job in jobs]


def multirun(
    composer: Composer,
    overrides: Sequence[str],
    common: Sequence[str] = (),
    engine_choice: EngineChoice | None = None,
    workers: int | None = None,
    timeout: int | None = None,
    retry: bool = False,
    force: bool = False,
) -> tuple[list[Job], BatchSummary]:
    """Check every job, then run those that have no record; arguments as for `trigan.studies.run_study.run_study`.

    Returns:
        All jobs, and how those that were due ended.
    """
    expanded = expand(composer, overrides)
    with engine(engine_choice or EngineChoice(), workers, timeout) as chosen:
        composed = [composer.compose(job) for job in expanded]
        outputs = [one.paths.outputs for one in composed]
        if len(set(outputs)) > 1:
            raise ConfigError("paths.outputs: the jobs of one --multirun share it; give each a run of its own")
        fingerprints = _fingerprints(composed)
        jobs = _jobs(expanded, composed, fingerprints, common)
        warn_about_stale_records(_count_stale(composed, fingerprints), PROTOCOL_VERSION)
        return jobs, run_batch(chosen, jobs, outputs[0] / "logs", retry, force)


def _jobs(
    expanded: Sequence[tuple[str, ...]],
    composed: Sequence[RunConfig],
    fingerprints: Sequence[str],
    common: Sequence[str],
) -> list[Job]:
    """The jobs, named by their number and what is swept."""
    swept = [position for position in range(len(expanded[0])) if len({job[position] for job in expanded}) > 1]
    jobs = []
    for number, (words, one, fingerprint) in enumerate(zip(expanded, composed, fingerprints, strict=True)):
        name = f"{number}_{'_'.join(words[position] for position in swept)}".replace("/", "-")
        jobs.append(Job(name, (*common, *words), one.paths.runs / one.run_hash(fingerprint), one.resources))
    return jobs


def _fingerprints(composed: Sequence[RunConfig]) -> list[str]:
    """The fingerprint of each run's data, each data set read once."""
    known: dict[str, str] = {}
    for one in composed:
        data = canonical_json(one.config["data"])
        if data not in known:
            known[data] = one.load_data().fingerprint
    return [known[canonical_json(one.config["data"])] for one in composed]


def _count_stale(composed: Sequence[RunConfig], fingerprints: Sequence[str]) -> Counter[str]:
    """How many records of these very runs exist under each earlier protocol version."""
    counts: Counter[str] = Counter()
    for one, fingerprint in zip(composed, fingerprints, strict=True):
        for version in range(1, PROTOCOL_VERSION):
            counts[str(version)] += (one.paths.runs / one.run_hash(fingerprint, version) / RECORD_NAME).exists()
    return +counts


def job_accuracy(job: Job) -> float | None:
    """The test accuracy of a finished job, in [0, 1]; None without a record."""
    if job.directory is None or not job.finished:
        return None
    return read_record(job.directory / RECORD_NAME)["result"]["test"]["accuracy"]
