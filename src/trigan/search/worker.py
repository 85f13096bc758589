"""A worker of a search: asks for trials, runs each as a child process, tells how they ended, and buries the dead.

Any number of workers share a search, on any machines that see its storage; none of them leads. Whatever a worker
decides, it reads from the list of trials (:mod:`trigan.search.trial_accounting`).
"""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trigan.errors import ConfigError, TriganError
from trigan.execution.job import TIMED_OUT, Job, JobResult
from trigan.execution.launchers import Launcher
from trigan.execution.pool import Interrupted
from trigan.execution.supervisor import deferred_signals
from trigan.runs.validation_run import read_validation_record
from trigan.search import trial_accounting
from trigan.search.metric import ValidationMetric
from trigan.search.running_trial import RunningTrial
from trigan.search.storage import pruner, sampler, suggest
from trigan.search.strategy_search import StrategySearch
from trigan.search.trial_accounting import Budget, DeadWorkerDetector
from trigan.search.trial_progress import SearchReporter
from trigan.search.worker_lock import WorkerLock

if TYPE_CHECKING:
    import optuna

#: Seconds between two looks at the children, and at the list of all trials.
_POLL, _LIST = 0.05, 0.5
#: Seconds between two heartbeats, without one after which a worker on another machine is dead, until SIGKILL.
HEARTBEAT_SECONDS, HEARTBEAT_TIMEOUT, _KILL = 30.0, 180.0, 15.0


@dataclass(frozen=True)
class SearchSettings:
    """How trials are chosen and run; ``extra`` goes before every trial's settings."""

    budget: Budget
    metric: ValidationMetric
    sampler: Literal["random", "tpe"] = "tpe"
    seed: int = 0
    prune: bool = True
    slots: int = 1
    timeout: float | None = None
    extra: tuple[str, ...] = ()


