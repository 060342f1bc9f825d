"""Nothing that is told to telemetry raises into a call, and nothing senseless reaches a series."""

import logging
import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.model import LimitKind, Outcome, Phase, Profile, RateLimit, TraceRef, Usage, Wait
from sidecar.telemetry import Telemetry
from sidecar.telemetry.exposition import Format, Renderer
from tests.telemetry.records import attempt, call

BAD_NUMBERS = {
    math.nan: "not_finite",
    math.inf: "not_finite",
    -math.inf: "not_finite",
    -0.001: "negative",
    2.0**41: "too_large",
}


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def dropped(telemetry: Telemetry) -> dict[str, float]:
    return {labels["reason"]: count for labels, count in telemetry.values("sidecar_dropped_records_total") if count}


def counted(telemetry: Telemetry) -> dict[str, Any]:
    """Give every claude_* series that is not 0, and every histogram."""
    seen: dict[str, Any] = {}
    for view in telemetry.collect():
        if view.family.name.startswith("claude_"):
            seen |= {f"{view.family.name}{labels}": value for labels, value in view.values if value}
            seen |= {f"{view.family.name}{labels}": histogram for labels, histogram in view.histograms}
    return seen


@pytest.mark.parametrize("number", BAD_NUMBERS)
@pytest.mark.parametrize("field", ["duration", "max_gap"])
def test_an_attempt_with_a_senseless_number_is_dropped_whole(telemetry: Telemetry, field: str, number: float) -> None:
    telemetry.attempt(attempt(**{field: number}))
    assert counted(telemetry) == {}
    assert dropped(telemetry) == {BAD_NUMBERS[number]: 1}


@pytest.mark.parametrize("number", BAD_NUMBERS)
@pytest.mark.parametrize("field", ["duration", "first_token", "output_seconds"])
def test_a_call_with_a_senseless_number_is_dropped_whole(telemetry: Telemetry, field: str, number: float) -> None:
    telemetry.call(call(**{field: number}))
    assert counted(telemetry) == {}
    assert dropped(telemetry) == {BAD_NUMBERS[number]: 1}


@pytest.mark.parametrize("number", BAD_NUMBERS)
@pytest.mark.parametrize("field", ["input", "output", "cache_read", "cache_write"])
def test_a_call_with_senseless_usage_is_dropped_whole(telemetry: Telemetry, field: str, number: float) -> None:
    telemetry.call(call(usage=replace(Usage(input=1, output=1), **{field: number})))  # type: ignore[arg-type]
    assert counted(telemetry) == {}
    assert dropped(telemetry) == {BAD_NUMBERS[number]: 1}


@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_a_call_with_a_senseless_wait_is_dropped_whole(telemetry: Telemetry, number: float) -> None:
    waits = tuple(Wait(reason=Outcome.TIMEOUT, at=0.0, seconds=seconds) for seconds in (1.0, number))
    telemetry.call(call(waits=waits))
    assert counted(telemetry) == {}
    assert dropped(telemetry) == {BAD_NUMBERS[number]: 1}


@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_an_attempt_with_a_senseless_rate_limit_is_dropped_whole(telemetry: Telemetry, number: float) -> None:
    limit = RateLimit(kind=LimitKind.REQUESTS, limit=50, remaining=number)  # type: ignore[arg-type]
    telemetry.attempt(attempt(limits=(limit,)))
    assert counted(telemetry) == {}
    assert dropped(telemetry) == {BAD_NUMBERS[number]: 1}


def test_a_rate_of_tokens_beyond_all_sense_drops_the_call(telemetry: Telemetry) -> None:
    telemetry.call(call(output_seconds=5e-324))
    assert counted(telemetry) == {}
    assert sum(dropped(telemetry).values()) == 1


@pytest.mark.parametrize("started_at", [math.nan, math.inf, -1e12, 0.0, 1e300])
def test_a_clock_that_stepped_costs_no_record(telemetry: Telemetry, started_at: float) -> None:
    limits = (RateLimit(kind=LimitKind.REQUESTS, limit=50),)
    telemetry.attempt(attempt(started_at=started_at, limits=limits))
    telemetry.call(call(started_at=started_at))
    assert telemetry.value("claude_calls_total") == telemetry.value("claude_attempts_total") == 1
    assert telemetry.value("claude_ratelimit_limit") == 50
    assert dropped(telemetry) == {}


