"""Protected requests to the second, by a clock moved by hand: limits, retries, cancellations, and their records."""

from collections.abc import Iterator

import pytest

from sidecar.model import Outcome, Phase, RetryResult, Source
from sidecar.proxy import exchange as plain_exchange
from sidecar.proxy.limits import Limits
from tests.proxy.kit import answer, chunks
from tests.proxy.protected import (
    BODY,
    JSON,
    MESSAGE,
    OVERLOADED,
    SDK,
    SLOT,
    STREAM,
    Protected,
    ask,
    limited,
    protection,
)

OK, LATE, LOST, BUSY = Outcome.OK, Outcome.TIMEOUT, Outcome.CONNECTION_ERROR, Outcome.OVERLOADED
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DELTA = b'event: content_block_delta\ndata: {"delta":{"text":"secret"}}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


@pytest.fixture(autouse=True)
def _all_ended() -> Iterator[None]:
    yield
    Protected.end_all()


def test_a_good_answer_passes_as_it_came() -> None:
    talk = Protected()
    talk.say(ask())
    reply = answer(MESSAGE, JSON, b"Request-Id: req_1")
    talk.reply(reply)
    status, headers, _ = talk.answered()
    assert (status, headers[b"request-id"]) == (200, b"req_1")
    assert talk.sent == [BODY]
    attempts, call = talk.told()
    assert [(each.outcome, each.number, each.status) for each in attempts] == [(OK, 0, 200)]
    assert (call.outcome, call.retry_result, call.usage.output if call.usage else 0) == (OK, None, 4)
    assert (call.source, attempts[0].request_id, attempts[0].host) == (Source.PROXY, "req_1", "up.test")


def test_what_is_not_a_message_takes_the_plain_way() -> None:
    talk = Protected(protection(limited(first_byte=1.0)))
    talk.say(b"GET /v1/models HTTP/1.1\r\nHost: a\r\nx-sidecar-deadline-ms: 0\r\n\r\n")
    talk.wait(5)
    talk.reply(answer(b"{}", JSON))
    assert talk.answered()[0] == 200
    assert b"deadline" not in talk.last.written
    assert talk.told()[1].outcome is OK


@pytest.mark.parametrize("body", [BODY, STREAM])
def test_an_attempt_that_fails_is_made_again_with_the_same_body(body: bytes) -> None:
    talk = Protected()
    talk.say(ask(body))
    talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
    assert not talk.heard()
    talk.wait(0.9)
    assert len(talk.sent) == 1
    talk.wait(0.1 + SLOT)
    assert talk.sent == [body, body]
    talk.reply(answer(MESSAGE, JSON))
    assert talk.answered()[0] == 200
    attempts, call = talk.told()
    assert [(each.outcome, each.number, each.status) for each in attempts] == [(BUSY, 0, 529), (OK, 1, 200)]
    assert (call.outcome, call.retry_result, call.attempts) == (OK, RetryResult.RECOVERED, 2)
    assert [(wait.reason, wait.completed) for wait in call.waits] == [(BUSY, True)]
    assert call.waits[0].seconds == pytest.approx(1.0, abs=2 * SLOT)


def test_when_all_attempts_fail_the_last_answer_is_passed_on_and_the_client_told_to_leave_it() -> None:
    talk = Protected()
    talk.say(ask())
    for wait in (1, 2, 0):
        talk.reply(answer(OVERLOADED, JSON, b"X-Should-Retry: true", status=b"529 Overloaded"))
        talk.wait(wait + SLOT)
    status, headers, body = talk.answered()
    assert (status, headers[b"x-should-retry"], body["error"]["type"]) == (529, b"false", "overloaded_error")
    attempts, call = talk.told()
    assert [each.number for each in attempts] == [0, 1, 2]
    assert (call.outcome, call.retry_result, len(call.waits)) == (BUSY, RetryResult.EXHAUSTED, 2)
    assert call.error_type == "overloaded_error"


def test_a_client_that_may_try_again_is_told_what_the_upstream_said() -> None:
    talk = Protected(protection({"retry": {"max_attempts": 1}}))
    talk.say(ask())
    talk.reply(answer(OVERLOADED, JSON, b"X-Should-Retry: true", status=b"529 Overloaded"))
    assert talk.answered()[1][b"x-should-retry"] == b"true"


