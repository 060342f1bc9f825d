"""Timers: they fire once, never early, and moving one costs nothing."""

import asyncio
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.proxy.wheel import Wheel
from tests.proxy.clock import ClockLoop


def wheel_on(loop: ClockLoop) -> Wheel:
    return Wheel(loop, per_second=10)  # type: ignore[arg-type]  # all it needs


def test_a_timer_fires_once_and_within_a_slot() -> None:
    loop, fired = ClockLoop(), list[float]()
    timer = wheel_on(loop).timer(lambda: fired.append(loop.now))
    timer.after(1.23)
    loop.advance(101.22)
    assert fired == []
    loop.advance(200.0)
    assert len(fired) == 1
    assert 101.23 <= fired[0] <= 101.34


def test_a_timer_that_is_moved_fires_at_its_last_time_only() -> None:
    loop, fired = ClockLoop(), list[float]()
    timer = wheel_on(loop).timer(lambda: fired.append(round(loop.now, 1)))
    for seconds in (5.0, 9.0, 2.0, 7.0):
        timer.after(seconds)
    loop.advance(200.0)
    assert fired == [107.0]


def test_a_timer_that_is_off_or_closed_does_not_fire() -> None:
    loop, fired = ClockLoop(), list[str]()
    wheel = wheel_on(loop)
    off, closed = wheel.timer(lambda: fired.append("off")), wheel.timer(lambda: fired.append("closed"))
    off.after(1)
    closed.after(1)
    off.off()
    closed.close()
    closed.after(1)
    loop.advance(200.0)
    assert fired == []
    assert loop.armed == []  # an idle wheel wakes nobody


def test_many_timers_need_one_timer_of_the_loop() -> None:
    loop, fired = ClockLoop(), list[int]()
    wheel = wheel_on(loop)
    for n in range(100, 0, -1):
        wheel.timer(partial(fired.append, n)).after(float(n))
        assert len(loop.armed) == 1
    loop.advance(300.0)
    assert fired == list(range(1, 101))


def test_a_closed_wheel_fires_nothing() -> None:
    loop, fired = ClockLoop(), list[int]()
    wheel = wheel_on(loop)
    wheel.close()
    wheel.timer(lambda: fired.append(1)).after(1)
    wheel.close()
    loop.advance(200.0)
    assert fired == []


def test_a_timer_may_set_itself_again_while_it_fires() -> None:
    loop, fired = ClockLoop(), list[float]()

    def again() -> None:
        fired.append(round(loop.now, 1))
        if len(fired) < 3:
            timer.after(0.0 if len(fired) == 1 else 1.0)

    timer = wheel_on(loop).timer(again)
    timer.after(1.0)
    loop.advance(200.0)
    assert fired == [101.0, 101.0, 102.0]


moves = st.lists(st.tuples(st.integers(0, 3), st.one_of(st.none(), st.floats(0, 5)), st.floats(0, 2)), max_size=30)


@settings(deadline=None, max_examples=100)
@given(moves)
def test_timers_fire_exactly_when_the_last_word_on_them_says(script: list[tuple[int, float | None, float]]) -> None:
    loop, fired = ClockLoop(), list[tuple[int, float]]()
    wheel = wheel_on(loop)

    def fire(which: int) -> None:
        fired.append((which, loop.now))

    timers = [wheel.timer(partial(fire, which)) for which in range(4)]
    expected: dict[int, float] = {}
    for which, seconds, wait in script:
        if seconds is None:
            timers[which].off()
            expected.pop(which, None)
        else:
            timers[which].after(seconds)
            expected[which] = loop.now + seconds
        before = len(fired)
        loop.advance(loop.now + wait)
        for n, at in fired[before:]:
            assert expected.pop(n) <= at + 1e-6
        for due in expected.values():
            assert due > loop.now - 0.11
    loop.advance(loop.now + 10)
    assert sorted(n for n, _ in fired[len(fired) - len(expected) :]) == sorted(expected)


async def test_it_runs_on_a_real_loop() -> None:
    fired = asyncio.Event()
    wheel = Wheel(asyncio.get_running_loop(), per_second=100)
    wheel.timer(fired.set).after(0.01)
    async with asyncio.timeout(10):
        await fired.wait()
    wheel.close()
