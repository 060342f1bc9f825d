"""What the proxy puts up with, and what it says when it no longer does."""

import asyncio
import socket
from contextlib import suppress
from dataclasses import fields

import pytest

from sidecar.proxy.errors import CODES, REASONS, Fault
from sidecar.proxy.limits import Limits
from tests.proxy.kit import Peer, Upstream, answer, becomes, chunks, echo, request, running

SOON = 0.1
"""Seconds, where nothing has to happen before they are over."""
LATER = 1.5
"""Seconds, where something has: enough for a machine that is busy elsewhere."""

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


async def refused(client: Peer) -> tuple[bytes, bytes]:
    """Receive a fault that ends the connection: status and code."""
    start, headers, _ = await client.message()
    assert headers[b"connection"] == b"close"
    client.eof()
    assert await client.rest() == b""
    return start.split(b" ")[1], headers[b"x-sidecar-error"]


@pytest.mark.parametrize("step", [0, 100])
async def test_headers_that_are_too_large_are_431(step: int) -> None:
    async with Upstream() as upstream, running(upstream.port, Limits(head_bytes=1000)) as proxy:
        async with await proxy.client() as client:
            await client.send(request(b"", b"A: " + b"b" * 1000), step=step)
            assert await refused(client) == (b"431", b"head_too_large")
        assert upstream.connections == 0


async def test_headers_without_end_are_431() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port, Limits(head_bytes=1000)) as proxy,
        await proxy.client() as client,
    ):
        await client.send(b"GET / HTTP/1.1\r\nA: " + b"b" * 1000)
        assert await refused(client) == (b"431", b"head_too_large")


async def test_too_many_headers_are_431() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port, Limits(headers=10)) as proxy,
        await proxy.client() as client,
    ):
        await client.send(request(b"", *([b"A: b"] * 11)))
        assert await refused(client) == (b"431", b"head_too_large")


@pytest.mark.parametrize("sent", [b"P", b"POST / HTTP/1.1\r\nHost: a\r\nA"])
async def test_headers_that_take_too_long_are_408(sent: bytes) -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port, Limits(head_seconds=SOON)) as proxy,
        await proxy.client() as client,
    ):
        await client.send(sent)
        assert await refused(client) == (b"408", b"request_timeout")


async def test_a_client_that_trickles_headers_gains_no_time_by_it() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port, Limits(head_seconds=SOON)) as proxy,
        await proxy.client() as client,
    ):

        async def trickle() -> None:
            for byte in b"POST / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000:
                await client.send(bytes([byte]))
                await asyncio.sleep(SOON / 20)

        trickling = asyncio.ensure_future(trickle())
        assert (await client.head())[0] == b"HTTP/1.1 408 Request Timeout"
        trickling.cancel()


async def test_a_body_announced_too_large_is_413_and_not_sent_on() -> None:
    async with Upstream() as upstream, running(upstream.port, Limits(body_bytes=10)) as proxy:
        async with await proxy.client() as client:
            await client.send(request(b"x" * 11))
            assert await refused(client) == (b"413", b"body_too_large")
        assert upstream.connections == 0


async def test_a_body_that_becomes_too_large_is_413_and_cancelled_upstream() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port, Limits(body_bytes=10)) as proxy,
        await proxy.client() as client,
    ):
        await client.send(CHUNKED + chunks(b"x" * 8, end=b""))
        seen = await upstream.accept()
        await seen.until(b"x\r\n")
        await client.send(chunks(b"x" * 8))
        assert await refused(client) == (b"413", b"body_too_large")
        await seen.gone()


@pytest.mark.parametrize("bad", [b"zz\r\n", b"3\r\nfour\r\n"])
async def test_a_body_that_goes_wrong_is_400_and_cancelled_upstream(bad: bytes) -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(CHUNKED + chunks(b"ok", end=b""))
        seen = await upstream.accept()
        await seen.until(b"ok\r\n")
        await client.send(bad)
        assert await refused(client) == (b"400", b"bad_request")
        await seen.gone()


async def test_a_body_that_goes_wrong_during_its_answer_breaks_the_answer_off() -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(CHUNKED + chunks(b"ok", end=b""))
        seen = await upstream.accept()
        await seen.until(b"ok\r\n")
        await seen.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"early", end=b""))
        await client.until(b"early\r\n")
        await client.send(b"zz\r\n")
        assert await client.rest() == b""
        await seen.gone()


async def test_a_client_that_falls_silent_in_its_body_is_408() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port, Limits(body_seconds=LATER)) as proxy,
        await proxy.client() as client,
    ):
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        seen = await upstream.accept()
        assert await refused(client) == (b"408", b"request_timeout")
        await seen.gone()


