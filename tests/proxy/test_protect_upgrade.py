"""The stream upgrade: the edit of the request, and what becomes of the stream."""

import gzip
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.model import Outcome, Phase, Usage
from sidecar.proxy.errors import Fault
from sidecar.proxy.protect.assemble import Assembly, Whole
from sidecar.proxy.protect.upgrade import streaming
from tests.proxy.kit import answer, chunks
from tests.proxy.protected import BODY, JSON, MESSAGE, OVERLOADED, SDK, SLOT, STREAM, Protected, ask, protection

# --- the edit of the body


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"{}", b'{"stream":true}'),
        (b' {\n "a": 1}', b' {"stream":true,\n "a": 1}'),
        (b'{"stream":false}', b'{"stream":true}'),
        (b'{"a":1, "stream" : false ,"b":2}', b'{"a":1, "stream" : true ,"b":2}'),
        (b'{"str\\u0065am":false}', b'{"str\\u0065am":true}'),
        (
            b'{"a":{"stream":false},"b":["stream",{"stream":true}]}',
            b'{"stream":true,"a":{"stream":false},"b":["stream",{"stream":true}]}',
        ),
        (b'{"a":"\\"stream\\":false"}', b'{"stream":true,"a":"\\"stream\\":false"}'),
        (b'{"a":"stream","b":"}"}', b'{"stream":true,"a":"stream","b":"}"}'),
        (b'{"streams":true,"\\u00e9":"\xc3\xa9"}', b'{"stream":true,"streams":true,"\\u00e9":"\xc3\xa9"}'),
    ],
)
def test_a_body_is_edited_in_one_place(before: bytes, after: bytes) -> None:
    assert streaming(before) == after
    assert json.loads(after) == {**json.loads(before), "stream": True}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"stream"',
        b"{",
        b"{1:2}",
        b'{"stream":true}',
        b'{"stream":null}',
        b'{"stream":"false"}',
        b'{"stream":falsey}',
        b'{"stream":false,"stream":false}',
        b'{"stream":false,"a":1,"str\\u0065am":true}',
        b'\xef\xbb\xbf{"stream":false}',
        '{"stream":false}'.encode("utf-16"),
        b'{"a":"' + b"x" * 1_100_000 + b'","stream":false}',
    ],
)
def test_a_body_that_leaves_a_doubt_is_left_alone(body: bytes) -> None:
    assert streaming(body) is None


names = st.sampled_from(["stream", "streams", "a", "model", 'q"s', "é", "\\", "{"]) | st.text(max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.sampled_from(['"stream":false', "}{", '\\"']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
bodies = st.dictionaries(names, values, max_size=6)


@settings(deadline=None, max_examples=120)
@given(bodies, st.booleans(), st.sampled_from([None, 1]), st.booleans())
def test_an_edited_body_says_the_same_but_for_the_stream(
    body: dict[str, Any], ascii_only: bool, indent: int | None, asked: bool
) -> None:
    if asked:
        body["stream"] = False
    written = json.dumps(body, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    edited = streaming(written)
    if body.get("stream", False) is False:
        assert edited is not None
        assert json.loads(edited.decode("utf-8", "surrogatepass")) == {**body, "stream": True}
        assert len(edited) - len(written) in {-1, 13, 14}
    else:
        assert edited is None


def parsed(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8", "surrogatepass"))
    except ValueError:
        return ...


@settings(deadline=None, max_examples=150)
@given(bodies, st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=3)), max_size=3))
def test_an_edit_makes_nothing_well_formed_that_was_not(body: dict[str, Any], damage: list[tuple[int, bytes]]) -> None:
    written = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    for at, piece in damage:
        written = written[:at] + piece + written[at + 1 :]
    edited = streaming(written)
    if edited is not None:
        before = parsed(written)
        assert parsed(edited) == (... if before is ... else {**before, "stream": True})


def test_a_large_body_that_says_nothing_of_a_stream_is_edited_too() -> None:
    body = b'{"a":"' + b"x" * 1_100_000 + b'"}'
    assert streaming(body) == b'{"stream":true,' + body[1:]


def test_the_edit_takes_time_in_proportion_to_the_body() -> None:
    """These shapes make careless patterns take minutes; that this ends at all is the test."""
    for shape in (b'{"' + b'\\"' * 200_000, b"{" * 400_000, b'{"a":"' + b"x" * 400_000, b'{"' * 200_000):
        streaming(shape + b'"stream"')


# --- putting the stream together


def events(*data: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (each["type"].encode(), json.dumps(each).encode()) for each in data)


START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "model": "m",
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    },
}
TEXT: dict[str, Any] = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
END: dict[str, Any] = {"type": "content_block_stop", "index": 0}
FINISH: dict[str, Any] = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 9},
}
STOP: dict[str, Any] = {"type": "message_stop"}


