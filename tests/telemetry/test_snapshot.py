"""Several processes in one: what adds up, what takes the worst, what takes the newest, and what vanishes."""

import math
from dataclasses import replace
from typing import Any

import pytest

from sidecar.model import BreakerState, LimitKind, Phase, Profile, RateLimit, Source
from sidecar.telemetry import GaugeSnapshot, Sample, Telemetry
from sidecar.telemetry.snapshot import MAX_PROCESSES, MAX_SAMPLES
from tests.telemetry.clock import Clock
from tests.telemetry.records import attempt, call

LABELS = ("messages", "claude", "client")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def collector(clock: Clock) -> Telemetry:
    return Telemetry(clock=clock)


def process(clock: Clock, wall: Clock | None = None) -> Telemetry:
    return Telemetry(clock=clock, wall=wall or Clock(1_790_000_000.0))


def test_counts_add_up_and_ages_take_the_oldest(collector: Telemetry, clock: Clock) -> None:
    one, two = process(clock), process(clock)
    tickets = [one.in_flight.begin("messages", "claude"), one.in_flight.begin("messages", "claude")]
    clock.now += 10
    tickets.append(two.in_flight.begin("messages", "claude"))
    tickets[-1].waiting()
    clock.now += 2
    collector.absorb(one.snapshot())
    collector.absorb(two.snapshot())
    assert collector.value("claude_in_flight") == 3
    assert collector.value("claude_in_flight_oldest_seconds") == 12
    assert collector.value("claude_in_flight_silent_seconds") == 2


def test_its_own_gauges_are_part_of_the_sum(collector: Telemetry, clock: Clock) -> None:
    other = process(clock)
    tickets = [each.in_flight.begin("messages", "claude") for each in (collector, other)]
    collector.absorb(other.snapshot())
    assert collector.value("claude_in_flight") == len(tickets)
    assert [sample.value for sample in collector.snapshot().gauges if sample.family == "claude_in_flight"] == [1]


def test_breaker_states_sum_to_the_number_of_processes(collector: Telemetry, clock: Clock) -> None:
    for state in (BreakerState.CLOSED, BreakerState.CLOSED, BreakerState.OPEN):
        each = process(clock)
        each.breaker("host/claude").state(state)
        each.breaker("host/claude").failure_ratio(0.9 if state is BreakerState.OPEN else 0.1)
        each.retry_budget("global", 0.2 if state is BreakerState.OPEN else 1.0)
        collector.absorb(each.snapshot())
    assert collector.value("claude_breaker_state") == 3
    assert collector.value("claude_breaker_state", state="closed") == 2
    assert collector.value("claude_breaker_failure_ratio") == 0.9
    assert collector.value("claude_retry_budget_ratio") == 0.2


@pytest.mark.parametrize("order", [1, -1])
def test_of_rate_limits_and_settings_the_newest_counts(collector: Telemetry, clock: Clock, order: int) -> None:
    snapshots = []
    for n in range(3):
        each = process(clock, Clock(1_790_000_000.0 + n))
        limit = RateLimit(kind=LimitKind.TOKENS, limit=100 + n)
        each.attempt(attempt(started_at=1_790_000_000.0 + n, limits=(limit,)))
        each.timeouts(Profile.DEFAULT, {Phase.STALL: 20.0 + n})
        snapshots.append(each.snapshot())
    for snapshot in snapshots[::order]:
        collector.absorb(snapshot)
    assert collector.value("claude_ratelimit_limit", kind="tokens") == 102
    assert collector.value("claude_timeout_setting_seconds") == 22


def test_a_process_silent_for_5_seconds_loses_its_gauges(collector: Telemetry, clock: Clock) -> None:
    one, two = process(clock), process(clock)
    tickets = [each.in_flight.begin("messages", "claude") for each in (one, two)]
    collector.absorb(one.snapshot())
    clock.now += 3
    collector.absorb(two.snapshot())
    clock.now += 2
    assert collector.value("claude_in_flight") == len(tickets)
    clock.now += 0.1
    assert collector.value("claude_in_flight") == 1
    clock.now += 3
    assert collector.values("claude_in_flight") == []
    collector.absorb(one.snapshot())
    assert collector.value("claude_in_flight") == 1


def test_a_further_snapshot_replaces_the_one_before(collector: Telemetry, clock: Clock) -> None:
    one = process(clock)
    ticket = one.in_flight.begin("messages", "claude")
    collector.absorb(one.snapshot())
    ticket.end()
    collector.absorb(one.snapshot())
    assert collector.value("claude_in_flight") == 0


