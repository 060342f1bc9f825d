"""One answer on its way to the client, framed anew. It decides nothing of what the answer says."""

from typing import TYPE_CHECKING, Final

from sidecar.proxy.framing import Body
from sidecar.proxy.headers import RequestHead, ResponseHead
from sidecar.proxy.protect.upgrade import without

if TYPE_CHECKING:
    from sidecar.proxy.downstream import Downstream

_JSON: Final = b"content-type: application/json\r\n"
_OF_STREAMS: Final = (b"content-type", b"content-encoding", b"cache-control")
_REASONS: Final = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    409: b"Conflict",
    413: b"Content Too Large",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    504: b"Gateway Timeout",
    529: b"Overloaded",
}
"""Those the API answers with."""


class Reply:
    """One answer. Begin it, give it data, end it; or break it off."""

    __slots__ = ("_chunked", "_down", "_request", "begun", "until_close")

    def __init__(self, downstream: "Downstream", request: RequestHead) -> None:
        self._down = downstream
        self._request = request
        self._chunked = False
        self.begun = False
        """Its status is told."""
        self.until_close = False
        """Only the end of the connection tells its end."""

    @property
    def can_wait(self) -> bool:
        """Whether it can begin before its length is known, and still show that it broke."""
        return self._request.http11

    def begin(self, head: ResponseHead, *, close: bool, fields: bytes | None = None, length: int | None = None) -> None:
        """Send a head like this one; ``length``, where it is known, in place of what the head says of it."""
        if length is None and head.body is not Body.CHUNKED and head.length >= 0:
            length = head.length
        told = head.fields if fields is None else fields
        self._begin(head, told, length, empty=head.body is Body.NONE, close=close)

    def begin_json(self, head: ResponseHead, *, close: bool) -> None:
        """Make of a stream's head that of a JSON answer whose length nobody knows yet, and send it."""
        self._begin(head, as_json(head, head.status), None, empty=False, close=close)

    def data(self, data: bytes) -> None:
        """Send a part of its body."""
        if data:
            self._down.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self, trailers: list[bytes]) -> None:
        """Send its end; only chunks can have trailers behind them."""
        if self._chunked:
            self._down.write(b"".join((b"0\r\n", *trailers, b"\r\n")))

    def _begin(self, head: ResponseHead, fields: bytes, length: int | None, *, empty: bool, close: bool) -> None:
        self.begun = True
        http11 = self._request.http11
        framing = b""
        if length is not None:
            framing = b"content-length: %d\r\n" % length
        elif not empty:
            self._chunked = http11
            self.until_close = not http11
            framing = b"transfer-encoding: chunked\r\n" if http11 else b""
        connection = b""
        if close or self.until_close:
            connection = b"connection: close\r\n"
        elif not http11:
            connection = b"connection: keep-alive\r\n"
        self._down.write(b"".join((head.start_line, fields, framing, connection, b"\r\n")))


def as_json(head: ResponseHead, status: int) -> bytes:
    """Make of a stream's head one of a JSON answer with this status; returns its lines."""
    head.status, head.start_line = status, b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b""))
    return without(head.fields, *_OF_STREAMS) + _JSON


def final(fields: bytes) -> bytes:
    """Have an answer's head say that trying again is not the client's to do."""
    return without(fields, b"x-should-retry") + b"x-should-retry: false\r\n"