def said(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


WHOLE = events(START, {"type": "ping"}, TEXT, said("sec"), said("ret é"), END, FINISH, STOP)
EXPECTED = (
    '{"model":"m","id":"msg_1","type":"message","role":"assistant","content":[{"type":"text","text":"secret é"}],'
    '"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":9}}'
).encode()


def assembled(stream: bytes, *, limit: int = 10_000, step: int = 10_000) -> Whole | Fault:
    assembly = Assembly(limit)
    for at in range(0, len(stream), step):
        assembly.feed(stream[at : at + step])
    return assembly.answer()


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_stream_becomes_the_message_in_the_apis_order_of_keys(step: int) -> None:
    assert assembled(WHOLE, step=step) == Whole(200, EXPECTED)
    assert assembled(WHOLE + events(said("too late")), step=step) == Whole(200, EXPECTED)


def test_half_a_surrogate_pair_is_spelled_out() -> None:
    got = assembled(events(START, TEXT, said("\ud83d"), said("\ude00"), END, FINISH, STOP))
    assert isinstance(got, Whole)
    assert json.loads(got.body)["content"][0]["text"] == "😀"


@pytest.mark.parametrize(
    ("error_type", "status"), [("overloaded_error", 529), ("rate_limit_error", 429), ("new_error", 500)]
)
def test_an_error_in_the_stream_is_the_answer_the_api_would_have_given(error_type: str, status: int) -> None:
    error = {"type": "error", "error": {"type": error_type, "message": "m"}, "request_id": "req_1"}
    got = assembled(events(START, TEXT, error, END, STOP))
    assert got == Whole(status, json.dumps(error).encode())


def test_an_error_that_cannot_be_read_is_an_api_error() -> None:
    got = assembled(b"event: error\ndata: {\n\n")
    assert isinstance(got, Whole)
    assert (got.status, json.loads(got.body)["error"]["type"]) == (500, "api_error")


BROKEN = {
    "nothing": b"",
    "no end": events(START, TEXT, said("a"), END, FINISH),
    "an event that is cut": WHOLE[:-1],
}
UNREADABLE = {
    "no JSON": b"event: message_start\ndata: {\n\n",
    "another type": b'event: message_start\ndata: {"type":"ping"}\n\n',
    "an open block": events(START, TEXT, FINISH, STOP),
    "a delta nobody knows": events(START, TEXT, {**said("a"), "delta": {"type": "new_delta"}}),
    "no delta": events(START, TEXT, {**said("a"), "delta": None}),
    "events out of order": events(TEXT),
    "no number": b'event: message_start\ndata: {"type":"message_start","message":{"a":NaN}}\n\n' + events(STOP),
    "too long": WHOLE * 400,
}


@pytest.mark.parametrize("stream", BROKEN.values(), ids=BROKEN)
def test_a_stream_that_ends_early_is_never_half_a_message(stream: bytes) -> None:
    got = assembled(stream)
    assert isinstance(got, Fault)
    assert (got.code, got.status) == ("stream_broken", 502)


@pytest.mark.parametrize("stream", UNREADABLE.values(), ids=UNREADABLE)
def test_a_stream_that_makes_no_sense_is_never_half_a_message(stream: bytes) -> None:
    got = assembled(stream, limit=500 if len(stream) > 10_000 else 10_000)
    assert isinstance(got, Fault)
    assert (got.code, got.status) == ("stream_unreadable", 502)


# --- through the proxy


@pytest.fixture(autouse=True)
def _all_ended() -> Iterator[None]:
    yield
    Protected.end_all()


HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Request-Id: req_1\r\nanthropic-ratelimit-requests-remaining: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
)
ACCEPTS = SDK % 0 + b"Accept: application/json\r\nAccept-Encoding: gzip, br\r\n"


