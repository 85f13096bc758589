"""Progress of a search: a line when a trial ends, with the best score so far and the time left."""

import logging
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from trigan.execution.job_progress import duration
from trigan.search.metric import ValidationMetric
from trigan.search.running_trial import RunningTrial
from trigan.search.trial_accounting import FLOPS, SECONDS, Budget, counted_trials
from trigan.search.trial_accounting import state as trial_state

_log = logging.getLogger("trigan")


def log_ended_trial(
    running: RunningTrial,
    outcome: tuple[str, float | None, str],
    budget: Budget,
    metric: ValidationMetric,
    books: Sequence[Sequence[Any]],
) -> None:
    """Log how a trial of this worker ended.

    Args:
        running: the trial.
        outcome: ``COMPLETE``, ``PRUNED`` or ``FAIL``, its score, and why it failed.
        budget: of the search.
        metric: of the search.
        books: the trials of each strategy.
    """
    state, value, reason = outcome
    best = best_trial(books[running.strategy_index], metric)
    words = {"PRUNED": "pruned", "FAIL": f"FAILED ({reason}); log: {running.log}"}.get(
        state, f"{metric.name} {value or 0.0:.4f}"
    )
    if best is not None and state != "FAIL":
        words += f" (best {best.value:.4f})"
    done = sum(len(counted_trials(book, "COMPLETE", "PRUNED", "FAIL")) for book in books)
    of = f"/{budget.trials * len(books)}" if budget.trials is not None else ""
    left = _seconds_left(budget, books, done)
    ended = f"{done}{of} done; {running.job.name}: {words} in {duration(running.seconds)}"
    _log.info("%s%s", ended, f"; about {duration(left)} left" if left > 0 else "")


def _seconds_left(budget: Budget, books: Sequence[Sequence[Any]], done: int) -> float:
    """Time left at the pace so far, by the bound that is reached first; 0 before it is known."""
    trials = [trial for book in books for trial in book]
    seconds, flops = ([t.user_attrs[key] for t in trials if t.user_attrs.get(key)] for key in (SECONDS, FLOPS))
    if not seconds:
        return 0.0
    mean, at_once = fmean(seconds), 1 + sum(trial_state(t) == "RUNNING" for t in trials)
    bounds = [(budget.trials * len(books) - done) * mean] if budget.trials is not None else []
    bounds += [3600 * budget.hours - sum(seconds)] if budget.hours is not None else []
    bounds += [(budget.flops - sum(flops)) / fmean(flops) * mean] if budget.flops is not None and flops else []
    return min(bounds, default=0.0) / at_once


def best_trial(book: Sequence[Any], metric: ValidationMetric) -> Any | None:
    """The best finished trial, the first of equal ones; None before there is one."""
    sign = 1 if metric.higher_is_better else -1
    done = counted_trials(book, "COMPLETE")
    return max(done, key=lambda trial: (sign * trial.value, -trial.number), default=None)
