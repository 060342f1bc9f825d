"""What the policies cost a call, in CPU time, beside pybreaker in the same run.

pybreaker wraps the call; its overhead is the wrapped call less the bare one. Ours is `acquire` and `success`.
"""

import tracemalloc
from collections.abc import Callable
from random import Random
from time import thread_time

import pybreaker

from sidecar.model import OK
from sidecar.policy import BreakerRegistry, CircuitBreaker, Ended, Planner, Policy, RetryBudget

LOOPS = 5_000
ROUNDS = 60


def bare(loops: int) -> None:
    for _ in range(loops):
        _call()


def _call() -> None:
    pass


def theirs(breaker: pybreaker.CircuitBreaker) -> Callable[[int], None]:
    def work(loops: int) -> None:
        call = breaker.call
        for _ in range(loops):
            call(_call)

    return work


def ours(breaker: CircuitBreaker) -> Callable[[int], None]:
    def work(loops: int) -> None:
        acquire = breaker.acquire
        for _ in range(loops):
            acquire().success(0.1)

    return work


def ours_as_context(breaker: CircuitBreaker) -> Callable[[int], None]:
    def work(loops: int) -> None:
        for _ in range(loops):
            with breaker.acquire():
                pass

    return work


def budget(loops: int) -> None:
    spender = RetryBudget()
    for _ in range(loops):
        spender.deposit()


def registry(loops: int) -> None:
    breakers = BreakerRegistry()
    for _ in range(loops):
        breakers.get("api.anthropic.com", "model")


def plan(loops: int) -> None:
    planner = Planner(Policy.for_profile("interactive"), rng=Random(1))
    good = Ended(verdict=OK, duration=1.0, status=200)
    for _ in range(loops):
        one = planner.plan("api.anthropic.com", "model", stream=True)
        one.next()
        one.ended(good)


def microseconds(works: list[Callable[[int], None]]) -> list[float]:
    """Time each, taking turns so that a busy machine is busy for all of them; the best round counts."""
    best = [float("inf")] * len(works)
    for _ in range(ROUNDS):
        for i, work in enumerate(works):
            begun = thread_time()
            work(LOOPS)
            best[i] = min(best[i], thread_time() - begun)
    return [seconds / LOOPS * 1e6 for seconds in best]


def growth() -> int:
    """Bytes by which a breaker grows over 100,000 calls, once its window has filled."""
    now = [0.0]
    breaker = CircuitBreaker("x", consecutive=None, failure_ratio=None, clock=lambda: now[0])

    def use(calls: int) -> None:
        for i in range(calls):
            now[0] += 0.01
            permit = breaker.acquire()
            if i % 2:
                permit.success(0.1)
            else:
                permit.failure("timeout", 0.1)

    use(10_000)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    use(100_000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return after - before


def main() -> None:
    nothing, wrapped, mine, context, deposit, get, planned = microseconds(
        [
            bare,
            theirs(pybreaker.CircuitBreaker()),
            ours(CircuitBreaker("x")),
            ours_as_context(CircuitBreaker("x")),
            budget,
            registry,
            plan,
        ]
    )
    overhead = wrapped - nothing
    print(f"{'':38}{'µs':>8}{'x pybreaker':>14}  target")
    rows = [
        ("pybreaker's call overhead", overhead, ""),
        ("acquire + success", mine, "<= 1.0"),
        ("acquire as a context manager", context, ""),
        ("registry.get", get, ""),
        ("retry budget deposit", deposit, ""),
        ("a whole plan: breaker, budget, deadline", planned, ""),
    ]
    for name, cost, target in rows:
        print(f"{name:38}{cost:8.2f}{cost / overhead:14.2f}  {target}")
    print(f"\nA breaker's growth over 100,000 calls: {growth()} bytes (target: O(1), window buckets only)")


if __name__ == "__main__":
    main()
