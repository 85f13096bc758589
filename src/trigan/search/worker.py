"""A worker of a search: takes trials, runs each as a child process, records how they end, and replaces lost trials.

Any number of workers share a search, on any machines that can reach its storage; none of them leads. Every decision is
a function of the list of trials (`trigan.search.trial_accounting`).
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from trigan.atomic import make_folder
from trigan.errors import ConfigError, TriganError
from trigan.execution.job import DIVERGED, TIMED_OUT, Job, JobResult, run_options
from trigan.execution.launchers import Launcher
from trigan.execution.pool import GpuSlots, Interrupted, jobs_at_once, visible_gpus
from trigan.execution.progress import duration
from trigan.execution.supervisor import GRACE, POLL, deferred_signals
from trigan.runs.validation_run import read_validation_record
from trigan.search import trial_accounting as accounting
from trigan.search.metric import ValidationMetric
from trigan.search.running_trial import RunningTrial
from trigan.search.storage import PRUNING_STARTUP_TRIALS, sampler, suggest
from trigan.search.strategy_search import StrategySearch
from trigan.search.trial_accounting import Budget, DeadWorkerDetector, best_trial, counted_trials
from trigan.search.worker_lock import WorkerLock

_log = logging.getLogger("trigan")

#: Seconds between two checks of the list of all trials.
_LIST = 0.5
#: Seconds between heartbeats; without one after which a worker on another machine is dead.
HEARTBEAT_SECONDS, HEARTBEAT_TIMEOUT = 30.0, 180.0


@dataclass(frozen=True)
class SearchSettings:
    """How trials are chosen and run.

    Attributes:
        prune: end trials early that are worse than the median of earlier ones.
        slots: trials at a time, by this worker; None: as many as cores allow, and as GPUs allow without sharing.
        timeout: seconds after which a trial is ended.
        storage: a journal's file or a database's URL; None: a journal in the search's folder.
        config_dir: a folder with the user's own groups and spaces.
    """

    budget: Budget
    metric: ValidationMetric
    sampler: Literal["random", "tpe"] = "tpe"
    seed: int = 0
    prune: bool = True
    slots: int | None = 1
    timeout: float | None = None
    storage: str | None = None
    config_dir: Path | None = None


@dataclass
class Worker:
    """One process's share of a search: ``slots`` children at a time, which share no more GPUs than they must.

    Args:
        searches: each strategy with its study.
        launcher: gives the launcher, always the same; it may take seconds until it can start the first child.
    """

    searches: Sequence[tuple[StrategySearch, optuna.Study]]
    settings: SearchSettings
    launcher: Callable[[], Launcher]
    worker_lock: WorkerLock
    running: dict[str, RunningTrial] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._watch = DeadWorkerDetector(self.worker_lock.alive, HEARTBEAT_TIMEOUT)
        self._beaten, self._beats, self._listed = time.monotonic(), 0, 0.0
        self._waiting = False
        self._needs = [Job(one.name, (), resources=one.resources) for one, _ in self.searches]
        self._gpus = GpuSlots(visible_gpus() if any(job.resources.gpu for job in self._needs) else ())
        self.slots = jobs_at_once(self.settings.slots, self._needs, self._gpus)
        for _, study in self.searches:
            study.pruner = optuna.pruners.MedianPruner(n_startup_trials=PRUNING_STARTUP_TRIALS)

    def run(self) -> None:
        """Run trials until the budget is spent and no worker has a running trial.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; the running trials are queued, and resume from their checkpoints.
        """
        with self._gpus.shared(self._needs), deferred_signals() as caught:
            while not caught:
                ended = self._collect()
                for trial in self.running.values():
                    self._prune(trial)
                self._beat()
                if (ended or time.monotonic() - self._listed >= _LIST) and self._round():
                    return
                time.sleep(POLL)
            self._end_all(caught)
            raise Interrupted("search stopped; the same command continues from there", caught[0])

    # The list of all trials -------------------------------------------------------------------------------------

    def trials(self) -> list[list[optuna.trial.FrozenTrial]]:
        """The current trials of each strategy."""
        return [study.get_trials(deepcopy=False) for _, study in self.searches]

    def _round(self) -> bool:
        """Replace dead workers' trials and start new ones while there is room; whether all is done."""
        books = self.trials()
        self._rescue(books)
        while len(self.running) < self.slots:
            books = self.trials()
            strategy = self.settings.budget.next_strategy(books, _running_seconds(books))
            if strategy is None:
                break
            self._start(strategy)
        self._listed = time.monotonic()
        unfinished = sum(len(counted_trials(book, "RUNNING", "WAITING")) for book in books)
        if self.running:
            self._waiting = False
        elif unfinished and not self._waiting:
            self._waiting = True
            _log.info("waiting for %d trials of other workers", unfinished)
        return not self.running and not unfinished

    def _rescue(self, books: Sequence[Sequence[Any]]) -> None:
        own = {(trial.strategy_index, trial.trial.number) for trial in self.running.values()}
        for index, book in enumerate(books):
            for trial in counted_trials(book, "RUNNING"):
                if (index, trial.number) not in own and self._watch.is_dead(index, trial, time.monotonic()):
                    attempt = trial.user_attrs.get(accounting.ATTEMPT, 1)
                    _log.info("%s: its worker is dead, attempt %d", self._name(index, trial.number), attempt)
                    self._requeue(index, trial, attempt + 1)

    def _requeue(self, index: int, trial: Any, attempt: int) -> None:
        """Queue a trial's point again, then end the trial; in this order, so that no point is ever lost."""
        search, study = self.searches[index]
        if attempt <= accounting.ATTEMPTS:
            attributes = {accounting.ENQUEUED_AS: accounting.retry_of(trial.number), accounting.ATTEMPT: attempt}
            chosen = len(trial.params) == len(search.space.dimensions)  # else all that was drawn is drawn again, alike
            point = trial.params if chosen else trial.system_attrs.get("fixed_params", {})
            study.enqueue_trial(dict(point), user_attrs=attributes)
        _tell(study, trial.number, None, "FAIL")

    # One trial --------------------------------------------------------------------------------------------------

    def _start(self, index: int) -> None:
        """Take the next trial of a strategy and start its child, unless its point is invalid or already run."""
        search, study = self.searches[index]
        study.sampler = sampler(self.settings.sampler, self.settings.seed, -1)
        trial = study.ask()
        trial.set_user_attr(accounting.WORKER, self.worker_lock.name)
        place = accounting.ordinal(study.get_trials(deepcopy=False), trial.number, self.settings.budget.trials)
        if place is None:
            trial.set_user_attr(accounting.WITHDRAWN, True)
            _tell(study, trial.number, None, "FAIL")
            return
        study.sampler = sampler(self.settings.sampler, self.settings.seed, place)
        point = {one.key: suggest(trial, one) for one in search.space.dimensions}
        words = ("--validation-only", *run_options(self.settings.config_dir), *search.trial_overrides(point))
        job = Job(self._name(index, trial.number), words, resources=search.resources)
        running = RunningTrial(index, trial, job, search.folder / "logs")
        try:
            running.record_path = search.record_path(point)
        except ConfigError as error:
            self._fail(running, str(error))
            return
        trial.set_user_attr(accounting.RUN, running.record_path.parent.name)
        if running.record_path.exists():
            self._prune(running)
            self._end(running, None, "PRUNED") if running.pruned else self._finish(running)
            return
        make_folder(running.log.parent)
        running.log.unlink(missing_ok=True)
        self.launcher().start(running.job, running.log, self._gpus.allocate(running.job))
        self.running[running.job.name] = running

    def _name(self, index: int, number: int) -> str:
        return f"{self.searches[index][0].space.name} trial {number}"

    def _collect(self) -> bool:
        """Record how the children that have ended ended; whether there were any."""
        ended = self.launcher().ended(self.settings.timeout) if self.running else {}
        for name, code in ended.items():
            trial = self.running.pop(name)
            self._gpus.release(trial.job)
            self._prune(trial)
            if trial.pruned:  # whether or not it was done before it could be ended: the next points depend on this
                self._end(trial, None, "PRUNED")
            elif code in (0, DIVERGED, TIMED_OUT) and trial.record_path.exists():
                self._finish(trial)
            else:
                self._fail(trial, str(JobResult(trial.job, code, trial.seconds, trial.log).failure))
        return bool(ended)

    def _finish(self, trial: RunningTrial) -> None:
        try:
            record = read_validation_record(trial.record_path)
        except TriganError as error:
            self._fail(trial, str(error))
            return
        trial.flops = record["result"]["cost"]["flops"]
        value = record["result"]["validation"].get(self.settings.metric.name)
        if record["result"]["status"] == "diverged":
            self._fail(trial, "diverged")
        elif value is None:
            self._fail(trial, f"no {self.settings.metric.name}: its scores are no probabilities, or V has one class")
        else:
            self._end(trial, value, "COMPLETE")

    def _fail(self, trial: RunningTrial, reason: str) -> None:
        trial.set_attribute(accounting.REASON, reason[:500])
        self._end(trial, None, "FAIL", reason)

    def _end(self, trial: RunningTrial, value: float | None, how: str, reason: str = "") -> None:
        """Write and log a trial's cost and outcome; one that another worker has ended in the meantime is kept."""
        _, study = self.searches[trial.strategy_index]
        trial.set_attribute(accounting.SECONDS, trial.seconds)
        trial.set_attribute(accounting.FLOPS, trial.flops)
        if not _tell(study, trial.trial.number, value, how):
            return
        budget, metric, books = self.settings.budget, self.settings.metric, self.trials()
        words = {"PRUNED": "pruned", "FAIL": f"FAILED ({reason}); log: {trial.log}"}.get(how, "")
        words = words if value is None else f"{metric.name} {value:.4f}"
        best = best_trial(books[trial.strategy_index], metric)
        if best is not None and how != "FAIL":
            words += f" (best {best.value:.4f})"
        done = sum(len(counted_trials(book, "COMPLETE", "PRUNED", "FAIL")) for book in books)
        of = f"/{budget.trials * len(books)}" if budget.trials is not None else ""
        left = budget.seconds_left(books, done)
        ended = f"{done}{of} done; {trial.job.name}: {words} in {duration(trial.seconds)}"
        _log.info("%s%s", ended, f"; about {duration(left)} left" if left > 0 else "")

    # Running children -------------------------------------------------------------------------------------------

    def _prune(self, trial: RunningTrial) -> None:
        """Report a child's new validations, and end it if it is pruned for them."""
        for images, accuracy in trial.new_validations():
            if self.settings.prune and not trial.pruned and trial.should_prune(images, accuracy):
                trial.pruned = True
                if trial.job.name in self.running:
                    self.launcher().end(trial.job.name)

    def _beat(self) -> None:
        if time.monotonic() - self._beaten < HEARTBEAT_SECONDS:
            return
        self._beaten, self._beats = time.monotonic(), self._beats + 1
        for trial in self.running.values():
            trial.set_attribute(accounting.HEARTBEAT, self._beats)

    def _end_all(self, caught: list[int]) -> None:
        """End the children, and queue their points for any worker that continues the search."""
        if self.running:
            self.launcher().end_all(GRACE, caught)
        books = self.trials()
        for running in self.running.values():
            trial = books[running.strategy_index][running.trial.number]
            self._requeue(running.strategy_index, trial, trial.user_attrs.get(accounting.ATTEMPT, 1))
        self.running.clear()


def _running_seconds(books: Sequence[Sequence[Any]]) -> float:
    """Seconds that the running trials have taken."""
    starts = [trial.datetime_start for book in books for trial in counted_trials(book, "RUNNING")]
    return float(sum((datetime.now() - start).total_seconds() for start in starts if start))


def _tell(study: optuna.Study, number: int, value: float | None, how: str) -> bool:
    """End a trial; False where another worker has ended it before."""
    try:
        study.tell(number, value, TrialState[how])
    except (ValueError, UpdateFinishedTrialError):
        return False
    return True
