"""Many threads at one breaker: what must never happen does not, and what is counted adds up."""

import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from sidecar.policy import BreakerOpen, CircuitBreaker, Counts, Permit

THREADS = 16


def run(work: Callable[[int], None]) -> None:
    workers = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class Probes:
    """Counts the probes that are outstanding, for each half-open phase apart."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outstanding: Counter[object] = Counter()
        self.most = 0

    def admitted(self, phase: object) -> None:
        with self._lock:
            self._outstanding[phase] += 1
            self.most = max(self.most, self._outstanding[phase])

    def about_to_end(self, phase: object) -> None:
        with self._lock:
            self._outstanding[phase] -= 1


def end(permit: Permit, chance: float) -> None:
    """Give a verdict, or give the permit back, or just let it go."""
    if chance < 0.35:
        permit.failure("timeout", 0.1)
    elif chance < 0.9:
        permit.success(0.1)
    elif chance < 0.95:
        permit.ignore()


@pytest.mark.usefixtures("frequent_switches")
def test_sixteen_threads_and_a_hundred_thousand_permits() -> None:
    """Never more than ``probes`` outstanding half-open, and the counts add up."""
    each, probes = 6_250, 3
    now = [0.0]

    def clock() -> float:
        now[0] += 1 / 400  # the faster it is used, the faster time passes
        return now[0]

    breaker = CircuitBreaker(
        "x", window=5, consecutive=None, min_calls=20, failure_ratio=0.4, open_for=0.05, probes=probes, clock=clock
    )
    transitions: list[tuple[str, str]] = []
    breaker.on_transition(lambda before, after, _why: transitions.append((before, after)))
    seen = Probes()
    admitted, rejected = [0] * THREADS, [0] * THREADS

    def work(number: int) -> None:
        rng = random.Random(number)
        for _ in range(each):
            try:
                permit = breaker.acquire()
            except BreakerOpen:
                rejected[number] += 1
                continue
            admitted[number] += 1
            phase = permit._phase
            probing = getattr(phase, "state", None) == "half_open"
            if probing:
                seen.admitted(phase)
                seen.about_to_end(phase)  # before it ends, so that nobody can have been let in for it yet
            end(permit, rng.random())

    run(work)
    assert sum(admitted) + sum(rejected) == THREADS * each == 100_000
    snapshot = breaker.snapshot()
    assert snapshot.rejected == sum(rejected)
    assert 1 <= seen.most <= probes
    assert len(transitions) > 10, "the load never made it move, so it showed nothing"
    assert transitions[0][0] == "closed"
    assert all(after == before for (_, after), (before, _) in pairwise(transitions))
    assert snapshot.callback_errors == 0


@pytest.mark.usefixtures("frequent_switches")
def test_probes_are_admitted_to_exactly_as_many_threads_as_there_are_probes() -> None:
    now = [0.0]
    breaker = CircuitBreaker("x", consecutive=1, probes=3, clock=lambda: now[0])
    breaker.acquire().failure("timeout", 0.1)
    now[0] = 60.0
    start = threading.Barrier(THREADS)
    kept: list[Permit] = []
    refused: list[int] = []

    def work(number: int) -> None:
        start.wait(60)
        try:
            kept.append(breaker.acquire())
        except BreakerOpen:
            refused.append(number)

    run(work)
    assert (len(kept), len(refused)) == (3, THREADS - 3)


@pytest.mark.usefixtures("frequent_switches")
def test_verdicts_add_up() -> None:
    breaker = CircuitBreaker("x", window=3600, consecutive=None, failure_ratio=None, slow_after=1.0)

    def work(_number: int) -> None:
        for i in range(500):
            if i % 5:
                breaker.acquire().success(2.0 if i % 5 == 1 else 0.5)
            else:
                breaker.acquire().failure("rate_limited", 0.5)

    run(work)
    assert breaker.snapshot().counts == Counts(8000, 1600, 1600)


@pytest.mark.usefixtures("frequent_switches")
def test_two_threads_that_end_one_permit_end_it_once() -> None:
    breaker = CircuitBreaker("x", window=3600, consecutive=None, failure_ratio=None)
    permits = [breaker.acquire() for _ in range(500)]

    def work(_number: int) -> None:
        for permit in permits:
            permit.success(0.1)

    run(work)
    assert breaker.snapshot().counts == Counts(500, 0, 0)
