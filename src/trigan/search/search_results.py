"""What a search leaves: the best settings as a file that `trigan run` takes, the table of trials, two plots."""

import csv
import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigan.atomic import write_bytes
from trigan.config.settings import UNHASHED_KEYS
from trigan.config.settings_file import settings_yaml
from trigan.plots.search_plots import plot_search_history, plot_setting_importance
from trigan.search import trial_accounting
from trigan.search.metric import ValidationMetric
from trigan.search.strategy_search import StrategySearch
from trigan.search.trial_progress import best_trial
from trigan.studies.plan import hydra_quoted

if TYPE_CHECKING:
    import optuna

BEST_FILE, TRIALS_FILE, HISTORY_FILE, IMPORTANCE_FILE = "best.yaml", "trials.csv", "history.png", "importance.png"
#: With fewer finished trials an importance says nothing.
_ENOUGH = 10


def write_search_results(target: StrategySearch, study: "optuna.Study", metric: ValidationMetric, sampler: str) -> bool:
    """Write the findings of a strategy, say where they are; False where no trial came to its end."""
    book = study.get_trials(deepcopy=False)
    trials = trial_accounting.counted_trials(book)
    write_bytes(target.folder / TRIALS_FILE, _table(target, trials, metric).encode())
    best = best_trial(book, metric)
    counts = {how: sum(trial_accounting.state(t) == how for t in trials) for how in ("COMPLETE", "PRUNED", "FAIL")}
    spent = f"{len(trials)} trials ({counts['COMPLETE']} finished, {counts['PRUNED']} pruned, {counts['FAIL']} failed)"
    if best is None:
        print(f"{target.space.name}: {spent}; none came to its end, see {target.folder / TRIALS_FILE}")
        return False
    words = [*target.best_overrides(best.params), *_stamp(target, len(trials))]
    about = {
        "search": target.name,
        "trials": len(trials),
        "metric": f"validation/{metric.name}",
        "value": best.value,
        "validation_labels": target.validation_labels,
        "trial": target.trial,
        "sampler": sampler,
        "flops": trial_accounting.attribute_sum(book, trial_accounting.FLOPS),
    }
    heading = (
        f"The best of {len(trials)} trials by {metric.name} on {target.validation_labels} validation labels of trial "
        f"{target.trial}; no test score was looked at.\n{best_run_command(target)}"
    )
    write_bytes(target.folder / BEST_FILE, settings_yaml(words, about, heading))
    _draw(target, study, trials, metric)
    print(
        f"{target.space.name}: {metric.name} {best.value:.4f} on {target.validation_labels} validation labels, {spent}"
    )
    for word in target.space.overrides(best.params):
        print(f"  {word}")
    print(f"  {best_run_command(target)}")
    return True


def best_run_command(target: StrategySearch) -> str:
    """The command that runs the best settings; those that only say where and how stand in it."""
    kept = [word for word in target.settings if word.partition("=")[0].split(".")[0] in UNHASHED_KEYS]
    return shlex.join(["trigan", "run", "--settings", str(target.folder / BEST_FILE), *kept])


def _stamp(target: StrategySearch, trials: int) -> list[str]:
    return [
        f"tuned.search={hydra_quoted(target.name)}",
        f"tuned.trials={trials}",
        f"tuned.labels={target.validation_labels}",
    ]


def _table(target: StrategySearch, trials: Sequence[Any], metric: ValidationMetric) -> str:
    """A row a trial: how it ended, its score, its point, what it cost; those that stand for others are not in it."""
    keys = [one.key for one in target.space.dimensions]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["trial", "state", metric.name, *keys, "seconds", "flops", "run", "reason"])
    for trial in trials:
        value = trial.value if trial_accounting.state(trial) == "COMPLETE" else ""
        point = [trial.params.get(key, "") for key in keys]
        noted = [
            trial.user_attrs.get(name, "")
            for name in (
                trial_accounting.SECONDS,
                trial_accounting.FLOPS,
                trial_accounting.RUN,
                trial_accounting.REASON,
            )
        ]
        table.writerow([trial.number, trial_accounting.state(trial).lower(), value, *point, *noted])
    return text.getvalue()


def _draw(target: StrategySearch, study: "optuna.Study", trials: Sequence[Any], metric: ValidationMetric) -> None:
    kinds = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
    points = [
        (t.number, t.value, kinds[trial_accounting.state(t)]) for t in trials if trial_accounting.state(t) in kinds
    ]
    title = f"{target.space.name}: {target.validation_labels} validation labels"
    plot_search_history(points, metric.name, metric.higher_is_better, title, target.folder / HISTORY_FILE)
    if sum(trial_accounting.state(t) == "COMPLETE" for t in trials) < _ENOUGH:
        return
    shares = _importance(study)
    if shares:
        plot_setting_importance(shares, title, target.folder / IMPORTANCE_FILE)


def _importance(study: "optuna.Study") -> dict[str, float]:
    """Share of each setting in what sets good trials apart (PED-ANOVA); empty where all scored alike."""
    from optuna.importance import get_param_importances

    try:
        return get_param_importances(study)
    except (ValueError, RuntimeError):  # nothing varied, or nothing differed
        return {}


def worker_lock_folder(targets: Sequence[StrategySearch]) -> Path:
    """Where the locks of workers lie: one folder for all strategies of a search."""
    return targets[0].outputs / "search" / "workers"
