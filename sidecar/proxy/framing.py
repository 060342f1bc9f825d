"""Where a message ends, decided so strictly that nobody behind us can decide otherwise: the rules against smuggling.

llhttp, with every leniency off, already refuses most of what is dangerous. The rules below add what it lets pass, and
each head is rebuilt from what was understood: one framing header of ours, never the sender's spelling of it.

| what came | llhttp | here |
|---|---|---|
| CL and TE, two CL (equal or not), ``5, 5``, ``+5``, ``0x5``, empty, overflowing | refuses | the same |
| obs-fold, bare CR or LF, NUL, space before the colon, bad names | refuses | the same |
| chunk sizes with sign, prefix, space, overflow; missing CRLF after a chunk | refuses | the same |
| framing headers among the trailers | refuses some | 400, 502 |
| ``TE: gzip, chunked``, or TE twice (``identity`` and ``chunked``) | takes as chunked | 400: exactly one ``chunked`` |
| TE in HTTP/1.0 | takes | 400 |
| ``Transfer_Encoding``, ``Content_Length`` (some servers read ``_`` as ``-``) | passes | 400 |
| a first line without a version (HTTP/0.9), with two spaces, ended by LF | takes | 400 or 505 |
| other versions; RTSP and ICE | takes | 505 |
| CONNECT, TRACE and the methods of other protocols | takes | 501 |
| no Host or two (in HTTP/1.1), ``Host`` with odd characters | takes | 400 |
| ``GET /a#b``, odd characters in the target | takes | 400 |
| absolute target | takes | only its path is used |
| ``Content-Length: 0005`` | takes | rewritten as ``5``; 400 beyond 18 digits |
| ``Connection: content-length`` | passes | framing headers cannot be named away |
| chunk extensions of requests | takes | left out: the chunks are written anew |
| ``Connection: Upgrade`` with a body | skips the body | the upgrade is ignored, the body passes |
| an answer with TE other than ``chunked``, status below 100 or above 599, 101 | takes | 502 |
| bytes after an answer that is over | takes | never passed on; the connection is closed |
"""

import re
from collections.abc import Callable
from enum import Enum
from typing import Final

from sidecar.proxy.errors import Fault

METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})

HOP_BY_HOP: Final = (
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"transfer-encoding",
    b"upgrade",
    b"http2-settings",
    b"content-length",
)
"""Concern one connection only, or are written anew."""

LENGTH_DIGITS: Final = 18
"""No sensible length has more."""

_TARGET: Final = re.compile(rb"/[!\"$-~]*")
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://[!\"$-.0-?A-~]+(/[!\"$-~]*)?")
_HOST: Final = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")
_NO_BODY: Final = frozenset({204, 304})
_FIRST_STATUS: Final = 100
_FIRST_FINAL: Final = 200
_LAST_STATUS: Final = 599
_SWITCHING: Final = 101


class Body(Enum):
    """How the end of a message's body is told."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until_close"


# Each is asked for several times a request, and Python 3.11 takes as long to find one in its class as for a call.
NO_BODY: Final = Body.NONE
LENGTH: Final = Body.LENGTH
CHUNKED: Final = Body.CHUNKED
UNTIL_CLOSE: Final = Body.UNTIL_CLOSE


def bad(message: str) -> Fault:
    """Refuse a request for what is wrong with it."""
    return Fault("bad_request", message)


def broken(message: str) -> Fault:
    """Refuse an answer for what is wrong with it."""
    return Fault("upstream_protocol", f"the upstream's answer was not understood: {message}")


def origin_form(method: bytes, target: bytes) -> bytes:
    """Reduce a request's target to path and query."""
    if _TARGET.fullmatch(target):
        return target
    if absolute := _ABSOLUTE.fullmatch(target):
        path: bytes = absolute[1] or b"/"
        return path
    if target == b"*" and method == b"OPTIONS":
        return target
    raise bad("the request's target is not a path")


def request_body(specials: list[tuple[bytes, bytes]], *, http11: bool) -> tuple[Body, int]:
    """Find how a request's body is framed, and its length. ``specials`` are the headers that are not passed on."""
    length = -1
    chunked = False
    hosts = 0
    for name, value in specials:
        if name == b"host":
            hosts += 1
            if not _HOST.fullmatch(value):
                raise bad("the host header holds characters no host name has")
        elif name == b"content-length":
            length = _length(value, bad)
        elif name == b"transfer-encoding":
            if chunked or value.lower() != b"chunked" or not http11:
                raise bad("the only transfer-encoding understood is chunked, once, in HTTP/1.1")
            chunked = True
        elif name in _LOOKALIKES:
            raise bad("a header's name differs from a framing header's only by an underscore")
    if http11 and hosts != 1:
        raise bad(f"an HTTP/1.1 request has one host header, this one has {hosts}")
    if chunked:
        return CHUNKED, -1
    return (LENGTH, length) if length >= 0 else (NO_BODY, 0)


def response_body(status: int, specials: list[tuple[bytes, bytes]], *, to_head: bool) -> tuple[Body, int]:
    """Find how an answer's body is framed, and its length (-1 where none was told)."""
    if not _FIRST_STATUS <= status <= _LAST_STATUS or status == _SWITCHING:
        raise broken(f"status {status}")
    length = -1
    chunked = False
    for name, value in specials:
        if name == b"content-length":
            length = _length(value, broken)
        elif name == b"transfer-encoding":
            if chunked or value.lower() != b"chunked":
                raise broken("a transfer-encoding other than chunked")
            chunked = True
    if to_head or status in _NO_BODY or status < _FIRST_FINAL:
        return NO_BODY, length
    if chunked:
        return CHUNKED, -1
    return (LENGTH, length) if length >= 0 else (UNTIL_CLOSE, -1)


def _length(value: bytes, wrong: Callable[[str], Fault]) -> int:
    # llhttp has made sure that it is a number, and alone; but zeros in front of it have no end.
    if len(value) > LENGTH_DIGITS or not value.isdigit():
        raise wrong("the content-length is not a sensible number")
    return int(value)


_LOOKALIKES: Final = frozenset({b"content_length", b"transfer_encoding"})
