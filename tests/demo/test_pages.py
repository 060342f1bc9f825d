"""Numbers are read from the real pages of a real telemetry, and rates are of the last seconds."""

import pytest

from sidecar.demo.pages import Numbers, Window, fetch, samples
from sidecar.model import BreakerState, Outcome, Phase, RetryResult
from sidecar.telemetry import Telemetry
from sidecar.telemetry.page import MetricsPage
from tests.telemetry.records import attempt, call


def page(telemetry: Telemetry) -> str:
    return MetricsPage(telemetry).answer("GET").body.decode()


def test_totals_are_those_of_all_pages() -> None:
    one, other = Telemetry(), Telemetry()
    one.call(call())
    one.call(call(outcome=Outcome.TIMEOUT, phase=Phase.STALL))
    one.attempt(attempt(outcome=Outcome.TIMEOUT, phase=Phase.STALL))
    other.call(call(attempts=2, retry_result=RetryResult.RECOVERED))
    numbers = Window().add(1.0, [page(one), page(other)])
    assert numbers.calls == 3
    assert {outcome: count for outcome, count in numbers.outcomes.items() if count} == {"ok": 2, "timeout": 1}
    assert {phase: count for phase, count in numbers.phases.items() if count} == {"stall": 1}
    assert numbers.retried["recovered"] == 1


def test_rates_and_percentiles_are_of_the_last_seconds() -> None:
    telemetry, window = Telemetry(), Window(10.0)
    for _ in range(100):
        telemetry.call(call(duration=30.0, outcome=Outcome.TIMEOUT, phase=Phase.STALL))
    window.add(0.0, [page(telemetry)])
    for _ in range(20):
        telemetry.call(call(duration=1.0))
    numbers = window.add(10.0, [page(telemetry)])
    assert numbers.rate == 2.0
    assert numbers.timing_out == 0.0
    assert numbers.p95 is not None
    assert 0.7 <= numbers.p95 <= 1.0
    # What is older than the window no longer counts.
    assert window.add(25.0, [page(telemetry)]).rate == 0.0


def test_a_breaker_is_shown_as_open_while_any_process_has_it_open() -> None:
    telemetry = Telemetry()
    breaker = telemetry.breaker("api/m")
    breaker.state(BreakerState.CLOSED)
    breaker.transition(BreakerState.CLOSED, BreakerState.OPEN)
    numbers = Window().add(0.0, [page(telemetry)])
    assert (numbers.breakers, numbers.opened) == ({"api/m": "open"}, 1)


def test_a_sidecar_that_is_gone_has_no_numbers() -> None:
    assert fetch("127.0.0.1:1") == ""
    numbers = Window().add(0.0, [""])
    assert numbers == Numbers(outcomes=numbers.outcomes, phases=numbers.phases, retried=numbers.retried)
    assert (numbers.calls, numbers.p95) == (0, None)


@pytest.mark.parametrize(
    ("line", "labels"),
    [
        ('a_total{x="1",y="a b"} 3', {"x": "1", "y": "a b"}),
        ("a_total 3", {}),
        (r'a_total{x="q\"}"} 3', {"x": r"q\"" + "}"}),
    ],
)
def test_a_line_is_a_name_its_labels_and_a_number(line: str, labels: dict[str, str]) -> None:
    (sample,) = samples(f"# HELP a_total Text.\n{line}\n\n")
    assert (sample.name, sample.labels, sample.value) == ("a_total", labels, 3.0)
