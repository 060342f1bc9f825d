"""The facade: what is told to it beyond records, and what goes on from it."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from sidecar._version import __version__
from sidecar.model import BreakerState, Outcome, Phase, Profile, Source
from sidecar.telemetry import Telemetry, default_telemetry
from tests.telemetry.records import attempt, call


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def test_a_breakers_states_are_one_hot_from_the_first_on(telemetry: Telemetry) -> None:
    breaker = telemetry.breaker("api.anthropic.com/claude")
    breaker.state(BreakerState.CLOSED)
    states = {labels["state"]: value for labels, value in telemetry.values("claude_breaker_state")}
    assert states == {state.value: float(state is BreakerState.CLOSED) for state in BreakerState}


def test_a_transition_is_counted_and_changes_the_state(telemetry: Telemetry) -> None:
    breaker = telemetry.breaker("host/model", source=Source.PROXY)
    breaker.state(BreakerState.CLOSED)
    breaker.transition(BreakerState.CLOSED, BreakerState.OPEN)
    breaker.rejected()
    breaker.failure_ratio(0.75)
    labels = {"breaker": "host/model", "source": "proxy"}
    assert telemetry.value("claude_breaker_state", state="open", **labels) == 1
    assert telemetry.value("claude_breaker_state", **labels) == 1
    assert telemetry.value("claude_breaker_transitions_total", **labels, **{"from": "closed", "to": "open"}) == 1
    assert telemetry.value("claude_breaker_rejections_total", **labels) == 1
    assert telemetry.value("claude_breaker_failure_ratio", **labels) == 0.75


def test_a_breakers_counters_exist_before_it_first_opens(telemetry: Telemetry) -> None:
    telemetry.breaker("host/model")
    assert telemetry.values("claude_breaker_rejections_total") == [({"breaker": "host/model", "source": "client"}, 0)]
    known = {(labels["from"], labels["to"]) for labels, _ in telemetry.values("claude_breaker_transitions_total")}
    assert known == {("closed", "open"), ("open", "half_open"), ("half_open", "open"), ("half_open", "closed")}


def test_breakers_beyond_the_limit_share_counters_and_have_no_state() -> None:
    telemetry = Telemetry(label_limit=4)
    for n in range(6):
        breaker = telemetry.breaker(f"host/invented-{n}")
        breaker.state(BreakerState.OPEN)
        breaker.failure_ratio(1.0)
        breaker.rejected()
    assert telemetry.value("claude_breaker_rejections_total", breaker="other") == 4
    assert telemetry.values("claude_breaker_state", breaker="other") == []
    assert telemetry.values("claude_breaker_failure_ratio", breaker="other") == []


def test_a_breaker_of_a_proven_model_has_a_place_kept() -> None:
    telemetry = Telemetry(label_limit=4)
    telemetry.call(call(model="claude"))
    for n in range(6):
        telemetry.breaker(f"host/invented-{n}")
    telemetry.breaker("host/claude").state(BreakerState.CLOSED)
    assert telemetry.value("claude_breaker_state", breaker="host/claude") == 1


def test_timeouts_in_force_are_shown_and_absent_ones_are_not(telemetry: Telemetry) -> None:
    telemetry.timeouts(Profile.INTERACTIVE, {Phase.CONNECT: 5, Phase.STALL: 20.0, Phase.DEADLINE: None})
    telemetry.timeouts(Profile.INTERACTIVE, {Phase.STALL: None}, source=Source.PROXY)
    labels = {"profile": "interactive", "source": "client"}
    assert telemetry.values("claude_timeout_setting_seconds") == [
        ({**labels, "phase": "connect"}, 5),
        ({**labels, "phase": "stall"}, 20),
    ]
    telemetry.timeouts(Profile.INTERACTIVE, {Phase.STALL: None})
    assert telemetry.values("claude_timeout_setting_seconds") == [({**labels, "phase": "connect"}, 5)]


def test_budget_lag_and_build_are_shown(telemetry: Telemetry) -> None:
    telemetry.retry_budget("global", 0.5)
    telemetry.event_loop_lag(0.25)
    assert telemetry.value("claude_retry_budget_ratio", scope="global", source="client") == 0.5
    assert telemetry.value("sidecar_event_loop_lag_seconds") == 0.25
    assert telemetry.values("sidecar_build_info") == [({"version": __version__}, 1)]


def test_losses_are_counted_and_never_taken_back(telemetry: Telemetry) -> None:
    telemetry.dropped("ring_full", 3)
    telemetry.dropped("ring_full")
    telemetry.dropped("ring_full", -2)
    assert telemetry.value("sidecar_dropped_records_total", reason="ring_full") == 4


def test_what_no_record_tells_of_has_the_telemetrys_own_source() -> None:
    telemetry = Telemetry(source=Source.PROXY)
    telemetry.retry_budget("global", 0.5)
    telemetry.breaker("host/model").rejected()
    assert telemetry.value("claude_retry_budget_ratio", source="proxy") == 0.5
    assert telemetry.value("claude_breaker_rejections_total", source="proxy") == 1


class Recorder:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def attempt(self, record: Any) -> None:
        self.seen.append(record)

    def call(self, record: Any) -> None:
        self.seen.append(record)


class Broken:
    def attempt(self, record: Any) -> None:
        raise RuntimeError(f"the prompt was: hello ({record})")

    call = attempt


def test_every_record_goes_on_to_every_sink(telemetry: Telemetry) -> None:
    sink = Recorder()
    telemetry.add_sink(sink)
    records = (attempt(), call())
    telemetry.attempt(records[0])
    telemetry.call(records[1])
    telemetry.remove_sink(sink)
    telemetry.call(call())
    assert sink.seen == [*records]


def test_a_record_that_makes_no_sense_goes_nowhere(telemetry: Telemetry) -> None:
    sink = Recorder()
    telemetry.add_sink(sink)
    telemetry.attempt(attempt(duration=-1.0))
    telemetry.call(call(duration=-1.0))
    assert sink.seen == []


def test_a_sink_that_fails_is_counted_logged_once_and_harms_nobody(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    behind = Recorder()
    telemetry.add_sink(Broken())
    telemetry.add_sink(behind)
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            telemetry.attempt(attempt())
            telemetry.call(call())
    assert telemetry.value("sidecar_internal_errors_total", where="sink Broken") == 6
    assert len(behind.seen) == 6
    (entry,) = caplog.records
    assert entry.getMessage().startswith("sink Broken: RuntimeError at ")
    assert "hello" not in caplog.text


def test_faults_in_places_without_end_are_logged_without_filling_memory(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(200):
        telemetry.internal_error(f"place {n}", ValueError())
    assert telemetry.value("sidecar_internal_errors_total") == 200
    assert len(caplog.records) == 50
    assert caplog.records[0].getMessage() == "place 0: ValueError; further ones are only counted"


def test_a_fault_of_what_is_told_is_ours_to_swallow(telemetry: Telemetry) -> None:
    class Trap(dict[Phase, float | None]):
        def items(self) -> Any:
            raise RuntimeError

    telemetry.timeouts(Profile.DEFAULT, Trap())
    assert telemetry.value("sidecar_internal_errors_total", where="timeouts") == 1


@pytest.mark.parametrize("tell", [Telemetry.attempt, Telemetry.call])
def test_a_record_that_comes_while_this_thread_is_counting_another_waits_its_turn(
    telemetry: Telemetry, tell: Callable[[Telemetry, Any], None]
) -> None:
    """The garbage collector may end an abandoned stream, and so report it, in the middle of anything."""
    inner = call() if tell is Telemetry.call else attempt()

    class Interrupting:
        """A model name that reports another record while it is looked up."""

        def __init__(self) -> None:
            self.done = False

        def __hash__(self) -> int:
            if not self.done:
                self.done = True
                tell(telemetry, inner)
                telemetry.dropped("meanwhile")
                assert telemetry.value("claude_calls_total") == telemetry.value("claude_attempts_total") == 0
            return 1

    telemetry.call(call(model=Interrupting()))
    assert telemetry.value("claude_calls_total") + telemetry.value("claude_attempts_total") == 1
    assert telemetry.value("sidecar_dropped_records_total", reason="meanwhile") == 1


def test_a_record_that_comes_while_this_thread_is_scraping_waits_its_turn(telemetry: Telemetry) -> None:
    telemetry.call(call())
    for view in telemetry.collect():
        for _ in view.histograms:
            telemetry.call(call(outcome=Outcome.TIMEOUT, phase=Phase.STALL))
    assert telemetry.value("claude_calls_total", outcome="timeout") > 0


def test_there_is_one_default() -> None:
    assert default_telemetry() is default_telemetry()
