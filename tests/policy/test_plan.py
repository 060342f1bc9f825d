import inspect
import time
from random import Random
from typing import Protocol

import pytest

from sidecar.model import OK, Outcome, Verdict
from sidecar.policy import (
    BreakerConfig,
    BreakerOpen,
    BreakerRegistry,
    BudgetConfig,
    CallPlan,
    Ended,
    Planner,
    Policy,
    RetryBudget,
    Send,
    Stop,
    WaitFor,
    current_deadline,
    deadline,
)

OVERLOADED = Ended(verdict=Verdict(Outcome.OVERLOADED), duration=1.0, status=529)
GOOD = Ended(verdict=OK, duration=1.0, status=200)


class Clock(Protocol):
    now: float

    def __call__(self) -> float: ...


def begin(planner: Planner, model: str = "model") -> CallPlan:
    return planner.plan("host", model, stream=False)


def test_a_planner_makes_what_its_policy_asks_for(clock: Clock) -> None:
    rng = Random(1)
    policy = Policy(breaker=BreakerConfig(consecutive=2), retry_budget=BudgetConfig(min_per_second=3.0))
    planner = Planner(policy, clock=clock, rng=rng)
    assert planner.policy is policy
    assert planner.breakers is not None
    assert planner.breakers.config == policy.breaker
    assert planner.breakers.get("h", "m")._rng is rng
    assert planner.breakers.get("h", "m")._clock is clock
    assert planner.budget is not None
    assert planner.budget.config == policy.retry_budget
    clock.now = 1e6
    assert planner.budget.balance == 30.0


def test_a_planner_makes_nothing_that_its_policy_does_without() -> None:
    planner = Planner(Policy(breaker=None, retry_budget=None))
    assert (planner.breakers, planner.budget) == (None, None)


def test_planners_may_share_their_breakers_and_their_budget() -> None:
    breakers, budget = BreakerRegistry(), RetryBudget()
    planner = Planner(Policy(), breakers=breakers, budget=budget)
    assert planner.breakers is breakers
    assert planner.budget is budget
    planner = Planner(Policy(breaker=None, retry_budget=None), breakers=breakers, budget=budget)
    assert planner.breakers is breakers
    assert planner.budget is budget


def test_without_a_clock_it_runs_by_the_monotonic_one() -> None:
    assert inspect.signature(Planner).parameters["clock"].default is time.monotonic
    step = begin(Planner(Policy.for_profile("interactive"))).next()
    assert isinstance(step, Send)
    assert step.timeouts.total == pytest.approx(75.0)


def test_without_a_random_source_it_has_one_of_its_own(clock: Clock) -> None:
    waits = set()
    for _ in range(5):
        plan = begin(Planner(Policy(), clock=clock))
        plan.next()
        step = plan.ended(OVERLOADED)
        assert isinstance(step, WaitFor)
        waits.add(step.seconds)
    assert len(waits) == 5


def test_each_model_has_its_own_breaker(clock: Clock) -> None:
    planner = Planner(Policy(breaker=BreakerConfig(consecutive=1)), clock=clock)
    plan = begin(planner, "broken")
    plan.next()
    plan.ended(OVERLOADED)
    assert isinstance(begin(planner, "broken").next(), Stop)
    assert isinstance(begin(planner, "sound").next(), Send)


def test_a_call_is_not_the_last_of_its_chain_unless_it_says_so(clock: Clock) -> None:
    planner = Planner(Policy(), clock=clock)
    with deadline(100, clock=clock):
        step = planner.plan("host", "model", stream=False, deadline=current_deadline()).next()
    assert isinstance(step, Send)
    assert step.timeouts.total == 50.0


def test_the_refusal_is_what_to_raise(clock: Clock) -> None:
    planner = Planner(Policy(breaker=BreakerConfig(consecutive=1)), clock=clock)
    plan = begin(planner)
    plan.next()
    plan.ended(OVERLOADED)
    clock.now = 20.0
    step = begin(planner).next()
    assert isinstance(step, Stop)
    assert isinstance(step.refusal, BreakerOpen)
    assert (step.refusal.name, step.refusal.retry_after) == ("host/model", 40.0)


def test_no_permit_is_held_during_a_wait(clock: Clock) -> None:
    policy = Policy(breaker=BreakerConfig(consecutive=1, probes=1, failure_ratio=1.0, open_for=1.0))
    planner = Planner(policy, clock=clock)
    assert planner.breakers is not None
    breaker = planner.breakers.get("host", "model")
    breaker.acquire().failure("timeout", 1.0)
    clock.now = 1.0
    first = begin(planner)
    assert isinstance(first.next(), Send)
    assert isinstance(begin(planner).next(), Stop)  # its probe is the only one
    first.ended(Ended(verdict=Verdict(Outcome.CLIENT_ERROR), duration=1.0, status=409))
    second = begin(planner)
    assert isinstance(second.next(), Send)
    second.ended(GOOD)
    assert breaker.state == "closed"


def test_a_plan_that_is_dropped_gives_its_permit_back(clock: Clock) -> None:
    planner = Planner(Policy(breaker=BreakerConfig(consecutive=1, probes=1, open_for=1.0)), clock=clock)
    assert planner.breakers is not None
    planner.breakers.get("host", "model").acquire().failure("timeout", 1.0)
    clock.now = 1.0
    plan = begin(planner)
    assert isinstance(plan.next(), Send)
    del plan
    assert isinstance(begin(planner).next(), Send)


def test_a_shell_that_breaks_the_contract_is_told(clock: Clock) -> None:
    plan = begin(Planner(Policy(), clock=clock))
    with pytest.raises(RuntimeError, match=r"ended\(\) follows Send, .* this call has none"):
        plan.ended(GOOD)
    plan.next()
    for wrong in (plan.next, plan.cancelled):
        with pytest.raises(RuntimeError, match="this call has an attempt under way"):
            wrong()
    plan.ended(GOOD)
    for wrong in (plan.next, plan.cancelled, lambda: plan.ended(GOOD)):
        with pytest.raises(RuntimeError, match="this call has stopped"):
            wrong()


def test_a_call_that_was_refused_has_stopped(clock: Clock) -> None:
    planner = Planner(Policy(), clock=clock)
    assert planner.breakers is not None
    planner.breakers.get("host", "model").force_open()
    plan = begin(planner)
    plan.next()
    with pytest.raises(RuntimeError, match="has stopped"):
        plan.next()
