import asyncio
import contextvars
import inspect
import pickle
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest

import sidecar
from sidecar.policy import Deadline, DeadlineExceeded, current_deadline, deadline


class Clock(Protocol):
    now: float

    def __call__(self) -> float: ...


def remaining() -> float | None:
    current = current_deadline()
    return None if current is None else current.remaining()


def test_its_parameters_are_those_that_are_promised() -> None:
    parameters = inspect.signature(deadline).parameters
    assert list(parameters) == ["seconds", "share", "cap", "floor", "clock"]
    assert parameters["seconds"].default is inspect.Parameter.empty
    assert (parameters["share"].default, parameters["cap"].default, parameters["floor"].default) == (0.5, None, 1.0)
    assert sidecar.deadline is deadline
    assert sidecar.DeadlineExceeded is DeadlineExceeded


def test_every_bad_parameter_is_named_at_once() -> None:
    with pytest.raises(ValueError, match="deadline") as raised:
        deadline(float("nan"), share=0.0, cap=0.0, floor=-1.0)
    assert str(raised.value) == (
        "deadline: seconds must be a finite number at least 0, got nan; "
        "share must be a finite number above 0 and at most 1, got 0.0; "
        "cap must be a finite number above 0, or None, got 0.0; "
        "floor must be a finite number at least 0, got -1.0"
    )
    with pytest.raises(ValueError, match="share"):
        deadline(1.0, share=1.1)


def test_the_ends_of_the_ranges_are_good(clock: Clock) -> None:
    with deadline(0, share=1, floor=0, clock=clock) as d:
        assert d.remaining() == 0


def test_it_runs_from_the_moment_it_is_entered(clock: Clock) -> None:
    scope = deadline(300, clock=clock)
    clock.now = 100.0
    with scope as d:
        assert d.at == 400.0
        assert d.remaining() == 300.0
        clock.now = 150.0
        assert d.remaining() == 250.0
        assert remaining() == 250.0
        clock.now = 500.0
        assert d.remaining() == -100.0


def test_without_a_clock_it_runs_by_the_monotonic_one() -> None:
    with deadline(300) as d:
        assert d.clock is time.monotonic
        assert 0 < d.remaining() <= 300


def test_outside_there_is_none(clock: Clock) -> None:
    assert current_deadline() is None
    with deadline(300, clock=clock) as d:
        assert current_deadline() is d
    assert current_deadline() is None


def test_it_ends_with_an_exception_too_and_lets_it_pass(clock: Clock) -> None:
    error = RuntimeError("the application's own")
    with pytest.raises(RuntimeError) as raised, deadline(300, clock=clock):
        raise error
    assert raised.value is error
    assert current_deadline() is None


async def test_it_may_be_entered_with_async_with(clock: Clock) -> None:
    async with deadline(300, clock=clock) as d:
        assert current_deadline() is d
    assert current_deadline() is None


def test_it_is_entered_once(clock: Clock) -> None:
    scope = deadline(300, clock=clock)
    with scope:
        pass
    with (
        pytest.raises(RuntimeError, match=r"^this deadline was entered before: call deadline\(\) anew for each use$"),
        scope,
    ):
        pass
    assert current_deadline() is None


# --- nesting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outer", "inner", "left"), [(300, 60, 60), (60, 300, 60), (60, 60, 60)])
def test_nested_the_earliest_wins(clock: Clock, outer: float, inner: float, left: float) -> None:
    with deadline(outer, clock=clock):
        with deadline(inner, clock=clock) as d:
            assert d.remaining() == left
            assert remaining() == left
        assert remaining() == outer


def test_nested_the_outer_has_gone_on_meanwhile(clock: Clock) -> None:
    with deadline(100, clock=clock):
        clock.now = 70.0
        with deadline(60, clock=clock) as d:
            assert d.remaining() == 30.0


def test_nested_it_keeps_its_own_terms_and_the_outer_clock(clock: Clock) -> None:
    with deadline(100, share=0.25, cap=9.0, floor=3.0, clock=clock), deadline(60) as d:
        assert (d.share, d.cap, d.floor, d.clock) == (0.5, None, 1.0, clock)
        clock.now = 10.0
        assert d.remaining() == 50.0


def test_nested_with_clocks_of_their_own_it_is_the_time_left_that_counts(clock: Clock) -> None:
    clock.now = 1e6
    with deadline(10, clock=clock), deadline(60, clock=lambda: 5.0) as d:
        assert d.at == 15.0


# --- what a call gets ------------------------------------------------------------------------------------------------


def test_a_call_gets_its_share(clock: Clock) -> None:
    with deadline(300, clock=clock) as d:
        assert d.allot() == 150.0
        clock.now = 100.0
        assert d.allot() == 100.0
    clock.now = 0.0
    with deadline(300, share=0.25, clock=clock) as d:
        assert d.allot() == 75.0


def test_the_last_call_gets_all_that_is_left(clock: Clock) -> None:
    with deadline(300, clock=clock) as d:
        clock.now = 100.0
        assert d.allot(last=True) == 200.0


