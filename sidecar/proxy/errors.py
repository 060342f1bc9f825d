"""What the proxy itself has to say when it cannot pass on an answer: a fault, and how it looks on the wire.

A fault's message is made of fixed words and numbers, never of what a peer sent.
"""

from typing import Final

from sidecar.wire.errors import error_json, error_type_of

REASONS: Final = {
    400: b"Bad Request",
    408: b"Request Timeout",
    413: b"Content Too Large",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
    529: b"Overloaded",
}

CODES: Final = {
    "bad_request": 400,
    "unknown_upstream": 400,
    "request_timeout": 408,
    "body_too_large": 413,
    "head_too_large": 431,
    "not_supported": 501,
    "upstream_unreachable": 502,
    "upstream_closed": 502,
    "upstream_protocol": 502,
    "too_many_requests": 503,
    "too_many_connections": 503,
    "no_connection": 503,
    "breaker_open": 503,
    "queue_full": 503,
    "queue_timeout": 503,
    "stream_broken": 502,
    "stream_unreadable": 502,
    "connect_timeout": 504,
    "pool_timeout": 504,
    "write_timeout": 504,
    "first_byte_timeout": 504,
    "stall_timeout": 504,
    "deadline_timeout": 504,
    "deadline_spent": 504,
    "upstream_silent": 504,
    "version_not_supported": 505,
}
"""Every value of the header ``x-sidecar-error``, and the status it comes with."""


class Fault(Exception):  # noqa: N818  # it is also a value that is passed about
    """An answer of the proxy's own."""

    def __init__(self, code: str, message: str, *, retry_after: int | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = CODES[code] if status is None else status
        self.message = message
        self.retry_after = retry_after
        self.final = False
        """The client is told not to try again by itself."""

    def render(self, *, close: bool, body: bool = True) -> bytes:
        """Put the answer on the wire, in the API's own error shape; ``body=False`` is for HEAD."""
        error_type = "request_too_large" if self.status == 413 else error_type_of(self.status)  # noqa: PLR2004
        content = error_json(error_type, f"claude-sidecar: {self.message}")
        head = (
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"x-sidecar-error: %b\r\n%b%b%b\r\n"
            % (
                self.status,
                REASONS[self.status],
                len(content),
                self.code.encode(),
                b"" if self.retry_after is None else b"retry-after: %d\r\n" % self.retry_after,
                b"x-should-retry: false\r\n" if self.final else b"",
                b"connection: close\r\n" if close else b"",
            )
        )
        return head + content if body else head
