"""A running admin server, and a client that speaks raw HTTP so that every byte is ours to choose."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from sidecar.admin import Address, AdminServer, Handler, Readiness, standard_routes
from sidecar.telemetry import Telemetry

LOOPBACK = Address("127.0.0.1", 0)
Serve = Callable[..., Awaitable[AdminServer]]


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, path: str, *headers: str, method: str = "GET", host: str = "localhost") -> "Answer":
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]
        self.writer.write("\r\n".join(lines).encode())
        return await self.answer(method)

    async def answer(self, method: str = "GET") -> "Answer":
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
        answer = Answer(head)
        if method != "HEAD":
            answer.body = await asyncio.wait_for(
                self.reader.readexactly(int(answer.headers.get("content-length", 0))), 20
            )
        return answer

    async def is_closed(self) -> bool:
        return await asyncio.wait_for(self.reader.read(), 20) == b""


class Answer:
    """A response."""

    def __init__(self, head: bytes) -> None:
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines if line}
        self.body = b""


@pytest.fixture
def path() -> Iterator[Path]:
    """Return where a socket may be made; pytest's own tmp_path may be longer than the kernel's 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="sc-") as directory:
        yield Path(directory) / "s.sock"


@pytest.fixture
def metrics() -> Telemetry:
    return Telemetry()


@pytest.fixture
def readiness() -> Readiness:
    return Readiness()


@pytest.fixture
async def serve(metrics: Telemetry, readiness: Readiness) -> AsyncIterator[Serve]:
    running: list[AdminServer] = []

    async def start(
        routes: dict[str, Handler] | None = None, address: Address = LOOPBACK, **options: object
    ) -> AdminServer:
        server = AdminServer(address, standard_routes(metrics, readiness) | (routes or {}), **options)  # type: ignore[arg-type]
        await server.start()
        running.append(server)
        return server

    yield start
    for server in running:
        await server.stop(0)


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[AdminServer], Awaitable[Client]]]:
    writers: list[asyncio.StreamWriter] = []

    async def open_to(server: AdminServer) -> Client:
        reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
        writers.append(writer)
        return Client(reader, writer)

    yield open_to
    for writer in writers:
        writer.close()
