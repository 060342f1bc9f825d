"""Records from bytes going by: what they say of each way a request can go, to the second, by a clock moved by hand."""

import gzip
import json

import pytest

from sidecar.model import AttemptRecord, CallRecord, LimitKind, Outcome, Phase, Profile, Source, TraceRef, Usage
from sidecar.proxy.correlate import BACKOFF_SECONDS, SLACK_SECONDS, Calls
from sidecar.proxy.limits import Limits
from sidecar.proxy.observe import ProfileRule, Sight
from sidecar.wire.errors import error_json
from tests.proxy.kit import answer, becomes, chunks
from tests.proxy.memory import Conversation

BODY = b'{"model":"claude-sonnet-5","max_tokens":5,"messages":[{"role":"user","content":"secret"}]%b}'
PLAIN, STREAM = BODY % b"", BODY % b',"stream":true'
MESSAGE = b'{"type":"message","content":[],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":4}}'
EVENTS = (
    b'event: message_start\ndata: {"message":{"model":"m","usage":{"input_tokens":3}}}\n\n',
    b'event: content_block_delta\ndata: {"delta":{"text":"secret"}}\n\n',
    b'event: message_delta\ndata: {"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}\n\n',
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
JSON = b"Content-Type: application/json"
SDK = b"x-stainless-lang: python\r\nx-stainless-retry-count: %d\r\nx-stainless-timeout: 30\r\n"


def ask(body: bytes = PLAIN, headers: bytes = SDK % 0, target: bytes = b"/v1/messages") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (target, headers, len(body), body)


def told(conversation: Conversation) -> tuple[AttemptRecord, CallRecord]:
    """End the conversation; return the one attempt and the one call it consists of."""
    conversation.__exit__()
    (attempt,), (call,) = conversation.records.attempts, conversation.records.calls
    assert conversation.telemetry.value("sidecar_internal_errors_total") == 0
    assert conversation.telemetry.value("claude_in_flight") == 0
    assert "secret" not in repr((attempt, call))
    return attempt, call


def test_a_plain_answer() -> None:
    conversation = Conversation()
    conversation.say(ask())
    conversation.now += 2
    limits = b"anthropic-ratelimit-requests-limit: 50\r\nAnthropic-RateLimit-Requests-Remaining: 49"
    conversation.reply(answer(MESSAGE[:10] + MESSAGE[10:], JSON, b"Request-Id: req_1", limits)[:-20])
    conversation.now += 1
    conversation.reply(answer(MESSAGE)[-20:])
    attempt, call = told(conversation)
    assert (attempt.source, attempt.endpoint, attempt.model) == (Source.PROXY, "messages", "claude-sonnet-5")
    assert (attempt.outcome, attempt.status, attempt.number) == (Outcome.OK, 200, 0)
    assert (attempt.first_byte, attempt.duration, attempt.max_gap) == (2.0, 3.0, None)
    assert (attempt.started_at, attempt.host, attempt.port) == (1000.0 + 1e9, "up.test", 80)
    assert (attempt.request_id, attempt.method, attempt.stream) == ("req_1", "POST", False)
    (limit,) = attempt.limits
    assert (limit.kind, limit.limit, limit.remaining) == (LimitKind.REQUESTS, 50, 49)
    assert (call.usage, call.stop_reason) == (Usage(input=3, output=4), "end_turn")
    assert (call.attempts, call.duration, call.retry_result) == (1, 3.0, None)


def test_rate_limits_are_read_again_once_they_may_have_changed() -> None:
    conversation = Conversation()
    header = b"anthropic-ratelimit-tokens-remaining: %d\r\nanthropic-ratelimit-tokens-remaining: 7"
    for n in range(3):
        conversation.say(ask())
        conversation.reply(answer(MESSAGE, JSON, header % n))
        conversation.now += 0.06
    conversation.__exit__()
    read = [[limit.remaining for limit in record.limits] for record in conversation.records.attempts]
    assert read == [[0], [], [2]]


def test_a_stream() -> None:
    conversation = Conversation()
    conversation.say(ask(STREAM))
    assert conversation.telemetry.value("claude_in_flight", model="claude-sonnet-5") == 1
    conversation.now += 1
    conversation.reply(STREAM_HEAD)
    for event, wait in zip(EVENTS, (1, 5, 2, 1), strict=True):
        conversation.now += wait
        conversation.reply(chunks(event, end=b""))
    conversation.reply(chunks())
    attempt, call = told(conversation)
    assert (attempt.outcome, attempt.stream, attempt.first_byte, attempt.first_token) == (Outcome.OK, True, 1.0, 7.0)
    assert (attempt.max_gap, attempt.max_gap_at, attempt.duration) == (5.0, 2.0, 10.0)
    assert (call.first_token, call.output_seconds) == (7.0, 3.0)
    assert (call.usage, call.stop_reason) == (Usage(input=3, output=4), "end_turn")


def streamed(*events: bytes) -> Conversation:
    conversation = Conversation()
    conversation.say(ask(STREAM))
    conversation.reply(STREAM_HEAD + chunks(*events, end=b""))
    return conversation


def test_a_stream_that_breaks_off_is_truncated_and_what_it_told_is_kept() -> None:
    conversation = streamed(*EVENTS[:2])
    conversation.break_off()
    attempt, call = told(conversation)
    assert (attempt.outcome, call.outcome, call.usage) == (Outcome.TRUNCATED, Outcome.TRUNCATED, Usage(input=3))


def test_a_stream_that_ends_too_early_is_truncated() -> None:
    conversation = streamed(*EVENTS[:2])
    conversation.reply(chunks())
    assert told(conversation)[0].outcome is Outcome.TRUNCATED


def test_an_error_inside_a_stream_is_what_its_type_stands_for() -> None:
    conversation = streamed(EVENTS[0], b"event: error\ndata: " + error_json("overloaded_error", "secret") + b"\n\n")
    conversation.hang_up()
    attempt, call = told(conversation)
    assert (attempt.outcome, attempt.error_type, attempt.status) == (Outcome.OVERLOADED, "overloaded_error", 200)
    assert call.attempts == 1  # what has begun well is not tried again


def test_a_stream_whose_usage_cannot_be_read_is_unparsable() -> None:
    conversation = streamed(b"event: message_start\ndata: {broken\n\n")
    conversation.reply(chunks())
    assert told(conversation)[0].error_type == "unparsable_answer"


def test_a_client_that_closes_after_the_last_event_had_it_all() -> None:
    conversation = streamed(*EVENTS)
    conversation.leave()
    assert told(conversation)[0].outcome is Outcome.OK


@pytest.mark.parametrize(("wait", "outcome"), [(30.0, Outcome.TIMEOUT), (12.0, Outcome.CANCELLED)])
@pytest.mark.parametrize("begun", [False, True])
def test_a_client_that_hangs_up_had_its_timeout_or_no_wish(wait: float, outcome: Outcome, begun: bool) -> None:
    conversation = streamed(*EVENTS[:2]) if begun else Conversation()
    if not begun:
        conversation.say(ask())
    conversation.now += wait
    conversation.leave()
    attempt, _ = told(conversation)
    assert attempt.outcome is outcome
    assert attempt.phase is (Phase.CLIENT if outcome is Outcome.TIMEOUT else None)
    assert attempt.status == (200 if begun else None)


def test_an_error_and_its_type() -> None:
    conversation = Conversation()
    conversation.say(ask())
    conversation.reply(answer(error_json("overloaded_error", "secret"), JSON, status=b"529 Overloaded"))
    attempt, call = told(conversation)
    assert (attempt.outcome, attempt.status, attempt.error_type) == (Outcome.OVERLOADED, 529, "overloaded_error")
    assert (call.outcome, call.attempts) == (Outcome.OVERLOADED, 1)


def test_a_retry_and_its_call() -> None:
    conversation = Conversation()
    conversation.say(ask())
    conversation.reply(answer(b"{}", JSON, status=b"529 Overloaded"))
    conversation.now += 0.5
    conversation.say(ask(headers=SDK % 1))
    conversation.now += 1
    conversation.reply(answer(MESSAGE, JSON))
    conversation.__exit__()
    assert [(a.number, a.outcome) for a in conversation.records.attempts] == [(0, Outcome.OVERLOADED), (1, Outcome.OK)]
    (call,) = conversation.records.calls
    assert (call.attempts, call.duration, call.retry_result, call.source) == (2, 1.5, "recovered", Source.PROXY)


NOT_TRIED_AGAIN = {
    "what is the client's fault": (b"400 Bad Request", b""),
    "what the API says is not worth it": (b"529 Overloaded", b"x-should-retry: false"),
}


@pytest.mark.parametrize(("status", "header"), NOT_TRIED_AGAIN.values(), ids=NOT_TRIED_AGAIN)
def test_a_failure_that_is_not_tried_again_ends_its_call_at_once(status: bytes, header: bytes) -> None:
    with Conversation() as conversation:
        conversation.say(ask())
        conversation.reply(answer(b"{}", header or JSON, status=status))
        assert len(conversation.records.calls) == 1


@pytest.mark.parametrize(
    ("status", "header"),
    [
        (b"409 Conflict", b"retry-after: 30"),
        (b"503 Service Unavailable", b"retry-after-ms: 500"),
        (b"429 Too Many Requests", b"retry-after: soon"),
        (b"429 Too Many Requests", b"retry-after: 1000000000000"),
        (b"400 Bad Request", b"x-should-retry: true"),
    ],
)
def test_a_failure_that_may_be_tried_again_keeps_its_call_open(status: bytes, header: bytes) -> None:
    with Conversation() as conversation:
        conversation.say(ask())
        conversation.reply(answer(b"{}", header, status=status))
        assert len(conversation.records.attempts) == 1
        assert conversation.records.calls == []
    assert len(conversation.records.calls) == 1


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        (b"retry-after: 25", 25.0),
        (b"retry-after: 120", 120.0),
        (b"retry-after-ms: 130000", 130.0),
        (b"retry-after: Sun, 09 Sep 2001 02:03:50 GMT", 30.0),
        (b"retry-after: 301", 0.0),
        (b"retry-after: Sun, 09 Sep 2001 01:03:20 GMT", 0.0),
        (b"retry-after: -5", 0.0),
    ],
)
def test_a_call_stays_open_for_as_long_as_its_client_was_told_to_wait(
    header: bytes, wait: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []
    monkeypatch.setattr(Calls, "ended", lambda *_, again_within, **__: waits.append(again_within))
    with Conversation() as conversation:  # it begins at 02:03:20
        conversation.say(ask())
        conversation.reply(answer(b"{}", header, status=b"429 Too Many Requests"))
    assert waits == [max(wait, BACKOFF_SECONDS) + SLACK_SECONDS]


def test_a_spend_limit_is_tried_again_by_the_sdks_unless_they_are_told_not_to() -> None:
    spent = error_json("rate_limit_error", "secret", code="enforced_spend_limit_reached")
    conversation = Conversation()
    conversation.say(ask())
    conversation.reply(answer(spent, JSON, status=b"429 Too Many Requests"))
    assert conversation.records.calls == []
    conversation.say(ask(headers=SDK % 1))
    conversation.reply(answer(spent, JSON, b"x-should-retry: false", status=b"429 Too Many Requests"))
    conversation.__exit__()
    (call,) = conversation.records.calls
    assert (call.outcome, call.attempts, call.retry_result) == (Outcome.CLIENT_ERROR, 2, "exhausted")


def test_a_json_answer_that_breaks_off_may_be_tried_again() -> None:
    with Conversation() as conversation:
        conversation.say(ask())
        conversation.reply(answer(MESSAGE, JSON)[:-5])
        conversation.break_off()
        assert conversation.records.attempts[0].outcome is Outcome.CONNECTION_ERROR
        assert conversation.records.calls == []


@pytest.mark.parametrize("body", [b"not json", MESSAGE[:-1]])
def test_a_json_answer_that_is_none_is_unparsable_and_final(body: bytes) -> None:
    with Conversation() as conversation:
        conversation.say(ask())
        conversation.reply(answer(body, JSON))
        (call,) = conversation.records.calls
        assert (call.outcome, call.error_type) == (Outcome.SERVER_ERROR, "unparsable_answer")


def test_what_is_neither_json_nor_a_stream_is_not_looked_into() -> None:
    conversation = Conversation()
    conversation.say(b"GET /v1/files/file_1/content HTTP/1.1\r\nHost: a\r\n\r\n")
    conversation.reply(answer(b"\x00\x01", b"Content-Type: application/octet-stream"))
    attempt, _ = told(conversation)
    assert (attempt.endpoint, attempt.outcome, attempt.model) == ("files.content", Outcome.OK, "")


def test_a_compressed_answer_is_read() -> None:
    conversation = Conversation()
    conversation.say(ask())
    packed = gzip.compress(MESSAGE)
    conversation.reply(answer(packed, JSON, b"Content-Encoding: gzip")[:-7])
    conversation.reply(packed[-7:])
    assert told(conversation)[1].usage == Usage(input=3, output=4)


@pytest.mark.parametrize("encoding", [b"gzip", b"compress"])
def test_an_answer_whose_compression_cannot_be_read_is_still_an_answer(encoding: bytes) -> None:
    conversation = Conversation()
    conversation.say(ask())
    conversation.reply(answer(b"\x00" * 50, JSON, b"Content-Encoding: " + encoding))
    attempt, call = told(conversation)
    assert (attempt.outcome, call.usage) == (Outcome.OK, None)


def test_of_a_long_answer_the_end_is_read() -> None:
    conversation = Conversation()
    conversation.say(ask())
    body = json.dumps({"content": "x" * 400_000, **json.loads(MESSAGE)}).encode()
    whole = answer(body, JSON)
    for at in range(0, len(whole), 60_000):
        conversation.reply(whole[at : at + 60_000])
    assert told(conversation)[1].usage == Usage(input=3, output=4)


@pytest.mark.parametrize("how", ["hang_up", "break_off"])
def test_an_upstream_that_does_not_answer(how: str) -> None:
    conversation = Conversation()
    conversation.say(ask())
    getattr(conversation, how)()
    attempt, _ = told(conversation)
    assert (attempt.outcome, attempt.phase, attempt.status) == (Outcome.CONNECTION_ERROR, None, None)


@pytest.mark.parametrize(
    ("begun", "outcome", "phase"),
    [(b"", Outcome.TIMEOUT, Phase.FIRST_BYTE), (answer(MESSAGE, JSON)[:-5], Outcome.TIMEOUT, Phase.STALL)],
)
def test_an_upstream_that_falls_silent(begun: bytes, outcome: Outcome, phase: Phase) -> None:
    conversation = Conversation(Limits(silence_seconds=0.01))
    conversation.say(ask())
    conversation.reply(begun)
    conversation.loop.run_until_complete(becomes(lambda: not conversation.proxy.in_flight))
    attempt, _ = told(conversation)
    assert (attempt.outcome, attempt.phase) == (outcome, phase)


def test_an_upstream_that_makes_no_sense() -> None:
    conversation = Conversation()
    conversation.say(ask())
    conversation.reply(b"SSH-2.0\r\n\r\n")
    assert told(conversation)[0].outcome is Outcome.SERVER_ERROR


def test_a_request_the_proxy_has_no_room_for_is_a_rejected_call_without_attempts() -> None:
    conversation = Conversation(Limits(in_flight=1))
    conversation.proxy.in_flight = 1
    conversation.say(ask())
    conversation.proxy.in_flight = 0
    conversation.__exit__()
    assert conversation.records.attempts == []
    (call,) = conversation.records.calls
    assert (call.outcome, call.attempts, call.error_type) == (Outcome.REJECTED, 0, "too_many_requests")
    assert call.model == "claude-sonnet-5"


def test_a_request_that_goes_wrong_is_a_client_error_without_attempts() -> None:
    conversation = Conversation()
    conversation.say(b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    conversation.__exit__()
    (call,) = conversation.records.calls
    assert (call.outcome, call.attempts, call.error_type) == (Outcome.CLIENT_ERROR, 0, "bad_request")


PROFILES = {
    "by default": (b"", Profile.BACKGROUND),
    "by header": (b"x-sidecar-profile: realtime\r\n", Profile.REALTIME),
    "by a header that is none": (b"x-sidecar-profile: nonsense\r\n", Profile.BACKGROUND),
    "by user agent": (b"User-Agent: claude-cli/2.1\r\n", Profile.AGENTIC),
    "by model": (b"User-Agent: app/1\r\n", Profile.INTERACTIVE),
}


@pytest.mark.parametrize(("header", "profile"), PROFILES.values(), ids=PROFILES)
def test_the_profile_of_a_request(header: bytes, profile: Profile) -> None:
    rules = (
        ProfileRule(profile=Profile.AGENTIC, user_agent="claude-cli/"),
        ProfileRule(profile=Profile.INTERACTIVE, user_agent="app/", model="claude-sonnet"),
    )
    conversation = Conversation(profile=Profile.BACKGROUND, profile_rules=rules)
    conversation.say(ask(headers=header))
    assert b"x-sidecar" not in conversation.upstreams[0][1].written.lower()
    conversation.reply(answer(MESSAGE, JSON))
    assert told(conversation)[0].profile is profile


TRACES = {
    "sampled": (b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", TraceRef(trace_id="a" * 32, span_id="b" * 16)),
    "not sampled": (
        b"00-" + b"A" * 32 + b"-" + b"b" * 16 + b"-00",
        TraceRef(trace_id="a" * 32, span_id="b" * 16, sampled=False),
    ),
    "of zeros": (b"00-" + b"0" * 32 + b"-" + b"b" * 16 + b"-01", None),
    "no hexadecimal": (b"00-" + b"x" * 32 + b"-" + b"b" * 16 + b"-01", None),
    "too short": (b"00-aa-bb-01", None),
    "of the future": (b"ff-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", None),
    "far too long": (b"0" * 100, None),
}


@pytest.mark.parametrize(("header", "trace"), TRACES.values(), ids=TRACES)
def test_the_trace_of_a_request(header: bytes, trace: TraceRef | None) -> None:
    conversation = Conversation()
    conversation.say(ask(headers=b"traceparent: " + header + b"\r\n"))
    conversation.reply(answer(MESSAGE, JSON, b"Request-Id: " + b"x" * 500))
    attempt, call = told(conversation)
    assert (attempt.trace, call.trace, attempt.request_id) == (trace, trace, None)


@pytest.mark.parametrize("header", [b"", b"x-stainless-retry-count: 0\r\nUser-Agent: claude-cli/2\r\n"])
def test_of_clients_that_do_not_count_a_repetition_is_inferred(header: bytes) -> None:
    conversation = Conversation()
    for reply in (answer(b"{}", status=b"529 Overloaded"), answer(MESSAGE, JSON)):
        conversation.say(ask(headers=header))
        conversation.reply(reply)
    conversation.__exit__()
    (call,) = conversation.records.calls
    assert (call.source, call.attempts, call.retry_result) == (Source.INFERRED, 2, "recovered")


def test_a_client_that_reads_slowly_is_not_a_silent_upstream() -> None:
    conversation = streamed(*EVENTS[:2])
    conversation.client.pause_writing()
    assert conversation.telemetry.value("claude_in_flight_silent_seconds") == 0
    conversation.now += 60
    conversation.client.resume_writing()
    conversation.now += 1
    conversation.reply(chunks(*EVENTS[2:]))
    assert told(conversation)[0].max_gap == 1.0


def test_a_client_that_chokes_on_a_chunk_is_not_a_silent_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = streamed(*EVENTS[:2])
    assert conversation.telemetry.value("claude_in_flight") == 1

    def write(data: bytes) -> None:
        conversation.client.pause_writing()  # as a transport does whose buffer is full

    monkeypatch.setattr(conversation.pipe, "write", write)
    conversation.reply(chunks(EVENTS[2], end=b""))
    conversation.now += 60
    assert conversation.telemetry.value("claude_in_flight_silent_seconds") == 0
    conversation.client.resume_writing()
    conversation.now += 1
    assert conversation.telemetry.value("claude_in_flight_silent_seconds") == 1
    monkeypatch.undo()
    conversation.reply(chunks(EVENTS[3]))
    assert told(conversation)[0].max_gap == 1.0


def test_an_answers_head_ends_the_silence_before_it() -> None:
    conversation = Conversation()
    conversation.say(ask(STREAM))
    assert conversation.telemetry.value("claude_in_flight") == 1
    conversation.now += 30
    conversation.reply(STREAM_HEAD)
    conversation.now += 1
    assert conversation.telemetry.value("claude_in_flight_silent_seconds") == 1
    conversation.reply(chunks(*EVENTS))
    assert told(conversation)[0].first_byte == 30.0


@pytest.mark.parametrize("method", ["_settle_request", "_tell"])
def test_a_fault_of_ours_is_counted_and_the_bytes_pass(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Sight, method, broken)
    with Conversation() as conversation:
        conversation.say(ask(STREAM))
        conversation.reply(STREAM_HEAD + chunks(*EVENTS))
        assert bytes(conversation.pipe.written).endswith(chunks(*EVENTS))
    assert conversation.telemetry.value("sidecar_internal_errors_total") == 1
    assert conversation.telemetry.value("claude_in_flight") == 0
    assert conversation.records.calls == []


@pytest.mark.parametrize(
    "where",
    ["request_scan.RequestScan.feed", "later.Later.add", "reading.Reading.__init__", "reading.SseScanner.feed"],
)
def test_a_fault_of_ours_on_the_way_is_counted_and_the_bytes_pass(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(f"sidecar.proxy.{where}", broken)
    with Conversation() as conversation:
        conversation.say(ask(STREAM))
        conversation.reply(STREAM_HEAD + chunks(*EVENTS))
        assert bytes(conversation.pipe.written).endswith(chunks(*EVENTS))
    assert conversation.telemetry.value("sidecar_internal_errors_total") == 1


def test_a_fault_of_ours_at_the_end_is_counted_and_the_bytes_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = streamed(*EVENTS)
    conversation.proxy.settle()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("sidecar.proxy.later.Later.add", broken)
    with conversation:
        conversation.reply(b"0\r\n\r\n")
        assert bytes(conversation.pipe.written).endswith(b"0\r\n\r\n")
    assert conversation.telemetry.value("sidecar_internal_errors_total") == 1
    assert conversation.telemetry.value("claude_in_flight") == 0


@pytest.mark.parametrize("code", [b"200 OK", b"304 Not Modified", b"204 No Content"])
def test_an_answer_that_has_no_body_by_its_nature_is_not_one_that_cannot_be_parsed(code: bytes) -> None:
    conversation = Conversation()
    method = b"HEAD" if code.startswith(b"200") else b"GET"
    conversation.say(method + b" /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")
    conversation.reply(b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n\r\n" % code)
    attempt, call = told(conversation)
    assert (attempt.outcome, call.outcome, attempt.error_type) == (Outcome.OK, Outcome.OK, None)


def test_a_stream_of_events_that_is_no_message_ends_where_it_ends() -> None:
    conversation = Conversation()
    conversation.say(ask(STREAM, target=b"/v1/sessions/s_1/events/stream"))
    conversation.reply(STREAM_HEAD + chunks(b'data: {"type":"session.status_idle"}\n\n'))
    attempt, call = told(conversation)
    assert (attempt.endpoint, attempt.outcome, call.outcome) == ("other", Outcome.OK, Outcome.OK)


def test_a_message_under_an_unknown_path_that_ends_too_early_is_truncated() -> None:
    conversation = Conversation()
    conversation.say(ask(STREAM, target=b"/anthropic/v1/messages"))
    conversation.reply(STREAM_HEAD + chunks(*EVENTS[:2]))
    attempt, _ = told(conversation)
    assert (attempt.endpoint, attempt.outcome) == ("other", Outcome.TRUNCATED)
