"""What a search's list of trials says: which count, which of them are dead men's, what is spent. Pure functions of it.

Workers share nothing but that list. It only grows, numbers are given once and in order, so all of them read the same
from it, and no lock is needed: of several trials that stand for the same thing only the one with the lowest number
counts, and whoever finds itself to be another one withdraws.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

#: User attributes of a trial. A ticket says what a queued trial stands for: the default, or another one's retry.
ENQUEUED_AS, WITHDRAWN, WORKER, HEARTBEAT = "enqueued_as", "withdrawn", "worker", "heartbeat"
RUN, SECONDS, FLOPS, REASON, ATTEMPT = "run", "seconds", "flops", "reason", "attempt"
DEFAULT = "default"
#: How often a trial is begun anew after the death of its worker: it may be what kills them.
ATTEMPTS = 3


def retry_of(number: int) -> str:
    """The ticket of the trial that stands for ``number``, whose worker is gone."""
    return f"retry of {number}"


def counted_trials(trials: Sequence[Any]) -> list[Any]:
    """The trials of which each stands for itself: not withdrawn, no second one of a ticket, not begun anew."""
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
    ]


def is_surplus(trials: Sequence[Any], number: int, budget: int | None) -> bool:
    """Whether trial ``number`` is one too many: its ticket is another one's, or as many as are paid for come before."""
    found = [trial.number for trial in counted_trials(trials)]
    return number not in found or (budget is not None and found.index(number) >= budget)


def state(trial: Any) -> str:
    """``COMPLETE``, ``PRUNED``, ``FAIL``, ``RUNNING`` or ``WAITING``."""
    return str(trial.state.name)


@dataclass(frozen=True)
class Budget:
    """``trials`` of each strategy; ``hours`` and ``flops`` of all trials of all strategies together; None: no bound."""

    trials: int | None = None
    hours: float | None = None
    flops: float | None = None

    def is_spent(self, books: Sequence[Sequence[Any]], running: float) -> bool:
        """Whether hours or operations are used up; ``running``: seconds of those trials that are at work."""
        trials = [trial for book in books for trial in book]
        seconds, flops = attribute_sum(trials, SECONDS) + running, attribute_sum(trials, FLOPS)
        return (self.hours is not None and seconds >= 3600 * self.hours) or (
            self.flops is not None and flops >= self.flops
        )

    def next_strategy(self, books: Sequence[Sequence[Any]], running: float) -> int | None:
        """Which strategy gets the next trial; None: the budget is spent.

        The one with the fewest is next, and hours and operations are looked at only where all have equally many: a
        round that has begun is finished, so that every strategy has been given the same.
        """
        waiting = next((i for i, book in enumerate(books) if any(state(t) == "WAITING" for t in book)), None)
        if waiting is not None:
            return waiting
        counts = [len(counted_trials(book)) for book in books]
        fewest = min(counts)
        if self.trials is not None and fewest >= self.trials:
            return None
        if min(counts) == max(counts) and self.is_spent(books, running):
            return None
        return counts.index(fewest)

    def __str__(self) -> str:
        parts = [f"{self.trials} trials each"] if self.trials is not None else []
        parts += [f"{self.hours:g} hours of trials in all"] if self.hours is not None else []
        parts += [f"{self.flops:.3g} FLOPs in all"] if self.flops is not None else []
        return ", ".join(parts)


def attribute_sum(trials: Sequence[Any], attribute: str) -> float:
    """The sum of an attribute over the trials that have it."""
    return float(sum(trial.user_attrs.get(attribute) or 0 for trial in trials))


@dataclass
class DeadWorkerDetector:
    """Tells trials whose worker is dead: at once where its lock is at hand, else by a heartbeat that stays away.

    Args:
        alive: whether the worker of a name holds its lock; None where that cannot be seen from here.
        grace: seconds that a heartbeat may stay away.
    """

    alive: Callable[[str], bool | None]
    grace: float

    def __post_init__(self) -> None:
        self._seen: dict[tuple[int, int], tuple[Any, float]] = {}

    def is_dead(self, book: int, trial: Any, now: float) -> bool:
        """Whether nobody is at a running trial any more; ``now`` is this worker's own clock."""
        worker = trial.user_attrs.get(WORKER)
        held = self.alive(worker) if worker is not None else None
        if held is not None:
            return not held
        beat, (last, since) = trial.user_attrs.get(HEARTBEAT), self._seen.get((book, trial.number), (object(), now))
        if beat != last:
            self._seen[book, trial.number] = (beat, now)
            return False
        return now - since > self.grace