def test_the_upstreams_retry_after_is_waited_for() -> None:
    talk = Protected()
    talk.say(ask())
    talk.reply(answer(OVERLOADED, JSON, b"Retry-After: 7", status=b"529 Overloaded"))
    talk.wait(6.9)
    assert len(talk.sent) == 1
    talk.wait(0.1 + SLOT)
    assert len(talk.sent) == 2


@pytest.mark.parametrize("said", [b"X-Should-Retry: false", b"A: b"])
def test_what_is_not_to_be_tried_again_is_passed_on_at_once(said: bytes) -> None:
    status = b"529 Overloaded" if said.startswith(b"X") else b"400 Bad Request"
    talk = Protected()
    talk.say(ask())
    talk.reply(answer(OVERLOADED, JSON, said, status=status))
    assert talk.answered()[0] == int(status[:3])
    assert talk.told()[1].attempts == 1


def test_a_spend_limit_is_not_tried_again() -> None:
    talk = Protected()
    talk.say(ask())
    error = b'{"error":{"type":"rate_limit_error","details":{"error_code":"enforced_spend_limit_reached"}}}'
    talk.reply(answer(error, JSON, status=b"429 Too Many Requests"))
    assert talk.answered()[0] == 429
    assert talk.told()[1].outcome is Outcome.CLIENT_ERROR


def test_a_long_error_is_passed_on_as_it_comes_and_not_tried_again() -> None:
    talk = Protected()
    talk.say(ask())
    long = b'"%b"' % (b"x" * 70_000)
    whole = answer(long, JSON, status=b"500 Internal Server Error")
    talk.reply(whole[:-1000])
    assert len(talk.heard()) > 65_000
    talk.reply(whole[-1000:])
    assert len(talk.heard()) == 1000
    assert talk.told()[1].attempts == 1


def test_an_error_that_breaks_off_is_passed_on_as_broken() -> None:
    talk = Protected(protection({"retry": {"max_attempts": 1}}))
    talk.say(ask())
    talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded")[:-5])
    assert not talk.heard()
    talk.break_off()
    assert talk.heard().endswith(OVERLOADED[:-5])
    assert talk.pipe.is_closing()
    assert talk.told()[1].outcome is BUSY


# --- limits


@pytest.mark.parametrize("body", [BODY, STREAM])
def test_an_answer_that_does_not_begin_is_a_504_that_names_the_phase(body: bytes) -> None:
    talk = Protected(protection({**limited(first_byte=5.0), "retry": {"max_attempts": 1}}))
    talk.say(ask(body))
    talk.wait(4.9)
    assert not talk.heard()
    talk.wait(0.1 + SLOT)
    status, headers, error = talk.answered()
    assert (status, headers[b"x-sidecar-error"]) == (504, b"first_byte_timeout")
    assert error["error"]["type"] == "timeout_error"
    assert talk.last.is_closing()
    attempts, call = talk.told()
    assert (attempts[0].outcome, attempts[0].phase, attempts[0].status) == (LATE, Phase.FIRST_BYTE, None)
    assert (call.outcome, call.phase) == (LATE, Phase.FIRST_BYTE)
    assert call.duration == pytest.approx(5.0, abs=SLOT)


def test_an_answer_that_does_not_begin_is_tried_again() -> None:
    talk = Protected(protection(limited(first_byte=5.0)))
    talk.say(ask())
    talk.wait(5.0 + SLOT)
    assert not talk.heard()
    talk.wait(1.0 + SLOT)
    talk.reply(answer(MESSAGE, JSON))
    assert talk.answered()[0] == 200
    attempts, call = talk.told()
    assert [each.outcome for each in attempts] == [LATE, OK]
    assert call.retry_result is RetryResult.RECOVERED


def test_an_answer_that_falls_silent_is_broken_off() -> None:
    talk = Protected(protection(limited(stall=3.0)))
    talk.say(ask(STREAM))
    talk.reply(STREAM_HEAD + chunks(DELTA, end=b""))
    talk.wait(2.9)
    talk.reply(chunks(DELTA, end=b""))
    talk.wait(2.9)
    assert not talk.pipe.is_closing()
    talk.wait(0.1 + SLOT)
    assert talk.pipe.is_closing()
    assert not talk.heard().endswith(b"0\r\n\r\n")
    assert talk.last.is_closing()
    attempts, call = talk.told()
    assert (attempts[0].outcome, attempts[0].phase, attempts[0].status) == (LATE, Phase.STALL, 200)
    assert (call.outcome, call.phase, call.attempts) == (LATE, Phase.STALL, 1)


