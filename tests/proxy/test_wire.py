"""What passes through, byte for byte: requests, answers, their order, and the connections they share."""

import gzip
import os

import pytest

from tests.proxy.kit import Peer, Script, Upstream, answer, chunks, echo, request, running

CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nX-One: 1\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_request_and_its_answer_keep_every_byte_that_is_not_about_the_connection() -> None:
    body = os.urandom(3000)
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request(body, b"X-Api-Key:  s3cret ", b"connection: keep-alive", b"X-dup: 1", b"x-DUP: 2"))
        seen = await upstream.accept()
        assert await seen.until(b"\r\n\r\n") == (
            b"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nX-Api-Key:  s3cret \r\nX-dup: 1\r\nx-DUP: 2\r\n"
            b"content-length: 3000\r\n\r\n" % upstream.port
        )
        assert await seen.exactly(3000) == body
        await seen.send(
            answer(body, b"Request-Id: req_1", b"Keep-Alive: timeout=5", b"x-A:b", status=b"200 Fine, thanks")
        )
        assert await client.until(b"\r\n\r\n") == (
            b"HTTP/1.1 200 Fine, thanks\r\nRequest-Id: req_1\r\nx-A:b\r\ncontent-length: 3000\r\n\r\n"
        )
        assert await client.exactly(3000) == body


@pytest.mark.parametrize("step", [1, 7])
async def test_traffic_that_comes_in_crumbs_is_the_same_traffic(step: int) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request(b"hello", b"A: b"), step=step)
        seen = await upstream.accept()
        start, headers, body = await seen.message()
        assert (start, headers[b"a"], body) == (b"POST /v1/messages HTTP/1.1", b"b", b"hello")
        await seen.send(CHUNKED_HEAD + chunks(b"one", b"two"), step=step)
        assert (await client.head())[1] == {b"x-one": b"1", b"transfer-encoding": b"chunked"}
        assert await client.until(b"0\r\n\r\n") == chunks(b"one", b"two")
        await client.send(b"\r\n" + request(b"again"), step=step)
        assert (await seen.message())[2] == b"again"


async def test_chunks_of_an_answer_pass_as_they_came_with_extensions_and_trailers() -> None:
    wire = b"5;a=b\r\nhello\r\n00000A\r\n0123456789\r\n0\r\nX-Sum: 7\r\n\r\n"
    async with Upstream(echo(CHUNKED_HEAD + wire)) as upstream, running(upstream.port) as proxy:
        async with await proxy.client() as client:
            for _ in range(2):  # the connections stay usable
                await client.send(request())
                await client.head()
                assert await client.exactly(len(wire)) == wire
        assert upstream.connections == 1


async def test_each_chunk_of_a_stream_is_passed_on_before_the_next_one_comes() -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request())
        seen = await upstream.accept()
        await seen.message()
        await seen.send(CHUNKED_HEAD)
        await client.head()
        for n in range(20):
            await seen.send(chunks(b"event %d" % n, end=b""))
            assert await client.until(b" %d\r\n" % n) == chunks(b"event %d" % n, end=b"")
        await seen.send(chunks())
        assert await client.until(b"\r\n\r\n") == chunks()


async def test_chunks_of_a_request_are_written_anew_without_extensions_but_with_trailers() -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        seen = await upstream.accept()
        _, headers = await seen.head()
        assert headers[b"transfer-encoding"] == b"chunked"
        await client.send(b"5;x=y\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")
        assert await seen.until(b"\r\n\r\n") == b"5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"
        await seen.send(answer(b"ok"))
        assert (await client.message())[2] == b"ok"


