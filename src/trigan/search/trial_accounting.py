"""What a search's list of trials says: which trials count, which lost their worker, how much of the budget is spent.

Workers share nothing but that list. It only grows, and numbers are given once and in order, so all workers read the
same from it and need no lock: of several trials that stand for the same thing only the one with the lowest number
counts, and a worker that holds another one withdraws it. All functions here are pure functions of the list.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from trigan.search.metric import ValidationMetric

#: User attributes of a trial. ``enqueued_as`` says what a queued trial stands for: the default, or another one's retry.
ENQUEUED_AS, WITHDRAWN, WORKER, HEARTBEAT = "enqueued_as", "withdrawn", "worker", "heartbeat"
RUN, SECONDS, FLOPS, REASON, ATTEMPT = "run", "seconds", "flops", "reason", "attempt"
DEFAULT = "default"
#: Attempts at a trial whose workers die: the trial itself may be what kills them.
ATTEMPTS = 3


def retry_of(number: int) -> str:
    """``enqueued_as`` of the trial that replaces trial ``number``, whose worker died."""
    return f"retry of {number}"


def counted_trials(trials: Sequence[Any], *states: str) -> list[Any]:
    """The trials that are neither withdrawn, nor duplicates, nor replaced by a retry; those in ``states``, if given."""
    first: dict[str, int] = {}
    for trial in trials:
        if ENQUEUED_AS in trial.user_attrs and WITHDRAWN not in trial.user_attrs:
            first.setdefault(trial.user_attrs[ENQUEUED_AS], trial.number)
    return [
        trial
        for trial in trials
        if WITHDRAWN not in trial.user_attrs
        and retry_of(trial.number) not in first
        and first.get(trial.user_attrs.get(ENQUEUED_AS, ""), trial.number) == trial.number
        and (not states or state(trial) in states)
    ]


def ordinal(trials: Sequence[Any], number: int, budget: int | None) -> int | None:
    """The position of trial ``number`` among the counted ones; None for a duplicate, or above the budget of trials.

    A retry has the position of the trial that it replaces, so that a search goes on alike after its worker was killed.
    """
    counted = [trial.number for trial in counted_trials(trials)]
    found = counted.index(number) if number in counted else None
    return None if found is None or (budget is not None and found >= budget) else found


def state(trial: Any) -> str:
    """``COMPLETE``, ``PRUNED``, ``FAIL``, ``RUNNING`` or ``WAITING``."""
    return str(trial.state.name)


@dataclass(frozen=True)
class Budget:
    """``trials`` of each strategy; ``hours`` and ``flops`` of all trials of all strategies together; None: no bound."""

    trials: int | None = None
    hours: float | None = None
    flops: float | None = None

    def next_strategy(self, books: Sequence[Sequence[Any]], running: float) -> int | None:
        """Which strategy gets the next trial; None: the budget is spent.

        The strategy with the fewest trials is next. Hours and operations are compared only where all have equally
        many: a round that has begun is finished, so that every strategy gets the same number. ``running``: seconds of
        the running trials.
        """
        queued = next((i for i, book in enumerate(books) if any(state(t) == "WAITING" for t in book)), None)
        if queued is not None:
            return queued
        counts = [len(counted_trials(book)) for book in books]
        fewest = min(counts)
        if self.trials is not None and fewest >= self.trials:
            return None
        trials = [trial for book in books for trial in book]
        hours = self.hours is not None and attribute_sum(trials, SECONDS) + running >= 3600 * self.hours
        flops = self.flops is not None and attribute_sum(trials, FLOPS) >= self.flops
        return None if fewest == max(counts) and (hours or flops) else counts.index(fewest)

    def seconds_left(self, books: Sequence[Sequence[Any]], done: int) -> float:
        """Seconds left at the pace so far, by the bound that is reached first; 0 before it is known."""
        trials = [trial for book in books for trial in book]
        seconds, flops = ([t.user_attrs[key] for t in trials if t.user_attrs.get(key)] for key in (SECONDS, FLOPS))
        if not seconds:
            return 0.0
        mean, at_once = fmean(seconds), 1 + sum(state(t) == "RUNNING" for t in trials)
        bounds = [(self.trials * len(books) - done) * mean] if self.trials is not None else []
        bounds += [3600 * self.hours - sum(seconds)] if self.hours is not None else []
        bounds += [(self.flops - sum(flops)) / fmean(flops) * mean] if self.flops is not None and flops else []
        return min(bounds, default=0.0) / at_once

    def __str__(self) -> str:
        parts = [f"{self.trials} trials each"] if self.trials is not None else []
        parts += [f"{self.hours:g} hours of trials in all"] if self.hours is not None else []
        parts += [f"{self.flops:.3g} FLOPs in all"] if self.flops is not None else []
        return ", ".join(parts)


def attribute_sum(trials: Sequence[Any], attribute: str) -> float:
    """The sum of an attribute over the trials that have it."""
    return float(sum(trial.user_attrs.get(attribute) or 0 for trial in trials))


def best_trial(book: Sequence[Any], metric: ValidationMetric) -> Any | None:
    """The best finished trial, the first of equal ones; None before there is one."""
    sign = 1 if metric.higher_is_better else -1
    done = counted_trials(book, "COMPLETE")
    return max(done, key=lambda trial: (sign * trial.value, -trial.number), default=None)


@dataclass
class DeadWorkerDetector:
    """Detects trials whose worker is dead: at once where its lock can be tested, else when heartbeats stop.

    Args:
        alive: whether the worker of a name holds its lock; None where that cannot be tested from this machine.
        grace: seconds without a heartbeat after which a worker is dead.
    """

    alive: Callable[[str], bool | None]
    grace: float
    _seen: dict[tuple[int, int], tuple[Any, float]] = field(default_factory=dict, init=False)

    def is_dead(self, book: int, trial: Any, now: float) -> bool:
        """Whether the worker of a running trial is dead; ``now``: this worker's own clock, in seconds."""
        worker = trial.user_attrs.get(WORKER)
        held = self.alive(worker) if worker is not None else None
        if held is not None:
            return not held
        beat, (last, since) = trial.user_attrs.get(HEARTBEAT), self._seen.get((book, trial.number), (object(), now))
        if beat != last:
            self._seen[book, trial.number] = (beat, now)
            return False
        return now - since > self.grace