MALFORMED: list[dict[str, Any]] = [
    {"outcome": "splendid"},
    {"outcome": None},
    {"profile": "vip"},
    {"source": "rumour"},
    {"model": 7},
    {"model": ["claude"]},
    {"endpoint": {"a": 1}},
    {"duration": None},
    {"duration": "3.2"},
    {"started_at": None, "trace": TraceRef(trace_id="0" * 32, span_id="")},
    {"trace": "0af7651916cd43dd8448eb211c80319c"},
    {"trace": TraceRef(trace_id=None, span_id="")},  # type: ignore[arg-type]
]


@pytest.mark.parametrize("changes", MALFORMED)
def test_a_record_of_the_wrong_shape_is_dropped_whole(telemetry: Telemetry, changes: dict[str, Any]) -> None:
    telemetry.attempt(attempt(**changes))
    telemetry.call(call(**changes))
    assert counted(telemetry) == {}
    assert dropped(telemetry) == {"malformed": 2}


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": Outcome.REJECTED},
        {"outcome": Outcome.TIMEOUT, "phase": None},
        {"outcome": Outcome.TIMEOUT, "phase": "lunch"},
        {"status": "200"},
        {"limits": (RateLimit(kind="wishes"),)},  # type: ignore[arg-type]
        {"limits": 7},
        {"max_gap": "long"},
    ],
)
def test_an_attempt_of_the_wrong_shape_is_dropped_whole(telemetry: Telemetry, changes: dict[str, Any]) -> None:
    telemetry.attempt(attempt(**changes))
    assert counted(telemetry) == {}
    assert dropped(telemetry) == {"malformed": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"stream": "yes"},
        {"usage": 7},
        {"usage": Usage(output="many")},  # type: ignore[arg-type]
        {"stop_reason": 7},
        {"stop_reason": ["end_turn"]},
        {"waits": 7},
        {"waits": (Wait(reason="boredom", at=0.0, seconds=1.0),)},  # type: ignore[arg-type]
        {"retry_result": "perhaps"},
    ],
)
def test_a_call_of_the_wrong_shape_is_dropped_whole(telemetry: Telemetry, changes: dict[str, Any]) -> None:
    telemetry.call(call(**changes))
    assert counted(telemetry) == {}
    assert dropped(telemetry) == {"malformed": 1}


@pytest.mark.parametrize("thing", [None, 7, "a record", object(), {"duration": 1}])
def test_what_is_no_record_is_dropped(telemetry: Telemetry, thing: Any) -> None:
    telemetry.attempt(thing)
    telemetry.call(thing)
    assert dropped(telemetry) == {"malformed": 2}


def test_a_malformed_record_is_logged_once_and_without_what_was_in_it(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            telemetry.call(call(profile="a secret"))
    (entry,) = caplog.records
    assert entry.getMessage().startswith("malformed record: ValueError at ")
    assert "secret" not in caplog.text


def test_a_record_that_breaks_us_is_our_own_fault(telemetry: Telemetry) -> None:
    class Trap:
        @property
        def source(self) -> str:
            raise RuntimeError

    telemetry.call(Trap())  # type: ignore[arg-type]
    assert telemetry.value("sidecar_internal_errors_total", where="recorder") == 1


numbers = st.one_of(st.floats(), st.integers(), st.none(), st.text(max_size=3), st.booleans())
words = st.one_of(st.sampled_from([*Outcome, *Phase, *Profile]), st.text(max_size=5), st.none(), st.binary(max_size=2))


@settings(deadline=None, max_examples=150)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "duration": numbers,
            "started_at": numbers,
            "first_token": numbers,
            "output_seconds": numbers,
            "max_gap": numbers,
            "status": numbers,
            "stream": numbers,
            "model": words,
            "endpoint": words,
            "outcome": words,
            "profile": words,
            "phase": words,
            "stop_reason": words,
            "usage": st.builds(Usage, input=numbers, output=numbers),
        },
    )
)
def test_whatever_comes_every_format_still_renders(changes: dict[str, Any]) -> None:
    telemetry = Telemetry()
    of_attempts = {"max_gap", "status"}
    of_calls = {"output_seconds", "stop_reason", "usage"}
    telemetry.attempt(attempt(**{name: value for name, value in changes.items() if name not in of_calls}))
    telemetry.call(call(**{name: value for name, value in changes.items() if name not in of_attempts}))
    taken = telemetry.value("claude_calls_total") + telemetry.value("claude_attempts_total")
    assert taken + telemetry.value("sidecar_dropped_records_total") == 2
    renderer = Renderer()
    for form in Format:
        page = renderer.render(telemetry.collect(), form)
        if form is not Format.PROTOBUF:
            assert b"nan" not in page.lower()
            assert b" inf" not in page.lower()