async def test_compressed_bodies_stay_compressed() -> None:
    packed = gzip.compress(b"{}" * 1000)
    reply = answer(packed, b"Content-Encoding: gzip")
    async with Upstream(echo(reply)) as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request(packed, b"Content-Encoding: gzip"))
        _, headers, body = await client.message()
        assert (headers[b"content-encoding"], body) == (b"gzip", packed)


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"])
async def test_every_usual_method_passes_with_and_without_a_body(method: bytes) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request(b"body", method=method) + b"%b /b HTTP/1.1\r\nHost: a\r\n\r\n" % method)
        seen = await upstream.accept()
        start, _, body = await seen.message()
        assert (start, body) == (method + b" /v1/messages HTTP/1.1", b"body")
        await seen.send(answer(b"1"))
        start, headers, _ = await seen.message()
        assert (start, b"content-length" in headers) == (method + b" /b HTTP/1.1", False)


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        chunked = b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"one")
        await client.send(request(b"zero", target=b"/0") + chunked + request(b"two", target=b"/2"))
        seen = await upstream.accept()
        for n, expected in enumerate([b"zero", b"one", b"two"]):
            start, _, body = await seen.message()
            assert (start, body) == (b"POST /%d HTTP/1.1" % n, expected)
            await seen.send(answer(b"answer %d" % n))
            assert (await client.message())[2] == b"answer %d" % n
        assert upstream.connections == 1


@pytest.mark.parametrize("length", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
async def test_an_answer_to_head_has_no_body_and_leaves_the_connection_usable(length: bytes) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        seen = await upstream.accept()
        await seen.head()
        await seen.send(b"HTTP/1.1 200 OK\r\nX: y\r\n%b\r\n" % length)
        _, headers = await client.head()
        assert headers[b"x"] == b"y"
        assert headers.get(b"content-length") == (b"5" if b"5" in length else None)
        await client.send(request(b"next"))
        assert (await seen.message())[2] == b"next"
        await seen.send(answer(b"ok"))
        assert (await client.message())[2] == b"ok"


async def test_a_body_sent_in_answer_to_head_goes_nowhere() -> None:
    async with (
        Upstream(echo(answer(b"bogus"))) as upstream,
        running(upstream.port) as proxy,
        await proxy.client() as client,
    ):
        for _ in range(2):
            await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.head())[1] == {b"content-length": b"5"}
        client.eof()
        assert await client.rest() == b""
        assert upstream.connections == 2


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_answers_that_never_have_a_body_leave_the_connection_usable(status: bytes) -> None:
    reply = b"HTTP/1.1 %b\r\nETag: x\r\n\r\n" % status
    async with Upstream(echo(reply)) as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        for _ in range(2):
            await client.send(request())
            assert await client.until(b"\r\n\r\n") == reply
        assert upstream.connections == 1


async def test_the_go_ahead_of_the_upstream_reaches_a_client_that_waits_for_it() -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        seen = await upstream.accept()
        assert (await seen.head())[1][b"expect"] == b"100-continue"
        await seen.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"body")
        assert await seen.exactly(4) == b"body"
        await seen.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + answer(b"ok"))
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 102 Processing\r\n\r\n"
        assert (await client.message())[2] == b"ok"


async def test_an_expectation_that_is_refused_ends_the_request_without_its_body() -> None:
    async with (
        Upstream(echo_head(answer(b"no", status=b"417 Expectation Failed"))) as upstream,
        running(upstream.port) as proxy,
        await proxy.client() as client,
    ):
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        start, headers, body = await client.message()
        assert (start, headers[b"connection"], body) == (b"HTTP/1.1 417 Expectation Failed", b"close", b"no")
        assert await client.rest() == b""


async def test_an_answer_that_overtakes_its_upload_is_read_whole_by_the_client() -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
        seen = await upstream.accept()
        await seen.head()
        await seen.send(answer(b"too much", status=b"413 Content Too Large"))
        start, headers, body = await client.message()
        assert (start, headers[b"connection"], body) == (b"HTTP/1.1 413 Content Too Large", b"close", b"too much")
        await client.send(b"x" * 500_000)  # the client may not have seen it yet, and must not be reset for it
        await seen.gone()
        client.eof()
        assert await client.rest() == b""


