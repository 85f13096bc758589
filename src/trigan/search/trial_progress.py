"""What a search's user sees while it works: a line when a trial ends, with the best so far and the time left."""

import sys
from collections.abc import Sequence
from statistics import fmean
from typing import Any, TextIO

from trigan.execution.progress import duration
from trigan.search import trial_accounting
from trigan.search.metric import ValidationMetric
from trigan.search.running_trial import RunningTrial
from trigan.search.trial_accounting import Budget


class SearchReporter:
    """Prints to standard error."""

    def __init__(self, budget: Budget, metric: ValidationMetric, out: TextIO | None = None) -> None:
        self._budget, self._metric, self._out = budget, metric, out or sys.stderr
        self._waiting = 0

    def log(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def waiting_for(self, count: int) -> None:
        """Say once that only other workers' trials are left."""
        if count and not self._waiting:
            self.log(f"waiting for {count} trials of other workers")
        self._waiting = count

    def trial_ended(
        self, running_trial: RunningTrial, value: float | None, how: str, reason: str, books: Sequence[Sequence[Any]]
    ) -> None:
        """A trial of this worker has ended."""
        best = best_trial(books[running_trial.strategy_index], self._metric)
        beside = f" (best {best.value:.4f})" if best is not None else ""
        said = {
            "COMPLETE": f"{self._metric.name} {value:.4f}{beside}" if value is not None else "",
            "PRUNED": f"pruned{beside}",
            "FAIL": f"FAILED ({reason}); log: {running_trial.log}",
        }[how]
        done = [
            sum(trial_accounting.state(t) not in ("RUNNING", "WAITING") for t in trial_accounting.counted_trials(book))
            for book in books
        ]
        of = f"/{self._budget.trials * len(books)}" if self._budget.trials is not None else ""
        parts = [f"{sum(done)}{of} done", f"{running_trial.job.name}: {said} in {duration(running_trial.seconds)}"]
        self.log("; ".join([*parts, *self._left(books, sum(done))]))

    def _left(self, books: Sequence[Sequence[Any]], done: int) -> list[str]:
        """Time left at the pace so far, by whichever bound comes first; nothing before it is known."""
        trials = [trial for book in books for trial in book]
        seconds = [t.user_attrs[trial_accounting.SECONDS] for t in trials if t.user_attrs.get(trial_accounting.SECONDS)]
        if not seconds:
            return []
        mean, at_once = fmean(seconds), 1 + sum(trial_accounting.state(t) == "RUNNING" for t in trials)
        bounds = []
        if self._budget.trials is not None:
            bounds.append((self._budget.trials * len(books) - done) * mean)
        if self._budget.hours is not None:
            bounds.append(3600 * self._budget.hours - sum(seconds))
        flops = [t.user_attrs[trial_accounting.FLOPS] for t in trials if t.user_attrs.get(trial_accounting.FLOPS)]
        if self._budget.flops is not None and flops:
            bounds.append((self._budget.flops - sum(flops)) / fmean(flops) * mean)
        left = min(bounds, default=0.0) / at_once
        return [f"about {duration(left)} left"] if left > 0 else []


def best_trial(book: Sequence[Any], metric: ValidationMetric) -> Any | None:
    """The best finished trial, of equal ones the first; None before there is one."""
    done = [trial for trial in trial_accounting.counted_trials(book) if trial_accounting.state(trial) == "COMPLETE"]
    sign = 1 if metric.higher_is_better else -1
    return max(done, key=lambda trial: (sign * trial.value, -trial.number), default=None)