def upgrading(table: dict[str, Any] | None = None, **more: Any) -> Protected:
    return Protected(protection(table, upgrade=True, **more))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 120), max_size=6), st.booleans(), st.booleans())
def test_however_a_body_comes_it_is_edited_the_same(cuts: list[int], chunked: bool, asked: bool) -> None:
    body = BODY[:-1] + (b',"stream": false}' if asked else b"}")
    pieces = [body[at:to] for at, to in pairwise([0, *sorted(cuts), len(body)]) if body[at:to]]
    talk = upgrading()
    try:
        head = ask(body).partition(b"\r\n\r\n")[0]
        if chunked:
            head = head.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
        talk.say(head + b"\r\n\r\n")
        for piece in pieces:
            talk.say(chunks(piece, end=b"") if chunked else piece)
        if chunked:
            talk.say(chunks())
        assert talk.sent == [streaming(body)]
        assert json.loads(talk.sent[0]) == {**json.loads(BODY), "stream": True}
    finally:
        talk.__exit__()


def sent_head(talk: Protected) -> dict[bytes, bytes]:
    lines = bytes(talk.last.written).partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}


def test_a_request_goes_up_as_a_stream_and_comes_back_as_a_message() -> None:
    talk = upgrading()
    talk.say(ask(headers=ACCEPTS))
    assert talk.sent == [b'{"stream":true,' + BODY[1:]]
    head = sent_head(talk)
    assert (head[b"accept"], head[b"accept-encoding"]) == (b"text/event-stream", b"identity")
    assert head[b"content-length"] == b"%d" % (len(BODY) + 14)
    talk.reply(HEAD)
    for at in range(0, len(WHOLE), 100):
        talk.now += 1
        talk.reply(chunks(WHOLE[at : at + 100], end=b""))
    assert not talk.heard()
    talk.reply(chunks())
    raw = bytes(talk.pipe.written)
    status, headers, _ = talk.answered()
    assert raw.endswith(EXPECTED)
    assert (status, headers[b"content-type"], headers[b"request-id"]) == (200, b"application/json", b"req_1")
    assert headers[b"anthropic-ratelimit-requests-remaining"] == b"7"
    assert b"cache-control" not in headers
    attempts, call = talk.told()
    assert (attempts[0].outcome, attempts[0].stream, call.outcome, call.stream) == (Outcome.OK, True, Outcome.OK, False)
    assert (call.usage, call.stop_reason) == (Usage(input=3, output=9), "end_turn")
    assert call.first_token is None  # the application saw none before all of it
    assert call.output_seconds is not None
    assert attempts[0].max_gap == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("body", "target", "headers"),
    [
        (STREAM, b"/v1/messages", b""),
        (BODY[:-1] + b',"stream":null}', b"/v1/messages", b""),
        (BODY, b"/v1/messages/count_tokens", b""),
        (gzip.compress(BODY), b"/v1/messages", b"Content-Encoding: gzip\r\n"),
    ],
    ids=["a stream already", "null", "not a message", "compressed"],
)
def test_what_cannot_be_upgraded_is_sent_as_it_is(body: bytes, target: bytes, headers: bytes) -> None:
    talk = upgrading()
    talk.say(ask(body, SDK % 0 + headers, target))
    assert talk.sent == [body]
    talk.reply(answer(MESSAGE, JSON))
    assert talk.answered()[0] == 200