async def test_http_1_0_gets_no_chunks_and_an_end_by_closing() -> None:
    async with (
        Upstream(echo(CHUNKED_HEAD + chunks(b"one", b"two"))) as upstream,
        running(upstream.port) as proxy,
        await proxy.client() as client,
    ):
        await client.send(b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi")
        assert await client.rest() == b"HTTP/1.1 200 OK\r\nX-One: 1\r\nconnection: close\r\n\r\nonetwo"


async def test_http_1_0_is_kept_alive_where_it_asks_and_the_length_is_known() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    async with (
        Upstream(echo(interim + answer(b"ok"))) as upstream,
        running(upstream.port) as proxy,
        await proxy.client() as client,
    ):
        for _ in range(2):
            await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            _, headers, body = await client.message()
            assert (headers[b"connection"], body) == (b"keep-alive", b"ok")
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.rest()).endswith(b"connection: close\r\n\r\nok")


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
async def test_an_answer_that_ends_by_closing_is_chunked_for_the_client(version: bytes) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        for _ in range(2):
            await client.send(request())
            seen = await upstream.accept()
            await seen.message()
            await seen.send(version + b" 200 OK\r\n\r\n")
            await client.head()
            await seen.send(b"one")
            assert await client.until(b"one\r\n") == b"3\r\none\r\n"
            seen.close()
            assert await client.until(b"\r\n\r\n") == b"0\r\n\r\n"


async def test_an_upgrade_is_ignored_and_the_body_of_its_request_passes() -> None:
    wish = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request(b"body", *wish) + request(b"next"))
        seen = await upstream.accept()
        _, headers, body = await seen.message()
        assert (set(headers), body) == ({b"host", b"content-length"}, b"body")
        await seen.send(answer(b"1"))
        assert (await seen.message())[2] == b"next"


async def test_a_request_that_closes_is_answered_and_nothing_after_it_is_read() -> None:
    async with (
        Upstream(echo(answer(b"ok"))) as upstream,
        running(upstream.port) as proxy,
        await proxy.client() as client,
    ):
        await client.send(request(b"a", b"Connection: close") + b"junk that is no request")
        assert (await client.rest()).endswith(b"connection: close\r\n\r\nok")
        assert upstream.connections == 1


async def test_an_upstream_that_closes_after_its_answer_gets_a_new_connection_next_time() -> None:
    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(answer(b"ok", b"Connection: close"))

    async with Upstream(script) as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        for _ in range(3):
            await client.send(request())
            _, headers, body = await client.message()
            assert (b"connection" in headers, body) == (False, b"ok")
        assert upstream.connections == 3


async def test_bytes_after_an_answer_are_not_passed_on_and_cost_the_connection() -> None:
    reply = answer(b"ok") + b"HTTP/1.1 200 OK\r\n\r\nsmuggled"
    async with Upstream(echo(reply)) as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        for _ in range(2):
            await client.send(request())
            assert (await client.message())[2] == b"ok"
        client.eof()
        assert await client.rest() == b""
        assert upstream.connections == 2


async def test_an_upstream_that_speaks_unasked_loses_its_connection() -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request())
        seen = await upstream.accept()
        await seen.message()
        await seen.send(answer(b"ok"))
        await client.message()
        await seen.send(answer(b"to a request that nobody made"))
        await seen.gone()
        await client.send(request())
        seen = await upstream.accept()
        await seen.message()
        await seen.send(answer(b"fine"))
        assert (await client.message())[2] == b"fine"


async def test_large_bodies_pass_both_ways_while_both_sides_are_slow() -> None:
    body = os.urandom(1 << 20) * 6

    async def script(peer: Peer) -> None:
        _, headers = await peer.head()
        received = b"".join([await peer.exactly(1 << 16) for _ in range(int(headers[b"content-length"]) >> 16)])
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(received, received))

    async with Upstream(script) as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request(body))
        _, headers = await client.head()
        assert await client.body(headers) == body * 2


def echo_head(reply: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(reply)
        await peer.gone()

    return script
