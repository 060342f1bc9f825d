"""Heads of messages: checked by llhttp, then rewritten by cutting out the few headers that are not passed on.

What is passed on keeps its spelling, order and bytes. A head is handled as one piece: with llhttp having made sure that
every line ends with CRLF and has no space before its colon, a header is where CRLF, its name and a colon are.
"""

import re
from typing import Final

import httptools

from sidecar.proxy.errors import Fault
from sidecar.proxy.framing import HOP_BY_HOP, METHODS, Body, bad, broken, origin_form, request_body, response_body

Specials = list[tuple[bytes, bytes]]

OURS: Final = (b"x-sidecar-profile", b"x-sidecar-upstream", b"x-sidecar-deadline-ms")
"""Headers a client sends to us: looked at, and not passed on."""
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
_PLAIN_CONNECTION: Final = frozenset({b"keep-alive", b"close"})
_VERSIONS: Final = {b"HTTP/1.1": True, b"HTTP/1.0": False}
_BLANKS: Final = b" \t"


class RequestHead:
    """A request's head, understood."""

    __slots__ = ("body", "fields", "http11", "keep_alive", "length", "method", "target", "upstream", "watched")

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
        specials, self.fields, connection = _cut(raw, start, _OF_REQUESTS, self.watched)
        self.body, self.length = request_body(specials, http11=self.http11)
        self.keep_alive = _keeps_alive(connection, http11=self.http11)
        self.upstream = ""
        """The name of the upstream it goes to, once that is chosen."""

    def wire(self, host: bytes, prefix: bytes) -> bytes:
        """Write the head for the upstream; without ``host``, with the client's own."""
        host = host or self.watched.get(b"host", b"")
        if self.body is Body.LENGTH:
            framing = b"content-length: %d\r\n\r\n" % self.length
        else:
            framing = b"transfer-encoding: chunked\r\n\r\n" if self.body is Body.CHUNKED else b"\r\n"
        return b"%b %b%b HTTP/1.1\r\nhost: %b\r\n%b%b" % (self.method, prefix, self.target, host, self.fields, framing)


class ResponseHead:
    """An answer's head, understood."""

    __slots__ = ("body", "fields", "keep_alive", "length", "reason", "status", "watched")

    def __init__(self, raw: bytes, *, to_head: bool) -> None:
        try:
            httptools.HttpResponseParser(_SILENT).feed_data(raw)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            raise broken("its head is not well-formed HTTP/1.1") from None
        start = raw.index(b"\r\n")
        version, _, rest = raw[:start].partition(b" ")
        if version not in _VERSIONS:
            raise broken("it is not HTTP/1.1")
        self.status = int(rest[:3])
        self.reason = rest[4:]
        self.watched: dict[bytes, bytes] = {}
        specials, self.fields, connection = _cut(raw, start, _OF_RESPONSES, self.watched)
        self.body, self.length = response_body(self.status, specials, to_head=to_head)
        self.keep_alive = self.body is not Body.UNTIL_CLOSE and _keeps_alive(connection, http11=_VERSIONS[version])

    def wire(self, framing: bytes, connection: bytes) -> bytes:
        """Write the head for the client, with the given framing and connection headers."""
        return b"HTTP/1.1 %d %b\r\n%b%b%b\r\n" % (self.status, self.reason, self.fields, framing, connection)

    def rate_limits(self) -> dict[bytes, bytes]:
        """Find the rate-limit headers, by lower-case name."""
        return {name.lower(): value for name, value in reversed(_RATE_LIMIT.findall(self.fields))}


class _Silent:
    """Listens to nothing: llhttp then only checks."""


_SILENT: Final = _Silent()


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
    if connection and connection not in _PLAIN_CONNECTION:
        named = {token.strip(_BLANKS) for token in connection.split(b",")}
        fields = b"".join(
            line for line in fields.splitlines(keepends=True) if line[: line.index(b":")].lower() not in named
        )
    return specials, fields, connection


def _keeps_alive(connection: bytes, *, http11: bool) -> bool:
    if not connection:
        return http11
    tokens = {token.strip(_BLANKS) for token in connection.split(b",")}
    return b"close" not in tokens and (http11 or b"keep-alive" in tokens)
