"""Bodies under protection: kept up to a limit, and beyond it passed on as they come, once; and how clients speak."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.model import Outcome, Phase, Profile
from sidecar.proxy.origin import Origin
from sidecar.proxy.protect.upload import Room, Spool
from sidecar.proxy.routes import Target
from sidecar.proxy.shapes import Shape
from tests.proxy.kit import answer, chunks
from tests.proxy.memory import Seen
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

CHUNKED = b"POST /v1/messages HTTP/1.1\r\nHost: a\r\n" + SDK % 0 + b"Transfer-Encoding: chunked\r\n\r\n"
LATE_MODEL = b'{"messages":[{"role":"user","content":"' + b"x" * 200 + b'"}],"model":"claude-sonnet-5","max_tokens":1}'


@pytest.fixture(autouse=True)
def _all_ended() -> Iterator[None]:
    yield
    Protected.end_all()


def test_a_spool_keeps_its_body_as_long_as_it_and_all_others_have_room() -> None:
    room = Room(10)
    one, other = Spool(room, 8), Spool(room, 8)
    one.add(b"1234")
    one.add(b"56")
    assert (one.body(), one.size, one.whole, room.used) == (b"123456", 6, True, 6)
    other.add(b"12345")
    assert (other.whole, other.body(), room.used) == (False, b"12345", 11)
    other.empty()
    assert (other.body(), other.size, room.used) == (b"", 5, 6)
    one.replace(b"1")
    assert (one.body(), room.used) == (b"1", 1)
    one.add(b"123")
    assert one.body() == b"1123"
    one.empty()
    assert (one.whole, room.used) == (False, 0)


def small(**settings: Any) -> Protected:
    return Protected(protection(spool_bytes=100, **settings))


def test_a_body_too_large_to_keep_goes_on_as_it_comes() -> None:
    talk = small()
    whole = ask(LATE_MODEL)
    talk.say(whole[:-150])
    assert talk.sent == [LATE_MODEL[:-150]]
    talk.say(whole[-150:-50])
    assert talk.sent == [LATE_MODEL[:-50]]
    talk.say(whole[-50:])
    assert talk.sent == [LATE_MODEL]
    assert talk.shield.room.used == 0
    talk.reply(answer(MESSAGE, JSON))
    assert talk.answered()[0] == 200
    attempts, call = talk.told()
    assert (attempts[0].model, call.model, call.outcome) == ("claude-sonnet-5", "claude-sonnet-5", Outcome.OK)


def test_a_chunked_body_too_large_to_keep_is_chunked_again_with_its_trailers() -> None:
    talk = small()
    talk.say(CHUNKED + chunks(LATE_MODEL[:150], end=b""))
    talk.say(chunks(LATE_MODEL[150:], end=b"0\r\nX-Sum: 1\r\n\r\n"))
    assert talk.sent == [LATE_MODEL]
    assert talk.last.written.endswith(b"0\r\nX-Sum: 1\r\n\r\n")
    assert Seen(bytes(talk.last.written), requests=True).complete == 1


def test_a_chunked_body_that_is_kept_is_sent_with_its_length() -> None:
    talk = Protected()
    talk.say(CHUNKED + chunks(BODY[:10], end=b""))
    assert not talk.sent
    talk.say(chunks(BODY[10:]))
    assert talk.sent == [BODY]
    assert b"content-length: %d\r\n" % len(BODY) in talk.last.written


def test_a_body_too_large_to_keep_is_never_sent_twice() -> None:
    talk = small()
    talk.say(ask(LATE_MODEL))
    talk.reply(answer(OVERLOADED, JSON, b"X-Should-Retry: true", status=b"529 Overloaded"))
    status, headers, _ = talk.answered()
    assert (status, headers[b"x-should-retry"]) == (529, b"true")
    assert len(talk.sent) == 1


def test_a_body_is_held_back_while_there_is_no_connection() -> None:
    talk = small(concurrency=1)
    other = talk.another()
    talk.say_as(other, ask())
    talk.say(ask(LATE_MODEL)[:-50])
    assert not talk.reads()
    talk.say(ask(LATE_MODEL)[-50:])  # what was on its way already
    talk.reply(answer(MESSAGE, JSON))
    assert talk.reads()
    assert talk.sent == [BODY, LATE_MODEL]


def test_a_body_is_held_back_while_the_upstream_takes_nothing() -> None:
    talk = Protected(protection({**limited(write=2.0), "retry": {"max_attempts": 1}}, spool_bytes=100))
    talk.say(ask(LATE_MODEL)[:-50])
    upstream = talk.upstreams[-1][0]
    upstream.pause_writing()
    assert not talk.reads()
    talk.wait(1)
    upstream.resume_writing()
    assert talk.reads()
    talk.wait(10)  # the client's own pace is no fault of the upstream's
    talk.say(ask(LATE_MODEL)[-50:])
    upstream.pause_writing()
    talk.wait(2 + SLOT)
    assert talk.answered()[1][b"x-sidecar-error"] == b"write_timeout"
    assert talk.told()[1].phase is Phase.WRITE


def test_an_upload_whose_end_comes_before_the_connection_is_sent_whole() -> None:
    talk = small(concurrency=1)
    other = talk.another()
    talk.say_as(other, ask())
    talk.say(CHUNKED + chunks(LATE_MODEL))
    talk.reply(answer(MESSAGE, JSON))
    assert talk.sent == [BODY, LATE_MODEL]
    talk.reply(answer(MESSAGE, JSON))
    assert talk.answered()[0] == 200


def test_the_end_of_an_upload_that_comes_while_connecting_is_sent_too() -> None:
    talk = Protected(protection({**limited(first_byte=5.0), "retry": {"max_attempts": 1}}, spool_bytes=100))
    connector = talk.proxy.pool._connector
    at_once = connector.connect
    connect = talk.loop.create_future()

    async def later(protocol: object) -> None:
        await connect
        await at_once(protocol)  # type: ignore[arg-type]

    connector.connect = later  # type: ignore[method-assign]  # in place of sockets
    talk.say(CHUNKED + chunks(LATE_MODEL))
    assert not talk.upstreams
    connect.set_result(None)
    talk.settle()
    assert talk.sent == [LATE_MODEL]
    talk.wait(5 + SLOT)
    assert talk.answered()[1][b"x-sidecar-error"] == b"first_byte_timeout"


def test_an_answer_that_overtakes_its_request_ends_the_connection() -> None:
    talk = small()
    talk.say(ask(LATE_MODEL)[:-50])
    talk.reply(answer(b"{}", JSON, status=b"413 Content Too Large"))
    status, headers, _ = talk.answered()
    assert (status, headers[b"connection"]) == (413, b"close")
    assert talk.told()[1].outcome is Outcome.CLIENT_ERROR


def test_an_upload_that_goes_wrong_is_refused_and_cancelled() -> None:
    talk = small()
    talk.say(CHUNKED + chunks(LATE_MODEL, end=b""))
    talk.say(b"zz\r\n")
    assert talk.answered()[0] == 400
    assert talk.last.is_closing()
    attempts, call = talk.told()
    assert (attempts[0].outcome, call.outcome) == (Outcome.CANCELLED, Outcome.CANCELLED)


def test_an_upload_that_goes_wrong_after_its_answer_has_begun_breaks_it_off() -> None:
    talk = small()
    talk.say(CHUNKED + chunks(LATE_MODEL, end=b""))
    talk.reply(answer(MESSAGE, JSON)[:-5])
    talk.say(b"zz\r\n")
    assert talk.pipe.is_closing()
    assert talk.told()[1].outcome is Outcome.CANCELLED


def test_a_model_at_the_beginning_of_a_large_body_has_its_breaker() -> None:
    talk = Protected(protection({"retry": {"max_attempts": 1}, "breaker": {"consecutive": 1}}, spool_bytes=50))
    talk.say(ask())
    talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
    talk.heard()
    talk.say(ask())
    assert talk.answered()[1][b"x-sidecar-error"] == b"breaker_open"


def test_a_model_at_the_end_of_a_large_body_comes_too_late_for_its_breaker() -> None:
    talk = Protected(protection({"breaker": {"consecutive": 1}}, spool_bytes=50))
    for _ in range(2):
        talk.say(ask(LATE_MODEL)[:-60])
        talk.say(ask(LATE_MODEL)[-60:])
        talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
        assert b"x-sidecar-error" not in talk.answered()[1]


# --- clients of all kinds


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    talk = Protected()
    whole = ask(headers=SDK % 0 + b"Expect: 100-continue\r\n")
    talk.say(whole[: -len(BODY)])
    assert talk.heard() == b"HTTP/1.1 100 Continue\r\n\r\n"
    talk.say(BODY)
    assert talk.sent == [BODY]
    assert b"expect" not in talk.last.written.lower()
    talk.reply(b"HTTP/1.1 100 Continue\r\n\r\n" + answer(MESSAGE, JSON))
    assert talk.answered()[0] == 200


OLD = b"POST /v1/messages HTTP/1.0\r\n%bContent-Length: %d\r\n\r\n%b"


@pytest.mark.parametrize("keep", [b"", b"Connection: keep-alive\r\n"])
def test_an_http_1_0_client_is_answered_in_its_way(keep: bytes) -> None:
    talk = Protected()
    talk.say(OLD % (keep, len(BODY), BODY))
    talk.reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(MESSAGE))
    head, _, body = talk.heard().partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert (body, b"connection: close" in head) == (MESSAGE, True)
    assert talk.pipe.clean


def test_an_http_1_0_client_keeps_its_connection_where_the_length_is_known() -> None:
    talk = Protected()
    talk.say(OLD % (b"Connection: keep-alive\r\n", len(BODY), BODY))
    talk.reply(answer(MESSAGE, JSON))
    assert b"connection: keep-alive" in talk.heard()
    assert not talk.pipe.is_closing()


def test_an_http_1_0_client_sees_a_broken_answer_as_a_reset() -> None:
    talk = Protected()
    talk.say(OLD % (b"", len(STREAM), STREAM))
    talk.reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"half", end=b""))
    talk.break_off()
    assert talk.heard().endswith(b"half")
    assert talk.pipe.clean is False


def test_an_answer_that_only_the_connection_ends_is_passed_on_in_chunks() -> None:
    talk = Protected()
    talk.say(ask())
    talk.reply(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + MESSAGE)
    talk.hang_up()
    assert talk.answered()[2] == json.loads(MESSAGE)
    assert talk.told()[1].outcome is Outcome.OK


def test_an_answer_without_a_body_is_passed_on_without_one() -> None:
    talk = Protected()
    talk.say(ask())
    talk.reply(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert talk.heard() == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert not talk.pipe.is_closing()


def test_a_client_that_wants_no_further_answer_is_let_go() -> None:
    talk = Protected(protection({"retry": {"max_attempts": 1}}))
    talk.say(ask(headers=b"Connection: close\r\n"))
    talk.break_off()
    assert b"connection: close" in talk.heard()
    assert talk.pipe.clean


def test_the_listeners_profile_and_the_requests_own_choose_the_policy() -> None:
    table = {"profiles": {"background": {"timeouts": {"first_byte": 3.0}}}, "retry": {"max_attempts": 1}}
    talk = Protected(protection(table))
    talk.say(ask(STREAM, SDK % 0 + b"X-Sidecar-Profile: background\r\n"))
    talk.wait(3 + SLOT)
    assert talk.answered()[1][b"x-sidecar-error"] == b"first_byte_timeout"
    _, call = talk.told()
    assert call.profile is Profile.BACKGROUND
    assert talk.telemetry.value("claude_timeout_setting_seconds", profile="background", phase="first_byte") == 3


def test_a_model_that_stands_in_the_path_is_protected_too() -> None:
    bedrock = Target(name="cloud", origin=Origin("http", "cloud.test", 80), route="/bedrock", shape=Shape.BEDROCK)
    talk = Protected(protection({"breaker": {"consecutive": 1}}, upgrade=True), others=(bedrock,))
    assert talk.shield.breakers is not None
    talk.shield.breakers.get("cloud.test", "claude-x").force_open()
    talk.say(ask(b"{}", target=b"/bedrock/model/claude-x/invoke"))
    assert talk.answered()[1][b"x-sidecar-error"] == b"breaker_open"
    talk.say(ask())
    assert len(talk.sent) == 1


def test_an_upstream_there_is_none_of_is_refused() -> None:
    talk = Protected()
    talk.say(ask(headers=b"x-sidecar-upstream: nowhere\r\n"))
    assert talk.answered()[0] == 400
    assert talk.told()[1].outcome is Outcome.CLIENT_ERROR


def test_new_settings_keep_what_breakers_know_as_long_as_protection_stays_the_same() -> None:
    talk = Protected()
    before = talk.shield
    talk.proxy.apply(talk.proxy_settings(profile=Profile.AGENTIC))
    assert talk.shield is before
    talk.proxy.apply(talk.proxy_settings(protection=protection(upgrade=True)))
    assert talk.shield is not before
    talk.proxy.apply(talk.proxy_settings(protection=None))
    assert not talk.is_protected()
    talk.say(ask())
    talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
    assert talk.answered()[0] == 529


def test_a_kept_body_with_trailers_is_sent_with_them_each_time() -> None:
    talk = Protected()
    talk.say(CHUNKED + chunks(BODY[:10], BODY[10:], end=b"0\r\nX-Sum: 1\r\n\r\n"))
    for times in (1, 2):
        assert talk.sent == [BODY] * times
        assert talk.last.written.endswith(b"0\r\nX-Sum: 1\r\n\r\n")
        talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
        talk.wait(1.0 + SLOT)


def test_an_upgraded_body_keeps_its_trailers() -> None:
    talk = Protected(protection(upgrade=True))
    talk.say(CHUNKED + chunks(BODY, end=b"0\r\nX-Sum: 1\r\n\r\n"))
    assert json.loads(talk.sent[0])["stream"] is True
    assert talk.last.written.endswith(b"0\r\nX-Sum: 1\r\n\r\n")


def test_trailers_of_an_answer_are_passed_on() -> None:
    talk = Protected()
    talk.say(ask(STREAM))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    talk.reply(head + chunks(b"event: ping\ndata: {}\n\n", end=b"0\r\nX-Sum: 7\r\nX-More: b\r\n\r\n"))
    assert talk.heard().endswith(b"\r\n0\r\nX-Sum: 7\r\nX-More: b\r\n\r\n")


def test_an_answer_whose_length_is_told_has_no_trailers() -> None:
    """HTTP allows none; such an answer was held until it was whole."""
    talk = Protected(protection({"retry": {"max_attempts": 1}}))
    talk.say(ask())
    head = b"HTTP/1.1 529 Overloaded\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    talk.reply(head + chunks(OVERLOADED, end=b"0\r\nX-Sum: 7\r\n\r\n"))
    heard = talk.heard()
    assert heard.endswith(OVERLOADED)
    assert b"content-length: %d\r\n" % len(OVERLOADED) in heard
