"""What breaks is passed on as broken, who leaves is let go at once, and every request ends exactly once."""

import asyncio
import json
from collections.abc import Callable

import pytest

from sidecar.proxy import exchange as exchange_module
from sidecar.proxy.limits import Limits
from tests.proxy.kit import Peer, Upstream, answer, becomes, chunks, echo, request, running

CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def end_of(peer: Peer, how: str) -> None:
    if how == "reset":
        peer.reset()
    else:
        peer.close()


both_ends = pytest.mark.parametrize("how", ["close", "reset"])


@both_ends
@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_an_upstream_that_ends_before_its_answer_is_a_502(how: str, sent: bytes) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        for _ in range(2):  # the client's connection stays usable
            await client.send(request(b"hi"))
            seen = await upstream.accept()
            await seen.message()
            await seen.send(sent)
            if sent.startswith(b"HTTP/1.1 100"):
                await client.head()
            end_of(seen, how)
            start, headers, body = await client.message()
            assert start == b"HTTP/1.1 502 Bad Gateway"
            assert headers[b"x-sidecar-error"] == b"upstream_closed"
            assert json.loads(body) == {
                "type": "error",
                "error": {
                    "type": "api_error",
                    "message": "claude-sidecar: the upstream closed the connection without an answer",
                },
            }


@both_ends
async def test_an_answer_of_known_length_that_breaks_off_stays_short(how: str) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request())
        seen = await upstream.accept()
        await seen.message()
        await seen.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await client.until(b"half")
        end_of(seen, how)
        assert await client.rest() == b""


@both_ends
@pytest.mark.parametrize(
    "sent", [b"3\r\none\r\n", b"3\r\non", b"3\r\none\r", b"3\r\none\r\n0\r\n", b"3\r\none\r\n0\r\nA: b\r\n"]
)
async def test_a_chunked_answer_that_breaks_off_never_gets_its_end(how: str, sent: bytes) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request())
        seen = await upstream.accept()
        await seen.message()
        await seen.send(CHUNKED_HEAD + sent)
        await client.head()
        assert await client.exactly(len(sent)) == sent
        end_of(seen, how)
        assert await client.rest() == b""


async def test_an_answer_until_close_that_is_reset_never_gets_its_last_chunk() -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request())
        seen = await upstream.accept()
        await seen.message()
        await seen.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await client.until(b"half\r\n")
        seen.reset()
        assert await client.rest() == b""


