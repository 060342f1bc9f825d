"""One client's connection: it parses requests, makes an exchange of each, and writes their answers in order.

It knows no upstream. What a client does wrong is answered once, and then nothing it sends is parsed any more.
"""

from asyncio import BaseTransport, Protocol, Transport
from enum import Enum
from typing import TYPE_CHECKING, cast

from sidecar.proxy.chunked import ChunkedBody, MalformedChunksError
from sidecar.proxy.errors import Fault
from sidecar.proxy.framing import CHUNKED, bad
from sidecar.proxy.headers import RequestHead, more_than
from sidecar.proxy.roles import Served
from sidecar.proxy.sockets import reset_on_close

if TYPE_CHECKING:
    from sidecar.model import Profile
    from sidecar.proxy.server import Proxy


class _Stage(Enum):
    """What is being read."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    LINGER = "linger"
    """Nothing any more: what comes is thrown away, so that the client gets to read its answer."""


_IDLE, _HEAD, _BODY, _LINGER = _Stage  # found in less time than in their class


class Downstream(Protocol):
    """One client's connection."""

    __slots__ = (
        "_body_bytes",
        "_body_left",
        "_buffer",
        "_chunks",
        "_current",
        "_deaf",
        "_idle_since",
        "_last_head",
        "_proxy",
        "_queue",
        "_read_paused",
        "_reading",
        "_stage",
        "_started",
        "_timer",
        "_transport",
        "_upload_paused",
        "_write_timer",
        "client",
        "closing",
        "profile",
        "slow",
    )

    def __init__(self, proxy: "Proxy", profile: "Profile | None" = None) -> None:
        self._proxy = proxy
        self.profile = profile
        """What its requests are for, where that is settled by where it connected to."""
        self._transport: Transport | None = None
        self._stage = _IDLE
        self._buffer = b""  # a head that is not whole yet
        self._last_head: RequestHead | None = None  # the next is mostly the same
        self._body_left = 0  # of a body whose length was told
        self._chunks: ChunkedBody | None = None
        self._body_bytes = 0
        self._deaf = False  # nothing more is read
        self._reading: Served | None = None  # whose request is coming in
        self._current: Served | None = None  # whose answer is going out
        self._started = False
        self._queue: list[Served | Fault] = []  # requests sent ahead of their answers
        self._upload_paused = False
        self._read_paused = False
        self._idle_since = 0.0
        self._timer = proxy.wheel.timer(self._expired)
        self._write_timer = proxy.wheel.timer(self._abort)
        self.client = ""
        """The client's address, as far as limits per client go."""
        self.closing = False
        """No further request is taken on this connection."""
        self.slow = False
        """The client reads more slowly than is written."""

    # --- what the exchange asks for

    def write(self, data: bytes) -> None:
        """Send answer bytes."""
        if self._transport is not None:
            self._transport.write(data)

    def pause_upload(self) -> None:
        """Stop reading until ``resume_upload``."""
        self._upload_paused = True
        self._balance()

    def resume_upload(self) -> None:
        """Read on."""
        self._upload_paused = False
        self._balance()

    def exchange_over(self, exchange: Served, *, close: bool) -> None:
        """Go on after an answer: with the next request, or with closing."""
        self._current = None
        self._started = False
        self._upload_paused = False
        if close or self.closing:
            self._close(linger=not exchange.request_is_over)
            return
        if self._queue:
            self._proxy.soon(self._advance)
        elif self._stage is _IDLE:
            self._rest()
        if self._read_paused:
            self._balance()

    def break_off(self, *, reset: bool) -> None:
        """End an answer that is not whole, so that the client cannot take it for whole."""
        self._current = None
        if reset and self._transport is not None:
            reset_on_close(self._transport)
            self._abort()
        else:
            self._close(linger=False)

    def settled(self, exchange: Served) -> None:
        """Note that an exchange has ended."""
        self._proxy.settled(self, exchange)

    # --- what the server asks for

    def drain(self) -> None:
        """Take no further request; close when the one under way is answered."""
        self.closing = True
        if self._current is None and not self._queue and self._stage is _IDLE:
            self._close(linger=False)

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._abort()

    # --- what the transport calls

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin."""
        self._transport = cast("Transport", transport)  # uvloop's is not a subclass
        peer = transport.get_extra_info("peername")
        self.client = str(peer[0]) if isinstance(peer, tuple) else ""
        fault = self._proxy.opened(self)
        if fault is not None:
            self._deaf = True
            self.write(fault.render(close=True))
            self._close(linger=True)
        else:
            self._rest()

    def data_received(self, data: bytes) -> None:
        """Find out what came, and start what it asks for."""
        if self._deaf:
            return
        try:
            while data and not self._deaf:
                data = self._take_body(self._reading, data) if self._reading is not None else self._take_head(data)
        except Fault as fault:
            self._refuse(fault)
        if self._reading is not None and not self._read_paused:
            self._timer.after(self._proxy.limits.body_seconds)
        if not self._started:
            self._advance()

    def eof_received(self) -> None:
        """Take the client's end of sending as its leaving: that is how clients give up."""
        self._left()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # leaving is leaving
        """Let go of everything."""
        self._left()
        self._timer.close()
        self._write_timer.close()
        self._transport = None
        self._proxy.closed(self)

    def pause_writing(self) -> None:
        """Have the upstream slowed."""
        self.slow = True
        self._write_timer.after(self._proxy.limits.write_seconds)
        if self._current is not None:
            self._current.download_paused()

    def resume_writing(self) -> None:
        """Let the upstream go on."""
        self.slow = False
        self._write_timer.off()
        if self._current is not None:
            self._current.download_resumed()

    # --- reading

    def _take_head(self, data: bytes) -> bytes:
        """Look for the end of a head; returns what comes after it."""
        limits = self._proxy.limits
        idle = self._stage is _IDLE
        if idle:
            data = data.lstrip(b"\r\n")  # some clients send an empty line after a body
            if not data:
                return b""
            self._stage = _HEAD
        elif self._buffer:
            data, self._buffer = self._buffer + data, b""
        end = data.find(b"\r\n\r\n")
        if (end if end >= 0 else len(data)) > limits.head_bytes:
            raise Fault("head_too_large", f"the request's headers are larger than {limits.head_bytes} bytes")
        if end < 0:
            self._buffer = data
            if idle:
                self._timer.after(limits.head_seconds)
            return b""
        end += 4
        raw = data[:end]
        last = self._last_head
        head = (None if last is None else last.again(raw)) or RequestHead(raw)
        self._last_head = head
        return self._begin(self._proxy.route(head), data[end:])

    def _begin(self, head: RequestHead, data: bytes) -> bytes:
        """Make an exchange of a request, behind whose head this came; returns what comes after the request."""
        limits = self._proxy.limits
        if len(self._queue) >= limits.pipelined:
            raise bad(f"more than {limits.pipelined} requests were sent ahead of their answers")
        if more_than(limits.headers, head.fields):
            raise Fault("head_too_large", f"the request has more than {limits.headers} headers")
        if head.length > limits.body_bytes:
            raise self._body_too_large()
        exchange = self._proxy.exchange_for(self, head)
        if self._current is None:
            self._current = exchange
        else:
            self._queue.append(exchange)
        length = head.length
        if 0 <= length <= len(data):  # mostly, all of it comes in one piece
            self._stage = _IDLE
            if not head.keep_alive:
                self._deaf = True
            exchange.request_whole(data[:length])
            return data[length:]
        self._timer.off()
        self._stage = _BODY
        self._reading = exchange
        self._body_bytes = 0
        self._body_left = length
        self._chunks = ChunkedBody() if head.body is CHUNKED else None
        return data

    def _take_body(self, exchange: Served, data: bytes) -> bytes:
        """Pass on what belongs to the request's body; returns what comes after it."""
        chunks = self._chunks
        if chunks is None:
            piece, rest = (
                (data, b"") if len(data) <= self._body_left else (data[: self._body_left], data[self._body_left :])
            )
            self._body_left -= len(piece)
            exchange.request_piece(piece)
            if not self._body_left:
                self._request_over(exchange, [])
            return rest
        try:
            pieces, rest = chunks.feed_up_to_end(data)
        except MalformedChunksError:
            raise bad("the chunks of the request's body are not well-formed") from None
        for piece in pieces:
            self._body_bytes += len(piece)
            if self._body_bytes > self._proxy.limits.body_bytes:
                raise self._body_too_large()
            exchange.request_piece(piece)
        if chunks.over:
            self._request_over(exchange, chunks.trailers)
        return rest

    def _request_over(self, exchange: Served, trailers: list[bytes]) -> None:
        self._stage = _IDLE
        self._timer.off()
        self._reading = self._chunks = None
        exchange.request_over(trailers)
        if not exchange.head.keep_alive:
            self._deaf = True

    # --- inside

    def _advance(self) -> None:
        """Start the request whose turn it is."""
        while self._transport is not None and not self._started:
            if self._current is None:
                if not self._queue:
                    return
                turn = self._queue.pop(0)
                if isinstance(turn, Fault):
                    self.write(turn.render(close=True))
                    self._close(linger=True)
                    return
                self._current = turn
            exchange = self._current
            self._started = True
            if exchange.fault is not None:
                exchange.refuse(exchange.fault)
                continue
            try:
                pool = self._proxy.admit(self, exchange)
            except Fault as fault:
                exchange.refuse(fault)
                continue
            exchange.start(pool)
            return

    def _refuse(self, fault: Fault) -> None:
        """Answer what is wrong with the request that is coming in, when its turn has come, and read no more."""
        self._deaf = True
        exchange, self._reading = self._reading, None
        self._buffer = b""
        self._chunks = None
        self._stage = _IDLE
        self._timer.off()
        if exchange is None:
            self._queue.append(fault)
            if not self._started:
                self._advance()
        elif exchange is self._current and self._started:
            exchange.refuse(fault)
        elif exchange.ending is None:
            exchange.fault = fault

    def _body_too_large(self) -> Fault:
        return Fault("body_too_large", f"the request's body is larger than {self._proxy.limits.body_bytes} bytes")

    def _balance(self) -> None:
        """Read, or not: not while the upload is paused, unless it is only to be thrown away."""
        transport = self._transport
        if transport is None:
            return
        pause = self._upload_paused and self._stage is not _LINGER
        if pause is not self._read_paused:
            self._read_paused = pause
            if pause:
                self._timer.off()
                transport.pause_reading()
            else:
                transport.resume_reading()
                if self._stage is _BODY:
                    self._timer.after(self._proxy.limits.body_seconds)

    def _expired(self) -> None:
        limits = self._proxy.limits
        if self._stage is _HEAD:
            self._refuse(Fault("request_timeout", f"the request's headers took longer than {limits.head_seconds:g} s"))
        elif self._stage is _BODY:
            self._refuse(Fault("request_timeout", f"nothing of the request's body came for {limits.body_seconds:g} s"))
        elif self._stage is _LINGER:
            self._abort()
        elif self._current is not None or self._queue:
            self._timer.after(limits.idle_seconds)
        elif (due := self._idle_since + limits.idle_seconds) > self._proxy.wheel.now():
            self._timer.at(due)
        else:
            self._close(linger=False)

    def _rest(self) -> None:
        """Wait for the next request, but not for ever."""
        self._idle_since = now = self._proxy.wheel.now()
        due = now + self._proxy.limits.idle_seconds
        if due < self._timer.due:  # else it finds out by itself what is due: it is not moved with every request
            self._timer.at(due)

    def _close(self, *, linger: bool) -> None:
        """Close once everything is written; ``linger`` for clients that are still sending."""
        transport = self._transport
        self.closing = self._deaf = True
        self._drop_queue()
        if transport is None or transport.is_closing():
            return
        self._write_timer.after(self._proxy.limits.write_seconds)
        if not linger:
            transport.close()
            return
        self._stage = _LINGER
        self._timer.after(self._proxy.limits.linger_seconds)
        self._balance()
        transport.write_eof()

    def _abort(self) -> None:
        self._left()
        if self._transport is not None:
            self._transport.abort()

    def _left(self) -> None:
        self._deaf = True
        current, self._current = self._current, None
        if current is not None and current.ending is None:
            current.client_left()
        self._drop_queue()

    def _drop_queue(self) -> None:
        waiting, self._queue = self._queue, []
        for exchange in waiting:
            if not isinstance(exchange, Fault):
                exchange.client_left()