def test_a_call_gets_no_more_than_its_cap(clock: Clock) -> None:
    with deadline(300, clock=clock) as d:
        assert d.allot(75.0) == 75.0
        assert d.allot(200.0) == 150.0
        assert d.allot(75.0, last=True) == 75.0
    with deadline(300, cap=20.0, clock=clock) as d:
        assert d.allot() == 20.0
        assert d.allot(75.0) == 20.0
        assert d.allot(10.0) == 10.0
        assert d.allot(last=True) == 20.0


def test_a_call_is_refused_when_less_than_floor_is_left(clock: Clock) -> None:
    with deadline(300, floor=5.0, clock=clock) as d:
        clock.now = 295.0
        assert d.allot() == 2.5
        clock.now = 295.5
        with pytest.raises(DeadlineExceeded) as raised:
            d.allot()
        with pytest.raises(DeadlineExceeded):
            d.allot(last=True)
    assert (raised.value.remaining, raised.value.floor) == (4.5, 5.0)
    assert str(raised.value) == (
        "4.5 s are left of the deadline, less than the 5 s a call needs: give the chain more time, or its calls"
        " smaller shares"
    )


def test_nothing_left_is_refused_whatever_the_floor(clock: Clock) -> None:
    with deadline(0, floor=0, clock=clock) as d, pytest.raises(DeadlineExceeded):
        d.allot()
    with deadline(1, floor=0, clock=clock) as d:
        clock.now = 0.5
        assert d.allot(last=True) == 0.5


def test_the_refusal_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(DeadlineExceeded(-1.0, 2.0)))  # noqa: S301  # our own bytes
    assert (copy.remaining, copy.floor) == copy.args == (-1.0, 2.0)


def test_the_last_calls_of_a_chain_may_be_marked_by_their_place(clock: Clock) -> None:
    with deadline(300, cap=290.0, floor=2.0, clock=clock) as d:
        with d.last() as last:
            assert last is current_deadline()
            assert last.allot() == 290.0
            assert last == Deadline(at=300.0, share=1.0, cap=290.0, floor=2.0, clock=clock)
        assert current_deadline() is d
        assert d.allot() == 150.0


def test_last_does_not_outlast_an_earlier_deadline(clock: Clock) -> None:
    with deadline(300, clock=clock) as outer, deadline(60, clock=clock), outer.last() as last:
        assert last.allot() == 60.0


def test_of_two_deadlines_that_end_together_last_keeps_the_terms_of_its_own(clock: Clock) -> None:
    with deadline(300, floor=2.0, clock=clock) as outer, deadline(300, floor=3.0, clock=clock), outer.last() as last:
        assert last.floor == 2.0


def test_last_is_of_the_deadline_it_was_asked_of(clock: Clock) -> None:
    with deadline(300, clock=clock) as outer:
        pass
    with outer.last() as last:
        assert last.allot() == 300.0
    with deadline(500, clock=clock), outer.last() as last:
        assert last.allot() == 300.0


# --- where it reaches ------------------------------------------------------------------------------------------------


async def test_it_reaches_into_gathered_coroutines(clock: Clock) -> None:
    async def ask() -> float | None:
        await asyncio.sleep(0)
        return remaining()

    with deadline(300, clock=clock):
        assert list(await asyncio.gather(ask(), ask())) == [300.0, 300.0]


async def test_it_reaches_into_task_groups_and_outlives_its_scope_there(clock: Clock) -> None:
    go_on = asyncio.Event()

    async def ask() -> float | None:
        await go_on.wait()
        return remaining()

    async with asyncio.TaskGroup() as group:
        with deadline(300, clock=clock):
            task = group.create_task(ask())
        assert current_deadline() is None
        go_on.set()
    assert task.result() == 300.0


async def test_tasks_have_each_their_own(clock: Clock) -> None:
    async def ask(seconds: float) -> float | None:
        async with deadline(seconds, clock=clock):
            await asyncio.sleep(0)
            return remaining()

    assert list(await asyncio.gather(ask(10), ask(20))) == [10.0, 20.0]


async def test_it_reaches_into_to_thread(clock: Clock) -> None:
    with deadline(300, clock=clock):
        assert await asyncio.to_thread(remaining) == 300.0


def test_it_reaches_into_a_copied_context_in_an_executor(clock: Clock) -> None:
    with ThreadPoolExecutor(1) as pool, deadline(300, clock=clock):
        assert pool.submit(contextvars.copy_context().run, remaining).result(30) == 300.0
        assert pool.submit(remaining).result(30) is None


async def test_a_generator_closed_in_another_context_breaks_nothing(clock: Clock) -> None:
    async def stream() -> AsyncIterator[float | None]:
        with deadline(300, clock=clock):
            yield remaining()

    chunks = stream()

    async def first() -> float | None:
        return await anext(chunks)

    assert await asyncio.create_task(first()) == 300.0
    await asyncio.create_task(chunks.aclose())  # type: ignore[attr-defined]
    assert current_deadline() is None
