"""What a search leaves: the best settings as a file that `trigan run` takes, the table of trials, two plots."""

import csv
import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigan.cli.search import ledger
from trigan.cli.search.metric import Metric
from trigan.cli.search.report import best_of
from trigan.cli.search.target import Target
from trigan.cli.settings import OBSERVERS
from trigan.cli.settings_file import written
from trigan.cli.study import quoted
from trigan.results.files import write_atomically
from trigan.results.search import draw_history, draw_importance

if TYPE_CHECKING:
    import optuna

BEST, TRIALS, HISTORY, IMPORTANCE = "best.yaml", "trials.csv", "history.png", "importance.png"
#: With fewer finished trials an importance says nothing.
_ENOUGH = 10


def leave(target: Target, study: "optuna.Study", metric: Metric, sampler: str) -> bool:
    """Write the findings of a strategy, say where they are; False where no trial came to its end."""
    book = study.get_trials(deepcopy=False)
    trials = ledger.counted(book)
    write_atomically(target.folder / TRIALS, _table(target, trials, metric).encode())
    best = best_of(book, metric)
    counts = {how: sum(ledger.state(t) == how for t in trials) for how in ("COMPLETE", "PRUNED", "FAIL")}
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
        "flops": ledger.total(book, ledger.FLOPS),
    }
    heading = (
        f"The best of {len(trials)} trials by {metric.name} on {target.labels} validation labels of trial "
        f"{target.trial}; no test score was looked at.\n{command(target)}"
    )
    write_atomically(target.folder / BEST, written(words, about, heading))
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
        value = trial.value if ledger.state(trial) == "COMPLETE" else ""
        point = [trial.params.get(key, "") for key in keys]
        noted = [trial.user_attrs.get(name, "") for name in (ledger.SECONDS, ledger.FLOPS, ledger.RUN, ledger.REASON)]
        table.writerow([trial.number, ledger.state(trial).lower(), value, *point, *noted])
    return text.getvalue()


def _draw(target: Target, study: "optuna.Study", trials: Sequence[Any], metric: Metric) -> None:
    kinds = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
    points = [(t.number, t.value, kinds[ledger.state(t)]) for t in trials if ledger.state(t) in kinds]
    title = f"{target.space.name}: {target.labels} validation labels"
    draw_history(points, metric.name, metric.higher, title, target.folder / HISTORY)
    if sum(ledger.state(t) == "COMPLETE" for t in trials) < _ENOUGH:
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