@pytest.mark.parametrize("head", [CHUNKED_HEAD, b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_http_1_0_sees_a_broken_answer_as_a_reset(head: bytes) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        seen = await upstream.accept()
        await seen.head()
        await seen.send(head + (b"4\r\nhalf\r\n" if head is CHUNKED_HEAD else b"half"))
        await client.until(b"half")
        seen.reset()
        with pytest.raises(ConnectionResetError):
            await client.rest()


MALFORMED = {
    "no HTTP at all": b"220 smtp.example ESMTP\r\n\r\n",
    "an upgrade nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "two framings": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\nA: " + b"b" * 5000,
    "a head that is too large": b"HTTP/1.1 200 OK\r\nA: %b\r\n\r\n" % (b"b" * 5000),
    "too many headers": b"HTTP/1.1 200 OK\r\n%bContent-Length: 0\r\n\r\n" % (b"A: b\r\n" * 300),
}


@pytest.mark.parametrize("reply", MALFORMED.values(), ids=MALFORMED)
async def test_an_answer_that_is_not_understood_is_a_502(reply: bytes) -> None:
    limits = Limits(head_bytes=4096)
    async with (
        Upstream(echo(reply)) as upstream,
        running(upstream.port, limits) as proxy,
        await proxy.client() as client,
    ):
        await client.send(request())
        start, headers, _ = await client.message()
        assert start == b"HTTP/1.1 502 Bad Gateway"
        assert headers[b"x-sidecar-error"] == b"upstream_protocol"


@pytest.mark.parametrize("bad", [b"zz\r\n", b"3\r\nfour\r\n", b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", b"0\r\n\r\njunk"])
async def test_chunks_that_go_wrong_break_the_answer_off(bad: bytes) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request())
        seen = await upstream.accept()
        await seen.message()
        await seen.send(CHUNKED_HEAD + b"3\r\none\r\n")
        await client.until(b"one\r\n")
        await seen.send(bad)
        assert await client.rest() == b""
        await seen.gone()


async def test_an_upstream_that_cannot_be_reached_is_a_502() -> None:
    async with Upstream() as upstream:
        port = upstream.port
    async with running(port) as proxy, await proxy.client() as client:
        for _ in range(2):
            await client.send(request(b"hi"))
            start, headers, body = await client.message()
            assert start == b"HTTP/1.1 502 Bad Gateway"
            assert headers[b"x-sidecar-error"] == b"upstream_unreachable"
            assert b"errno 111" in body


async def test_a_fault_in_answer_to_head_has_no_body() -> None:
    async with Upstream() as upstream:
        port = upstream.port
    async with running(port) as proxy, await proxy.client() as client:
        await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await client.rest()).endswith(b"connection: close\r\n\r\n")


# --- an idle connection that is just being closed


@pytest.fixture
def _any_rest_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "RACE_SECONDS", 0.0)


async def once_then_lost(upstream: Upstream, client: Peer, how: str) -> None:
    """Have one answer, and lose the second request on the same connection."""
    await client.send(request(b"first"))
    seen = await upstream.accept()
    await seen.message()
    await seen.send(answer(b"1"))
    await client.message()
    await client.send(request(b"second"))
    assert (await seen.message())[2] == b"second"
    end_of(seen, how)


@both_ends
@pytest.mark.usefixtures("_any_rest_is_long")
async def test_a_request_lost_on_a_rested_connection_is_sent_again_on_a_new_one(how: str) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await once_then_lost(upstream, client, how)
        again = await upstream.accept()
        assert (await again.message())[2] == b"second"
        await again.send(answer(b"2"))
        assert (await client.message())[2] == b"2"


@pytest.mark.usefixtures("_any_rest_is_long")
async def test_a_request_is_sent_again_once_only() -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await once_then_lost(upstream, client, "close")
        again = await upstream.accept()
        await again.message()
        again.close()
        assert (await client.message())[1][b"x-sidecar-error"] in {b"upstream_closed", b"upstream_unreachable"}


@pytest.mark.usefixtures("_any_rest_is_long")
async def test_a_request_too_large_to_keep_is_not_sent_again() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port, Limits(replay_bytes=3)) as proxy,
        await proxy.client() as client,
    ):
        await once_then_lost(upstream, client, "close")
        assert (await client.message())[1][b"x-sidecar-error"] == b"upstream_closed"


@pytest.mark.usefixtures("_any_rest_is_long")
async def test_an_upload_that_outgrows_what_is_kept_is_not_sent_again() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port, Limits(replay_bytes=10)) as proxy,
        await proxy.client() as client,
    ):
        await client.send(request(b"first"))
        seen = await upstream.accept()
        await seen.message()
        await seen.send(answer(b"1"))
        await client.message()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n01234")
        await seen.head()
        await client.send(b"567890123456789")
        await seen.exactly(20)
        seen.close()
        assert (await client.message())[1][b"x-sidecar-error"] == b"upstream_closed"


@pytest.mark.usefixtures("_any_rest_is_long")
async def test_an_upload_that_is_still_coming_goes_on_on_the_new_connection() -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request(b"first"))
        seen = await upstream.accept()
        await seen.message()
        await seen.send(answer(b"1"))
        await client.message()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"half", end=b"")
        )
        await seen.until(b"half\r\n")
        await client.send(chunks(b"more", end=b""))
        await seen.until(b"more\r\n")
        seen.close()
        again = await upstream.accept()
        await again.until(b"more\r\n")
        await client.send(chunks(b"rest"))
        assert await again.until(b"0\r\n\r\n") == chunks(b"rest")


async def test_a_request_lost_on_a_connection_that_hardly_rested_is_not_sent_again() -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await once_then_lost(upstream, client, "close")
        assert (await client.message())[1][b"x-sidecar-error"] == b"upstream_closed"


# --- clients that leave

Leaving = Callable[[Peer], None]


def half_close(peer: Peer) -> None:
    peer.eof()


