"""The status document: its shape is a promise, and its numbers are those of the records."""

import json
import time
from typing import Any

import pytest

from sidecar.console import Console, Viewer, asked
from sidecar.console.console import MAX_VIEWERS
from sidecar.model import BreakerState, LimitKind, Outcome, Phase, Profile, RateLimit, RetryResult, Source
from sidecar.telemetry import Telemetry
from sidecar.telemetry.page import Answer
from tests.console.simulated import simulated
from tests.outlets import samples
from tests.support.traffic import Fleet
from tests.telemetry.clock import Clock

START = 1_790_000_040.0


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def telemetry(clock: Clock) -> Telemetry:
    return Telemetry(clock=clock, wall=clock)


@pytest.fixture
def console(telemetry: Telemetry, clock: Clock) -> Console:
    return Console(telemetry, mode="collect", wall=clock)


def shape(value: Any) -> Any:
    """Reduce a document to its field names; of a list, those of all its items."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [{key: shape(each) for item in value for key, each in item.items()}]
    return "..."


def test_the_fields_are_those_that_are_documented(telemetry: Telemetry, console: Console) -> None:
    fill(telemetry)
    quantiles = dict.fromkeys(("count", "p50", "p95", "p99"), "...")
    call = dict.fromkeys(
        (
            *("ended_at", "endpoint", "model", "profile", "stream", "outcome", "phase"),
            *("duration_seconds", "first_token_seconds", "attempts", "request_id"),
        ),
        "...",
    )
    totals = dict.fromkeys(("total", "ok_ratio", "timeout_ratio", "failure_ratio"), "...")
    document = console.status()
    for point in document["series"]:
        point.update(outcomes=[], timeouts=[], retried=[])
    assert shape(document) == {
        "version": "...",
        "now": "...",
        "sidecar": dict.fromkeys(("version", "mode", "instance"), "..."),
        "history": dict.fromkeys(("since", "span_seconds", "step_seconds"), "..."),
        "view": dict.fromkeys(("source", "sources", "window_seconds", "windows"), "..."),
        "verdicts": [dict.fromkeys(("id", "severity", "text"), "...")],
        "calls": {
            **totals,
            "per_second": "...",
            "by_outcome": dict.fromkeys(Outcome, "..."),
            "timeouts_by_phase": dict.fromkeys(Phase, "..."),
        },
        "duration_seconds": quantiles,
        "first_token_seconds": quantiles,
        "retries": dict.fromkeys(("recovered", "exhausted", "abandoned", "success_ratio", "attempts_per_call"), "..."),
        "timeouts": [
            {
                **dict.fromkeys(
                    ("profile", "phase", "setting_seconds", "expired", "expired_after_seconds", "fit"), "..."
                ),
                "observed": dict.fromkeys(("count", "p50", "p99", "max"), "..."),
            }
        ],
        "models": [
            {
                "model": "...",
                "endpoint": "...",
                **totals,
                "duration_seconds": quantiles,
                "first_token_seconds": quantiles,
            }
        ],
        "slo": [
            dict.fromkeys(
                (
                    *("name", "description", "objective_percent", "period"),
                    *("counted", "bad", "good_ratio", "burn_rate"),
                ),
                "...",
            )
        ],
        "slowest": [call],
        "failed": [call],
        "breakers": [
            {
                **dict.fromkeys(("name", "state", "reason", "reason_text", "reopens_at", "failure_ratio"), "..."),
                "processes": dict.fromkeys(BreakerState, "..."),
            }
        ],
        "in_flight": {
            **dict.fromkeys(("calls", "oldest_seconds", "silent_seconds"), "..."),
            "by_model": [dict.fromkeys(("endpoint", "model", "calls", "oldest_seconds", "silent_seconds"), "...")],
        },
        "rate_limits": [dict.fromkeys(("kind", "limit", "remaining", "left_ratio", "resets_at"), "...")],
        "health": dict.fromkeys(("dropped_records", "internal_errors", "event_loop_lag_seconds"), "..."),
        "series": [dict.fromkeys(("at", "outcomes", "timeouts", "retried", "duration", "first_token"), "...")],
    }


def fill(telemetry: Telemetry) -> None:
    limits = (RateLimit(kind=LimitKind.REQUESTS, limit=1000, remaining=950, reset_at=START + 3),)
    telemetry.timeouts(Profile.INTERACTIVE, {Phase.STALL: 20.0, Phase.FIRST_BYTE: 1.0, Phase.DEADLINE: 75.0})
    telemetry.breaker("api/claude").state(BreakerState.OPEN)
    telemetry.breaker("api/claude").opened("consecutive", 42.0)
    telemetry.breaker("api/claude").failure_ratio(0.75)
    fill.ticket = telemetry.in_flight.begin("messages", "claude-sonnet-5-5")  # type: ignore[attr-defined]  # kept alive
    for _ in range(8):
        telemetry.attempt(samples.attempt(limits=limits, first_byte=0.9, max_gap=0.1))
        telemetry.call(samples.call(retry_result=RetryResult.RECOVERED, attempts=2))
    for _ in range(2):
        telemetry.attempt(samples.attempt(outcome=Outcome.TIMEOUT, phase=Phase.STALL, max_gap=20.0))
        telemetry.call(
            samples.call(
                outcome=Outcome.TIMEOUT, phase=Phase.STALL, retry_result=RetryResult.EXHAUSTED, first_token=None
            )
        )


def test_attempts_per_call_leave_out_calls_that_were_never_sent_as_the_recorded_series_do(
    telemetry: Telemetry, console: Console, clock: Clock
) -> None:
    telemetry.call(samples.call(attempts=3))
    for _ in range(9):
        telemetry.call(samples.call(outcome=Outcome.REJECTED, attempts=0, first_token=None))
    clock.now += 10
    assert console.status()["retries"]["attempts_per_call"] == 3.0


def test_its_numbers_are_those_of_the_records(telemetry: Telemetry, console: Console, clock: Clock) -> None:
    fill(telemetry)
    clock.now += 10
    document = console.status()
    assert document["calls"]["total"] == 10
    assert document["calls"]["ok_ratio"] == 0.8
    assert document["calls"]["timeout_ratio"] == 0.2
    assert document["calls"]["per_second"] == 1.0
    assert document["calls"]["timeouts_by_phase"]["stall"] == 2
    assert document["duration_seconds"]["p95"] == pytest.approx(2.5, rel=0.022)
    assert document["retries"] == {
        "recovered": 8,
        "exhausted": 2,
        "abandoned": 0,
        "success_ratio": 0.8,
        "attempts_per_call": 1.8,
    }
    rows = {row["phase"]: row for row in document["timeouts"]}
    assert set(rows) == {Phase.STALL, Phase.FIRST_BYTE, Phase.DEADLINE}
    assert (rows["stall"]["setting_seconds"], rows["stall"]["expired"]) == (20.0, 2)
    assert rows["stall"]["expired_after_seconds"] == pytest.approx(20.0, rel=0.022)
    assert rows["stall"]["observed"]["max"] == pytest.approx(0.1, rel=0.022)
    assert [rows[phase]["fit"] for phase in ("stall", "first_byte", "deadline")] == ["loose", "tight", "loose"]
    (breaker,) = document["breakers"]
    assert (breaker["state"], breaker["reason"], breaker["reopens_at"]) == ("open", "consecutive", START + 42)
    assert breaker["reason_text"] == "too many failures in a row"
    assert document["in_flight"]["calls"] == 1
    assert document["in_flight"]["oldest_seconds"] == 10.0
    assert document["rate_limits"] == [
        {"kind": "requests", "limit": 1000.0, "remaining": 950.0, "left_ratio": 0.95, "resets_at": START + 3}
    ]
    assert [verdict["id"] for verdict in document["verdicts"]] == ["breaker-open:api/claude"]


def test_a_timeout_that_fits_is_said_to(telemetry: Telemetry, console: Console) -> None:
    telemetry.timeouts(Profile.INTERACTIVE, {Phase.DEADLINE: 10.0})
    telemetry.call(samples.call(duration=2.5))
    assert [row["fit"] for row in console.status()["timeouts"]] == ["fits"]


def test_a_wait_that_ran_out_is_shown_though_nobody_told_its_setting(telemetry: Telemetry, console: Console) -> None:
    for _ in range(6):
        telemetry.attempt(samples.attempt(outcome=Outcome.TIMEOUT, phase=Phase.STALL, max_gap=30.0, duration=31.0))
        telemetry.call(samples.call(outcome=Outcome.TIMEOUT, phase=Phase.STALL, first_token=None))
    document = console.status()
    (row,) = document["timeouts"]
    assert (row["setting_seconds"], row["fit"]) == (None, None)
    assert row["expired_after_seconds"] == pytest.approx(30.0, rel=0.022)
    assert "raise stall from 30 s to 60 s" in document["verdicts"][0]["text"]


def test_before_the_first_call_everything_is_there_and_empty(console: Console) -> None:
    document = console.status()
    assert document["view"] == {
        "source": "client",
        "sources": [],
        "window_seconds": 900,
        "windows": (300, 900, 3600),
    }
    assert document["calls"]["total"] == 0
    assert document["calls"]["ok_ratio"] is None
    assert document["series"] == []
    assert [verdict["id"] for verdict in document["verdicts"]] == ["no-calls-yet"]
    json.dumps(document, allow_nan=False)


def test_the_view_with_more_calls_is_shown_unless_one_is_chosen(telemetry: Telemetry, console: Console) -> None:
    for source in (Source.CLIENT, Source.PROXY, Source.INFERRED):
        telemetry.call(samples.call(source=source))
    assert console.status()["view"]["source"] == "proxy"
    assert console.status()["view"]["sources"] == ["client", "proxy"]
    assert console.status()["calls"]["total"] == 2
    assert console.status(source=Source.CLIENT)["calls"]["total"] == 1


def test_what_was_lost_is_told(telemetry: Telemetry, console: Console) -> None:
    telemetry.call(samples.call())
    telemetry.call(samples.call(duration=float("nan")))
    assert console.status()["health"]["dropped_records"] == 1
    assert [verdict["id"] for verdict in console.status()["verdicts"]] == ["dropped"]


def test_a_closed_console_watches_no_more(telemetry: Telemetry, console: Console) -> None:
    console.close()
    telemetry.call(samples.call())
    assert console.status()["calls"]["total"] == 0


def test_an_hour_of_a_bad_day_agrees_with_the_metrics() -> None:
    console, traffic = simulated("everything", time.time(), hours=0.25, fleet=Fleet(calls_per_second=2))
    telemetry = traffic.telemetry
    for window in (300, 900, 3600):
        document = console.status(window)
        assert sum(model["total"] for model in document["models"]) == document["calls"]["total"] > 0
        assert json.loads(json.dumps(document, allow_nan=False))["view"]["window_seconds"] == window
    document = console.status(3600)
    for outcome in Outcome:
        assert document["calls"]["by_outcome"][outcome] == telemetry.value("claude_calls_total", outcome=outcome)
    expired = dict.fromkeys(Phase, 0)
    for row in document["timeouts"]:
        expired[row["phase"]] += row["expired"]
    assert expired == {phase: telemetry.value("claude_timeouts_total", phase=phase) for phase in Phase}
    for result in RetryResult:
        assert document["retries"][result] == telemetry.value("claude_retried_calls_total", result=result)
    first = telemetry.histogram("claude_first_token_seconds")
    assert document["first_token_seconds"]["p99"] == pytest.approx(first.quantile(0.99), rel=0.001)
    assert document["calls"]["total"] == sum(sum(each["outcomes"].values()) for each in document["series"])


# -- over HTTP's words --------------------------------------------------------------------------------------------


def ask(console: Console, path: str, query: str = "", method: str = "GET", **headers: str) -> Answer:
    answer = console.answer(asked(method, path, query, {k.replace("_", "-"): v for k, v in headers.items()}))
    assert isinstance(answer, Answer)
    return answer


def watch(console: Console, query: str = "") -> Viewer:
    answer = console.answer(asked("GET", "/api/v1/events", query, {}))
    assert isinstance(answer, Viewer)
    return answer


def test_the_document_is_sent_as_json_packed_when_asked(console: Console) -> None:
    import gzip

    plain = ask(console, "/api/v1/status", "window=300&source=proxy")
    assert dict(plain.headers)["Content-Type"] == "application/json"
    assert json.loads(plain.body)["view"]["source"] == "proxy"
    packed = ask(console, "/api/v1/status", accept_encoding="gzip")
    assert json.loads(gzip.decompress(packed.body))["version"] == 1


@pytest.mark.parametrize("query", ["window=1", "window=", "window=900.0", "source=all", "source=inferred"])
@pytest.mark.parametrize("path", ["/api/v1/status", "/api/v1/events"])
def test_what_cannot_be_shown_is_refused_with_what_can(console: Console, path: str, query: str) -> None:
    answer = ask(console, path, query)
    assert answer.status == 400
    assert b"must be" in answer.body


def test_events_tell_everything_once_and_then_what_changed(
    telemetry: Telemetry, console: Console, clock: Clock
) -> None:
    for _ in range(3):
        telemetry.call(samples.call())
        clock.now += 5
    viewer = watch(console, "window=300")
    assert ("Content-Type", "text/event-stream") in viewer.headers
    assert not [name for name, _ in viewer.headers if name == "Content-Length"]

    def event() -> Any:
        text = (viewer.next() or b"").decode()
        head, data, *end = text.split("\n")
        assert (head, end) == ("event: status", ["", ""])
        return json.loads(data.removeprefix("data: "))

    assert len(event()["series"]) == 3
    telemetry.call(samples.call())
    clock.now += 1
    second = event()
    assert second["calls"]["total"] == 4
    assert [point["at"] for point in second["series"]] == [START + 10, START + 15]


def test_a_stream_ends_some_time_and_makes_room(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.console.console._LIFETIME", 2)
    viewer = watch(console)
    assert [viewer.next() is None for _ in range(3)] == [False, False, True]
    others = [watch(console) for _ in range(MAX_VIEWERS - 1)]
    refused = ask(console, "/api/v1/events")
    assert refused.status == 503
    assert dict(refused.headers)["Retry-After"] == "10"
    viewer.close()
    viewer.close()
    others.append(watch(console))
    assert ask(console, "/api/v1/events").status == 503


def test_head_of_the_events_makes_no_stream(console: Console) -> None:
    for _ in range(MAX_VIEWERS + 1):
        assert ask(console, "/api/v1/events", method="HEAD").status == 200