def test_a_silence_of_the_clients_own_making_is_no_stall() -> None:
    talk = Protected(protection(limited(stall=3.0)))
    talk.say(ask(STREAM))
    talk.reply(STREAM_HEAD + chunks(DELTA, end=b""))
    talk.client.pause_writing()
    assert not talk.reads_upstream()
    talk.wait(10)
    talk.client.resume_writing()
    assert talk.reads_upstream()
    talk.wait(2.9)
    assert not talk.pipe.is_closing()
    talk.reply(chunks(STOP))
    attempts, call = talk.told()
    assert call.outcome is OK
    assert attempts[0].max_gap == pytest.approx(2.9, abs=SLOT)


def test_a_client_that_chokes_on_a_chunk_is_not_a_silent_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Protected(protection())
    talk.say(ask(STREAM))

    def write(data: bytes) -> None:
        talk.client.pause_writing()  # as a transport does whose buffer is full

    with monkeypatch.context() as patched:
        patched.setattr(talk.pipe, "write", write)
        talk.reply(STREAM_HEAD + chunks(DELTA, end=b""))
        talk.wait(10)
        assert talk.telemetry.value("claude_in_flight_silent_seconds") == 0
    talk.client.resume_writing()
    talk.reply(chunks(STOP))
    assert talk.told()[1].outcome is OK


@pytest.mark.parametrize("begun", [False, True])
def test_the_total_ends_whatever_is_under_way(begun: bool) -> None:
    talk = Protected(protection(limited(total=10.0)))
    talk.say(ask(STREAM))
    if begun:
        talk.reply(STREAM_HEAD)
    for _ in range(19):
        talk.wait(0.5)
        if begun:
            talk.reply(chunks(DELTA, end=b""))
    talk.wait(0.5 + SLOT)
    assert talk.last.is_closing()
    if begun:
        assert talk.pipe.is_closing()
    else:
        status, headers, _ = talk.answered()
        assert (status, headers[b"x-sidecar-error"]) == (504, b"deadline_timeout")
    attempts, call = talk.told()
    assert (attempts[0].outcome, attempts[0].phase) == (LATE, Phase.DEADLINE)
    assert (call.outcome, call.phase, call.attempts) == (LATE, Phase.DEADLINE, 1)


def test_a_wait_that_leaves_no_time_is_not_begun() -> None:
    talk = Protected(protection(limited(total=10.0)))
    talk.say(ask())
    talk.wait(5)
    talk.reply(answer(OVERLOADED, JSON, b"Retry-After: 20", status=b"529 Overloaded"))
    assert talk.answered()[0] == 529
    _, call = talk.told()
    assert (call.outcome, call.phase, call.attempts) == (BUSY, Phase.DEADLINE, 1)
    assert [(wait.seconds, wait.completed) for wait in call.waits] == [(0.0, False)]


def test_a_request_that_the_upstream_does_not_take_is_a_write_timeout() -> None:
    talk = Protected(protection({**limited(write=2.0, first_byte=5.0), "retry": {"max_attempts": 1}}))
    talk.say(ask())
    upstream = talk.upstreams[-1][0]
    upstream.pause_writing()
    talk.wait(1.9)
    upstream.resume_writing()
    talk.wait(1.0)
    upstream.pause_writing()
    talk.wait(2 + SLOT)
    assert talk.answered()[1][b"x-sidecar-error"] == b"write_timeout"
    assert talk.told()[1].phase is Phase.WRITE


def test_a_connection_that_is_not_made_in_time_is_a_connect_timeout() -> None:
    talk = Protected(protection({**limited(connect=2.0), "retry": {"max_attempts": 1}}))

    async def never(_: object) -> None:
        await talk.loop.create_future()

    talk.proxy.pool._connector.connect = never  # type: ignore[method-assign, assignment]  # in place of sockets
    talk.say(ask())
    talk.wait(2 + SLOT)
    assert talk.answered()[1][b"x-sidecar-error"] == b"connect_timeout"
    assert talk.told()[1].phase is Phase.CONNECT


