"""One HTTP/1.1 connection: bytes to requests, responses to bytes, within limits. Knows neither routes nor pages."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, cast

import httptools

from sidecar.admin.http import PLAIN, Request, Response

MAX_REQUEST: Final = 16 * 1024
"""Bytes of an unfinished request; those we answer have no body."""
REQUEST_WITHIN: Final = 10.0
"""Seconds a request may take to arrive."""
IDLE_FOR: Final = 75.0
"""Seconds a connection may wait for its next request."""
STALLED_FOR: Final = 30.0
"""Seconds for which a client may take nothing of what it is being sent."""
_PIPELINED: Final = 8
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ALWAYS: Final = (("Server", "claude-sidecar"), ("X-Content-Type-Options", "nosniff"))


class Connection(asyncio.Protocol):
    """Reads requests and answers them one after the other."""

    def __init__(
        self,
        answer: Callable[[Request], Awaitable[Response]],
        connections: "set[Connection]",
        limit: int,
    ) -> None:
        self._answer: Final = answer
        self._connections: Final = connections
        self._limit: Final = limit
        self._parser: Final = httptools.HttpRequestParser(self)
        self._waiting: Final[deque[tuple[Request, bool]]] = deque()
        self._loop: Final = asyncio.get_running_loop()
        self.closed: Final = self._loop.create_future()
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else is called
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._streaming = False
        self._last = False
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._received = 0

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, unless there are too many."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not instances of it
        self._connections.add(self)
        if len(self._connections) > self._limit:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "There are too many connections.\n")
        else:
            self._wait(IDLE_FOR)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._last:
            return
        if not self._received:
            self._wait(REQUEST_WITHIN)
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._last = True  # we do not upgrade; what follows the request is of a protocol we do not speak
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST, "This is not an HTTP request.\n")
            return
        if self._received > MAX_REQUEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too large.\n")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Forget everything."""
        self._wait(None)
        self.resume_writing()
        self._connections.discard(self)
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """Hold a stream back: the client reads too slowly. One that reads nothing for long is left."""
        self._writable.clear()
        self._stalled = self._loop.call_later(STALLED_FOR, self._transport.abort)

    def resume_writing(self) -> None:
        """Let the stream go on."""
        self._writable.set()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    # What the server tells.

    def finish(self) -> None:
        """Close once what is under way is answered; at once when nothing is."""
        self._last = True
        if self._task is None:
            self._transport.close()
        elif self._streaming:
            self._task.cancel()  # a stream could go on for ever

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    # What the parser tells.

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]},{text}" if key in self._headers else text

    def on_message_complete(self) -> None:
        """Answer the request, after those before it."""
        keep = self._parser.should_keep_alive()
        path, _, query = self._url.decode("latin-1").partition("?")
        request = Request(
            method=self._parser.get_method().decode("ascii"), path=path, query=query, headers=self._headers
        )
        host_missing = self._parser.get_http_version() == "1.1" and "host" not in request.headers
        self._begin()
        if host_missing:
            self._refuse(HTTPStatus.BAD_REQUEST, "The request has no Host header.\n")
        elif not self._last:
            self._wait(None)
            self._waiting.append((request, keep))
            if len(self._waiting) >= _PIPELINED:
                self._transport.pause_reading()
            if self._task is None:
                self._task = self._loop.create_task(self._work())

    # Answering.

    async def _work(self) -> None:
        while self._waiting and not self._transport.is_closing():
            request, keep = self._waiting.popleft()
            self._transport.resume_reading()
            response = await self._answer(request)
            # Whoever finishes the connection meanwhile is obeyed after this answer.
            keep = keep and not self._last
            await self._write(request, response, keep=keep)
            if not keep:
                self._transport.close()
                return
        self._task = None
        if self._last:
            self._transport.close()
        else:
            self._wait(IDLE_FOR)

    async def _write(self, request: Request, response: Response, *, keep: bool) -> None:
        fields = [*_ALWAYS, ("Date", _date()), *response.headers]
        if not keep:
            fields.append(("Connection", "close"))
        body = response.body
        if isinstance(body, bytes):
            if not any(name.lower() == "content-length" for name, _ in fields):
                fields.append(("Content-Length", str(len(body))))
            head = _head(response.status, fields)
            self._transport.write(head if request.method == "HEAD" else head + body)
            await self._writable.wait()
            return
        fields.append(("Transfer-Encoding", "chunked"))
        self._transport.write(_head(response.status, fields))
        if request.method != "HEAD":
            await self._stream(body)

    async def _stream(self, body: AsyncIterator[bytes]) -> None:
        self._streaming = True
        try:
            async for chunk in body:
                if chunk:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                await self._writable.wait()
                if self._last:
                    break  # the server is going
        except asyncio.CancelledError:
            if self._transport.is_closing() or self._task is None:
                raise  # the client left
            self._task.uncancel()  # the server is going, and the stream ends in good order
        finally:
            self._streaming = False
            # A generator left in the middle would clean up only when the garbage collector comes by.
            if isinstance(body, AsyncGenerator):
                await body.aclose()
        self._transport.write(b"0\r\n\r\n")

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        self._last = True
        if self._task is not None:
            return  # an answer is under way, and closing after it says enough
        body = sentence.encode()
        fields = [*_ALWAYS, ("Content-Type", PLAIN), ("Content-Length", str(len(body))), ("Connection", "close")]
        self._transport.write(_head(status, fields) + body)
        self._transport.close()

    def _wait(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._transport.close)


def _date() -> str:
    # By hand: `email.utils` is a tenth of what this process loads, and strftime speaks the locale's language.
    at = time.gmtime()
    day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
    return f"{day}, {at.tm_mday:02d} {month} {at.tm_year} {at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} GMT"


def _head(status: int, fields: list[tuple[str, Any]]) -> bytes:
    lines = [f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
