"""Long work in slices: nothing is lost, and the loop goes on in between."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sidecar.admin import AdminServer, slices
from sidecar.admin.slices import in_slices, one_by_one
from sidecar.telemetry import Telemetry
from sidecar.telemetry.exposition import Format, Renderer
from tests.admin.conftest import Client, Serve
from tests.telemetry.records import call

Connect = Callable[[AdminServer], Awaitable[Client]]


async def _turns_while(work: "asyncio.Task[list[bytes]]") -> int:
    turns = 0
    while not work.done():
        turns += 1
        await asyncio.sleep(0)
    return turns


async def test_the_loop_turns_between_the_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    pieces = [b"a", b"", b"b"] * 50
    work = asyncio.create_task(in_slices(pieces))
    assert await _turns_while(work) >= len(pieces)
    assert work.result() == [b"ab" * 50]


async def test_short_work_is_done_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_SECONDS", 60.0)
    work = asyncio.create_task(in_slices([b"x" * 100_000, b"", b"y"]))
    assert await _turns_while(work) <= 2
    assert work.result() == [b"x" * 100_000, b"y"]


async def test_parts_are_given_out_one_by_one() -> None:
    assert [part async for part in one_by_one([b"a", b"b"])] == [b"a", b"b"]


async def test_a_page_in_pieces_is_the_page(metrics: Telemetry, serve: Serve) -> None:
    for number in range(40):
        for endpoint in ("messages", "other"):
            metrics.call(call(model=f"model-{number}", endpoint=endpoint))
    server = await serve()
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    writer.close()
    page = Renderer().render(metrics.collect(), Format.TEXT)
    assert body.startswith(page[: page.index(b"# HELP sidecar_")])


async def test_a_page_that_cannot_be_made_is_a_500(
    metrics: Telemetry, serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("sidecar.telemetry.exposition.text.label_text", broken)
    server = await serve()
    client = await connect(server)
    assert (await client.ask("/metrics")).status == 500
    assert metrics.value("sidecar_internal_errors_total", where="scrape") == 1
