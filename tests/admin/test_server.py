"""Proves that the admin server answers what it should, to whom it should, and is not brought down by anyone."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sidecar.admin import Address, AdminError, AdminServer, Readiness, Request, Response
from sidecar.admin import connection as limits
from sidecar.telemetry import Telemetry
from tests.admin.conftest import Client, Serve
from tests.outlets import samples

Connect = Callable[[AdminServer], Awaitable[Client]]


async def test_metrics_are_negotiated_as_the_telemetry_does(serve: Serve, connect: Connect, metrics: Telemetry) -> None:
    metrics.call(samples.call())
    client = await connect(await serve())
    text = await client.ask("/metrics")
    assert text.status == 200
    assert b'claude_calls_total{endpoint="messages"' in text.body
    assert b"process_cpu_seconds_total" in text.body
    open_metrics = await client.ask("/metrics", "Accept: application/openmetrics-text; version=1.0.0")
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.body.endswith(b"# EOF\n")
    packed = await client.ask("/metrics", "Accept-Encoding: gzip")
    assert packed.headers["content-encoding"] == "gzip"
    head = await client.ask("/metrics", method="HEAD")
    assert int(head.headers["content-length"]) > 1_000
    assert (await client.ask("/metrics?name=x")).status == 200


async def test_health_and_readiness(serve: Serve, connect: Connect, readiness: Readiness) -> None:
    client = await connect(await serve())
    assert (await client.ask("/healthz")).body == b"ok\n"
    assert (await client.ask("/readyz")).body == b"ready\n"
    problem: list[str | None] = ["not yet"]
    readiness.add("upstream", lambda: problem[0])
    answer = await client.ask("/readyz")
    assert (answer.status, answer.body) == (503, b"upstream: not yet\n")
    assert (await client.ask("/healthz")).status == 200
    problem[0] = None
    assert (await client.ask("/readyz")).status == 200


async def test_a_broken_readiness_check_is_not_ready(serve: Serve, connect: Connect, readiness: Readiness) -> None:
    def broken() -> str | None:
        raise OSError("secret detail")

    readiness.add("disk", broken)
    answer = await (await connect(await serve())).ask("/readyz")
    assert (answer.status, answer.body) == (503, b"disk: the check failed (OSError)\n")


async def test_other_paths_and_methods_are_refused_with_what_there_is(serve: Serve, connect: Connect) -> None:
    client = await connect(await serve())
    missing = await client.ask("/nothing")
    assert (missing.status, missing.body) == (404, b"There is nothing here. There is: /healthz, /metrics, /readyz\n")
    for method in ("POST", "DELETE", "OPTIONS"):
        refused = await client.ask("/healthz", "Content-Length: 0", method=method)
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


async def test_a_mounted_page_is_served_and_its_faults_stay_inside(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async def page(request: Request) -> Response:
        return Response.json({"query": request.query, "twice": request.headers["x-twice"]})

    async def broken(_request: Request) -> Response:
        raise RuntimeError("boom")

    client = await connect(await serve({"/api": page, "/broken": broken}))
    answer = await client.ask("/api?a=1", "X-Twice: one", "X-Twice: two")
    assert json.loads(answer.body) == {"query": "a=1", "twice": "one,two"}
    assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == ("application/json", "nosniff")
    failed = await client.ask("/broken")
    assert (failed.status, failed.body) == (500, b"This page failed; the log says where.\n")
    assert "the handler of /broken failed" in caplog.text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:9464", 200),
        ("127.0.0.1:9464", 200),
        ("[::1]:9464", 200),
        ("10.0.0.1", 200),
        ("app.localhost", 200),
        ("sidecar.internal", 200),
        ("evil.example", 421),
        ("evil.example:9464", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("", 421),
    ],
)
async def test_names_that_a_page_could_have_rebound_are_refused(
    serve: Serve, connect: Connect, host: str, status: int
) -> None:
    client = await connect(await serve(names=["sidecar.internal"]))
    assert (await client.ask("/healthz", host=host)).status == status


async def test_what_listens_for_other_machines_answers_to_any_name_unless_names_are_given(
    serve: Serve, connect: Connect
) -> None:
    everywhere = Address("0.0.0.0", 0)  # noqa: S104  # what is tested
    client = await connect(await serve(address=everywhere))
    assert (await client.ask("/healthz", host="sidecar.monitoring.svc")).status == 200
    client = await connect(await serve(address=everywhere, names=["sidecar.monitoring.svc"]))
    assert (await client.ask("/healthz", host="sidecar.monitoring.svc:9464")).status == 200
    assert (await client.ask("/healthz", host="evil.example")).status == 421


async def test_requests_sent_at_once_are_answered_in_order(serve: Serve, connect: Connect) -> None:
    async def echo(request: Request) -> Response:
        await asyncio.sleep(0)
        return Response.text(request.query)

    client = await connect(await serve({"/echo": echo}))
    requests = "".join(f"GET /echo?{n} HTTP/1.1\r\nHost: localhost\r\n\r\n" for n in range(30))
    client.writer.write(requests.encode())
    assert [(await client.answer()).body for _ in range(30)] == [str(n).encode() for n in range(30)]


async def test_a_request_may_come_byte_by_byte(serve: Serve, connect: Connect) -> None:
    client = await connect(await serve())
    for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n":
        client.writer.write(bytes([byte]))
        await client.writer.drain()
    assert (await client.answer()).status == 200


async def test_http_1_0_and_connection_close_end_the_connection(serve: Serve, connect: Connect) -> None:
    server = await serve()
    client = await connect(server)
    client.writer.write(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert (await client.answer()).headers["connection"] == "close"
    assert await client.is_closed()
    client = await connect(server)
    assert (await client.ask("/healthz", "Connection: close")).status == 200
    assert await client.is_closed()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
        (b"GET /healthz HTTP/1.1\r\nHost localhost\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000, 413),
        (b"GET /" + b"a" * 20_000, 413),
        (b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n" + b"a" * 20_000, 413),
        (b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    ],
    ids=["tls", "no colon", "no host", "endless header", "endless path", "body", "two lengths"],
)
async def test_what_is_no_decent_request_is_refused_and_hung_up_on(
    serve: Serve, connect: Connect, sent: bytes, status: int
) -> None:
    client = await connect(await serve())
    client.writer.write(sent)
    assert (await client.answer()).status == status
    assert await client.is_closed()


async def test_garbage_behind_a_request_does_not_spoil_its_answer(serve: Serve, connect: Connect) -> None:
    going = asyncio.Event()

    async def slow(_request: Request) -> Response:
        await going.wait()
        return Response.text("done")

    client = await connect(await serve({"/slow": slow}))
    client.writer.write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for _ in range(3):  # the first piece is refused, the others are no longer looked at
        client.writer.write(b"\x00\x01garbage\r\n\r\n")
        await client.writer.drain()
        await asyncio.sleep(0.01)
    going.set()
    assert (await client.answer()).body == b"done"
    assert await client.is_closed()


async def test_an_offer_to_upgrade_is_declined_by_answering(serve: Serve, connect: Connect) -> None:
    client = await connect(await serve())
    answer = await client.ask(
        "/healthz", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAA"
    )
    assert answer.status == 200
    assert await client.is_closed()


@pytest.mark.parametrize(("sent", "limit"), [(b"", "IDLE_FOR"), (b"GET /healthz HT", "REQUEST_WITHIN")])
async def test_who_says_nothing_or_half_of_it_is_hung_up_on(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, sent: bytes, limit: str
) -> None:
    monkeypatch.setattr(limits, limit, 0.01)
    client = await connect(await serve())
    client.writer.write(sent)
    assert await client.is_closed()


async def test_more_connections_than_allowed_are_turned_away(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.admin.server.MAX_CONNECTIONS", 2)
    server = await serve()
    clients = [await connect(server) for _ in range(2)]
    for client in clients:
        assert (await client.ask("/healthz")).status == 200
    third = await connect(server)
    assert (await third.answer()).status == 503
    assert await third.is_closed()
    leaving = list(server._connections)
    clients[0].writer.close()
    await asyncio.wait([connection.closed for connection in leaving], return_when=asyncio.FIRST_COMPLETED)
    assert (await (await connect(server)).ask("/healthz")).status == 200


async def chunk(client: Client) -> bytes:
    size = int(await asyncio.wait_for(client.reader.readline(), 20), 16)
    data = await client.reader.readexactly(size)
    assert await client.reader.readexactly(2) == b"\r\n"
    return data


async def test_a_stream_is_sent_as_it_comes_and_ends_cleanly(serve: Serve, connect: Connect) -> None:
    going = asyncio.Event()

    async def ticks() -> AsyncIterator[bytes]:
        yield b"one"
        yield b""  # which would end the stream if it were sent
        await going.wait()
        yield b"two"

    async def page(_request: Request) -> Response:
        return Response(body=ticks(), headers=(("Content-Type", "text/event-stream"),))

    client = await connect(await serve({"/ticks": page}))
    assert (await client.ask("/ticks")).headers["transfer-encoding"] == "chunked"
    assert await chunk(client) == b"one"
    going.set()
    assert await chunk(client) == b"two"
    assert await chunk(client) == b""
    assert (await client.ask("/healthz")).status == 200
    assert (await client.ask("/ticks", method="HEAD")).headers["transfer-encoding"] == "chunked"
    assert (await client.ask("/healthz")).status == 200


async def test_a_stream_ends_when_its_reader_leaves(serve: Serve, connect: Connect) -> None:
    ended = asyncio.Event()

    async def ticks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65_536  # until the client's buffers are full, and then it waits
        finally:
            ended.set()

    async def page(_request: Request) -> Response:
        return Response(body=ticks())

    client = await connect(await serve({"/ticks": page}))
    await client.ask("/ticks")
    client.writer.transport.abort()
    await asyncio.wait_for(ended.wait(), 20)


async def test_a_slow_reader_holds_its_stream_back_and_gets_all_of_it(serve: Serve, connect: Connect) -> None:
    async def ticks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 65_536

    async def page(_request: Request) -> Response:
        return Response(body=ticks())

    client = await connect(await serve({"/ticks": page}))
    await client.ask("/ticks")
    for _ in range(100):
        assert len(await chunk(client)) == 65_536
    assert await chunk(client) == b""


async def test_stopping_lets_answers_finish_and_ends_streams_and_idle_connections(
    serve: Serve, connect: Connect
) -> None:
    going, asked = asyncio.Event(), asyncio.Event()

    async def slow(_request: Request) -> Response:
        asked.set()
        await going.wait()
        return Response.text("done")

    async def ticks() -> AsyncIterator[bytes]:
        yield b"one"
        await going.wait()
        while True:
            yield b"more"

    async def page(_request: Request) -> Response:
        return Response(body=ticks())

    server = await serve({"/slow": slow, "/ticks": page})
    idle, busy, streaming = [await connect(server) for _ in range(3)]
    assert (await idle.ask("/healthz")).status == 200
    await streaming.ask("/ticks")
    assert await chunk(streaming) == b"one"
    asking = asyncio.create_task(busy.ask("/slow"))
    await asked.wait()
    stopping = asyncio.create_task(server.stop(20))
    assert await idle.is_closed()
    with pytest.raises(ConnectionRefusedError):
        await connect(server)
    going.set()
    answer = await asking
    assert (answer.body, answer.headers["connection"]) == (b"done", "close")
    await stopping
    assert (await streaming.reader.read()).endswith(b"0\r\n\r\n")


async def test_stopping_does_not_wait_for_ever(serve: Serve, connect: Connect) -> None:
    asked = asyncio.Event()

    async def hang(_request: Request) -> Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("never reached")

    server = await serve({"/hang": hang})
    client = await connect(server)
    client.writer.write(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await asked.wait()
    await server.stop(0.01)
    assert not server._connections
    await server.stop()  # again changes nothing


async def test_an_address_that_is_taken_is_told(serve: Serve) -> None:
    server = await serve()
    with pytest.raises(AdminError, match=r"cannot listen on 127.0.0.1:\d+: another program listens there"):
        await AdminServer(server.address, {}).start()


async def test_an_address_this_machine_does_not_have_is_told() -> None:
    with pytest.raises(AdminError, match="this machine does not have that address"):
        await AdminServer(Address("203.0.113.7", 9464), {}).start()


def test_before_it_listens_its_address_is_what_was_asked_for() -> None:
    address = Address("127.0.0.1", 9464)
    assert AdminServer(address, {}).address == address