def test_a_connection_that_nobody_gives_back_in_time_is_a_pool_timeout() -> None:
    settings = protection({**limited(pool=2.0), "retry": {"max_attempts": 1}})
    talk = Protected(settings, Limits(upstream_connections=1))
    talk.say(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")  # the plain way, and it takes the only connection
    talk.say(ask())
    other = talk.another()
    talk.say_as(other, ask())
    talk.wait(2 + SLOT)
    assert b"x-sidecar-error: pool_timeout" in talk.heard_by(other)
    talk.__exit__()


def test_the_proxys_own_limit_counts_too() -> None:
    settings = protection({"retry": {"max_attempts": 1}})
    talk = Protected(settings, Limits(silence_seconds=3.0))
    talk.say(ask(STREAM))
    talk.wait(4.1)
    assert talk.answered()[1][b"x-sidecar-error"] == b"upstream_silent"
    assert talk.told()[1].phase is Phase.FIRST_BYTE


# --- connections


@pytest.mark.parametrize("how", ["break_off", "hang_up"])
def test_a_lost_connection_is_tried_again_and_then_a_502(how: str) -> None:
    talk = Protected(protection({"retry": {"max_attempts": 2}}))
    talk.say(ask())
    getattr(talk, how)()
    talk.wait(1 + SLOT)
    getattr(talk, how)()
    status, headers, _ = talk.answered()
    assert (status, headers[b"x-sidecar-error"]) == (502, b"upstream_closed")
    attempts, call = talk.told()
    assert [each.outcome for each in attempts] == [LOST, LOST]
    assert (call.outcome, call.retry_result) == (LOST, RetryResult.EXHAUSTED)


def test_what_met_a_rested_connection_as_it_closed_is_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_exchange, "RACE_SECONDS", 0.5)
    talk = Protected()
    talk.say(ask())
    talk.reply(answer(MESSAGE, JSON))
    talk.wait(1)
    talk.say(ask())
    talk.break_off()
    assert len(talk.upstreams) == 2
    talk.reply(answer(MESSAGE, JSON))
    talk.__exit__()
    assert [each.outcome for each in talk.records.attempts] == [OK, OK]
    assert talk.sent == [BODY, BODY, BODY]


def test_an_answer_that_breaks_off_is_passed_on_as_broken_and_never_tried_again() -> None:
    talk = Protected()
    talk.say(ask(STREAM))
    talk.reply(STREAM_HEAD + chunks(DELTA, end=b""))
    talk.break_off()
    assert talk.pipe.is_closing()
    assert not talk.heard().endswith(b"0\r\n\r\n")
    _, call = talk.told()
    assert (call.outcome, call.attempts, call.first_token) == (Outcome.TRUNCATED, 1, 0.0)


def test_an_answer_that_makes_no_sense_is_a_502() -> None:
    talk = Protected(protection({"retry": {"max_attempts": 1}}))
    talk.say(ask())
    talk.reply(b"220 smtp.example ESMTP\r\n\r\n")
    assert talk.answered()[1][b"x-sidecar-error"] == b"upstream_protocol"
    assert talk.told()[1].outcome is Outcome.SERVER_ERROR


# --- clients that leave


def test_a_client_that_leaves_cancels_at_once() -> None:
    talk = Protected()
    talk.say(ask())
    talk.wait(2)
    talk.leave()
    assert talk.last.is_closing()
    attempts, call = talk.told()
    assert (attempts[0].outcome, call.outcome, call.retry_result) == (Outcome.CANCELLED, Outcome.CANCELLED, None)


def test_a_client_that_leaves_during_a_wait_ends_it() -> None:
    talk = Protected()
    talk.say(ask())
    talk.reply(answer(OVERLOADED, JSON, b"Retry-After: 7", status=b"529 Overloaded"))
    talk.wait(3)
    talk.leave()
    talk.wait(10)
    assert len(talk.sent) == 1
    attempts, call = talk.told()
    assert (call.outcome, call.attempts, call.retry_result) == (BUSY, 1, None)
    ((reason, seconds, completed),) = [(wait.reason, wait.seconds, wait.completed) for wait in call.waits]
    assert (reason, completed, len(attempts)) == (BUSY, False, 1)
    assert seconds == pytest.approx(3.0, abs=SLOT)


