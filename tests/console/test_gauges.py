"""What is true right now: read from a telemetry's own gauges and those of other processes."""

import math
from typing import Any

import pytest

from sidecar.console.gauges import BreakerNow, LimitNow, LoadNow, Now, read
from sidecar.model import BreakerState, LimitKind, Phase, Profile, RateLimit, Source
from sidecar.telemetry import Telemetry
from tests.outlets import samples
from tests.telemetry.clock import Clock

CLIENT = frozenset({Source.CLIENT})
NOW = 1_790_000_000.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry(clock: Clock) -> Telemetry:
    return Telemetry(clock=clock, wall=Clock(NOW))


def now(telemetry: Telemetry, sources: frozenset[Source] = CLIENT) -> Now:
    return read(telemetry.gauges(), sources)


def breaker(name: str, state: BreakerState, **changes: Any) -> BreakerNow:
    values: dict[str, Any] = {"processes": {state: 1}, "reason": None, "reopens_at": None, "failure_ratio": None}
    return BreakerNow(name=name, state=state, **(values | changes))


def test_where_nothing_was_told_there_is_nothing(telemetry: Telemetry) -> None:
    assert now(telemetry) == Now(settings={})


def test_breakers_come_worst_first_with_why_and_until_when(telemetry: Telemetry) -> None:
    telemetry.breaker("h/closed").state(BreakerState.CLOSED)
    telemetry.breaker("h/closed").failure_ratio(0.25)
    opened = telemetry.breaker("h/open")
    opened.state(BreakerState.OPEN)
    opened.opened("consecutive", 60.0)
    forced = telemetry.breaker("h/forced")
    forced.state(BreakerState.FORCED_OPEN)
    forced.opened("forced", math.inf)
    assert now(telemetry).breakers == (
        breaker("h/forced", BreakerState.FORCED_OPEN, reason="forced"),
        breaker("h/open", BreakerState.OPEN, reason="consecutive", reopens_at=NOW + 60),
        breaker("h/closed", BreakerState.CLOSED, failure_ratio=0.25),
    )


def test_of_several_processes_the_worst_breaker_is_shown_and_all_are_counted(clock: Clock) -> None:
    collector = Telemetry(clock=clock)
    for state, seconds in ((BreakerState.CLOSED, 0.0), (BreakerState.OPEN, 10.0), (BreakerState.OPEN, 20.0)):
        process = Telemetry(clock=clock, wall=Clock(NOW))
        process.breaker("h/m").state(state)
        if state is BreakerState.OPEN:
            process.breaker("h/m").opened("failure_ratio", seconds)
        collector.absorb(process.snapshot())
    assert now(collector).breakers == (
        breaker(
            "h/m",
            BreakerState.OPEN,
            processes={BreakerState.CLOSED: 1, BreakerState.OPEN: 2},
            reason="failure_ratio",
            reopens_at=NOW + 20,
        ),
    )


def test_calls_under_way_come_the_most_silent_first(telemetry: Telemetry, clock: Clock) -> None:
    tickets = [telemetry.in_flight.begin("messages", model) for model in ("a", "b", "b", "gone")]
    tickets.pop().end()
    clock.now += 3
    tickets[1].waiting()
    clock.now += 2
    assert now(telemetry).loads == (LoadNow("messages", "b", 2, 5.0, 2.0), LoadNow("messages", "a", 1, 5.0, 0.0))


def test_limits_and_settings_and_lag_are_taken_as_told(telemetry: Telemetry) -> None:
    limits = (
        RateLimit(kind=LimitKind.TOKENS, limit=100, remaining=25, reset_at=NOW),
        RateLimit(kind=LimitKind.REQUESTS, limit=0, remaining=7),
        RateLimit(kind=LimitKind.INPUT_TOKENS, reset_at=NOW),
    )
    telemetry.attempt(samples.attempt(limits=limits))
    telemetry.timeouts(Profile.AGENTIC, {Phase.STALL: 45.0, Phase.CONNECT: None})
    telemetry.event_loop_lag(0.25)
    found = now(telemetry)
    assert found.limits == (
        LimitNow(LimitKind.REQUESTS, 0.0, 7.0, None),
        LimitNow(LimitKind.TOKENS, 100.0, 25.0, NOW),
    )
    assert [limit.left for limit in found.limits] == [None, 0.25]
    assert found.settings == {(Profile.AGENTIC, Phase.STALL): 45.0}
    assert found.lag == 0.25


def test_a_view_has_its_own_sources_only(telemetry: Telemetry) -> None:
    for source in (Source.CLIENT, Source.PROXY):
        telemetry.breaker(f"h/{source}", source=source).state(BreakerState.CLOSED)
        telemetry.timeouts(Profile.DEFAULT, {Phase.STALL: 600.0}, source=source)
    assert [each.name for each in now(telemetry, frozenset({Source.PROXY, Source.INFERRED})).breakers] == ["h/proxy"]