@dataclass
class Worker:
    """One process's share of a search: ``settings.slots`` children at a time.

    Args:
        searches: each strategy with its study.
        launch: gives the launcher, when the first child is to be started.
    """

    searches: Sequence[tuple[StrategySearch, "optuna.Study"]]
    settings: SearchSettings
    launch: Callable[[], Launcher]
    reporter: SearchReporter
    worker_lock: WorkerLock
    running: dict[str, RunningTrial] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._watch = DeadWorkerDetector(self.worker_lock.alive, HEARTBEAT_TIMEOUT)
        self._beaten, self._beats, self._listed = time.monotonic(), 0, 0.0
        self._launcher: Launcher | None = None
        for _, study in self.searches:
            study.pruner = pruner()

    def run(self) -> None:
        """Work until the budget is spent and no trial, of any worker, is at work.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; whoever comes next begins the trials at work anew, from their checkpoints.
        """
        with deferred_signals() as caught:
            while not caught:
                landed = self._land()
                for running_trial in self.running.values():
                    self._look(running_trial)
                self._beat()
                if (landed or time.monotonic() - self._listed >= _LIST) and self._round():
                    return
                time.sleep(_POLL)
            self._end_all(caught)
            raise Interrupted("search stopped; the same command goes on from there", caught[0])

    # The list of all trials -------------------------------------------------------------------------------------

    def trials(self) -> list[list["optuna.trial.FrozenTrial"]]:
        """The trials of each strategy, as they stand."""
        return [study.get_trials(deepcopy=False) for _, study in self.searches]

    def _round(self) -> bool:
        """Begin dead workers' trials anew, and new ones where there is room; whether all is done."""
        books = self.trials()
        self._rescue(books)
        while len(self.running) < self.settings.slots:
            books = self.trials()
            chosen = self.settings.budget.next_strategy(books, self._running(books))
            if chosen is None:
                break
            self._start(chosen)
        self._listed = time.monotonic()
        at_work = [
            t
            for book in books
            for t in trial_accounting.counted_trials(book)
            if trial_accounting.state(t) in ("RUNNING", "WAITING")
        ]
        self.reporter.waiting_for(len(at_work) if not self.running else 0)
        return not self.running and not at_work

    def _running(self, books: Sequence[Sequence[Any]]) -> float:
        """Seconds that the trials at work have taken."""
        from datetime import datetime

        running = [
            t for book in books for t in trial_accounting.counted_trials(book) if trial_accounting.state(t) == "RUNNING"
        ]
        return sum((datetime.now() - t.datetime_start).total_seconds() for t in running if t.datetime_start)

    def _rescue(self, books: Sequence[Sequence[Any]]) -> None:
        own = {(running_trial.strategy_index, running_trial.trial.number) for running_trial in self.running.values()}
        for index, book in enumerate(books):
            for trial in trial_accounting.counted_trials(book):
                if trial_accounting.state(trial) != "RUNNING" or (index, trial.number) in own:
                    continue
                if self._watch.is_dead(index, trial, time.monotonic()):
                    attempt = trial.user_attrs.get(trial_accounting.ATTEMPT, 1)
                    self.reporter.log(f"{self._name(index, trial.number)}: its worker is gone, attempt {attempt}")
                    self._again(index, trial, attempt + 1)

    def _again(self, index: int, trial: Any, attempt: int) -> None:
        """Queue a trial's point anew, then end the trial; in this order, so that nothing is lost in between."""
        _, study = self.searches[index]
        if attempt <= trial_accounting.ATTEMPTS:
            ticket = {
                trial_accounting.ENQUEUED_AS: trial_accounting.retry_of(trial.number),
                trial_accounting.ATTEMPT: attempt,
            }
            study.enqueue_trial(dict(trial.params), user_attrs=ticket)
        _tell(study, trial.number, None, "FAIL")

    # One trial --------------------------------------------------------------------------------------------------

    def _start(self, index: int) -> None:
        """Take the next trial of a strategy and start its child, unless its point is no run, or done already."""
        target, study = self.searches[index]
        study.sampler = sampler(self.settings.sampler, self.settings.seed, -1)
        trial = study.ask()
        trial.set_user_attr(trial_accounting.WORKER, self.worker_lock.name)
        if trial_accounting.is_surplus(study.get_trials(deepcopy=False), trial.number, self.settings.budget.trials):
            trial.set_user_attr(trial_accounting.WITHDRAWN, True)
            _tell(study, trial.number, None, "FAIL")
            return
        study.sampler = sampler(self.settings.sampler, self.settings.seed, trial.number)
        point = {one.key: suggest(trial, one) for one in target.space.dimensions}
        running_trial = RunningTrial(index, trial, Job(self._name(index, trial.number), ()), target.folder / "logs")
        try:
            composed = target.compose(point)
        except ConfigError as error:
            self._fail(running_trial, str(error))
            return
        run = target.run_hash(composed)
        trial.set_user_attr(trial_accounting.RUN, run)
        running_trial.record_path, running_trial.validation_curve = (
            target.record_path(run),
            target.validation_curve(run),
        )
        if running_trial.record_path.exists():
            self._finish(running_trial)
            return
        running_trial.job = Job(
            running_trial.job.name, ("--validation-only", *self.settings.extra, *target.trial_overrides(point))
        )
        running_trial.log.parent.mkdir(parents=True, exist_ok=True)
        running_trial.log.unlink(missing_ok=True)
        self._launcher = self._launcher or self.launch()
        self._launcher.start(running_trial.job, running_trial.log)
        self.running[running_trial.job.name] = running_trial

    def _name(self, index: int, number: int) -> str:
        return f"{self.searches[index][0].space.name} trial {number}"

    def _land(self) -> bool:
        """Tell how the children that have ended ended; whether there were any."""
        ended = self._launcher.ended() if self._launcher else {}
        for name, code in ended.items():
            running_trial = self.running.pop(name)
            self._look(running_trial)
            if code == 0 and running_trial.record_path is not None and running_trial.record_path.exists():
                self._finish(running_trial)
            elif running_trial.pruned:
                self._settle(running_trial, None, "PRUNED")
            else:
                code = TIMED_OUT if running_trial.timed_out else code
                self._fail(
                    running_trial, JobResult(running_trial.job, code, running_trial.seconds, running_trial.log).reason
                )
        return bool(ended)

    def _finish(self, running_trial: RunningTrial) -> None:
        assert running_trial.record_path is not None
        try:
            sealed = read_validation_record(running_trial.record_path)
        except TriganError as error:
            self._fail(running_trial, str(error))
            return
        running_trial.flops = sealed["result"]["cost"]["flops"]
        value = self.settings.metric.from_record(sealed)
        if sealed["result"]["status"] == "diverged":
            self._fail(running_trial, "diverged")
        elif value is None:
            self._fail(running_trial, f"no {self.settings.metric.name}: its scores are no probabilities")
        else:
            self._settle(running_trial, value, "COMPLETE")

    def _fail(self, running_trial: RunningTrial, reason: str) -> None:
        running_trial.set_attribute(trial_accounting.REASON, reason[:500])
        self._settle(running_trial, None, "FAIL", reason)

    def _settle(self, running_trial: RunningTrial, value: float | None, how: str, reason: str = "") -> None:
        """Write what the trial took, then how it ended; one that was taken for dead in the meantime is left alone."""
        _, study = self.searches[running_trial.strategy_index]
        running_trial.set_attribute(trial_accounting.SECONDS, running_trial.seconds)
        running_trial.set_attribute(trial_accounting.FLOPS, running_trial.flops)
        if _tell(study, running_trial.trial.number, value, how):
            self.reporter.trial_ended(running_trial, value, how, reason, self.trials())

    # Children at work -------------------------------------------------------------------------------------------

    def _look(self, running_trial: RunningTrial) -> None:
        """Pass on what a child has seen of the validation images; end it where it is hopeless or out of time."""
        for images, accuracy in running_trial.new_validations():
            if self.settings.prune and not running_trial.ended_at and running_trial.should_prune(images, accuracy):
                running_trial.pruned = True
                self._signal(running_trial, signal.SIGTERM)
        now = time.monotonic()
        if (
            self.settings.timeout is not None
            and running_trial.seconds > self.settings.timeout
            and not running_trial.ended_at
        ):
            running_trial.timed_out = True
            self._signal(running_trial, signal.SIGTERM)
        if running_trial.ended_at and now - running_trial.ended_at > _KILL:
            self._signal(running_trial, signal.SIGKILL)

    def _signal(self, running_trial: RunningTrial, number: int) -> None:
        if self._launcher is not None and running_trial.job.name in self.running:
            self._launcher.signal(running_trial.job.name, number)
            running_trial.ended_at = running_trial.ended_at or time.monotonic()

    def _beat(self) -> None:
        if time.monotonic() - self._beaten < HEARTBEAT_SECONDS:
            return
        self._beaten, self._beats = time.monotonic(), self._beats + 1
        for running_trial in self.running.values():
            running_trial.set_attribute(trial_accounting.HEARTBEAT, self._beats)

    def _end_all(self, caught: list[int]) -> None:
        """End the children, and queue their points for whoever comes next."""
        launcher = self._launcher
        for number in (signal.SIGTERM, signal.SIGKILL):
            signals = len(caught)
            for name in self.running if launcher else ():
                launcher.signal(name, number)  # type: ignore[union-attr]
            until = time.monotonic() + _KILL
            while launcher and self.running and time.monotonic() < until and len(caught) == signals:
                for name in launcher.ended():
                    running_trial = self.running.pop(name)
                    trials = self.searches[running_trial.strategy_index][1].get_trials(deepcopy=False)
                    frozen = next(trial for trial in trials if trial.number == running_trial.trial.number)
                    self._again(
                        running_trial.strategy_index, frozen, frozen.user_attrs.get(trial_accounting.ATTEMPT, 1)
                    )
                time.sleep(_POLL)


def _tell(study: "optuna.Study", number: int, value: float | None, how: str) -> bool:
    """End a trial; False where another worker has ended it before."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    try:
        study.tell(number, value, TrialState[how])
    except (ValueError, UpdateFinishedTrialError):
        return False
    return True