async def test_a_client_without_a_request_is_closed_in_silence() -> None:
    async with (
        Upstream(echo(answer(b"ok"))) as upstream,
        running(upstream.port, Limits(idle_seconds=LATER)) as proxy,
        await proxy.client() as fresh,
        await proxy.client() as used,
    ):
        await used.send(request())
        assert (await used.message())[2] == b"ok"
        assert await fresh.rest() == b""
        assert await used.rest() == b""


async def test_more_connections_than_allowed_are_503() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port, Limits(connections=1)) as proxy,
        await proxy.client(),
    ):
        await becomes(lambda: proxy.proxy.connections == 1)
        async with await proxy.client() as second:
            assert await refused(second) == (b"503", b"too_many_connections")


async def test_more_requests_than_allowed_are_503_and_say_when_to_come_again() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port, Limits(in_flight=1)) as proxy,
        await proxy.client() as first,
        await proxy.client() as second,
    ):
        await first.send(request(b"1"))
        seen = await upstream.accept()
        await seen.message()
        for _ in range(2):
            await second.send(request(b"2"))
            start, headers, _ = await second.message()
            assert start == b"HTTP/1.1 503 Service Unavailable"
            assert (headers[b"x-sidecar-error"], headers[b"retry-after"]) == (b"too_many_requests", b"1")
            assert b"connection" not in headers
        await seen.send(answer(b"1"))
        await first.message()
        await second.send(request(b"2"))
        assert (await seen.message())[2] == b"2"


async def test_more_requests_of_one_client_than_allowed_are_503() -> None:
    async with Upstream() as upstream, running(upstream.port, Limits(per_client=1)) as proxy:
        async with await proxy.client() as first, await proxy.client() as second:
            for _ in range(2):
                await first.send(request(b"1"))
                seen = await upstream.accept()
                await seen.message()
                await second.send(request(b"2"))
                assert (await second.message())[1][b"x-sidecar-error"] == b"too_many_requests"
                await seen.send(answer(b"1", b"Connection: close"))
                await first.message()
        assert not proxy.proxy._busy


async def test_more_pipelined_requests_than_allowed_end_the_connection_after_the_answers() -> None:
    async with (
        Upstream(echo(answer(b"ok"))) as upstream,
        running(upstream.port, Limits(pipelined=2)) as proxy,
        await proxy.client() as client,
    ):
        await client.send(request() * 5)
        for _ in range(3):
            assert (await client.message())[2] == b"ok"
        assert await refused(client) == (b"400", b"bad_request")


async def test_a_bad_request_behind_a_good_one_waits_for_its_turn() -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request(b"good") + CHUNKED + b"zz\r\n")
        seen = await upstream.accept()
        await seen.message()
        await seen.send(answer(b"ok"))
        assert (await client.message())[2] == b"ok"
        assert await refused(client) == (b"400", b"bad_request")


async def test_an_upstream_that_stays_silent_is_504() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port, Limits(silence_seconds=SOON)) as proxy,
        await proxy.client() as client,
    ):
        await client.send(request())
        start, headers, _ = await client.message()
        assert (start, headers[b"x-sidecar-error"]) == (b"HTTP/1.1 504 Gateway Timeout", b"upstream_silent")


async def test_an_upstream_that_falls_silent_breaks_its_answer_off() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port, Limits(silence_seconds=LATER)) as proxy,
        await proxy.client() as client,
    ):
        await client.send(request())
        seen = await upstream.accept()
        await seen.message()
        await seen.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        assert (await client.rest()).endswith(b"\r\n\r\nhalf")


async def test_connections_in_use_are_waited_for_only_so_long() -> None:
    limits = Limits(upstream_connections=1, pool_seconds=SOON)
    async with (
        Upstream() as upstream,
        running(upstream.port, limits) as proxy,
        await proxy.client() as first,
        await proxy.client() as second,
    ):
        await first.send(request())
        await upstream.accept()
        await second.send(request())
        start, headers, _ = await second.message()
        assert (start, headers[b"x-sidecar-error"]) == (b"HTTP/1.1 503 Service Unavailable", b"no_connection")


async def test_a_connection_that_breaks_makes_room_for_who_waits() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port, Limits(upstream_connections=1)) as proxy,
        await proxy.client() as first,
        await proxy.client() as second,
    ):
        await first.send(request(b"1"))
        seen = await upstream.accept()
        await second.send(request(b"2"))
        await becomes(lambda: proxy.proxy.in_flight == 2)
        seen.close()
        assert (await first.message())[0] == b"HTTP/1.1 502 Bad Gateway"
        seen = await upstream.accept()
        assert (await seen.message())[2] == b"2"


