"""Raw peers for both sides of the proxy: what is sent and received is bytes, and every step is taken on purpose."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from sidecar.proxy.limits import Limits
from sidecar.proxy.origin import Origin
from sidecar.proxy.server import Proxy, Settings
from sidecar.telemetry import Telemetry

PATIENCE = 10.0
"""Seconds after which a test that waits is stuck: never waited for by a test that passes."""


class Peer:
    """One end of a connection, as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes, *, step: int = 0) -> None:
        """Send, in pieces of ``step`` bytes that arrive one by one where it is given."""
        for at in range(0, len(data), step or len(data) or 1):
            self._writer.write(data[at : at + (step or len(data))])
            if step:
                await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            await self._writer.drain()

    async def recv(self, size: int = 65536) -> bytes:
        """Receive something; nothing when the other side has ended."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read(size)

    async def until(self, end: bytes) -> bytes:
        """Receive up to and including these bytes."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.readuntil(end)

    async def exactly(self, size: int) -> bytes:
        """Receive this many bytes."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.readexactly(size)

    async def rest(self) -> bytes:
        """Receive everything up to the end; raises ConnectionResetError where the end is a reset."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read()

    async def head(self) -> tuple[bytes, dict[bytes, bytes]]:
        """Receive a message's head: its first line, and its headers by lower-case name."""
        lines = (await self.until(b"\r\n\r\n"))[:-4].split(b"\r\n")
        return lines[0], {
            name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])
        }

    async def body(self, headers: dict[bytes, bytes]) -> bytes:
        """Receive the body these headers announce, without its chunks."""
        if b"content-length" in headers:
            return await self.exactly(int(headers[b"content-length"]))
        if headers.get(b"transfer-encoding") != b"chunked":
            return b""
        body = b""
        while size := int(await self.until(b"\r\n"), 16):
            body += await self.exactly(size)
            assert await self.exactly(2) == b"\r\n"
        await self.until(b"\r\n")
        return body

    async def message(self) -> tuple[bytes, dict[bytes, bytes], bytes]:
        """Receive a whole message that tells its length."""
        start, headers = await self.head()
        return start, headers, await self.body(headers)

    def eof(self) -> None:
        """End the sending side."""
        self._writer.write_eof()

    def close(self) -> None:
        """Close, in good order."""
        self._writer.close()

    def reset(self) -> None:
        """Close with a reset."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the other side has closed, in whichever way."""
        async with asyncio.timeout(PATIENCE):
            try:
                while await self._reader.read(65536):
                    pass
            except ConnectionError:
                pass

    async def __aenter__(self) -> Self:
        return self

    async def ended(self) -> None:
        """Close, and wait until that is done."""
        self._writer.transport.abort()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self.ended()


Script = Callable[[Peer], Awaitable[None]]


class Upstream:
    """An upstream whose every connection is handled by a script, or by hand through ``accept``."""

    def __init__(self, script: Script | None = None) -> None:
        self._script = script
        self._accepted: asyncio.Queue[Peer] = asyncio.Queue()
        self._peers: list[Peer] = []
        self.connections = 0
        self.port = 0

    async def accept(self) -> Peer:
        """Take the next connection."""
        async with asyncio.timeout(PATIENCE):
            return await self._accepted.get()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        peer = Peer(reader, writer)
        self._peers.append(peer)
        if self._script is None:
            self._accepted.put_nowait(peer)
            return
        try:
            await self._script(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the proxy has closed
        finally:
            writer.close()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._server.close()
        for peer in self._peers:
            await peer.ended()
        await self._server.wait_closed()


class Running:
    """A proxy that is listening."""

    def __init__(self, proxy: Proxy, port: int) -> None:
        self.proxy = proxy
        self.port = port

    async def client(self) -> Peer:
        """Connect a client."""
        return Peer(*await asyncio.open_connection("127.0.0.1", self.port))

    async def settled(self) -> None:
        """Wait until no request is under way, and of all that ended the records are made."""
        await becomes(lambda: self.proxy.in_flight == 0)
        self.proxy.settle()


@asynccontextmanager
async def running(
    upstream: Origin | int, limits: Limits | None = None, telemetry: Telemetry | None = None, **settings: object
) -> AsyncIterator[Running]:
    """Run a proxy in front of an upstream, or of the one at this port of this machine."""
    origin = upstream if isinstance(upstream, Origin) else Origin("http", "127.0.0.1", upstream)
    made = replace(Settings(upstream=origin, limits=limits or Limits()), **settings)  # type: ignore[arg-type]  # passed on
    proxy = Proxy(made, telemetry)
    sock = socket.create_server(("127.0.0.1", 0))
    await proxy.listen(sock)
    try:
        yield Running(proxy, sock.getsockname()[1])
    finally:
        await proxy.close()
        assert proxy.in_flight == 0
        assert proxy.connections == 0


async def becomes(condition: Callable[[], bool]) -> None:
    """Wait until something is so, for things that tell nobody."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.001)


def request(body: bytes = b"", *headers: bytes, method: bytes = b"POST", target: bytes = b"/v1/messages") -> bytes:
    """Write a request whose length is told."""
    extra = b"".join(header + b"\r\n" for header in headers)
    return b"%b %b HTTP/1.1\r\nHost: api.test\r\n%bContent-Length: %d\r\n\r\n%b" % (
        method,
        target,
        extra,
        len(body),
        body,
    )


def chunks(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Write a chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


def answer(body: bytes = b"", *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Write an answer whose length is told."""
    extra = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, extra, len(body), body)


def echo(reply: bytes) -> Script:
    """Script an upstream that answers each request with these bytes."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.message()
            await peer.send(reply)

    return script
