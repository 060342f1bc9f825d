"""One connection to an upstream: it parses answers and hands them to the exchange that is using it.

It knows no client and no rule about retries; it says what came, and what became of the connection.
"""

import ssl
from asyncio import BaseTransport, Protocol, Transport
from typing import TYPE_CHECKING, cast

from sidecar.proxy.chunked import ChunkedBody, MalformedChunksError
from sidecar.proxy.errors import Fault
from sidecar.proxy.framing import CHUNKED, LENGTH, UNTIL_CLOSE, broken
from sidecar.proxy.headers import ResponseHead, more_than
from sidecar.proxy.limits import Limits
from sidecar.proxy.wheel import Wheel

if TYPE_CHECKING:
    from sidecar.proxy.pool import Pool
    from sidecar.proxy.roles import Asking

_FIRST_FINAL = 200
_NOT_FOUND = 3  # as bytes.find says it, and a head's end of four bytes on top


class Upstream(Protocol):
    """One connection, used by one exchange at a time."""

    __slots__ = (
        "_body_left",
        "_buffer",
        "_chunks",
        "_exchange",
        "_head",
        "_heard",
        "_limits",
        "_paused",
        "_pool",
        "_transport",
        "_wheel",
        "rested_at",
        "timer",
        "uses",
    )

    def __init__(self, pool: "Pool", wheel: Wheel, limits: Limits) -> None:
        self._pool = pool
        self._wheel = wheel
        self._limits = limits
        self._transport: Transport | None = None
        self._exchange: Asking | None = None
        self._paused = False
        self._heard = 0.0
        self._buffer = b""  # a head that is not whole yet
        self._head: ResponseHead | None = None
        self._chunks: ChunkedBody | None = None
        self._body_left = 0  # of a body whose length was told
        self.timer = wheel.timer(self._expired)
        """When to look, at the latest, whether it has rested or the upstream has been silent for too long."""
        self.uses = 0
        """How many exchanges it has served to their end."""
        self.rested_at = 0.0
        """When it was last put to rest."""

    # --- what the pool and the exchange ask for

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def trailers(self) -> list[bytes]:
        """The header lines behind the chunks of the answer that has ended."""
        return [] if self._chunks is None else self._chunks.trailers

    def tls_object(self) -> ssl.SSLObject | None:
        """Give the TLS object of the connection."""
        return None if self._transport is None else self._transport.get_extra_info("ssl_object")

    def begin(self, exchange: "Asking") -> None:
        """Serve this exchange from now on."""
        self._exchange = exchange
        self._head = None
        self._chunks = None
        self._heard = now = self._wheel.now()
        due = now + self._limits.silence_seconds
        if due < self.timer.due:  # else it finds out by itself what is due
            self.timer.at(due)

    def rest(self, now: float) -> None:
        """Wait for the next exchange, but not for ever."""
        self.rested_at = now
        due = now + self._limits.upstream_idle_seconds
        if due < self.timer.due:
            self.timer.at(due)

    def write(self, data: bytes) -> None:
        """Send request bytes."""
        if self._transport is not None:
            self._heard = self._wheel.now()
            self._transport.write(data)

    def pause(self) -> None:
        """Stop reading: the client is slower than the upstream."""
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            self._heard = self._wheel.now()  # the silence was ours
            if self._transport is not None:
                self._transport.resume_reading()

    def close(self) -> None:
        """Close it, when it rests or its answer is complete."""
        self.abort()

    def abort(self) -> None:
        """Close it at once, whatever is under way. The exchange hears nothing more of it."""
        self._exchange = None
        self.timer.close()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
            self._pool.lost(self)

    # --- what the transport calls

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin."""
        self._transport = cast("Transport", transport)  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        """Find out what came, and pass it on as it came."""
        exchange = self._exchange
        if exchange is None:
            self.abort()  # an upstream that speaks unasked cannot be trusted with a request
            return
        self._heard = self._wheel.now()
        if self._chunks is not None:
            self._chunked(exchange, self._chunks, data)
        elif self._head is None:
            self._begin_answer(exchange, data)
        else:
            self._take_body(exchange, self._head, data)

    def eof_received(self) -> None:
        """Take the upstream's end of sending as the end of the connection."""
        self._lost(clean=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whom it concerns."""
        self._lost(clean=exc is None)

    def pause_writing(self) -> None:
        """Have the client's sending slowed."""
        if self._exchange is not None:
            self._exchange.upload_paused()

    def resume_writing(self) -> None:
        """Let the client send on."""
        if self._exchange is not None:
            self._exchange.upload_resumed()

    # --- inside

    def _begin_answer(self, exchange: "Asking", data: bytes) -> None:
        """Pass on the answer's head, once it is whole, and what comes behind it."""
        head, data = self._take_head(exchange, data)
        if head is None:
            return
        if head.length == len(data) and head.body is LENGTH:  # mostly, all of it comes in one piece
            if exchange.answer_whole(head, data):
                self._finish(exchange, clean=True)
            return
        exchange.answer_head(head)
        if self._exchange is not exchange:
            return
        if self._chunks is not None:
            self._chunked(exchange, self._chunks, data)
        else:
            self._take_body(exchange, head, data)

    def _take_body(self, exchange: "Asking", head: ResponseHead, data: bytes) -> None:
        if head.body is UNTIL_CLOSE:
            exchange.answer(data)
            return
        over = self._body_left - len(data)
        if over > 0:
            self._body_left = over
            exchange.answer(data)
        else:
            exchange.answer(data[:over] if over else data)
            self._finish(exchange, clean=not over)

    def _take_head(self, exchange: "Asking", data: bytes) -> tuple[ResponseHead | None, bytes]:
        """Look for the answer's head, and pass on interim ones; returns also what comes after it."""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        try:
            while (end := data.find(b"\r\n\r\n") + 4) > _NOT_FOUND:
                head = self._read_head(data[:end], to_head=exchange.to_head)
                data = data[end:]
                if head.status >= _FIRST_FINAL:
                    self._head = head
                    if head.body is LENGTH:
                        self._body_left = head.length
                    else:
                        self._body_left = 0
                        if head.body is CHUNKED:
                            self._chunks = ChunkedBody()
                    if not self.uses:
                        self._pool.answered(self)
                    return head, data
                exchange.interim(head)
            self._check_size(len(data))
        except Fault as fault:
            self.abort()
            exchange.upstream_lost(fault)
        self._buffer = data
        return None, b""

    def _read_head(self, raw: bytes, *, to_head: bool) -> ResponseHead:
        self._check_size(len(raw))
        alike = self._pool.alike
        head = None if to_head else alike.find(raw)
        if head is not None:
            return head
        head = ResponseHead(raw, to_head=to_head)
        if more_than(self._limits.headers, head.fields):
            raise broken(f"it has more than {self._limits.headers} headers")
        if not to_head and head.status >= _FIRST_FINAL:
            alike.learn(raw, head)
        return head

    def _check_size(self, size: int) -> None:
        if size > self._limits.head_bytes:
            raise broken(f"its headers are larger than {self._limits.head_bytes} bytes")

    def _chunked(self, exchange: "Asking", chunks: ChunkedBody, data: bytes) -> None:
        try:
            pieces = chunks.feed(data)
        except MalformedChunksError:
            pieces = None
        if pieces is None or chunks.listener.surplus:  # where exactly a surplus begins, the parser does not say
            self.abort()
            exchange.upstream_lost(broken("its chunks are not well-formed"))
            return
        exchange.answer_chunks(data, pieces)
        if chunks.listener.ended:
            self._finish(exchange, clean=True)

    def _finish(self, exchange: "Asking", *, clean: bool) -> None:
        self._exchange = None
        if self._paused:
            self.resume()
        self.uses += 1
        head = self._head
        exchange.answer_over(self, reusable=clean and head is not None and head.keep_alive)

    def _lost(self, *, clean: bool) -> None:
        exchange, head = self._exchange, self._head
        self.abort()
        if exchange is None:
            return
        if clean and head is not None and head.body is UNTIL_CLOSE:
            exchange.answer_over(self, reusable=False)
        else:
            exchange.upstream_lost(None)

    def _expired(self) -> None:
        exchange = self._exchange
        if exchange is None:
            due = self.rested_at + self._limits.upstream_idle_seconds
            if due > self._wheel.now():
                self.timer.at(due)
            else:
                self.abort()
            return
        due = self._heard + self._limits.silence_seconds
        if self._paused or due > self._wheel.now():
            self.timer.at(max(due, self._wheel.now() + 1.0))
            return
        self.abort()
        exchange.upstream_lost(
            Fault("upstream_silent", f"the upstream sent nothing for {self._limits.silence_seconds:g} s")
        )
