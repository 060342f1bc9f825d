"""HTTP/1.1 on one connection: reads requests, hands each to the app, has its answer played. Assumes hostile input."""

import asyncio
from collections import deque
from typing import Any, Final, Protocol, cast

import httptools

from sidecar.chaos.api import MAX_BODY, Refusal
from sidecar.chaos.app import App
from sidecar.chaos.http import CONTINUE, Request, head
from sidecar.chaos.player import Player
from sidecar.chaos.truth import End, Truth
from sidecar.chaos.wheel import Wheel
from sidecar.wire.errors import error_json

__all__ = ["Connection", "Host"]

_MAX_HEAD: Final = 64 * 1024
_HEAD_TOO_LARGE: Final = f"The request's headers are larger than {_MAX_HEAD} bytes"
_BODY_TOO_LARGE: Final = "Request exceeds the maximum size"
_MAX_QUEUED: Final = 16
_MAX_URL: Final = 8 * 1024


class Host(Protocol):
    """What a connection needs of the server it belongs to."""

    app: App
    wheel: Wheel
    truth: Truth

    def joined(self, connection: "Connection") -> None:
        """Take a new connection in."""
        ...

    def left(self, connection: "Connection") -> None:
        """Forget a connection that is gone."""
        ...

    @property
    def refusing(self) -> bool:
        """Whether the connection should end when its answer is over."""
        ...


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._transport: asyncio.Transport
        self._parser: Any = httptools.HttpRequestParser(self)
        self._player: Player | None = None
        self._waiting: deque[Request] = deque()
        self._keep_alive = True
        self._closing = False
        self._dead = False
        """Nothing more is read: what came was not HTTP, or too much."""
        self._held = False
        self._head_size = 0
        self._unparsed = 0
        self._in_head = True
        self._started: float | None = None
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_size = 0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in."""
        self._transport = cast("asyncio.Transport", transport)
        self._host.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """End what is under way: the client has left, unless the player closed the connection itself."""
        self._closing = True
        self._waiting.clear()
        self._host.left(self)
        if self._player is not None:
            self._player.stop(End.CLIENT_LEFT)

    def data_received(self, data: bytes) -> None:
        """Read."""
        if self._dead:
            return
        if self._started is None:
            self._started = self._host.wheel.now()
        try:
            # The parser keeps a header until it is whole, so what it has not handed over yet is counted here. What
            # ends one request may hold the beginning of the next; that little is not counted.
            self._unparsed += len(data)
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # An upgrade may be offered, never has to be taken: what was asked is answered, and then it ends here.
            self._dead = True
            self.close_when_idle()
        except _TooMuchError as error:
            self._give_up(error.status, str(error))
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _TooMuchError):
                self._give_up(cause.status, str(cause))
            elif isinstance(error, httptools.HttpParserCallbackError) and cause is not None:
                # A fault of this server's own: never to be taken for the client's.
                context = {"message": "sidecar chaos could not answer a request", "exception": cause}
                asyncio.get_running_loop().call_exception_handler(context)
                self._give_up(500, "The fake API failed by itself: please report it")
            else:
                self._give_up(400, "The request is not valid HTTP/1.1")
        else:
            if self._in_head and self._unparsed > _MAX_HEAD:
                self._give_up(431, _HEAD_TOO_LARGE)

    def pause_writing(self) -> None:
        """Hold the answer: the client does not keep up."""
        self._held = True
        if self._player is not None:
            self._player.hold()

    def resume_writing(self) -> None:
        """Let the answer go on."""
        self._held = False
        if self._player is not None:
            self._player.go_on()

    # httptools

    def on_message_begin(self) -> None:
        """Start a request."""
        self._url = b""
        self._headers = {}
        self._body = []
        self._body_size = 0
        self._head_size = 0
        self._in_head = True
        if self._started is None:
            self._started = self._host.wheel.now()

    def on_url(self, url: bytes) -> None:
        """Take (part of) the target."""
        self._url += url
        if len(self._url) > _MAX_URL:
            raise _TooMuchError(414, "The request's target is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        self._head_size += len(name) + len(value)
        if self._head_size > _MAX_HEAD:
            raise _TooMuchError(431, _HEAD_TOO_LARGE)
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """Let a client that asks first send its body."""
        self._in_head = False
        length = self._headers.get("content-length", "")
        if length.isdigit() and int(length) > MAX_BODY:
            raise _TooMuchError(413, _BODY_TOO_LARGE)
        if self._headers.get("expect", "").lower() == "100-continue" and self._player is None:
            self._transport.write(CONTINUE)

    def on_body(self, data: bytes) -> None:
        """Take part of the body."""
        self._body_size += len(data)
        if self._body_size > MAX_BODY:
            raise _TooMuchError(413, _BODY_TOO_LARGE)
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Answer, or wait until the answers before it are out."""
        now = self._host.wheel.now()
        path, _, query = self._url.decode("latin-1").partition("?")
        request = Request(
            method=self._parser.get_method().decode("latin-1"),
            path=path,
            query=query,
            headers=self._headers,
            body=b"".join(self._body),
            http11=self._parser.get_http_version() != "1.0",
            keep_alive=self._parser.should_keep_alive(),
            started=now if self._started is None else self._started,
            received=now,
        )
        self._started = None
        self._body = []
        self._in_head = True
        self._unparsed = 0
        if self._player is None and not self._waiting:
            self._answer(request)
        elif len(self._waiting) < _MAX_QUEUED:
            self._waiting.append(request)
        else:
            raise _TooMuchError(400, "Too many requests were sent before their answers were read")

    # Answers

    def close_when_idle(self) -> None:
        """Close now, or after the answer under way."""
        self._keep_alive = False
        if self._player is None:
            self._transport.close()

    def stop(self) -> None:
        """End at once."""
        if self._player is not None:
            self._player.stop(End.SERVER_STOPPED)
        self._transport.abort()

    def _answer(self, request: Request) -> None:
        if self._closing or self._transport.is_closing():
            return
        if self._host.refusing:
            self._transport.close()
            return
        exchange = self._host.app.handle(request)
        self._keep_alive = self._keep_alive and exchange.keep_alive
        self._player = Player(
            steps=exchange.steps,
            attempt=exchange.attempt,
            received=request.received,
            transport=self._transport,
            wheel=self._host.wheel,
            truth=self._host.truth,
            on_end=self._ended,
        )
        if self._held:
            self._player.hold()
        self._player.play()

    def _ended(self, end: End) -> None:
        self._player = None
        if end in {End.CUT, End.RESET, End.CLIENT_LEFT, End.SERVER_STOPPED}:
            self._closing = True
            self._waiting.clear()
        elif not self._keep_alive or self._host.refusing:
            self._closing = True
            self._transport.close()
        elif self._waiting:
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        if self._waiting and self._player is None:
            self._answer(self._waiting.popleft())

    def _give_up(self, status: int, message: str) -> None:
        """Answer what cannot be read, and close."""
        self._dead = True
        self._keep_alive = False
        if self._player is not None:
            self._player.stop(End.CUT)
            self._transport.close()
            return
        refusal = Refusal(status, message)
        body = error_json(refusal.error_type, message)
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        self._transport.write(head(status, headers, close=True) + body)
        self._transport.close()


class _TooMuchError(Exception):
    """A request passes one of the limits."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
