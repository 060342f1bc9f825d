"""Why a breaker opened and when it tries again: told to the console and from process to process, to no scraper."""

import math

import pytest

from sidecar.model import BreakerState
from sidecar.telemetry import Sample, Telemetry
from sidecar.telemetry.exposition import Format, Renderer
from tests.telemetry.clock import Clock

REOPENS = "claude_breaker_reopens_timestamp_seconds"
LABELS = ("host/claude", "consecutive", "client")


def openings(telemetry: Telemetry) -> list[Sample]:
    return [sample for sample in telemetry.gauges() if sample.family == REOPENS]


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry(wall=Clock(1_790_000_000.0))


def test_an_open_breaker_tells_why_and_until_when(telemetry: Telemetry) -> None:
    breaker = telemetry.breaker("host/claude")
    breaker.transition(BreakerState.CLOSED, BreakerState.OPEN)
    breaker.opened("consecutive", 60.0)
    assert openings(telemetry) == [Sample(REOPENS, LABELS, 1_790_000_060.0, 1_790_000_000.0)]


def test_one_that_only_a_reset_closes_has_no_time(telemetry: Telemetry) -> None:
    telemetry.breaker("host/claude").opened("forced", math.inf)
    assert [(sample.labels[1], sample.value) for sample in openings(telemetry)] == [("forced", 0.0)]


@pytest.mark.parametrize(
    "state", [state for state in BreakerState if "open" not in state or state is BreakerState.HALF_OPEN]
)
def test_any_other_state_takes_it_back(telemetry: Telemetry, state: BreakerState) -> None:
    telemetry.breaker("host/claude").opened("consecutive", 60.0)
    telemetry.breaker("host/other").opened("slow_ratio", 60.0)
    telemetry.breaker("host/claude").transition(BreakerState.OPEN, state)
    assert [sample.labels[0] for sample in openings(telemetry)] == ["host/other"]


def test_a_new_reason_replaces_the_one_before(telemetry: Telemetry) -> None:
    telemetry.breaker("host/claude").opened("consecutive", 60.0)
    telemetry.breaker("host/claude").opened("probes_failed", 120.0)
    assert [(sample.labels[1], sample.value) for sample in openings(telemetry)] == [("probes_failed", 1_790_000_120.0)]


def test_a_breaker_without_a_place_of_its_own_tells_nothing() -> None:
    telemetry = Telemetry(label_limit=2)
    for number in range(3):
        telemetry.breaker(f"host/{number}").opened("consecutive", 60.0)
    assert [sample.labels[0] for sample in openings(telemetry)] == ["host/0"]


def test_other_processes_hear_of_it(telemetry: Telemetry) -> None:
    telemetry.breaker("host/claude").opened("consecutive", 60.0)
    collector = Telemetry()
    collector.absorb(telemetry.snapshot())
    assert [(sample.labels, sample.value) for sample in openings(collector)] == [(LABELS, 1_790_000_060.0)]


def test_scrapers_do_not_see_it(telemetry: Telemetry) -> None:
    telemetry.breaker("host/claude").opened("consecutive", 60.0)
    assert REOPENS.encode() not in Renderer().render(telemetry.collect(), Format.TEXT)
