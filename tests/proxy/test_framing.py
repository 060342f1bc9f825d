"""The table of `framing`: what is refused, and what is rewritten so that it has one meaning only."""

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.proxy.chunked import QUIET_BYTES, ChunkedBody, MalformedChunksError
from sidecar.proxy.errors import Fault
from sidecar.proxy.framing import Body
from sidecar.proxy.headers import RequestHead, ResponseHead

GET = b"GET /v1/models HTTP/1.1\r\nHost: api.test\r\n"
POST = b"POST /v1/messages HTTP/1.1\r\nHost: api.test\r\n"

REFUSED = {
    "content-length and transfer-encoding": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "transfer-encoding and content-length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
    "two content-lengths that differ": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
    "two content-lengths that agree": (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
    "a list of content-lengths": (POST + b"Content-Length: 5, 5\r\n\r\n", 400),
    "a content-length with a sign": (POST + b"Content-Length: +5\r\n\r\n", 400),
    "a negative content-length": (POST + b"Content-Length: -5\r\n\r\n", 400),
    "a hexadecimal content-length": (POST + b"Content-Length: 0x5\r\n\r\n", 400),
    "a content-length in two words": (POST + b"Content-Length: 5 5\r\n\r\n", 400),
    "an empty content-length": (POST + b"Content-Length: \r\n\r\n", 400),
    "a content-length beyond 64 bits": (POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "a content-length of 5,000 digits": (POST + b"Content-Length: %b1\r\n\r\n" % (b"0" * 5000), 400),
    "a content-length spelled with an underscore": (POST + b"Content_Length: 5\r\n\r\n", 400),
    "a transfer-encoding spelled with an underscore": (POST + b"Transfer_Encoding: chunked\r\n\r\n", 400),
    "chunked twice in one header": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
    "chunked twice in two headers": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "an encoding before chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 400),
    "an encoding after chunked": (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n", 400),
    "identity, then chunked": (POST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "chunked, then identity": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400),
    "a word that ends in chunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n", 400),
    "chunked in quotes": (POST + b'Transfer-Encoding: "chunked"\r\n\r\n', 400),
    "chunked with a parameter": (POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n", 400),
    "chunked after a vertical tab": (POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n", 400),
    "an empty transfer-encoding": (POST + b"Transfer-Encoding:\r\n\r\n", 400),
    "chunked in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "a folded header": (GET + b"A: b\r\n c\r\n\r\n", 400),
    "a folded first header": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    "a folded transfer-encoding": (POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n", 400),
    "a bare LF after a header": (GET + b"A: b\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "a bare LF after the first line": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    "a bare LF after a first line without version": (b"GET /x\nHost: a\r\n\r\n", 505),
    "a bare CR in a header": (GET + b"A: b\rTransfer-Encoding: chunked\r\n\r\n", 400),
    "a NUL in a header": (GET + b"A: b\0c\r\n\r\n", 400),
    "a control character in a header": (GET + b"A: b\x01c\r\n\r\n", 400),
    "a space before the colon": (POST + b"Content-Length : 5\r\n\r\n", 400),
    "a tab before the colon": (POST + b"Content-Length\t: 5\r\n\r\n", 400),
    "a header without a name": (GET + b": b\r\n\r\n", 400),
    "a header without a colon": (GET + b"abc\r\n\r\n", 400),
    "a header's name that is not ASCII": (GET + b"\xc3\xa9: b\r\n\r\n", 400),
    "no version": (b"GET /x\r\nHost: a\r\n\r\n", 400),
    "two spaces before the target": (b"GET  /x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "two spaces before the version": (b"GET /x  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a space after the version": (b"GET /x HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    "a tab in the target": (b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a fragment in the target": (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a target that is not ASCII": (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a target without a slash": (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "an asterisk where it means nothing": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "an absolute target with a user": (b"GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (GET + b"Host: other\r\n\r\n", 400),
    "a host with a slash": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "a host with a space": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "a method of WebDAV": (b"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "a method in lower case": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\n", 505),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "HTTP/0.9 spelled out": (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
    "RTSP": (b"DESCRIBE / RTSP/1.0\r\n\r\n", 505),
    "TLS spoken to a plain port": (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
}


@pytest.mark.parametrize(("raw", "status"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_could_mean_two_things_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(Fault) as refused:
        RequestHead(raw)
    assert refused.value.status == status


REWRITTEN = {
    "zeros before the length": (
        POST + b"Content-Length: 0005\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nhost: up\r\ncontent-length: 5\r\n\r\n",
    ),
    "blanks around the length": (
        POST + b"Content-Length:\t 5 \r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nhost: up\r\ncontent-length: 5\r\n\r\n",
    ),
    "chunked in capitals": (
        POST + b"Transfer-Encoding: CHUNKED\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nhost: up\r\ntransfer-encoding: chunked\r\n\r\n",
    ),
    "an absolute target": (
        b"GET http://other:81/a?b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a?b HTTP/1.1\r\nhost: up\r\n\r\n",
    ),
    "an absolute target without a path": (
        b"GET http://other HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: up\r\n\r\n",
    ),
    "OPTIONS of the whole server": (
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: up\r\n\r\n",
    ),
    "HTTP/1.0 without a host": (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nhost: up\r\n\r\n"),
    "headers of this connection only": (
        GET + b"Keep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: x\r\nProxy-Authorization: y\r\nA: b\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nhost: up\r\nA: b\r\n\r\n",
    ),
    "headers named by connection": (
        GET + b"Connection: close, X-Hop ,x-two\r\nX-Hop: 1\r\nA: b\r\nX-TWO: 2\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nhost: up\r\nA: b\r\n\r\n",
    ),
    "framing headers named by connection": (
        POST + b"Connection: content-length, host\r\nContent-Length: 5\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nhost: up\r\ncontent-length: 5\r\n\r\n",
    ),
    "a wish for an upgrade": (
        POST
        + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\nContent-Length: 5\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nhost: up\r\ncontent-length: 5\r\n\r\n",
    ),
    "spelling, order, repetition and odd bytes of other headers stay": (
        GET + b"x-B: 1\r\nX-a:\t2 \r\nx-b: \xff\r\nEmpty:\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nhost: up\r\nx-B: 1\r\nX-a:\t2 \r\nx-b: \xff\r\nEmpty:\r\n\r\n",
    ),
}


@pytest.mark.parametrize(("raw", "sent"), REWRITTEN.values(), ids=REWRITTEN)
def test_a_request_is_passed_on_with_one_meaning(raw: bytes, sent: bytes) -> None:
    assert RequestHead(raw).wire(b"up", b"") == sent


def test_a_prefix_is_put_in_front_of_the_path() -> None:
    assert RequestHead(GET + b"\r\n").wire(b"up", b"/gateway").startswith(b"GET /gateway/v1/models HTTP/1.1\r\n")


KEPT_ALIVE = {
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n": True,
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n": False,
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: Close\r\n\r\n": False,
    b"GET / HTTP/1.0\r\nHost: a\r\n\r\n": False,
    b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n": True,
}


@pytest.mark.parametrize(("raw", "kept"), KEPT_ALIVE.items())
def test_a_connection_is_kept_as_the_request_says(raw: bytes, kept: bool) -> None:
    assert RequestHead(raw).keep_alive is kept


REFUSED_ANSWERS = {
    "content-length and transfer-encoding": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    "two content-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "a length of 5,000 digits": b"HTTP/1.1 200 OK\r\nContent-Length: %b5\r\n\r\n" % (b"0" * 5000),
    "another transfer-encoding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "an encoding before chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a folded header": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    "a bare LF": b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
    "a bare CR in a header, to split it": b"HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 No\r\n\r\n",
    "a status above 599": b"HTTP/1.1 600 No\r\n\r\n",
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n\r\n",
    "RTSP": b"RTSP/1.0 200 OK\r\n\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
}


@pytest.mark.parametrize("raw", REFUSED_ANSWERS.values(), ids=REFUSED_ANSWERS)
def test_an_answer_that_could_mean_two_things_is_refused(raw: bytes) -> None:
    with pytest.raises(Fault) as refused:
        ResponseHead(raw, to_head=False)
    assert refused.value.code == "upstream_protocol"


BODIES = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n": (Body.LENGTH, 5, True),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n": (Body.CHUNKED, -1, True),
    b"HTTP/1.1 200 OK\r\n\r\n": (Body.UNTIL_CLOSE, -1, False),
    b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n": (Body.LENGTH, 5, False),
    b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n": (Body.LENGTH, 5, True),
    b"HTTP/1.1 204 No Content\r\n\r\n": (Body.NONE, -1, True),
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n": (Body.NONE, 5, True),
    b"HTTP/1.1 100 Continue\r\n\r\n": (Body.NONE, -1, True),
    b"HTTP/1.1 200\r\nContent-Length: 0\r\nConnection: close\r\n\r\n": (Body.LENGTH, 0, False),
}


@pytest.mark.parametrize(("raw", "expected"), BODIES.items())
def test_the_end_of_an_answer_is_known(raw: bytes, expected: tuple[Body, int, bool]) -> None:
    head = ResponseHead(raw, to_head=False)
    assert (head.body, head.length, head.keep_alive) == expected


def test_an_answer_to_head_has_a_length_and_no_body() -> None:
    head = ResponseHead(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", to_head=True)
    assert (head.body, head.length) == (Body.NONE, 5)


MALFORMED_CHUNKS = {
    "a size in words": b"five\r\nhello\r\n",
    "a size with a prefix": b"0x5\r\nhello\r\n",
    "a size with a sign": b"+5\r\nhello\r\n",
    "a negative size": b"-5\r\nhello\r\n",
    "a size with an underscore": b"5_0\r\nhello\r\n",
    "a size with a blank": b"5 \r\nhello\r\n",
    "no size": b"\r\nhello\r\n",
    "a size beyond 64 bits": b"fffffffffffffffff\r\nhello\r\n",
    "a bare LF after the size": b"5\nhello\r\n",
    "a bare CR after the size": b"5\rhello\r\n",
    "a bare LF in an extension": b"5;a\nb\r\nhello\r\n",
    "a line end in a quoted extension": b'5;a="b\r\nc"\r\nhello\r\n',
    "no line end after the content": b"5\r\nhello0\r\n\r\n",
    "a bare LF after the content": b"5\r\nhello\n0\r\n\r\n",
    "more content than the size": b"5\r\nhelloworld\r\n0\r\n\r\n",
    "less content than the size": b"6\r\nhello\r\n0\r\n\r\n",
    "a bare LF at the end": b"0\r\n\n",
    "a folded trailer": b"0\r\n a: b\r\n\r\n",
    "a content-length among the trailers": b"0\r\nContent-Length: 5\r\n\r\n",
    "a transfer-encoding among the trailers": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
}


@pytest.mark.parametrize("raw", MALFORMED_CHUNKS.values(), ids=MALFORMED_CHUNKS)
@pytest.mark.parametrize("step", [1, 1000])
def test_malformed_chunks_are_refused(raw: bytes, step: int) -> None:
    body = ChunkedBody()
    with pytest.raises(MalformedChunksError):
        feed(body, raw, step)


@pytest.mark.parametrize(
    "filler", [b"0\r\nA: " + b"b" * QUIET_BYTES, b"5;" + b"a" * QUIET_BYTES, b"0" * (QUIET_BYTES + 1)]
)
def test_framing_without_content_is_bounded(filler: bytes) -> None:
    body = ChunkedBody()
    with pytest.raises(MalformedChunksError):
        feed(body, filler, 100)


def feed(body: ChunkedBody, raw: bytes, step: int) -> None:
    for at in range(0, len(raw), step):
        body.feed_up_to_end(raw[at : at + step])


sizes = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
trailers = st.sampled_from([b"", b"X-Sum: 1\r\n", b"A: b\r\nC:\r\n"])
cuts = st.lists(st.integers(1, 200), max_size=12)


def pieces_of(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({place for place in at if place < len(data)})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@settings(deadline=None, max_examples=100)
@given(sizes, trailers, cuts, st.binary(max_size=30))
def test_the_end_of_a_chunked_body_is_found_wherever_it_is_cut(
    content: list[bytes], trailer: bytes, at: list[int], after: bytes
) -> None:
    wire = b"".join(b"%X;x=y\r\n%b\r\n" % (len(piece), piece) for piece in content) + b"0\r\n" + trailer + b"\r\n"
    body, found, rest = ChunkedBody(), b"", b""
    for piece in pieces_of(wire + after, at):
        if body.over:
            rest += piece
            continue
        pieces, more = body.feed_up_to_end(piece)
        found += b"".join(pieces)
        rest += more
    assert (body.over, body.surplus, found, rest) == (True, False, b"".join(content), after)
    assert b"".join(body.trailers).replace(b": ", b":") == trailer.replace(b": ", b":")


class Listener:
    """What llhttp itself finds in a head, header by header."""

    def __init__(self) -> None:
        self.heads = 0
        self.headers: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip()))

    def on_headers_complete(self) -> None:
        self.heads += 1


names = st.sampled_from([b"Host", b"content-length", b"Transfer-Encoding", b"Connection", b"X-A", b"te", b"x:y", b"A"])
values = st.sampled_from([b"a", b"5", b"chunked", b"close", b"x-a", b"", b" ", b"a\rb", b"a\nb", b"a:b", b"\r\n c"])
first_lines = st.sampled_from(
    [b"POST / HTTP/1.1", b"GET /a HTTP/1.0", b"GET / HTTP/1.1\nX: y", b"GET /", b"\r\nGET / HTTP/1.1"]
)


@settings(deadline=None, max_examples=150)
@given(first_lines, st.lists(st.tuples(names, values), max_size=6))
def test_what_is_accepted_is_what_llhttp_understands(first: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    raw = b"\r\n".join((first, *(name + b": " + value for name, value in headers))) + b"\r\n\r\n"
    try:
        head = RequestHead(raw)
    except (Fault, ValueError):
        return
    before, after = Listener(), Listener()
    httptools.HttpRequestParser(before).feed_data(raw)
    httptools.HttpRequestParser(after).feed_data(head.wire(b"up", b""))
    assert (before.heads, after.heads) == (1, 1)
    dropped = {b"host", b"te", b"connection", b"content-length", b"transfer-encoding"}
    dropped |= {token.strip() for name, value in before.headers if name == b"connection" for token in value.split(b",")}
    kept = [header for header in before.headers if header[0] not in dropped]
    assert [header for header in after.headers if header[0] not in dropped] == kept
    assert sum(name in {b"content-length", b"transfer-encoding"} for name, _ in after.headers) <= 1


def _meaning(head: RequestHead) -> tuple[object, ...]:
    return (
        head.method,
        head.target,
        head.http11,
        head.body,
        head.length,
        head.keep_alive,
        head.fields,
        head.upstream,
        dict(head.watched),
        head.wire(b"up", b"/gateway"),
        head.wire(b"", b""),
    )


@given(
    first=st.integers(0, 10**18 - 1),
    then=st.integers(0, 10**18 - 1),
    blanks=st.sampled_from([b"", b" ", b"\t  "]),
    connection=st.sampled_from([b"", b"Connection: close\r\n", b"Connection: X-One, keep-alive\r\n"]),
)
@settings(deadline=None, max_examples=60)
def test_a_head_that_differs_from_the_last_in_its_length_means_what_it_means_alone(
    first: int, then: int, blanks: bytes, connection: bytes
) -> None:
    def raw(length: int) -> bytes:
        return (
            b"POST /v1/messages HTTP/1.1\r\nHost: API.test\r\nX-One: 1\r\nUser-Agent: any\r\nCONTENT-length:"
            + b"%b%d%b\r\n" % (blanks, length, blanks)
            + connection
            + b"X-Sidecar-Profile: agentic\r\n\r\n"
        )

    last = RequestHead(raw(first))
    again = last.again(raw(then))
    assert again is not None
    assert _meaning(again) == _meaning(RequestHead(raw(then)))
    assert _meaning(last) == _meaning(RequestHead(raw(first)))
    further = again.again(raw(first))
    assert further is not None
    assert _meaning(further) == _meaning(last)


@pytest.mark.parametrize(
    "other",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1234567890123456789\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"",
    ],
)
def test_a_head_that_differs_in_more_is_read_anew(other: bytes) -> None:
    assert RequestHead(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").again(other) is None


def test_a_head_without_a_length_is_shared_only_by_its_like() -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    head = RequestHead(chunked)
    assert head.again(chunked) is head
    assert head.again(chunked.replace(b"chunked", b"5")) is None