def test_a_client_that_leaves_before_its_body_is_whole_asked_for_nothing() -> None:
    talk = Protected()
    talk.say(ask()[:-10])
    talk.leave()
    attempts, call = talk.told()
    assert (attempts, call.outcome, call.attempts) == ([], Outcome.CANCELLED, 0)


def test_a_client_whose_timeout_was_due_had_a_timeout() -> None:
    talk = Protected()
    talk.say(ask())
    talk.wait(20)
    talk.reply(answer(OVERLOADED, JSON, b"Retry-After: 2", status=b"529 Overloaded"))
    talk.wait(10)
    talk.leave()
    attempts, call = talk.told()
    assert [(each.outcome, each.phase) for each in attempts] == [(BUSY, None), (LATE, Phase.CLIENT)]
    assert (call.outcome, call.phase, call.retry_result) == (LATE, Phase.CLIENT, RetryResult.EXHAUSTED)


def test_a_client_that_leaves_a_finished_stream_had_it_all() -> None:
    talk = Protected()
    talk.say(ask(STREAM))
    talk.reply(STREAM_HEAD + chunks(DELTA, STOP, end=b""))
    talk.leave()
    assert talk.told()[1].outcome is OK


# --- calls of several requests


def test_the_clients_retries_and_the_proxys_add_up_to_one_call() -> None:
    talk = Protected(protection({"retry": {"max_attempts": 2}}, clients_retry=True))
    for request in range(2):
        talk.say(ask(headers=SDK % request))
        talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
        talk.wait(1 + SLOT)
        if not request:
            talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
            talk.wait(0.5)
    talk.reply(answer(MESSAGE, JSON))
    attempts, call = talk.told()
    assert [each.number for each in attempts] == [0, 1, 2, 3]
    assert (call.outcome, call.attempts, call.retry_result) == (OK, 4, RetryResult.RECOVERED)
    assert [wait.seconds for wait in call.waits] == pytest.approx([1.0, 0.5, 1.0], abs=2 * SLOT)
    assert [wait.at for wait in call.waits] == pytest.approx([0.0, 1.06, 1.56], abs=2 * SLOT)
    assert call.duration == pytest.approx(2.6, abs=3 * SLOT)


def test_a_call_whose_client_was_told_to_leave_it_is_over_at_once() -> None:
    talk = Protected(protection({"retry": {"max_attempts": 2}}))
    talk.say(ask())
    for _ in range(2):
        talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
        talk.wait(1 + SLOT)
    assert [(call.outcome, call.attempts) for call in talk.records.calls] == [(BUSY, 2)]
    talk.__exit__()


def test_several_requests_on_one_connection_are_answered_in_turn() -> None:
    talk = Protected()
    talk.say(ask() + ask(STREAM))
    assert talk.sent == [BODY]
    talk.reply(answer(MESSAGE, JSON))
    assert talk.sent == [BODY, STREAM]
    talk.reply(answer(MESSAGE, JSON))
    talk.__exit__()
    assert [call.outcome for call in talk.records.calls] == [OK, OK]


# --- requests that are wrong, or too many


def test_a_request_that_goes_wrong_is_refused_and_nothing_sent() -> None:
    talk = Protected()
    talk.say(b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert talk.answered()[0] == 400
    assert talk.told()[1].outcome is Outcome.CLIENT_ERROR


def test_a_request_beyond_the_proxys_limit_is_rejected() -> None:
    talk = Protected(limits=Limits(in_flight=1))
    other = talk.another()
    talk.say(ask())
    talk.say_as(other, ask(STREAM))
    assert b"x-sidecar-error: too_many_requests" in talk.heard_by(other)
    talk.reply(answer(MESSAGE, JSON))
    talk.__exit__()
    assert {call.outcome for call in talk.records.calls} == {OK, Outcome.REJECTED}


def test_closing_the_proxy_ends_what_is_under_way() -> None:
    talk = Protected()
    talk.say(ask())
    talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
    assert talk.told()[1].outcome is BUSY