def test_counters_that_no_record_feeds_come_along_and_are_counted_once(collector: Telemetry, clock: Clock) -> None:
    one, two = process(clock), process(clock)
    for each in (one, two):
        each.breaker("host/claude").transition(BreakerState.CLOSED, BreakerState.OPEN)
        each.dropped("ring_full", 2)
    for _ in range(3):
        collector.absorb(one.snapshot())
        collector.absorb(two.snapshot())
    one.breaker("host/claude").transition(BreakerState.CLOSED, BreakerState.OPEN)
    collector.absorb(one.snapshot())
    assert collector.value("claude_breaker_transitions_total", **{"from": "closed"}) == 3
    assert collector.value("sidecar_dropped_records_total", reason="ring_full") == 4
    assert collector.value("claude_breaker_transitions_total", **{"from": "half_open"}) == 0
    assert len(collector.values("claude_breaker_transitions_total")) == 4


def test_an_overtaken_snapshot_counts_nothing_twice(collector: Telemetry, clock: Clock) -> None:
    one = process(clock)
    one.dropped("ring_full")
    early = one.snapshot()
    one.dropped("ring_full")
    late = one.snapshot()
    for snapshot in (late, early, late):
        collector.absorb(snapshot)
    assert collector.value("sidecar_dropped_records_total", reason="ring_full") == 2


def test_a_process_that_speaks_again_after_silence_is_not_counted_again(collector: Telemetry, clock: Clock) -> None:
    one = process(clock)
    one.dropped("ring_full", 7)
    collector.absorb(one.snapshot())
    clock.now += 60
    assert collector.values("claude_in_flight") == []
    collector.absorb(one.snapshot())
    assert collector.value("sidecar_dropped_records_total", reason="ring_full") == 7


def test_what_records_tell_is_no_part_of_a_snapshot(clock: Clock) -> None:
    one = process(clock)
    one.attempt(attempt())
    one.call(call())
    families = {sample.family for sample in (*one.snapshot().gauges, *one.snapshot().counters)}
    assert families == {"sidecar_dropped_records_total"}


GOOD = GaugeSnapshot(process="1-abc", gauges=(Sample("claude_in_flight", LABELS, 1.0),))


@pytest.mark.parametrize(
    "snapshot",
    [
        replace(GOOD, process=""),
        replace(GOOD, process="x" * 1000),
        replace(GOOD, process=7),  # type: ignore[arg-type]
        replace(GOOD, gauges=7),  # type: ignore[arg-type]
        replace(GOOD, gauges=(7,)),  # type: ignore[arg-type]
        replace(GOOD, gauges=GOOD.gauges * (MAX_SAMPLES + 1)),
        replace(GOOD, gauges=(Sample("claude_calls_total", ("a",), 1.0),)),
        replace(GOOD, gauges=(Sample("claude_breaker_rejections_total", ("a", "client"), 1.0),)),
        replace(GOOD, gauges=(Sample("sidecar_build_info", ("0",), 1.0),)),
        replace(GOOD, gauges=(Sample("nonsense", (), 1.0),)),
        replace(GOOD, gauges=(Sample("claude_in_flight", ("messages",), 1.0),)),
        replace(GOOD, gauges=(Sample("claude_in_flight", ("messages", "claude", "rumour"), 1.0),)),
        replace(GOOD, gauges=(Sample("claude_in_flight", ("messages", 7, "client"), 1.0),)),  # type: ignore[arg-type]
        *(replace(GOOD, gauges=(Sample("claude_in_flight", LABELS, bad),)) for bad in (math.nan, math.inf, -1.0)),
        replace(GOOD, gauges=(Sample("claude_in_flight", LABELS, 1.0, math.nan),)),
        replace(GOOD, gauges=(Sample("claude_in_flight", LABELS, "1"),)),  # type: ignore[arg-type]
        replace(GOOD, counters=(Sample("claude_breaker_transitions_total", ("a", "ajar", "open", "client"), 1.0),)),
    ],
)
def test_a_snapshot_that_does_not_fit_is_dropped_whole(collector: Telemetry, snapshot: Any) -> None:
    collector.absorb(snapshot)
    assert collector.values("claude_in_flight") == []
    assert collector.value("sidecar_dropped_records_total", reason="malformed") == 1


def test_invented_labels_in_snapshots_cannot_fill_memory(clock: Clock) -> None:
    collector = Telemetry(clock=clock, label_limit=4)
    samples = tuple(Sample("claude_in_flight", ("messages", f"invented-{n}", "client"), 1.0) for n in range(100))
    collector.absorb(replace(GOOD, gauges=samples))
    assert len(collector.values("claude_in_flight")) == 3
    assert collector.value("claude_in_flight", model="other") == 98


def test_processes_without_end_cannot_fill_memory(collector: Telemetry) -> None:
    for n in range(MAX_PROCESSES + 50):
        collector.absorb(replace(GOOD, process=str(n)))
    assert collector.value("claude_in_flight") == MAX_PROCESSES


def test_a_snapshot_of_the_proxy_stays_the_proxys(collector: Telemetry, clock: Clock) -> None:
    proxy = Telemetry(clock=clock, source=Source.PROXY)
    ticket = proxy.in_flight.begin("messages", "claude")
    collector.absorb(proxy.snapshot())
    assert collector.value("claude_in_flight", source="proxy") == 1
    ticket.end()
