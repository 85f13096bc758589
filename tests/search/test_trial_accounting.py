"""What the list of trials says, whoever reads it: which count, what is next, who is dead."""

from types import SimpleNamespace
from typing import Any

import pytest

from trigan.search.trial_accounting import Budget, DeadWorkerDetector, counted_trials, ordinal, retry_of


def trial(number: int, state: str = "COMPLETE", **attributes: Any) -> Any:
    return SimpleNamespace(number=number, state=SimpleNamespace(name=state), user_attrs=attributes)


def numbers(trials: list[Any]) -> list[int]:
    return [one.number for one in trials]


def test_a_trial_that_was_begun_anew_counts_once() -> None:
    book = [trial(0, enqueued_as="default"), trial(1, "FAIL"), trial(2), trial(3, enqueued_as=retry_of(1))]
    assert numbers(counted_trials(book)) == [0, 2, 3]
    book.append(trial(4, "WAITING", enqueued_as=retry_of(1)))  # two workers found the same one dead
    assert numbers(counted_trials(book)) == [0, 2, 3]
    assert ordinal(book, 4, None) is None
    assert ordinal(book, 3, None) is not None


def test_a_retry_of_a_retry_counts_once() -> None:
    book = [
        trial(0, "FAIL", enqueued_as="default"),
        trial(1, "FAIL", enqueued_as=retry_of(0)),
        trial(2, enqueued_as=retry_of(1)),
    ]
    assert numbers(counted_trials(book)) == [2]


def test_the_default_is_tried_once_even_if_two_workers_begin() -> None:
    assert numbers(counted_trials([trial(0, enqueued_as="default"), trial(1, "WAITING", enqueued_as="default")])) == [0]


def test_who_comes_after_the_last_paid_one_withdraws() -> None:
    book = [trial(0), trial(1), trial(2, "RUNNING"), trial(3, "RUNNING")]
    assert [ordinal(book, number, 3) for number in range(4)] == [0, 1, 2, None]
    book[3].user_attrs["withdrawn"] = True
    assert numbers(counted_trials(book)) == [0, 1, 2]


def test_strategies_get_equally_many() -> None:
    budget = Budget(trials=2)
    assert budget.next_strategy([[], []], 0) == 0
    assert budget.next_strategy([[trial(0)], []], 0) == 1
    assert budget.next_strategy([[trial(0)], [trial(0, "FAIL")]], 0) == 0, "a failed trial is spent"
    assert budget.next_strategy([[trial(0), trial(1)], [trial(0), trial(1)]], 0) is None
    assert budget.next_strategy([[trial(0), trial(1)], [trial(0), trial(1), trial(2, "WAITING")]], 0) == 1


@pytest.mark.parametrize("budget", [Budget(hours=1.0), Budget(flops=100.0), Budget(trials=9, hours=1.0)])
def test_a_round_that_has_begun_is_finished(budget: Budget) -> None:
    done = trial(0, seconds=3600.0, flops=100)
    assert budget.next_strategy([[done], []], 0) == 1
    assert budget.next_strategy([[done], [trial(0)]], 0) is None
    assert budget.next_strategy([[trial(0, seconds=10.0, flops=1)], [trial(0)]], 0) == 0


def test_running_trials_spend_hours() -> None:
    assert Budget(hours=1.0).next_strategy([[trial(0, "RUNNING")]], 3599.0) == 0
    assert Budget(hours=1.0).next_strategy([[trial(0, "RUNNING")]], 3600.0) is None


def test_the_dead_are_told_by_their_lock_or_by_their_heartbeat() -> None:
    locks: dict[str, bool | None] = {"here": True, "gone": False, "far": None}
    watch = DeadWorkerDetector(locks.__getitem__, 100.0)
    assert not watch.is_dead(0, trial(0, worker="here"), 0.0)
    assert watch.is_dead(0, trial(0, worker="gone"), 0.0)
    far = trial(1, worker="far", heartbeat=1)
    assert [watch.is_dead(0, far, now) for now in (0.0, 99.0, 101.0)] == [False, False, True]
    far.user_attrs["heartbeat"] = 2
    assert [watch.is_dead(0, far, now) for now in (101.0, 200.0, 202.0)] == [False, False, True]
    unborn = trial(2)  # died before it could say who it is
    assert [watch.is_dead(0, unborn, now) for now in (0.0, 101.0)] == [False, True]