def test_a_body_too_large_to_keep_is_not_upgraded() -> None:
    talk = upgrading(spool_bytes=50)
    talk.say(ask())
    assert talk.sent == [BODY]


def test_a_json_answer_to_an_upgraded_request_is_passed_on() -> None:
    talk = upgrading()
    talk.say(ask())
    talk.reply(answer(MESSAGE, JSON))
    assert talk.heard().endswith(MESSAGE)
    assert talk.told()[1].outcome is Outcome.OK


def test_an_upstream_that_compresses_all_the_same_is_understood() -> None:
    talk = upgrading()
    talk.say(ask())
    talk.reply(answer(gzip.compress(WHOLE), b"Content-Type: text/event-stream", b"Content-Encoding: gzip"))
    raw = talk.heard()
    assert raw.endswith(EXPECTED)
    assert b"content-encoding" not in raw.lower()


def test_an_upstream_that_compresses_in_an_unknown_way_is_a_502() -> None:
    talk = upgrading()
    talk.say(ask())
    talk.reply(answer(WHOLE, b"Content-Type: text/event-stream", b"Content-Encoding: lzw"))
    assert talk.answered()[1][b"x-sidecar-error"] == b"stream_unreadable"
    assert talk.told()[1].outcome is Outcome.SERVER_ERROR


@pytest.mark.parametrize("status", [b"529 Overloaded", b"400 Bad Request"])
def test_an_error_before_the_stream_is_passed_on(status: bytes) -> None:
    talk = upgrading({"retry": {"max_attempts": 1}})
    talk.say(ask())
    talk.reply(answer(OVERLOADED, JSON, status=status))
    raw = bytes(talk.pipe.written)
    assert talk.answered()[0] == int(status[:3])
    assert raw.endswith(OVERLOADED)


def error_event(kind: str = "overloaded_error") -> bytes:
    return events({"type": "error", "error": {"type": kind, "message": "m"}})


def test_an_error_within_the_stream_is_tried_again() -> None:
    talk = upgrading()
    talk.say(ask())
    talk.reply(HEAD + chunks(events(START, TEXT), error_event()))
    talk.wait(1 + SLOT)
    assert len(talk.sent) == 2
    talk.reply(HEAD + chunks(WHOLE))
    assert talk.heard().endswith(EXPECTED)
    attempts, call = talk.told()
    assert [(each.outcome, each.error_type) for each in attempts] == [
        (Outcome.OVERLOADED, "overloaded_error"),
        (Outcome.OK, None),
    ]
    assert (call.outcome, call.attempts) == (Outcome.OK, 2)


def test_an_error_within_the_stream_becomes_its_status_when_retries_are_used_up() -> None:
    talk = upgrading({"retry": {"max_attempts": 2}})
    talk.say(ask())
    for _ in range(2):
        talk.reply(HEAD + chunks(events(START, TEXT), error_event()))
        talk.wait(1 + SLOT)
    status, headers, body = talk.answered()
    assert (status, body["error"]["type"], headers[b"x-should-retry"]) == (529, "overloaded_error", b"false")
    assert (headers[b"request-id"], headers[b"content-type"]) == (b"req_1", b"application/json")
    assert talk.told()[1].outcome is Outcome.OVERLOADED


def test_an_error_that_is_the_clients_becomes_its_status_at_once() -> None:
    talk = upgrading()
    talk.say(ask())
    talk.reply(HEAD + chunks(error_event("invalid_request_error")))
    assert talk.answered()[0] == 400
    assert talk.told()[1].outcome is Outcome.CLIENT_ERROR


@pytest.mark.parametrize("how", ["break_off", "hang_up", "end"])
def test_a_stream_that_breaks_is_a_502(how: str) -> None:
    talk = upgrading()
    talk.say(ask())
    talk.reply(HEAD + chunks(events(START, TEXT, said("secret")), end=b""))
    if how == "end":
        talk.reply(chunks())
    else:
        getattr(talk, how)()
    status, headers, body = talk.answered()
    assert (status, headers[b"x-sidecar-error"], body["error"]["type"]) == (502, b"stream_broken", "api_error")
    assert talk.told()[1].outcome is Outcome.TRUNCATED


