"""Progress of a search: a line when a trial ends, with the best score so far and the time left."""

import logging
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from trigan.execution.job_progress import duration
from trigan.search.metric import ValidationMetric
from trigan.search.running_trial import RunningTrial
from trigan.search.trial_accounting import FLOPS, SECONDS, Budget, counted_trials, state

_log = logging.getLogger("trigan")


class SearchReporter:
    """Logs the progress of one worker."""

    def __init__(self, budget: Budget, metric: ValidationMetric) -> None:
        self._budget, self._metric, self._waiting = budget, metric, 0

    def waiting_for(self, count: int) -> None:
        """Log once that only other workers' trials are left."""
        if count and not self._waiting:
            _log.info("waiting for %d trials of other workers", count)
        self._waiting = count

    def trial_ended(
        self, running: RunningTrial, value: float | None, how: str, reason: str, books: Sequence[Sequence[Any]]
    ) -> None:
        """Log how a trial of this worker ended.

        Args:
            running: the trial.
            value: its score.
            how: ``COMPLETE``, ``PRUNED`` or ``FAIL``.
            reason: why it failed.
            books: the trials of each strategy.
        """
        best = best_trial(books[running.strategy_index], self._metric)
        best_so_far = f" (best {best.value:.4f})" if best is not None else ""
        outcome = {
            "COMPLETE": f"{self._metric.name} {value:.4f}{best_so_far}" if value is not None else "",
            "PRUNED": f"pruned{best_so_far}",
            "FAIL": f"FAILED ({reason}); log: {running.log}",
        }[how]
        done = sum(len(counted_trials(book, "COMPLETE", "PRUNED", "FAIL")) for book in books)
        of = f"/{self._budget.trials * len(books)}" if self._budget.trials is not None else ""
        parts = [f"{done}{of} done", f"{running.job.name}: {outcome} in {duration(running.seconds)}"]
        _log.info("%s", "; ".join([*parts, *self._left(books, done)]))

    def _left(self, books: Sequence[Sequence[Any]], done: int) -> list[str]:
        """Time left at the pace so far, by the bound that is reached first; empty before it is known."""
        trials = [trial for book in books for trial in book]
        seconds, flops = ([t.user_attrs[key] for t in trials if t.user_attrs.get(key)] for key in (SECONDS, FLOPS))
        if not seconds:
            return []
        budget, mean, at_once = self._budget, fmean(seconds), 1 + sum(state(t) == "RUNNING" for t in trials)
        bounds = [(budget.trials * len(books) - done) * mean] if budget.trials is not None else []
        bounds += [3600 * budget.hours - sum(seconds)] if budget.hours is not None else []
        bounds += [(budget.flops - sum(flops)) / fmean(flops) * mean] if budget.flops is not None and flops else []
        left = min(bounds, default=0.0) / at_once
        return [f"about {duration(left)} left"] if left > 0 else []


def best_trial(book: Sequence[Any], metric: ValidationMetric) -> Any | None:
    """The best finished trial, the first of equal ones; None before there is one."""
    sign = 1 if metric.higher_is_better else -1
    done = counted_trials(book, "COMPLETE")
    return max(done, key=lambda trial: (sign * trial.value, -trial.number), default=None)
