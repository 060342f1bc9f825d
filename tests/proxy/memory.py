"""The proxy without sockets: one client's connection, its upstreams, and every byte between them in memory.

Everything happens in the order it is asked for, so that thousands of conversations can be played in a second.
"""

import asyncio
from typing import Any, Self

import httptools

from sidecar.model import AttemptRecord, CallRecord, Source
from sidecar.proxy.downstream import Downstream
from sidecar.proxy.limits import Limits
from sidecar.proxy.origin import Origin
from sidecar.proxy.server import Proxy, Settings
from sidecar.proxy.traces import CallSpans
from sidecar.proxy.upstream import Upstream
from sidecar.telemetry import Telemetry


class Pipe(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self._closing = False
        self.written = bytearray()
        self.reading = True
        self.clean: bool | None = None
        """Whether it was closed in good order; None while it is open."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._closing, "written to after closing"
        self.written += data

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write_eof(self) -> None:
        self.clean = True

    def close(self) -> None:
        self._end(clean=True)

    def abort(self) -> None:
        self._end(clean=False)

    def _end(self, *, clean: bool) -> None:
        if not self._closing:
            self._closing = True
            self.clean = clean if self.clean is None else self.clean
            self._loop.call_soon(self._protocol.connection_lost, None)


class Records:
    """Keeps the records that are made."""

    def __init__(self) -> None:
        self.attempts: list[AttemptRecord] = []
        self.calls: list[CallRecord] = []

    def attempt(self, record: AttemptRecord, /) -> None:
        self.attempts.append(record)

    def call(self, record: CallRecord, /) -> None:
        self.calls.append(record)


class Conversation:
    """One client talking through a proxy."""

    def __init__(self, limits: Limits | None = None, *, spans: CallSpans | None = None, **settings: Any) -> None:
        self.now = 1000.0
        """The time, by hand."""
        self._records = Records()
        self.telemetry = Telemetry(source=Source.PROXY, clock=lambda: self.now, wall=lambda: self.now + 1e9)
        self.telemetry.add_sink(self._records)
        self._spans = spans
        self._settings = settings
        self.loop = asyncio.new_event_loop()
        self.upstreams: list[tuple[Upstream, Pipe]] = []
        self.loop.run_until_complete(self._make(limits or Limits()))

    @property
    def records(self) -> Records:
        """The records of all that has ended so far."""
        self.proxy.settle()
        return self._records

    async def _make(self, limits: Limits) -> None:
        settings = Settings(upstream=Origin("http", "up.test", 80), limits=limits, **self._settings)
        self.proxy = Proxy(
            settings, self.telemetry, spans=self._spans, clock=lambda: self.now, wall=lambda: self.now + 1e9
        )

        async def connect(protocol: Upstream) -> None:
            pipe = Pipe(self.loop, protocol)
            self.upstreams.append((protocol, pipe))
            protocol.connection_made(pipe)

        self.proxy.pool._connector.connect = connect  # type: ignore[method-assign, assignment]  # in place of sockets
        self.client = Downstream(self.proxy)
        self.pipe = Pipe(self.loop, self.client)
        self.client.connection_made(self.pipe)

    def settle(self) -> None:
        """Let everything happen that is due."""
        for _ in range(4):
            self.loop.run_until_complete(asyncio.sleep(0))

    def say(self, data: bytes) -> None:
        """Have the client send."""
        if not self.pipe.is_closing():
            self.client.data_received(data)
            self.settle()

    def reply(self, data: bytes) -> None:
        """Have the upstream that was connected last send."""
        if self.upstreams and not self.upstreams[-1][1].is_closing():
            self.upstreams[-1][0].data_received(data)
            self.settle()

    def leave(self) -> None:
        """Have the client close."""
        if not self.pipe.is_closing():
            self.client.eof_received()
            self.pipe.close()
            self.settle()

    def break_off(self) -> None:
        """Have the connection to the upstream that was connected last break."""
        if self.upstreams and not self.upstreams[-1][1].is_closing():
            self.upstreams[-1][0].connection_lost(ConnectionResetError())
            self.settle()

    def hang_up(self) -> None:
        """Have the upstream that was connected last close."""
        if self.upstreams and not self.upstreams[-1][1].is_closing():
            self.upstreams[-1][0].eof_received()
            self.settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.run_until_complete(self.proxy.close())
        self.settle()
        self.loop.close()


class Seen:
    """What llhttp, strict, makes of the bytes one side has received."""

    def __init__(self, data: bytes, *, requests: bool) -> None:
        self.complete = 0
        self.begun = 0
        self.bodies: list[bytes] = []
        self.error: httptools.HttpParserError | None = None
        parser = httptools.HttpRequestParser(self) if requests else httptools.HttpResponseParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.error = error

    def on_message_begin(self) -> None:
        self.begun += 1
        self.bodies.append(b"")

    def on_body(self, piece: bytes) -> None:
        self.bodies[-1] += piece

    def on_message_complete(self) -> None:
        self.complete += 1
