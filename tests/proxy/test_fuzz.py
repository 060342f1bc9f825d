"""Whatever either side sends, in whatever pieces: nothing raises, nothing leaks, and no message hides another.

`corpus/` holds conversations that found something once, or that stand for a kind of attack: `*.request` is what a
client sends, `*.response` what an upstream sends. Hypothesis cuts, repeats, joins and damages them.
"""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.proxy.limits import Limits
from tests.proxy.memory import Conversation, Seen

CORPUS = Path(__file__).parent / "corpus"
REQUESTS = {path.stem: path.read_bytes() for path in sorted(CORPUS.glob("*.request"))}
RESPONSES = {path.stem: path.read_bytes() for path in sorted(CORPUS.glob("*.response"))}
LIMITS = Limits(head_bytes=2048, body_bytes=4096, pipelined=8)

GOOD_REQUEST = b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
GOOD_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True) if start < end]


def play(said: list[bytes], replied: list[bytes], *, hang_up: bool = False) -> Conversation:
    """Play a conversation: all that the client says, then all that the upstream replies."""
    with Conversation(LIMITS) as conversation:
        for piece in said:
            conversation.say(piece)
        for piece in replied:
            conversation.reply(piece)
        if hang_up:
            conversation.hang_up()
    assert conversation.proxy.in_flight == 0
    assert conversation.proxy.connections == 0
    return conversation


def check_upstreams(conversation: Conversation, said: bytes) -> None:
    """Check that what reached an upstream is whole requests of the proxy's own writing, at most the last cut short."""
    for _, pipe in conversation.upstreams:
        written = bytes(pipe.written)
        seen = Seen(written, requests=True)
        assert seen.error is None, (said, written, seen.error)
        assert seen.begun == written.count(b" HTTP/1.1\r\nhost: up.test\r\n")
        assert seen.complete >= seen.begun - 1


def check_client(conversation: Conversation) -> None:
    """Check that what reached the client are answers that a strict parser understands."""
    written = bytes(conversation.pipe.written)
    seen = Seen(written, requests=False)
    assert seen.error is None, (written, seen.error)


cuts = st.lists(st.integers(0, 4096), max_size=8)
bits = st.one_of(
    st.sampled_from(
        [b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"0\r\n\r\n", b"chunked", b"5\r\n", b"Content-Length: 5\r\n"]
    ),
    st.binary(min_size=1, max_size=4),
)


@st.composite
def damaged(draw: st.DrawFn, corpus: dict[str, bytes]) -> bytes:
    """Draw something from the corpus, or two things joined, with some damage."""
    data = b"".join(draw(st.lists(st.sampled_from(sorted(corpus.values())), min_size=1, max_size=2)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["insert", "delete", "repeat", "replace"]))
        if kind == "insert":
            data = data[:at] + draw(bits) + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + draw(st.integers(1, 8)) :]
        elif kind == "repeat":
            data = data[:at] + data[max(0, at - draw(st.integers(1, 40))) :]
        else:
            bit = draw(bits)
            data = data[:at] + bit + data[at + len(bit) :]
    return data


@settings(deadline=None, max_examples=150)
@given(damaged(REQUESTS), cuts)
def test_no_request_can_hide_another(said: bytes, at: list[int]) -> None:
    check_upstreams(play(split(said, at), []), said)


@settings(deadline=None, max_examples=150)
@given(damaged(RESPONSES), cuts, st.booleans())
def test_no_answer_can_become_two(replied: bytes, at: list[int], hang_up: bool) -> None:
    conversation = play([GOOD_REQUEST, GOOD_REQUEST], split(replied, at), hang_up=hang_up)
    check_client(conversation)


@settings(deadline=None, max_examples=100)
@given(damaged(REQUESTS), damaged(RESPONSES), cuts, cuts)
def test_nothing_either_side_sends_leaves_anything_behind(
    said: bytes, replied: bytes, at: list[int], at_too: list[int]
) -> None:
    check_upstreams(play(split(said, at), split(replied, at_too), hang_up=True), said)


@pytest.mark.parametrize("name", REQUESTS)
def test_each_request_of_the_corpus_means_the_same_whole_and_byte_by_byte(name: str) -> None:
    said = REQUESTS[name]
    whole, crumbs = play([said], []), play([said[n : n + 1] for n in range(len(said))], [])
    for conversation in (whole, crumbs):
        check_upstreams(conversation, said)
    assert bytes(crumbs.pipe.written) == bytes(whole.pipe.written)
    assert complete_requests(crumbs) == complete_requests(whole)


@pytest.mark.parametrize("name", RESPONSES)
def test_each_response_of_the_corpus_means_the_same_whole_and_byte_by_byte(name: str) -> None:
    replied = RESPONSES[name]
    whole = play([GOOD_REQUEST], [replied], hang_up=True)
    crumbs = play([GOOD_REQUEST], [replied[n : n + 1] for n in range(len(replied))], hang_up=True)
    for conversation in (whole, crumbs):
        check_client(conversation)
    assert (
        Seen(bytes(whole.pipe.written), requests=False).complete
        == Seen(bytes(crumbs.pipe.written), requests=False).complete
    )


def complete_requests(conversation: Conversation) -> list[bytes]:
    """List the bodies of the requests that reached an upstream whole."""
    seen = [Seen(bytes(pipe.written), requests=True) for _, pipe in conversation.upstreams]
    return [body for one in seen for body in one.bodies[: one.complete]]


bodies = st.binary(max_size=300)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw a valid request and its body."""
    body = draw(bodies)
    if draw(st.booleans()):
        return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), body
    return b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(draw, body), body


@st.composite
def responses(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw a valid answer and its body."""
    body = draw(bodies)
    interim = draw(st.sampled_from([b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"]))
    if draw(st.booleans()):
        return interim + b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), body
    return interim + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(draw, body), body


def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    wire = b""
    while body:
        size = draw(st.integers(1, len(body)))
        wire += b"%x\r\n%b\r\n" % (size, body[:size])
        body = body[size:]
    return wire + draw(st.sampled_from([b"0\r\n\r\n", b"000\r\nX-Sum: 1\r\n\r\n"]))


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(requests(), responses(), cuts, cuts), min_size=1, max_size=4), st.booleans())
def test_valid_traffic_arrives_whole_and_in_order_wherever_it_is_cut(
    traffic: list[tuple[tuple[bytes, bytes], tuple[bytes, bytes], list[int], list[int]]], pipelined: bool
) -> None:
    with Conversation() as conversation:
        if pipelined:
            for (said, _), _, at, _ in traffic:
                for piece in split(said, at):
                    conversation.say(piece)
        for (said, _), (replied, _), at, at_too in traffic:
            for piece in [] if pipelined else split(said, at):
                conversation.say(piece)
            for piece in split(replied, at_too):
                conversation.reply(piece)
        assert len(conversation.upstreams) == 1
        up = Seen(bytes(conversation.upstreams[0][1].written), requests=True)
        down = Seen(
            bytes(conversation.pipe.written).replace(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", b""),
            requests=False,
        )
    assert (up.error, down.error) == (None, None)
    assert up.bodies == [body for (_, body), _, _, _ in traffic]
    assert down.bodies == [body for _, (_, body), _, _ in traffic]