@pytest.mark.parametrize("limits", [Limits(upstream_idle_seconds=SOON), Limits(idle_connections=0)])
async def test_connections_at_rest_are_kept_only_so_long_and_only_so_many(limits: Limits) -> None:
    async with Upstream() as upstream, running(upstream.port, limits) as proxy, await proxy.client() as client:
        await client.send(request())
        seen = await upstream.accept()
        await seen.message()
        await seen.send(answer(b"ok"))
        await client.message()
        await seen.gone()
        await becomes(lambda: proxy.proxy.pool.size == 0)


async def test_a_client_that_reads_nothing_for_too_long_is_cut_off() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port, Limits(write_seconds=SOON)) as proxy,
        await proxy.client() as client,
    ):
        await client.send(request())
        seen = await upstream.accept()
        await seen.message()
        with pytest.raises(ConnectionError):
            await flood(seen)
        await becomes(lambda: proxy.proxy.connections == 0)


async def test_a_refused_client_that_never_ends_is_cut_off() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port, Limits(linger_seconds=SOON)) as proxy,
        await proxy.client() as client,
    ):
        await client.send(b"nonsense\r\n\r\n")
        assert (await client.message())[0] == b"HTTP/1.1 400 Bad Request"
        with suppress(ConnectionError):  # it may be over already
            await client.send(b"more nonsense")
        await becomes(lambda: proxy.proxy.connections == 0)


async def test_an_upstream_out_of_reach_is_504() -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = full.getsockname()[1]
    fillers = [socket.socket() for _ in range(8)]
    for filler in fillers:
        filler.setblocking(False)  # noqa: FBT003  # its only form
        filler.connect_ex(("127.0.0.1", port))
    try:
        async with running(port, Limits(connect_seconds=SOON)) as proxy, await proxy.client() as client:
            await client.send(request())
            start, headers, _ = await client.message()
            assert (start, headers[b"x-sidecar-error"]) == (b"HTTP/1.1 504 Gateway Timeout", b"connect_timeout")
    finally:
        for sock in (full, *fillers):
            sock.close()


# --- draining


async def test_draining_lets_what_is_under_way_end_and_takes_nothing_new() -> None:
    async with (
        Upstream() as upstream,
        running(upstream.port) as proxy,
        await proxy.client() as idle,
        await proxy.client() as busy,
        await proxy.client() as streaming,
    ):
        await busy.send(request(b"1"))
        first = await upstream.accept()
        await first.message()
        await streaming.send(request(b"2"))
        second = await upstream.accept()
        await second.message()
        await second.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await streaming.head()
        await becomes(lambda: proxy.proxy.connections == 3)
        draining = asyncio.ensure_future(proxy.proxy.drain(10))
        assert await idle.rest() == b""
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await proxy.client()
        await first.send(answer(b"done"))
        assert (await busy.rest()).endswith(b"connection: close\r\n\r\ndone")
        await second.send(chunks(b"one"))
        assert await streaming.rest() == chunks(b"one")
        assert await draining == 0


async def test_draining_cuts_off_what_takes_too_long() -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy, await proxy.client() as client:
        await client.send(request(b"1"))
        seen = await upstream.accept()
        assert await proxy.proxy.drain(SOON) == 1
        await seen.gone()
        await client.gone()


# --- the table itself


def test_every_limit_that_makes_no_sense_is_named() -> None:
    with pytest.raises(ValueError, match=r"limits: head_bytes is -1, .*; idle_seconds is nan, "):
        Limits(head_bytes=-1, idle_seconds=float("nan"))


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_only_limits_that_can_be_switched_off_may_be_zero(name: str) -> None:
    if name in {"per_client", "replay_bytes", "idle_connections"}:
        assert getattr(Limits(**{name: 0}), name) == 0
    else:
        with pytest.raises(ValueError, match=name):
            Limits(**{name: 0})


@pytest.mark.parametrize("code", CODES)
def test_every_fault_can_be_rendered(code: str) -> None:
    fault = Fault(code, "what is wrong", retry_after=3)
    wire = fault.render(close=True)
    assert wire.startswith(b"HTTP/1.1 %d %b\r\n" % (CODES[code], REASONS[CODES[code]]))
    assert f"\r\nx-sidecar-error: {code}\r\nretry-after: 3\r\nconnection: close\r\n\r\n{{".encode() in wire
    assert fault.render(close=False, body=False).endswith(b"retry-after: 3\r\n\r\n")


async def flood(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await peer.send(b"x" * 65536)
