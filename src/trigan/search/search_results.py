"""What a search writes: the best settings as a file that `trigan run` takes, the table of trials, two plots."""

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.importance import get_param_importances

from trigan.atomic import write_bytes, write_text
from trigan.config.override_rules import hydra_quoted
from trigan.config.settings import UNHASHED_KEYS
from trigan.config.settings_file import settings_yaml
from trigan.plots.search_plots import plot_search_history, plot_setting_importance
from trigan.search.metric import ValidationMetric
from trigan.search.strategy_search import StrategySearch
from trigan.search.trial_accounting import FLOPS, REASON, RUN, SECONDS, attribute_sum, best_trial, counted_trials, state
from trigan.tracking.curve_files import csv_bytes

BEST_FILE, TRIALS_FILE, HISTORY_FILE, IMPORTANCE_FILE = "best.yaml", "trials.csv", "history.png", "importance.png"
#: Finished trials that an estimate of importance needs.
_ENOUGH = 10


@dataclass(frozen=True)
class SearchResult:
    """The outcome of a search for one strategy.

    Attributes:
        search: the strategy and its space.
        metric: name of the validation score.
        value: the best score; None where no trial finished.
        counts: trials by state: ``COMPLETE``, ``PRUNED``, ``FAIL``.
        settings: the best values of the space, as settings.
        command: runs the best settings; empty where no trial finished.
        tuned: settings that name the search and count its trials and labels.
    """

    search: StrategySearch
    metric: str
    value: float | None
    counts: Counter[str]
    settings: tuple[str, ...] = ()
    command: str = ""
    tuned: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The outcome in words."""
        counts, name = self.counts, self.search.space.name
        ended = f"{counts['COMPLETE']} finished, {counts['PRUNED']} pruned, {counts['FAIL']} failed"
        trials = f"{counts.total()} trials ({ended})"
        if self.value is None:
            return [f"{name}: {trials}; none finished, see {self.search.folder / TRIALS_FILE}"]
        labels = f"{self.search.validation_labels} validation labels"
        best = f"{name}: {self.metric} {self.value:.4f} on {labels}, {trials}"
        return [best, *(f"  {word}" for word in (*self.settings, self.command))]


def write_search_results(
    search: StrategySearch, study: optuna.Study, metric: ValidationMetric, sampler: str
) -> SearchResult:
    """Write the table of trials and, if one finished, the best settings and the plots."""
    book = study.get_trials(deepcopy=False)
    trials = counted_trials(book)
    write_bytes(search.folder / TRIALS_FILE, _trials_csv(search, trials, metric))
    counts, best = Counter(map(state, trials)), best_trial(book, metric)
    if best is None:
        return SearchResult(search, metric.name, None, counts)
    tuned = [f"tuned.search={hydra_quoted(search.name)}", f"tuned.trials={len(trials)}"]
    # settings that only say where and how to run are not part of the file
    extra = [word for word in search.settings if re.split("[./=]", word)[0] in UNHASHED_KEYS]
    kept = [word for word in search.settings if word not in extra]
    settings = search.space.overrides(best.params)
    tuned += [f"tuned.labels={search.validation_labels}", f"tuned.trial={search.trial}"]
    words = [*search.space.strategy, *kept, *settings, *tuned]
    about = {
        "search": search.name,
        "trials": len(trials),
        "metric": f"validation/{metric.name}",
        "value": best.value,
        "validation_labels": search.validation_labels,
        "trial": search.trial,
        "sampler": sampler,
        "flops": attribute_sum(book, FLOPS),
    }
    command = shlex.join(["trigan", "run", "--settings", str(search.folder / BEST_FILE), *extra])
    heading = (
        f"The best of {len(trials)} trials by {metric.name} on {search.validation_labels} validation labels of trial "
        f"{search.trial}; the test set was not used.\n{command}"
    )
    write_text(search.folder / BEST_FILE, settings_yaml(words, about, heading))
    _plot(search, study, trials, metric)
    return SearchResult(search, metric.name, float(best.value), counts, tuple(settings), command, tuple(tuned))


def _trials_csv(search: StrategySearch, trials: Sequence[Any], metric: ValidationMetric) -> bytes:
    """A row a trial: how it ended, its score, its point, its cost; replaced trials are left out."""
    keys = [one.key for one in search.space.dimensions]
    rows: list[list[object]] = [["trial", "state", metric.name, *keys, "seconds", "flops", "run", "reason"]]
    for trial in trials:
        value = trial.value if state(trial) == "COMPLETE" else ""
        point = [trial.params.get(key, "") for key in keys]
        attributes = [trial.user_attrs.get(name, "") for name in (SECONDS, FLOPS, RUN, REASON)]
        rows.append([trial.number, state(trial).lower(), value, *point, *attributes])
    return csv_bytes(rows)


def _plot(search: StrategySearch, study: optuna.Study, trials: Sequence[Any], metric: ValidationMetric) -> None:
    kinds = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
    points = [(t.number, t.value, kinds[state(t)]) for t in trials if state(t) in kinds]
    title = f"{search.space.name}: {search.validation_labels} validation labels"
    plot_search_history(points, metric.name, metric.higher_is_better, title, search.folder / HISTORY_FILE)
    if sum(kind == "finished" for *_, kind in points) < _ENOUGH:
        return
    try:
        shares = get_param_importances(study)  # PED-ANOVA
    except (ValueError, RuntimeError):  # no setting varied, or all trials scored the same
        return
    if shares:
        plot_setting_importance(shares, title, search.folder / IMPORTANCE_FILE)
