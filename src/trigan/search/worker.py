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
from trigan.execution.job import TIMED_OUT, Ended, Job
from trigan.execution.launchers import Launcher
from trigan.execution.pool import Interrupted, catching
from trigan.runs.validation_run import read_sealed
from trigan.search import trial_accounting
from trigan.search.heartbeat import Presence
from trigan.search.metric import Metric
from trigan.search.running_trial import Flight
from trigan.search.storage import pruner, sampler, suggest
from trigan.search.target import Target
from trigan.search.trial_accounting import Budget, Watch
from trigan.search.trial_progress import Reporter

if TYPE_CHECKING:
    import optuna

#: Seconds between two looks at the children, and at the list of all trials.
_POLL, _LIST = 0.05, 0.5
#: Seconds between two heartbeats, without one after which a worker on another machine is dead, until SIGKILL.
BEAT, GRACE, _KILL = 30.0, 180.0, 15.0


@dataclass(frozen=True)
class Rules:
    """How trials are chosen and run; ``extra`` goes before every trial's settings."""

    budget: Budget
    metric: Metric
    sampler: Literal["random", "tpe"] = "tpe"
    seed: int = 0
    prune: bool = True
    slots: int = 1
    timeout: float | None = None
    extra: tuple[str, ...] = ()


@dataclass
class Worker:
    """One process's share of a search: ``rules.slots`` children at a time.

    Args:
        books: each strategy with its study.
        launch: gives the launcher, when the first child is to be started.
    """

    books: Sequence[tuple[Target, "optuna.Study"]]
    rules: Rules
    launch: Callable[[], Launcher]
    reporter: Reporter
    presence: Presence
    flights: dict[str, Flight] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._watch = Watch(self.presence.alive, GRACE)
        self._beaten, self._beats, self._listed = time.monotonic(), 0, 0.0
        self._launcher: Launcher | None = None
        for _, study in self.books:
            study.pruner = pruner()

    def run(self) -> None:
        """Work until the budget is spent and no trial, of any worker, is at work.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; whoever comes next begins the trials at work anew, from their checkpoints.
        """
        with catching() as caught:
            while not caught:
                landed = self._land()
                for flight in self.flights.values():
                    self._look(flight)
                self._beat()
                if (landed or time.monotonic() - self._listed >= _LIST) and self._round():
                    return
                time.sleep(_POLL)
            self._end_all(caught)
            raise Interrupted("search stopped; the same command goes on from there", caught[0])

    # The list of all trials -------------------------------------------------------------------------------------

    def trials(self) -> list[list["optuna.trial.FrozenTrial"]]:
        """The trials of each strategy, as they stand."""
        return [study.get_trials(deepcopy=False) for _, study in self.books]

    def _round(self) -> bool:
        """Begin dead workers' trials anew, and new ones where there is room; whether all is done."""
        books = self.trials()
        self._rescue(books)
        while len(self.flights) < self.rules.slots:
            books = self.trials()
            chosen = self.rules.budget.next(books, self._running(books))
            if chosen is None:
                break
            self._start(chosen)
        self._listed = time.monotonic()
        at_work = [
            t
            for book in books
            for t in trial_accounting.counted(book)
            if trial_accounting.state(t) in ("RUNNING", "WAITING")
        ]
        self.reporter.waiting(len(at_work) if not self.flights else 0)
        return not self.flights and not at_work

    def _running(self, books: Sequence[Sequence[Any]]) -> float:
        """Seconds that the trials at work have taken."""
        from datetime import datetime

        running = [
            t for book in books for t in trial_accounting.counted(book) if trial_accounting.state(t) == "RUNNING"
        ]
        return sum((datetime.now() - t.datetime_start).total_seconds() for t in running if t.datetime_start)

    def _rescue(self, books: Sequence[Sequence[Any]]) -> None:
        own = {(flight.book, flight.trial.number) for flight in self.flights.values()}
        for index, book in enumerate(books):
            for trial in trial_accounting.counted(book):
                if trial_accounting.state(trial) != "RUNNING" or (index, trial.number) in own:
                    continue
                if self._watch.dead(index, trial, time.monotonic()):
                    attempt = trial.user_attrs.get(trial_accounting.ATTEMPT, 1)
                    self.reporter.say(f"{self._name(index, trial.number)}: its worker is gone, attempt {attempt}")
                    self._again(index, trial, attempt + 1)

    def _again(self, index: int, trial: Any, attempt: int) -> None:
        """Queue a trial's point anew, then end the trial; in this order, so that nothing is lost in between."""
        _, study = self.books[index]
        if attempt <= trial_accounting.ATTEMPTS:
            ticket = {trial_accounting.TICKET: trial_accounting.again(trial.number), trial_accounting.ATTEMPT: attempt}
            study.enqueue_trial(dict(trial.params), user_attrs=ticket)
        _tell(study, trial.number, None, "FAIL")

    # One trial --------------------------------------------------------------------------------------------------

    def _start(self, index: int) -> None:
        """Take the next trial of a strategy and start its child, unless its point is no run, or done already."""
        target, study = self.books[index]
        study.sampler = sampler(self.rules.sampler, self.rules.seed, -1)
        trial = study.ask()
        trial.set_user_attr(trial_accounting.WORKER, self.presence.name)
        if trial_accounting.surplus(study.get_trials(deepcopy=False), trial.number, self.rules.budget.trials):
            trial.set_user_attr(trial_accounting.WITHDRAWN, True)
            _tell(study, trial.number, None, "FAIL")
            return
        study.sampler = sampler(self.rules.sampler, self.rules.seed, trial.number)
        point = {one.key: suggest(trial, one) for one in target.space.dimensions}
        flight = Flight(index, trial, Job(self._name(index, trial.number), ()), target.folder / "logs")
        try:
            composed = target.compose(point)
        except ConfigError as error:
            self._fail(flight, str(error))
            return
        run = target.run_hash(composed)
        trial.set_user_attr(trial_accounting.RUN, run)
        flight.record, flight.looks = target.record(run), target.looks(run)
        if flight.record.exists():
            self._finish(flight)
            return
        flight.job = Job(flight.job.name, ("--sealed", *self.rules.extra, *target.words(point)))
        flight.log.parent.mkdir(parents=True, exist_ok=True)
        flight.log.unlink(missing_ok=True)
        self._launcher = self._launcher or self.launch()
        self._launcher.start(flight.job, flight.log)
        self.flights[flight.job.name] = flight

    def _name(self, index: int, number: int) -> str:
        return f"{self.books[index][0].space.name} trial {number}"

    def _land(self) -> bool:
        """Tell how the children that have ended ended; whether there were any."""
        ended = self._launcher.ended() if self._launcher else {}
        for name, code in ended.items():
            flight = self.flights.pop(name)
            self._look(flight)
            if code == 0 and flight.record is not None and flight.record.exists():
                self._finish(flight)
            elif flight.pruned:
                self._settle(flight, None, "PRUNED")
            else:
                code = TIMED_OUT if flight.overdue else code
                self._fail(flight, Ended(flight.job, code, flight.seconds, flight.log).reason)
        return bool(ended)

    def _finish(self, flight: Flight) -> None:
        assert flight.record is not None
        try:
            sealed = read_sealed(flight.record)
        except TriganError as error:
            self._fail(flight, str(error))
            return
        flight.flops = sealed["result"]["cost"]["flops"]
        value = self.rules.metric.of(sealed)
        if sealed["result"]["status"] == "diverged":
            self._fail(flight, "diverged")
        elif value is None:
            self._fail(flight, f"no {self.rules.metric.name}: its scores are no probabilities")
        else:
            self._settle(flight, value, "COMPLETE")

    def _fail(self, flight: Flight, reason: str) -> None:
        flight.note(trial_accounting.REASON, reason[:500])
        self._settle(flight, None, "FAIL", reason)

    def _settle(self, flight: Flight, value: float | None, how: str, reason: str = "") -> None:
        """Write what the trial took, then how it ended; one that was taken for dead in the meantime is left alone."""
        _, study = self.books[flight.book]
        flight.note(trial_accounting.SECONDS, flight.seconds)
        flight.note(trial_accounting.FLOPS, flight.flops)
        if _tell(study, flight.trial.number, value, how):
            self.reporter.ended(flight, value, how, reason, self.trials())

    # Children at work -------------------------------------------------------------------------------------------

    def _look(self, flight: Flight) -> None:
        """Pass on what a child has seen of the validation images; end it where it is hopeless or out of time."""
        for images, accuracy in flight.fresh():
            if self.rules.prune and not flight.ending and flight.hopeless(images, accuracy):
                flight.pruned = True
                self._signal(flight, signal.SIGTERM)
        now = time.monotonic()
        if self.rules.timeout is not None and flight.seconds > self.rules.timeout and not flight.ending:
            flight.overdue = True
            self._signal(flight, signal.SIGTERM)
        if flight.ending and now - flight.ending > _KILL:
            self._signal(flight, signal.SIGKILL)

    def _signal(self, flight: Flight, number: int) -> None:
        if self._launcher is not None and flight.job.name in self.flights:
            self._launcher.signal(flight.job.name, number)
            flight.ending = flight.ending or time.monotonic()

    def _beat(self) -> None:
        if time.monotonic() - self._beaten < BEAT:
            return
        self._beaten, self._beats = time.monotonic(), self._beats + 1
        for flight in self.flights.values():
            flight.note(trial_accounting.BEAT, self._beats)

    def _end_all(self, caught: list[int]) -> None:
        """End the children, and queue their points for whoever comes next."""
        launcher = self._launcher
        for number in (signal.SIGTERM, signal.SIGKILL):
            signals = len(caught)
            for name in self.flights if launcher else ():
                launcher.signal(name, number)  # type: ignore[union-attr]
            until = time.monotonic() + _KILL
            while launcher and self.flights and time.monotonic() < until and len(caught) == signals:
                for name in launcher.ended():
                    flight = self.flights.pop(name)
                    trials = self.books[flight.book][1].get_trials(deepcopy=False)
                    frozen = next(trial for trial in trials if trial.number == flight.trial.number)
                    self._again(flight.book, frozen, frozen.user_attrs.get(trial_accounting.ATTEMPT, 1))
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
