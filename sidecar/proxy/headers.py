"""Heads of messages: checked by llhttp, then rewritten by cutting out the few headers that are not passed on.

What is passed on keeps its spelling, order and bytes. A head is handled as one piece: with llhttp having made sure that
every line ends with CRLF and has no space before its colon, a header is where CRLF, its name and a colon are.
"""

import re
from functools import lru_cache
from typing import Any, Final

import httptools

from sidecar.proxy.errors import Fault
from sidecar.proxy.framing import (
    CHUNKED,
    HOP_BY_HOP,
    LENGTH,
    LENGTH_DIGITS,
    METHODS,
    UNTIL_CLOSE,
    bad,
    broken,
    origin_form,
    request_body,
    response_body,
)

Specials = list[tuple[bytes, bytes]]

OURS: Final = (b"x-sidecar-profile", b"x-sidecar-upstream", b"x-sidecar-deadline-ms")
"""Headers a client sends to us: looked at, and not passed on."""
DEFAULT: Final = "default"
"""The name of the upstream that gets what no other does."""
WATCHED_OF_REQUESTS: Final = (
    b"x-stainless-retry-count",
    b"x-stainless-timeout",
    b"x-stainless-read-timeout",
    b"x-stainless-lang",
    b"user-agent",
    b"traceparent",
    b"content-encoding",
)
WATCHED_OF_RESPONSES: Final = (
    b"content-type",
    b"content-encoding",
    b"request-id",
    b"retry-after",
    b"retry-after-ms",
    b"x-should-retry",
)
_RATE_LIMIT: Final = re.compile(rb"(?im)^(anthropic-ratelimit-[a-z-]{1,40}):[ \t]*([^\r]{1,64})")
_CUT_FROM_REQUESTS: Final = (
    *HOP_BY_HOP,
    b"host",
    b"proxy-authorization",
    b"content_length",
    b"transfer_encoding",
    *OURS,
)


