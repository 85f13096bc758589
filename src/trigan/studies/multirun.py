"""``trigan run -m``: every combination of the swept values, each job a process of its own.

Hydra's own sweep loop runs jobs in one process (a job that exits ends the rest with exit code 0, and Lightning's ranks
re-run the whole sweep), so only its expansion of the values is used.
"""

import sys
from collections import Counter
from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from trigan import PROTOCOL_VERSION
from trigan.config import override_rules
from trigan.config.compose import Composer, RunConfig
from trigan.errors import ConfigError
from trigan.execution.batch import engine, run_batch, warn_about_stale_records
from trigan.execution.engines import EngineChoice
from trigan.execution.job import Job
from trigan.identity import canonical_json
from trigan.records.record import RECORD_NAME, read_record


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
    common: Sequence[str],
    engine_choice: EngineChoice,
    workers: int | None,
    timeout: int | None,
    retry: bool,
    force: bool,
) -> int:
    """Check every job, run what is missing, print results and a summary; 1 if a job has no record.

    Args:
        common: arguments of ``trigan run`` for every job.
        timeout: minutes.
    """
    expanded = expand(composer, overrides)
    with engine(engine_choice, workers, timeout) as chosen:
        composed = [composer.compose(job) for job in expanded]
        outputs = [one.paths.outputs for one in composed]
        if len(set(outputs)) > 1:
            raise ConfigError("paths.outputs: the jobs of one --multirun share it; give each a run of its own")
        prints = _fingerprints(composed)
        jobs = _jobs(expanded, composed, prints, common)
        warn_about_stale_records(_stale(composed, prints), PROTOCOL_VERSION)
        summary = run_batch(chosen, jobs, outputs[0] / "logs", retry, force)
    _print_results(jobs)
    print(summary.line(), file=sys.stderr)
    return summary.code


def _jobs(
    expanded: Sequence[tuple[str, ...]], composed: Sequence[RunConfig], prints: Sequence[str], common: Sequence[str]
) -> list[Job]:
    """The jobs, named by their number and what is swept."""
    swept = [position for position in range(len(expanded[0])) if len({job[position] for job in expanded}) > 1]
    jobs = []
    for number, (words, one, fingerprint) in enumerate(zip(expanded, composed, prints, strict=True)):
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


def _stale(composed: Sequence[RunConfig], prints: Sequence[str]) -> Counter[str]:
    """How many records of these very runs there are under each earlier protocol version."""
    found: Counter[str] = Counter()
    for one, fingerprint in zip(composed, prints, strict=True):
        for version in range(1, PROTOCOL_VERSION):
            found[str(version)] += (one.paths.runs / one.run_hash(fingerprint, version) / RECORD_NAME).exists()
    return +found


def _print_results(jobs: Sequence[Job]) -> None:
    """A line for each finished run: test accuracy, what was swept, and where it lies."""
    for job in jobs:
        if job.directory is not None and job.finished:
            accuracy = read_record(job.directory / RECORD_NAME)["result"]["test"]["accuracy"]
            print(f"{100 * accuracy:6.2f} %  {job.name}  {job.directory}")