leaving = pytest.mark.parametrize("leave", [Peer.close, Peer.reset, half_close], ids=["close", "reset", "half-close"])


@leaving
async def test_a_client_that_leaves_before_the_answer_cancels_it(leave: Leaving) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request(b"hi"))
        seen = await upstream.accept()
        await seen.message()
        leave(client)
        await seen.gone()
        await proxy.settled()


@leaving
async def test_a_client_that_leaves_in_the_middle_of_the_answer_cancels_it(leave: Leaving) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request(b"hi"))
        seen = await upstream.accept()
        await seen.message()
        await seen.send(CHUNKED_HEAD + chunks(b"one", end=b""))
        await client.until(b"one\r\n")
        leave(client)
        await seen.gone()
        await proxy.settled()


@leaving
async def test_a_client_that_leaves_in_the_middle_of_its_upload_cancels_it(leave: Leaving) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        seen = await upstream.accept()
        await seen.until(b"half")
        leave(client)
        await seen.gone()
        await proxy.settled()


@leaving
async def test_a_client_that_leaves_in_the_middle_of_its_headers_is_forgotten(leave: Leaving) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(b"POST / HTT")
        leave(client)
        await becomes(lambda: proxy.proxy.connections == 0)
        assert upstream.connections == 0


@leaving
async def test_a_client_that_leaves_its_pipeline_cancels_all_of_it(leave: Leaving) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request(b"0") + request(b"1") + request(b"2"))
        seen = await upstream.accept()
        await seen.message()
        leave(client)
        await seen.gone()
        await proxy.settled()
        assert upstream.connections == 1


async def test_a_client_that_leaves_while_waiting_for_a_connection_leaves_the_queue() -> None:
    limits = Limits(upstream_connections=1)
    async with Upstream() as upstream, running(upstream.port, limits) as proxy:
        async with await proxy.client() as first, await proxy.client() as second, await proxy.client() as third:
            await first.send(request(b"1"))
            seen = await upstream.accept()
            await seen.message()
            await second.send(request(b"2"))
            await becomes(lambda: proxy.proxy.in_flight == 2)
            await third.send(request(b"3"))
            await becomes(lambda: proxy.proxy.in_flight == 3)
            second.close()
            await becomes(lambda: proxy.proxy.in_flight == 2)
            await seen.send(answer(b"1"))
            assert (await seen.message())[2] == b"3"
            await seen.send(answer(b"3"))
            assert (await third.message())[2] == b"3"
        assert upstream.connections == 1


async def test_what_a_client_has_not_read_slows_the_upstream_and_nothing_else() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port) as proxy,
        await proxy.client() as lazy,
        await proxy.client() as eager,
    ):
        await lazy.send(request())
        seen = await upstream.accept()
        await seen.message()
        await seen.send(CHUNKED_HEAD)
        flood = asyncio.ensure_future(keep_sending(seen, chunks(b"x" * 65536, end=b"")))
        await becomes(lambda: any(connection.slow for connection in proxy.proxy._clients))
        assert not flood.done()
        await eager.send(request(b"quick"))
        other = await upstream.accept()
        assert (await other.message())[2] == b"quick"
        await other.send(answer(b"answer"))
        assert (await eager.message())[2] == b"answer"
        lazy.reset()
        await seen.gone()
        flood.cancel()


async def keep_sending(peer: Peer, data: bytes) -> None:
    while True:
        await peer.send(data)


# --- every request ends once, whatever happens at whichever stage


@pytest.mark.parametrize("cut", range(0, 120, 7))
@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_a_reset_at_any_byte_leaves_nothing_behind(cut: int, side: str) -> None:
    sent = request(b"hello", b"Transfer: x")
    reply = CHUNKED_HEAD + chunks(b"one", b"two")
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(sent[:cut] if side == "client" else sent)
        if side == "client" and cut < len(sent):
            client.reset()
        else:
            seen = await upstream.accept()
            await seen.message()
            await seen.send(reply[:cut])
            if side == "client":
                client.reset()
                if cut < len(reply):
                    await seen.gone()
            else:
                seen.reset()
                await client.recv()
        await proxy.settled()
