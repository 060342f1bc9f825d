"""Durations, gaps, first tokens and waits to the last digit: a clock in hand, no HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anthropic
import pytest

from sidecar.client.answers import Parsed
from sidecar.client.attempt import Attempt
from sidecar.client.call import Call
from sidecar.client.observer import Observer
from sidecar.model import (
    LimitKind,
    Outcome,
    Phase,
    Profile,
    RateLimit,
    RetryResult,
    Source,
    Stage,
    StreamEnd,
    Usage,
    Verdict,
    Wait,
)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + 1_000_000

    def pass_(self, seconds: float) -> float:
        self.now += seconds
        return self.now


class ReadTimeout(Exception):  # noqa: N818  # the name is the case
    """Named as HTTP libraries do."""


@dataclass(frozen=True)
class Url:
    host: str = "api.test"
    port: int | None = None
    scheme: str = "https"


@dataclass(frozen=True)
class Headers:
    raw: Sequence[tuple[bytes, bytes]] = ()


HEADERS = Headers(
    [
        (b"Request-Id", b"req_1"),
        (b"Content-Type", b"text/event-stream"),
        (b"anthropic-ratelimit-requests-limit", b"50"),
    ]
)
START = b'event: message_start\ndata: {"message": {"usage": {"input_tokens": 7}}}\n\n'
DELTA = b'event: content_block_delta\ndata: {"delta": {"text": "x"}}\n\n'
FINISH = b'event: message_delta\ndata: {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 20}}\n\n'
STOP = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'


@pytest.fixture
def clock() -> Clock:
    return Clock()


def begin(seen: Any, clock: Clock, *, stream: bool = False) -> Call:
    observer = Observer(telemetry=seen, clock=clock, wall=clock.wall)
    return Call(observer, endpoint="messages", path="/v1/messages", model="m", profile=Profile.AGENTIC, stream=stream)


def attempt(call: Call) -> Attempt:
    return call.attempt("POST", Url())


def read(attempt: Attempt, clock: Clock, chunks: Sequence[tuple[float, bytes, float]]) -> None:
    """Read chunks: each comes after a wait, and is followed by a pause of the application."""
    feed = attempt.reading()
    for wait, chunk, pause in chunks:
        before = clock()
        now = clock.pass_(wait)
        attempt.waited(before, now)
        if feed(chunk):
            attempt.learnt(now)
        clock.pass_(pause)


def test_a_stream_is_timed_from_the_start_of_its_call_and_pauses_are_no_gaps(seen: Any, clock: Clock) -> None:
    call = begin(seen, clock, stream=True)
    clock.pass_(0.5)
    first = attempt(call)
    clock.pass_(1.0)
    first.responded(529, HEADERS, decoded=False)
    clock.pass_(0.25)
    first.reading()
    first.end(StreamEnd.CLOSED)
    clock.pass_(2.0)
    second = attempt(call)
    clock.pass_(0.125)
    second.responded(200, HEADERS, decoded=False)
    call.returned(None)
    clock.pass_(10.0)  # the application takes its time before it reads
    read(second, clock, [(0.5, START, 0), (0.25, DELTA, 30.0), (3.0, DELTA, 5.0), (1.0, FINISH + STOP, 7.0)])
    second.end(StreamEnd.EOF)

    overloaded, ok = seen.attempts
    assert (overloaded.number, overloaded.started_at, overloaded.duration) == (0, 1_001_000.5, 1.25)
    assert (overloaded.first_byte, overloaded.status, overloaded.outcome) == (1.0, 529, Outcome.OVERLOADED)
    assert overloaded.max_gap is None
    assert (ok.number, ok.started_at, ok.first_byte) == (1, 1_001_003.75, 0.125)
    assert ok.duration == 0.125 + 10 + 0.5 + 0.25 + 30 + 3 + 5 + 1 + 7
    assert ok.first_token == 0.125 + 10 + 0.5 + 0.25
    assert (ok.max_gap, ok.max_gap_at) == (3.0, 0.125 + 10 + 0.5 + 0.25 + 30)
    assert (ok.host, ok.port, ok.request_id) == ("api.test", 443, "req_1")
    assert ok.limits == (RateLimit(kind=LimitKind.REQUESTS, limit=50),)

    record = seen.one
    assert (record.source, record.profile, record.stream) == (Source.CLIENT, Profile.AGENTIC, True)
    assert record.started_at == 1_001_000.0
    assert record.first_token == 3.75 + ok.first_token
    assert record.output_seconds == 30 + 3 + 5 + 1  # to the end of the answer, not of the reading
    assert record.duration == 3.75 + ok.duration
    assert record.waits == (Wait(reason=Outcome.OVERLOADED, at=1.75, seconds=2.0),)
    assert (record.outcome, record.attempts, record.retry_result) == (Outcome.OK, 2, RetryResult.RECOVERED)
    assert (record.usage, record.stop_reason) == (Usage(input=7, output=20), "end_turn")


def test_rate_limits_are_read_ten_times_a_second_at_most(seen: Any, clock: Clock) -> None:
    observer = Observer(telemetry=seen, clock=clock, wall=clock.wall)
    for pause in (0.0, 0.0625, 0.0625, 0.0, 5.0):
        clock.pass_(pause)
        call = Call(observer, endpoint="messages", path="/", model="m", profile=Profile.DEFAULT, stream=False)
        one = attempt(call)
        one.responded(200, HEADERS, decoded=True)
        one.whole(b"{}")
        call.returned(None)
    assert [len(record.limits) for record in seen.attempts] == [1, 0, 1, 0, 1]


def test_a_wait_that_ends_in_a_timeout_is_a_gap_too(seen: Any, clock: Clock) -> None:
    call = begin(seen, clock, stream=True)
    one = attempt(call)
    one.responded(200, HEADERS, decoded=False)
    call.returned(None)
    read(one, clock, [(1.0, START, 0)])
    one.waited(clock(), clock.pass_(60.0))
    one.end(StreamEnd.EOF, ReadTimeout())
    (record,) = seen.attempts
    assert (record.outcome, record.phase, record.error_type) == (Outcome.TIMEOUT, Phase.STALL, "ReadTimeout")
    assert (record.max_gap, record.max_gap_at) == (60.0, 1.0)
    assert seen.one.usage == Usage(input=7)
    assert seen.one.output_seconds is None


def test_a_whole_answer_costs_the_parsing_only_where_the_sdk_has_not_parsed(seen: Any, clock: Clock) -> None:
    for told in (Parsed(anthropic.types.Usage(input_tokens=1, output_tokens=0), "end_turn", "req_2"), None):
        call = begin(seen, clock)
        one = attempt(call)
        one.responded(200, Headers([(b"content-type", b"application/json")]), decoded=True)
        one.whole(b'{"usage": {"input_tokens": 2}, "stop_reason": "max_tokens"}')
        call.returned(told)
    assert [(record.usage, record.stop_reason) for record in seen.calls] == [
        (Usage(input=1), "end_turn"),
        (Usage(input=2), "max_tokens"),
    ]


def test_the_requests_id_is_the_sdks_word_else_the_headers_else_that_of_an_attempt_before(
    seen: Any, clock: Clock
) -> None:
    for told in (Parsed(None, None, "req_2"), Parsed(None, None, None), Parsed(None, None, 7), None):
        call = begin(seen, clock)
        one = attempt(call)
        one.responded(200, HEADERS, decoded=True)
        one.whole(b"{}")
        call.returned(told)
    assert [record.request_id for record in seen.calls] == ["req_2", "req_1", "req_1", "req_1"]
    assert [record.request_id for record in seen.attempts] == ["req_2", "req_1", "req_1", "req_1"]

    call = begin(seen, clock)
    attempt(call).responded(529, HEADERS, decoded=True)
    attempt(call).failed(ReadTimeout(), stage=Stage.WAITING)
    call.raised(ReadTimeout())
    assert seen.attempts[-1].request_id is None
    assert seen.calls[-1].request_id == "req_1"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (type("JSONDecodeError", (ValueError,), {})(), Outcome.SERVER_ERROR),
        (type("APIResponseValidationError", (Exception,), {})(), Outcome.SERVER_ERROR),
        (KeyError("the application's own"), Outcome.OK),
    ],
)
def test_what_the_sdk_raises_after_a_good_answer_overrules_it_only_when_it_cannot_be_parsed(
    seen: Any, clock: Clock, error: Exception, outcome: Outcome
) -> None:
    call = begin(seen, clock)
    one = attempt(call)
    one.responded(200, Headers(), decoded=True)
    one.whole(b"{}")
    assert seen.attempts == []  # not told before it is known
    call.raised(error)
    assert [record.outcome for record in seen.attempts] == [seen.one.outcome] == [outcome]


def test_an_error_while_a_body_is_open_ends_the_attempt(seen: Any, clock: Clock) -> None:
    call = begin(seen, clock, stream=True)
    one = attempt(call)
    one.responded(200, HEADERS, decoded=False)
    one.reading()
    call.raised(ReadTimeout())
    assert (seen.one.outcome, seen.one.phase) == (Outcome.TIMEOUT, Phase.STALL)
    assert len(seen.attempts) == 1


def test_an_attempt_that_nobody_ended_ends_when_the_next_begins(seen: Any, clock: Clock) -> None:
    call = begin(seen, clock, stream=True)
    one = attempt(call)
    one.responded(500, HEADERS, decoded=False)
    one.reading()
    two = attempt(call)
    two.failed(ReadTimeout(), stage=Stage.WAITING)
    call.raised(ReadTimeout())
    assert [record.outcome for record in seen.attempts] == [Outcome.SERVER_ERROR, Outcome.TIMEOUT]
    assert seen.one.retry_result is RetryResult.EXHAUSTED


def test_a_cancelled_retry_is_abandoned(seen: Any, clock: Clock) -> None:
    call = begin(seen, clock)
    attempt(call).failed(ReadTimeout(), stage=Stage.WAITING)
    attempt(call).failed(KeyboardInterrupt(), stage=Stage.WAITING)
    call.raised(KeyboardInterrupt())
    assert (seen.one.outcome, seen.one.retry_result) == (Outcome.CANCELLED, RetryResult.ABANDONED)


def test_what_is_told_twice_or_late_counts_once(seen: Any, clock: Clock) -> None:
    call = begin(seen, clock, stream=True)
    one = attempt(call)
    one.responded(200, HEADERS, decoded=False)
    call.returned(None)
    read(one, clock, [(0.0, START + STOP, 0)])
    one.end(StreamEnd.EOF)
    one.end(StreamEnd.CLOSED)
    one.failed(ReadTimeout(), stage=Stage.READING)
    one.overrule(Verdict(Outcome.SERVER_ERROR))
    call.raised(ReadTimeout())
    call.returned(None)
    assert len(seen.calls) == len(seen.attempts) == 1
    assert seen.one.outcome is Outcome.OK
    assert seen.faults == []


def test_nothing_sent_is_no_attempt(seen: Any, clock: Clock) -> None:
    call = begin(seen, clock)
    call.raised(TypeError())
    assert (seen.one.outcome, seen.one.attempts, seen.one.error_type) == (Outcome.CLIENT_ERROR, 0, "TypeError")
    assert seen.attempts == []


def test_calls_under_way_show_their_silence(seen: Any, clock: Clock) -> None:
    from sidecar.telemetry import Telemetry

    seen.telemetry = Telemetry(clock=clock)
    call = begin(seen, clock, stream=True)
    silent = "claude_in_flight_silent_seconds"
    clock.pass_(1.0)
    assert (seen.telemetry.value("claude_in_flight"), seen.telemetry.value(silent)) == (1, 0)
    one = attempt(call)
    clock.pass_(2.0)
    assert (seen.telemetry.value("claude_in_flight_oldest_seconds"), seen.telemetry.value(silent)) == (3.0, 2.0)
    one.responded(200, HEADERS, decoded=False)
    clock.pass_(5.0)
    assert seen.telemetry.value(silent) == 0
    one.end(StreamEnd.CLOSED)
    call.returned(None)
    assert seen.telemetry.value("claude_in_flight") == 0
