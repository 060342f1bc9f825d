import inspect
import threading
import time
from dataclasses import fields
from math import floor
from typing import Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sidecar
from sidecar.policy import BudgetConfig, RetryBudget


class Clock(Protocol):
    now: float

    def __call__(self) -> float: ...


def withdrawals(budget: RetryBudget, wanted: int) -> int:
    return sum(budget.withdraw() for _ in range(wanted))


def test_its_parameters_are_those_that_are_promised() -> None:
    parameters = inspect.signature(RetryBudget).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "ratio": 0.2,
        "min_per_second": 1.0,
        "ttl": 10.0,
        "clock": time.monotonic,
    }
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert {field.name: field.default for field in fields(BudgetConfig)} == {
        name: parameter.default for name, parameter in parameters.items() if name != "clock"
    }
    assert sidecar.RetryBudget is RetryBudget


def test_every_bad_parameter_is_named_at_once() -> None:
    with pytest.raises(ValueError, match="retry budget") as raised:
        RetryBudget(ratio=-0.1, min_per_second=float("nan"), ttl=0.5)
    assert str(raised.value) == (
        "retry budget: ratio must be a finite number at least 0 and at most 10, got -0.1; "
        "min_per_second must be a finite number at least 0 and at most 1e+06, got nan; "
        "ttl must be a whole number of seconds at least 1 and at most 3600, got 0.5"
    )


def test_the_ends_of_the_ranges_are_good() -> None:
    assert BudgetConfig(ratio=0, min_per_second=0, ttl=1) != BudgetConfig(ratio=10, min_per_second=1e6, ttl=3600)
    for bad in ({"ratio": 10.1}, {"min_per_second": 1_000_001}, {"ttl": 3601}, {"ttl": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            BudgetConfig(**bad)


def test_it_keeps_its_numbers(clock: Clock) -> None:
    budget = RetryBudget(ratio=0.5, min_per_second=2.0, ttl=3.0, clock=clock)
    assert budget.config == BudgetConfig(ratio=0.5, min_per_second=2.0, ttl=3.0)
    assert budget.balance == 6.0


def test_a_new_budget_is_full(clock: Clock) -> None:
    budget = RetryBudget(clock=clock)
    assert budget.balance == 10.0
    assert budget.level == 1.0
    assert RetryBudget(min_per_second=0.0, clock=clock).level == 1.0


def test_five_calls_buy_a_retry(clock: Clock) -> None:
    budget = RetryBudget(min_per_second=0.0, clock=clock)
    for _ in range(4):
        budget.deposit()
    assert budget.withdraw() is False
    budget.deposit()
    assert budget.withdraw() is True
    assert budget.withdraw() is False


def test_its_level_is_the_share_that_is_left(clock: Clock) -> None:
    budget = RetryBudget(min_per_second=0.4, clock=clock)
    assert withdrawals(budget, 1) == 1
    assert budget.level == 0.75
    assert withdrawals(budget, 3) == 3
    assert budget.level == 0.0
    assert budget.balance == 0.0


def test_what_expired_after_it_was_spent_leaves_no_debt_to_see(clock: Clock) -> None:
    budget = RetryBudget(ratio=1.0, min_per_second=0.0, ttl=2.0, clock=clock)
    for _ in range(4):
        budget.deposit()
    clock.now = 1.0
    assert withdrawals(budget, 4) == 4
    clock.now = 2.0
    assert budget.balance == 0.0
    assert budget.level == 0.0
    budget.deposit()
    assert budget.balance == 0.0
    assert budget.level == 0.0
    clock.now = 3.0
    assert (budget.balance, budget.level) == (1.0, 1.0)


@settings(max_examples=60, deadline=None)
@given(
    ratio=st.sampled_from([0.0, 0.1, 0.2, 0.7, 1.0]),
    least=st.sampled_from([0.0, 0.5, 2.0]),
    ttl=st.integers(1, 4),
    steps=st.lists(st.sampled_from(["deposit", "deposit", "withdraw", "withdraw", 0.5, 1.0, 3.0]), max_size=80),
)
def test_it_never_allows_more_than_its_share(ratio: float, least: float, ttl: int, steps: list[str | float]) -> None:
    now = 0.0
    budget = RetryBudget(ratio=ratio, min_per_second=least, ttl=ttl, clock=lambda: now)
    deposits: list[int] = []
    withdrawn: list[int] = []
    for step in steps:
        live = [sum(floor(now) - second < ttl for second in past) for past in (deposits, withdrawn)]
        left = least * ttl + ratio * live[0] - live[1]
        if step == "deposit":
            budget.deposit()
            deposits.append(floor(now))
        elif step == "withdraw":
            before = budget.balance
            if budget.withdraw():
                assert left > 0.999
                withdrawn.append(floor(now))
            else:
                assert left < 1
                assert budget.balance == before
        else:
            now += float(step)


def test_many_threads_cannot_overdraw_it(clock: Clock) -> None:
    budget = RetryBudget(min_per_second=10.0, clock=clock)
    got: list[int] = []

    def work() -> None:
        got.append(withdrawals(budget, 20))

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(got) == 100