def test_a_stream_that_makes_no_sense_is_cut_off_at_once() -> None:
    talk = upgrading()
    talk.say(ask())
    talk.reply(HEAD + chunks(events(TEXT), end=b""))
    assert talk.answered()[1][b"x-sidecar-error"] == b"stream_unreadable"
    assert talk.last.is_closing()
    attempts, call = talk.told()
    assert (attempts[0].outcome, call.outcome, call.error_type) == (
        Outcome.SERVER_ERROR,
        Outcome.SERVER_ERROR,
        "unparsable_answer",
    )


def test_a_message_that_is_whole_before_its_connection_breaks_is_given() -> None:
    talk = upgrading()
    talk.say(ask())
    talk.reply(HEAD + chunks(WHOLE, end=b""))
    talk.break_off()
    assert talk.heard().endswith(EXPECTED)
    assert talk.told()[1].outcome is Outcome.OK


def test_a_stream_that_falls_silent_is_a_504() -> None:
    talk = upgrading({"timeouts": {"stall": 3.0}})
    talk.say(ask())
    talk.reply(HEAD + chunks(events(START), end=b""))
    talk.wait(3 + SLOT)
    status, headers, _ = talk.answered()
    assert (status, headers[b"x-sidecar-error"]) == (504, b"stall_timeout")
    assert talk.told()[1].phase is Phase.STALL


def test_a_client_that_leaves_an_upgraded_request_cancels_it() -> None:
    talk = upgrading()
    talk.say(ask())
    talk.reply(HEAD + chunks(events(START), end=b""))
    talk.leave()
    assert talk.last.is_closing()
    assert talk.told()[1].outcome is Outcome.CANCELLED


# --- white space that keeps connections alive


def kept_alive() -> Protected:
    talk = upgrading(keep_alive_seconds=2.0)
    talk.say(ask())
    talk.wait(3)
    assert not talk.heard()  # the status is not known yet
    talk.reply(HEAD + chunks(events(START, TEXT, said("sec")), end=b""))
    talk.wait(4 + SLOT)
    return talk


def test_white_space_comes_ahead_of_the_message() -> None:
    talk = kept_alive()
    assert talk.pipe.written.endswith(b"\r\n\r\n1\r\n \r\n1\r\n \r\n")
    talk.reply(chunks(events(said("ret é"), END, FINISH, STOP)))
    status, headers, body = talk.answered()
    assert (status, headers[b"content-type"], headers[b"request-id"]) == (200, b"application/json", b"req_1")
    assert body == json.loads(EXPECTED)
    talk.wait(5)
    assert not talk.heard()
    assert talk.told()[1].outcome is Outcome.OK


@pytest.mark.parametrize("how", ["error", "break_off"])
def test_after_white_space_a_failure_breaks_the_answer_off(how: str) -> None:
    talk = kept_alive()
    if how == "error":
        talk.reply(chunks(error_event()))
    else:
        talk.break_off()
    assert talk.pipe.is_closing()
    assert talk.heard().endswith(b"1\r\n \r\n")
    talk.wait(5)
    assert len(talk.sent) == 1
    assert talk.told()[1].outcome is (Outcome.OVERLOADED if how == "error" else Outcome.TRUNCATED)


def test_a_client_that_reads_nothing_is_sent_no_white_space() -> None:
    talk = kept_alive()
    talk.heard()
    talk.client.pause_writing()
    talk.wait(5)
    assert not talk.heard()


def test_a_message_that_comes_in_time_has_no_white_space() -> None:
    talk = upgrading(keep_alive_seconds=2.0)
    talk.say(ask())
    talk.reply(HEAD + chunks(WHOLE))
    assert b"content-length" in talk.pipe.written
    assert talk.heard().endswith(EXPECTED)