def test_numbers_of_other_types_count_as_floats_or_not_at_all(telemetry: Telemetry) -> None:
    telemetry.call(call(duration=3, first_token=True))
    telemetry.call(call(duration=Fraction(3, 2)))
    telemetry.call(call(duration=Decimal("1.5")))
    telemetry.call(call(first_token=Decimal("1.5")))
    telemetry.call(call(usage=Usage(input=Decimal(7))))  # type: ignore[arg-type]
    assert telemetry.value("claude_calls_total") == 2
    assert telemetry.histogram("claude_call_duration_seconds").sum == 4.5
    assert dropped(telemetry) == {"malformed": 3}


@pytest.mark.parametrize("ratio", [math.nan, -1.0, 7.0])
def test_gauges_hold_no_nonsense(telemetry: Telemetry, ratio: float) -> None:
    breaker = telemetry.breaker("host/model")
    breaker.failure_ratio(0.5)
    breaker.failure_ratio(ratio)
    telemetry.retry_budget("global", 0.5)
    telemetry.retry_budget("global", ratio)
    telemetry.event_loop_lag(0.5)
    telemetry.event_loop_lag(-ratio if ratio > 0 else ratio)
    for family in ("claude_breaker_failure_ratio", "claude_retry_budget_ratio", "sidecar_event_loop_lag_seconds"):
        assert telemetry.values(family) == []


def test_what_is_told_in_the_wrong_words_is_dropped(telemetry: Telemetry) -> None:
    telemetry.breaker("host/model").state("ajar")  # type: ignore[arg-type]
    telemetry.breaker("host/model").transition("open", "ajar")  # type: ignore[arg-type]
    telemetry.breaker("host/model").failure_ratio("high")  # type: ignore[arg-type]
    telemetry.breaker(7)  # type: ignore[arg-type]
    telemetry.timeouts("vip", {Phase.CONNECT: 5.0})  # type: ignore[arg-type]
    telemetry.timeouts(Profile.DEFAULT, {"lunch": 5.0})  # type: ignore[dict-item]
    telemetry.timeouts(Profile.DEFAULT, None)  # type: ignore[arg-type]
    telemetry.retry_budget("global", None)  # type: ignore[arg-type]
    telemetry.retry_budget(["global"], 1.0)  # type: ignore[arg-type]
    telemetry.event_loop_lag("late")  # type: ignore[arg-type]
    telemetry.dropped("lost", "some")  # type: ignore[arg-type]
    telemetry.dropped(7)  # type: ignore[arg-type]
    telemetry.breaker("host/model", source="rumour").rejected()  # type: ignore[arg-type]
    telemetry.absorb(None)  # type: ignore[arg-type]
    telemetry.in_flight.begin(["messages"], "claude").end()  # type: ignore[arg-type]
    telemetry.in_flight.begin("messages", 7).end()  # type: ignore[arg-type]
    telemetry.in_flight.begin("messages", "claude", source="rumour").end()  # type: ignore[arg-type]
    assert dropped(telemetry)["malformed"] >= 15