def _any_of(*names: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\r\n(" + b"|".join(names) + rb"):[ \t]*([^\r]*)")


_OF_REQUESTS: Final = _any_of(*_CUT_FROM_REQUESTS, *WATCHED_OF_REQUESTS)
_OF_RESPONSES: Final = _any_of(*HOP_BY_HOP, *WATCHED_OF_RESPONSES)
_PASSED_ON: Final = frozenset({*WATCHED_OF_REQUESTS, *WATCHED_OF_RESPONSES})
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length:[ \t]*([0-9]+)")
PLAIN_CONNECTION: Final = frozenset({b"keep-alive", b"close"})
_VERSIONS: Final = {b"HTTP/1.1": True, b"HTTP/1.0": False}
_BLANKS: Final = b" \t"
_SHORTEST: Final = len(b"a:\r\n")


class RequestHead:
    """A request's head, understood. It is never changed: a client's next request may share it."""

    __slots__ = (
        "around",
        "body",
        "fields",
        "http11",
        "keep_alive",
        "length",
        "method",
        "notes",
        "raw",
        "target",
        "upstream",
        "watched",
    )

    def __init__(self, raw: bytes) -> None:
        try:
            httptools.HttpRequestParser(_SILENT).feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # a server may ignore what it is asked to become; CONNECT is refused below
        except httptools.HttpParserError:
            raise bad("the request's head is not well-formed HTTP/1.1") from None
        start = raw.index(b"\r\n")
        try:
            self.method, target, version = raw[:start].split(b" ")
            self.http11 = _VERSIONS[version]
        except ValueError:
            raise bad("the request's first line does not have three parts") from None
        except KeyError:
            raise Fault("version_not_supported", "only HTTP/1.1 and HTTP/1.0 are spoken here") from None
        if self.method not in METHODS:
            raise Fault("not_supported", "this method is not passed on")
        self.target = origin_form(self.method, target)
        self.watched: dict[bytes, bytes] = {}
        """The headers that are looked at (the first of each name), by lower-case name."""
        specials, self.fields, connection = _cut(raw, start, _OF_REQUESTS, self.watched)
        self.body, self.length = request_body(specials, http11=self.http11)
        self.keep_alive = _keeps_alive(connection, http11=self.http11)
        self.notes: Any = None
        """What those who look at requests made of this head, for the next that shares it."""
        self.upstream = DEFAULT
        """The name of the upstream it goes to."""
        self.raw = raw
        self.around: tuple[bytes, bytes] | None = None

    def again(self, raw: bytes) -> "RequestHead | None":
        """Understand the head of the same client's next request, if it differs from this one at most in its length.

        That is what most do, and llhttp need not look at the same bytes again.
        """
        if raw == self.raw:
            return self
        around = self.around
        if around is None:
            around = self.around = self._around_length()
        before, after = around
        digits = raw[len(before) : len(raw) - len(after)]
        if not (digits.isdigit() and len(digits) <= LENGTH_DIGITS and raw.startswith(before) and raw.endswith(after)):
            return None
        other = self._copy()
        other.raw, other.length = raw, int(digits)
        return other

    def towards(self, upstream: str, target: bytes) -> "RequestHead":
        """Give the head as it goes to another than the default upstream."""
        other = self._copy()
        other.upstream, other.target = upstream, target
        return other

    def _copy(self) -> "RequestHead":
        other = RequestHead.__new__(RequestHead)
        other.method, other.target, other.http11 = self.method, self.target, self.http11
        other.fields, other.keep_alive = self.fields, self.keep_alive
        other.body, other.length, other.watched = self.body, self.length, self.watched
        other.upstream, other.notes = self.upstream, self.notes
        other.raw, other.around = self.raw, self.around
        return other

    def _around_length(self) -> tuple[bytes, bytes]:
        """Split the head around its length; where it has none, so that nothing fits."""
        found = _LENGTH.search(self.raw) if self.body is LENGTH else None
        return (self.raw, self.raw) if found is None else (self.raw[: found.start(1)], self.raw[found.end(1) :])

    def wire(self, host: bytes, prefix: bytes) -> bytes:
        """Write the head for the upstream; without ``host``, with the client's own."""
        host = host or self.watched.get(b"host", b"")
        if self.body is LENGTH:
            framing = b"content-length: %d\r\n\r\n" % self.length
        else:
            framing = b"transfer-encoding: chunked\r\n\r\n" if self.body is CHUNKED else b"\r\n"
        return b"".join(
            (self.method, b" ", prefix, self.target, b" HTTP/1.1\r\nhost: ", host, b"\r\n", self.fields, framing)
        )


class ResponseHead:
    """An answer's head, understood."""

    __slots__ = ("body", "fields", "keep_alive", "length", "start_line", "status", "watched")

    def __init__(self, raw: bytes, *, to_head: bool) -> None:
        check_response(raw)
        start = raw.index(b"\r\n")
        http11, self.status, self.start_line = _start_line(raw[:start])
        self.watched: dict[bytes, bytes] = {}
        """The headers that are looked at (the first of each name), by lower-case name."""
        specials, self.fields, connection = _cut(raw, start, _OF_RESPONSES, self.watched)
        self.body, self.length = response_body(self.status, specials, to_head=to_head)
        self.keep_alive = self.body is not UNTIL_CLOSE and _keeps_alive(connection, http11=http11)

    def wire(self, framing: bytes, connection: bytes) -> bytes:
        """Write the head for the client, with the given framing and connection headers."""
        return b"".join((self.start_line, self.fields, framing, connection, b"\r\n"))

    def rate_limits(self) -> dict[bytes, bytes]:
        """Find the rate-limit headers, by lower-case name."""
        return {name.lower(): value for name, value in reversed(_RATE_LIMIT.findall(self.fields))}


def check_response(raw: bytes) -> None:
    """Refuse an answer's head that is not well-formed."""
    try:
        httptools.HttpResponseParser(_SILENT).feed_data(raw)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        raise broken("its head is not well-formed HTTP/1.1") from None


def more_than(limit: int, fields: bytes) -> bool:
    """Tell whether there are more headers than that."""
    # Counting takes longer than seeing that so many would not fit.
    return len(fields) > limit * _SHORTEST and fields.count(b"\r\n") > limit


class _Silent:
    """Listens to nothing: llhttp then only checks."""


_SILENT: Final = _Silent()


@lru_cache(maxsize=64)  # there are few
def _start_line(line: bytes) -> tuple[bool, int, bytes]:
    """Take apart an answer's first line, which llhttp has checked: whether HTTP/1.1, the status, how to pass it on."""
    version, _, rest = line.partition(b" ")
    if version not in _VERSIONS:
        raise broken("it is not HTTP/1.1")
    return _VERSIONS[version], int(rest[:3]), b"HTTP/1.1 %b %b\r\n" % (rest[:3], rest[4:])


def _cut(
    raw: bytes, start: int, pattern: re.Pattern[bytes], watched: dict[bytes, bytes]
) -> tuple[Specials, bytes, bytes]:
    """Cut out what the pattern finds after the first line, which ends at ``start``.

    Returns what was cut out, in lower case, the lines of all other headers, and what ``connection`` said. What is only
    watched goes to ``watched`` (the first of each name).
    """
    specials: Specials = []
    connection = b""
    kept = []
    position = start + 2
    for found in pattern.finditer(raw.lower(), start):
        name, value = found.groups()
        if name in _PASSED_ON:
            watched.setdefault(name, raw[found.start(2) : found.end(2)].rstrip(_BLANKS))
            continue
        begin, end = found.span()
        kept.append(raw[position : begin + 2])
        position = end + 2
        if name == b"connection":
            connection = connection + b"," + value if connection else value
        elif name in OURS:
            watched.setdefault(name, value.rstrip(_BLANKS))
        else:
            specials.append((name, value.rstrip(_BLANKS)))
            if name == b"host":  # as it was written: a signature may cover it
                watched.setdefault(name, raw[found.start(2) : found.end(2)].rstrip(_BLANKS))
    kept.append(raw[position:-2])
    fields = b"".join(kept)
    if connection and connection not in PLAIN_CONNECTION:
        named = {token.strip(_BLANKS) for token in connection.split(b",")}
        fields = b"".join(
            line for line in fields.splitlines(keepends=True) if line[: line.index(b":")].lower() not in named
        )
    return specials, fields, connection


def _keeps_alive(connection: bytes, *, http11: bool) -> bool:
    if not connection:
        return http11
    if connection == b"keep-alive":
        return True
    tokens = {token.strip(_BLANKS) for token in connection.split(b",")}
    return b"close" not in tokens and (http11 or b"keep-alive" in tokens)
