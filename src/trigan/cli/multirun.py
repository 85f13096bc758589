"""``trigan run -m``: every combination of the swept values, each job a process of its own.

Hydra's own sweep loop runs jobs in one process (a job that exits ends the rest with exit code 0, and Lightning's ranks
re-run the whole sweep), so only its expansion of the values is used.
"""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from trigan.artifacts.identity import canonical
from trigan.cli import strict
from trigan.cli.compose import Composed, Composer
from trigan.cli.crew import Crew, report
from trigan.cli.launchers import Job
from trigan.cli.run_command import child_arguments
from trigan.errors import ConfigError
from trigan.results.record import RECORD_NAME, read_record


def expand(composer: Composer, arguments: Sequence[str]) -> list[tuple[str, ...]]:
    """The overrides of each job: the product of the swept values, in the order they were written."""
    parsed = composer.parse(arguments)
    strict.check_form(parsed, composer.groups, multirun=True)
    words = [str(override.input_line) for override in parsed]
    # this parser knows the groups, so that `architecture=glob(*)` finds its choices
    parsed = OverridesParser.create(config_loader=composer.loader).parse_overrides(words)
    try:
        (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    except HydraException as error:
        raise ConfigError(f"--multirun: {strict.first_line(error)}; give the values as a=1,2 or a=range(3)") from error
    return [tuple(job) for job in jobs]


def multirun(composer: Composer, options: Any) -> int:
    """Check every job, run them all, print a summary; 1 if any failed."""
    expanded = expand(composer, options.overrides)
    swept = [position for position in range(len(expanded[0])) if len({job[position] for job in expanded}) > 1]
    common = child_arguments(options)
    jobs = [
        Job(f"{number}_{'_'.join(job[position] for position in swept)}".replace("/", "-"), (*common, *job))
        for number, job in enumerate(expanded)
    ]
    with Crew(options.workers, options.timeout) as crew:
        composed = [composer.compose(job) for job in expanded]
        outputs = [one.paths.outputs for one in composed]
        if len(set(outputs)) > 1:
            raise ConfigError("paths.outputs: the jobs of one --multirun share it; give each a run of its own")
        code = report(crew.run(jobs, outputs[0] / "logs"))
    _print_results(jobs, composed)
    return code


def _print_results(jobs: Sequence[Job], composed: Sequence[Composed]) -> None:
    """A line for each finished run: test accuracy, what was swept, and where it lies."""
    fingerprints: dict[str, str] = {}
    for job, one in zip(jobs, composed, strict=True):
        data = canonical(one.config["data"])
        if data not in fingerprints:
            fingerprints[data] = one.load_data().fingerprint
        record = one.paths.runs / one.run_hash(fingerprints[data]) / RECORD_NAME
        if record.exists():
            accuracy = read_record(record)["result"]["test"]["accuracy"]
            print(f"{100 * accuracy:6.2f} %  {job.name}  {record.parent}")
