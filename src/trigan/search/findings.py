"""What a search leaves: the best settings as a file that `trigan run` takes, the table of trials, two plots."""

import csv
import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigan.atomic import write_bytes
from trigan.config.settings import OBSERVERS
from trigan.config.settings_file import written
from trigan.plots.search_plots import draw_history, draw_importance
from trigan.search import trial_accounting
from trigan.search.metric import Metric
from trigan.search.target import Target
from trigan.search.trial_progress import best_of
from trigan.studies.plan import quoted

if TYPE_CHECKING:
    import optuna

BEST, TRIALS, HISTORY, IMPORTANCE = "best.yaml", "trials.csv", "history.png", "importance.png"
#: With fewer finished trials an importance says nothing.
_ENOUGH = 10


def leave(target: Target, study: "optuna.Study", metric: Metric, sampler: str) -> bool:
    """Write the findings of a strategy, say where they are; False where no trial came to its end."""
    book = study.get_trials(deepcopy=False)
    trials = trial_accounting.counted(book)
    write_bytes(target.folder / TRIALS, _table(target, trials, metric).encode())
    best = best_of(book, metric)
    counts = {how: sum(trial_accounting.state(t) == how for t in trials) for how in ("COMPLETE", "PRUNED", "FAIL")}
    spent = f"{len(trials)} trials ({counts['COMPLETE']} finished, {counts['PRUNED']} pruned, {counts['FAIL']} failed)"
    if best is None:
        print(f"{target.space.name}: {spent}; none came to its end, see {target.folder / TRIALS}")
        return False
    words = [*target.found(best.params), *_stamp(target, len(trials))]
    about = {
        "search": target.name,
        "trials": len(trials),
        "metric": f"validation/{metric.name}",
        "value": best.value,
        "validation_labels": target.labels,
        "trial": target.trial,
        "sampler": sampler,
        "flops": trial_accounting.total(book, trial_accounting.FLOPS),
    }
    heading = (
        f"The best of {len(trials)} trials by {metric.name} on {target.labels} validation labels of trial "
        f"{target.trial}; no test score was looked at.\n{command(target)}"
    )
    write_bytes(target.folder / BEST, written(words, about, heading))
    _draw(target, study, trials, metric)
    print(f"{target.space.name}: {metric.name} {best.value:.4f} on {target.labels} validation labels, {spent}")
    for word in target.space.words(best.params):
        print(f"  {word}")
    print(f"  {command(target)}")
    return True


def command(target: Target) -> str:
    """The command that runs the best settings; those that only say where and how stand in it."""
    kept = [word for word in target.settings if word.partition("=")[0].split(".")[0] in OBSERVERS]
    return shlex.join(["trigan", "run", "--settings", str(target.folder / BEST), *kept])


def _stamp(target: Target, trials: int) -> list[str]:
    return [f"tuned.search={quoted(target.name)}", f"tuned.trials={trials}", f"tuned.labels={target.labels}"]


def _table(target: Target, trials: Sequence[Any], metric: Metric) -> str:
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


def _draw(target: Target, study: "optuna.Study", trials: Sequence[Any], metric: Metric) -> None:
    kinds = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
    points = [
        (t.number, t.value, kinds[trial_accounting.state(t)]) for t in trials if trial_accounting.state(t) in kinds
    ]
    title = f"{target.space.name}: {target.labels} validation labels"
    draw_history(points, metric.name, metric.higher, title, target.folder / HISTORY)
    if sum(trial_accounting.state(t) == "COMPLETE" for t in trials) < _ENOUGH:
        return
    shares = _importance(study)
    if shares:
        draw_importance(shares, title, target.folder / IMPORTANCE)


def _importance(study: "optuna.Study") -> dict[str, float]:
    """Share of each setting in what sets good trials apart (PED-ANOVA); empty where all scored alike."""
    from optuna.importance import get_param_importances

    try:
        return get_param_importances(study)
    except (ValueError, RuntimeError):  # nothing varied, or nothing differed
        return {}


def folder_of(targets: Sequence[Target]) -> Path:
    """Where the locks of workers lie: one folder for all strategies of a search."""
    return targets[0].outputs / "search" / "workers"
