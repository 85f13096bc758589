"""``trigan run -m``: every combination of the swept values, each job a process of its own.

Hydra's own sweep loop runs jobs in one process (a job that exits ends the rest with exit code 0, and Lightning's ranks
re-run the whole sweep), so only its expansion of the values is used.
"""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import compress, islice

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import HydraException

from trigan.config import override_rules
from trigan.config.compose import Composer, RunConfig
from trigan.errors import ConfigError
from trigan.execution.batch import BatchSummary, engine, run_batch, warn_about_stale_records
from trigan.execution.engines import EngineChoice
from trigan.execution.job import Job
from trigan.execution.progress import Heartbeat
from trigan.identity import canonical_json
from trigan.records.record import RECORD_NAME
from trigan.version import PROTOCOL_VERSION

#: The most jobs of one call.
MAX_JOBS = 10_000


def expand(composer: Composer, arguments: Sequence[str]) -> list[tuple[str, ...]]:
    """The overrides of each job: the product of the swept values, in the order they were written."""
    parsed = composer.parse(arguments)
    override_rules.check_form(parsed, composer.groups, multirun=True)
    words = [str(override.input_line) for override in parsed]
    # this parser knows the groups, so that `architecture=glob(*)` finds its choices
    try:
        parsed = OverridesParser.create(config_loader=composer.loader).parse_overrides(words)
        if (count := math.prod(_values(override) for override in parsed)) > MAX_JOBS:
            raise ConfigError(f"--multirun: {count} jobs, and {MAX_JOBS} are the most; give fewer values")
        (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    except (HydraException, ValueError, TypeError, AssertionError, OverflowError) as error:
        raise ConfigError(
            f"--multirun: {override_rules.first_line(error)}; give the values as a=1,2 or a=range(3)"
        ) from error
    if not jobs:
        raise ConfigError("--multirun: these values give no job; a glob(...) or range(...) among them is empty")
    return [tuple(job) for job in jobs]


def _values(override: Override) -> int:
    """How many values an override has, `MAX_JOBS` + 1 if there are more; a range is not written out."""
    if not override.is_sweep_override():
        return 1
    swept = override.value()
    if isinstance(swept, RangeSweep):
        span = (float(swept.stop or 0) - float(swept.start or 0)) / float(swept.step)
        return max(0, math.ceil(span)) if math.isfinite(span) else MAX_JOBS + 1
    return sum(1 for _ in islice(override.sweep_iterator(), MAX_JOBS + 1))


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
    composer.check(expanded[0])
    with engine(engine_choice or EngineChoice(), workers, timeout) as chosen, Heartbeat():
        composed = [composer.compose(job) for job in expanded]
        outputs = [one.paths.outputs for one in composed]
        if len(set(outputs)) > 1:
            raise ConfigError("paths.outputs: the jobs of one --multirun share it; give each a run of its own")
        jobs, stale = _jobs(composed, common)
        warn_about_stale_records(stale, PROTOCOL_VERSION)
        return jobs, run_batch(chosen, jobs, outputs[0] / "logs", retry, force)


def _jobs(composed: Sequence[RunConfig], common: Sequence[str]) -> tuple[list[Job], Counter[str]]:
    """The jobs, named by their number and what is swept; how many records they have of each earlier protocol."""
    swept = [len(set(words)) > 1 for words in zip(*(one.overrides for one in composed), strict=True)]
    jobs, stale, fingerprints = [], Counter[str](), dict[str, str]()
    for number, one in enumerate(composed):
        data = canonical_json(one.config["data"])
        if data not in fingerprints:
            fingerprints[data] = one.load_data().identity
        runs = one.paths.runs
        name = f"{number}_{'_'.join(compress(one.overrides, swept))}".replace("/", "-")
        hashes = [one.run_hash(fingerprints[data], version) for version in range(1, PROTOCOL_VERSION + 1)]
        jobs.append(Job(name, (*common, *one.overrides), runs / hashes.pop(), one.resources, one.pickled()))
        stale.update(str(n) for n, earlier in enumerate(hashes, 1) if (runs / earlier / RECORD_NAME).exists())
    return jobs, stale
