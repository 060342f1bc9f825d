import gc

import pytest

from sidecar.model import Profile, Source
from sidecar.telemetry import Telemetry
from tests.telemetry.clock import Clock
from tests.telemetry.records import call


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry(clock: Clock) -> Telemetry:
    return Telemetry(clock=clock)


def gauges(telemetry: Telemetry, **labels: str) -> tuple[float, float, float]:
    """Give count, age of the oldest, and longest silence."""
    count, oldest, silent = (
        telemetry.value(f"claude_in_flight{suffix}", **labels) for suffix in ("", "_oldest_seconds", "_silent_seconds")
    )
    return count, oldest, silent


def test_calls_under_way_are_counted_with_the_age_of_the_oldest(telemetry: Telemetry, clock: Clock) -> None:
    first = telemetry.in_flight.begin("messages", "claude")
    clock.now += 10
    second = telemetry.in_flight.begin("messages", "claude")
    clock.now += 5
    assert gauges(telemetry) == (2, 15, 0)
    assert first.end()
    assert not first.end()
    assert gauges(telemetry) == (1, 5, 0)
    second.end()
    assert gauges(telemetry) == (0, 0, 0)


def test_the_longest_current_silence_shows(telemetry: Telemetry, clock: Clock) -> None:
    one, two = (telemetry.in_flight.begin("messages", "claude") for _ in range(2))
    one.waiting()
    clock.now += 7
    two.waiting()
    clock.now += 3
    assert gauges(telemetry) == (2, 10, 10)
    one.idle()
    assert gauges(telemetry) == (2, 10, 3)
    one.waiting()
    clock.now += 1
    assert gauges(telemetry) == (2, 11, 4)


def test_a_pause_of_the_application_is_no_silence(telemetry: Telemetry, clock: Clock) -> None:
    ticket = telemetry.in_flight.begin("messages", "claude")
    ticket.waiting()
    ticket.idle()
    clock.now += 100
    assert gauges(telemetry) == (1, 100, 0)


def test_each_endpoint_and_model_has_its_own_gauges(telemetry: Telemetry, clock: Clock) -> None:
    tickets = [telemetry.in_flight.begin("messages", model) for model in ("opus", "opus", "haiku")]
    tickets.append(telemetry.in_flight.begin("models", "", source=Source.PROXY))
    clock.now += 1
    assert gauges(telemetry, model="opus", source="client") == (2, 1, 0)
    assert gauges(telemetry, model="haiku") == (1, 1, 0)
    assert gauges(telemetry, model="none", source="proxy") == (1, 1, 0)


def test_what_was_once_under_way_stays_visible(telemetry: Telemetry) -> None:
    telemetry.in_flight.begin("messages", "claude").end()
    assert telemetry.values("claude_in_flight") == [
        ({"endpoint": "messages", "model": "claude", "source": "client"}, 0)
    ]


def test_ending_twice_is_ending_once(telemetry: Telemetry) -> None:
    ticket = telemetry.in_flight.begin("messages", "claude")
    ticket.end()
    ticket.end()
    assert gauges(telemetry) == (0, 0, 0)


def test_a_ticket_that_is_lost_has_ended(telemetry: Telemetry) -> None:
    ticket = telemetry.in_flight.begin("messages", "claude")
    assert gauges(telemetry)[0] == 1
    del ticket
    gc.collect()
    assert gauges(telemetry)[0] == 0


def test_the_calls_counters_exist_from_its_beginning(telemetry: Telemetry) -> None:
    ticket = telemetry.in_flight.begin("messages", "claude", profile=Profile.AGENTIC, stream=True)
    labels = {"endpoint": "messages", "model": "claude", "profile": "agentic", "source": "client"}
    assert ({**labels, "stream": "true", "outcome": "timeout"}, 0) in telemetry.values("claude_calls_total")
    assert ({**labels, "phase": "stall"}, 0) in telemetry.values("claude_timeouts_total")
    ticket.end()


def test_invented_models_under_way_share_one_place() -> None:
    telemetry = Telemetry(label_limit=4)
    tickets = [telemetry.in_flight.begin("messages", f"invented-{n}") for n in range(10)]
    assert telemetry.value("claude_in_flight", model="other") == 8
    telemetry.call(call(model="invented-9"))
    tickets.append(telemetry.in_flight.begin("messages", "invented-9"))
    assert telemetry.value("claude_in_flight", model="invented-9") == 1


def test_a_call_that_was_taken_up_late_is_as_old_as_it_is(telemetry: Telemetry, clock: Clock) -> None:
    began = clock.now
    clock.now += 3
    ticket = telemetry.in_flight.take_up(("messages", "claude", None, Profile.DEFAULT, True), began)
    assert gauges(telemetry) == (1, 3, 0)
    ticket.end()


def test_a_call_that_was_over_before_anybody_looked_is_shown_as_begun(telemetry: Telemetry) -> None:
    telemetry.in_flight.show(("messages", "claude", Source.PROXY, Profile.DEFAULT, False))
    assert [labels["source"] for labels, _ in telemetry.values("claude_in_flight", model="claude")] == ["proxy"]
    assert gauges(telemetry) == (0, 0, 0)
    assert telemetry.values("claude_calls_total", model="claude", stream="false", outcome="timeout") != []
