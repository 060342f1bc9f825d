"""A request that asks for one message, rewritten to ask for a stream. Pure.

The body is edited, never written anew: one value is replaced or one member put in front, and every other byte stays.
Either edit keeps JSON what it was, well-formed or not, so nothing has to be parsed to be sure of that.
"""

import json
import re
from copy import copy
from typing import Final

from sidecar.proxy.framing import Body
from sidecar.proxy.headers import RequestHead

_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]]', re.DOTALL)
"""A string, or a bracket outside of strings. One that never ends is one too, so that looking for it costs n, not n²."""
_BEGIN: Final = re.compile(rb'[ \t\r\n]*\{(?=[ \t\r\n]*(["}]))')
_VALUE: Final = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*(?:(false)(?=[ \t\r\n,}]))?")
_KEY: Final = "stream"
_SPELLINGS: Final = (b'"stream"', b"\\u006", b"\\u007")
"""One of these stands in every body that has the key: its letters may be escaped."""
_SEARCHED: Final = 1024 * 1024
"""A body up to this size is searched for the key; that takes some 10 ms, in which nothing else happens."""
_QUOTE: Final = ord('"')
_OPENING: Final = frozenset(b"{[")


def streaming(body: bytes) -> bytes | None:
    """Have a body ask for a stream.

    None when it does already, when it says anything else than ``false``, or says it twice, or is no object; or when it
    is too large to find out.
    """
    begin = _BEGIN.match(body)
    if begin is None:
        return None
    if any(spelling in body for spelling in _SPELLINGS):
        if len(body) > _SEARCHED:
            return None
        asked = _asked(body)
        if asked is None:
            return None
        if asked:
            return b"%btrue%b" % (body[: asked.start], body[asked.stop :])
    comma = b"" if begin[1] == b"}" else b","
    return b'%b"stream":true%b%b' % (body[: begin.end()], comma, body[begin.end() :])


def _asked(body: bytes) -> range | None:
    """Find where a body says ``false`` of the stream; an empty range if it says nothing, None if anything else."""
    found = range(0)
    depth = 0
    for token in _TOKEN.finditer(body):
        first = body[token.start()]
        if first != _QUOTE:
            depth += 1 if first in _OPENING else -1
        elif depth == 1 and (value := _VALUE.match(body, token.end())) is not None and _is_key(token[0]):
            if found or value[1] is None:
                return None
            found = range(*value.span(1))
    return found


def _is_key(string: bytes) -> bool:
    """Tell whether a string says ``stream``, however it is spelled."""
    if b"\\" not in string:
        return string == b'"stream"'
    try:
        return bool(json.loads(string) == _KEY)
    except ValueError:
        return False


def without(fields: bytes, *names: bytes) -> bytes:
    """Leave headers out of a head's lines."""
    return b"".join(
        line for line in fields.splitlines(keepends=True) if line[: line.index(b":")].strip().lower() not in names
    )


def sized(head: RequestHead, body: bytes) -> RequestHead:
    """Fit a head to a body that is whole: its length is known, and nobody waits to be asked for it."""
    fitted = copy(head)
    fitted.body, fitted.length = Body.LENGTH, len(body)
    fitted.fields = without(head.fields, b"expect")
    return fitted


def asking_for_stream(head: RequestHead) -> RequestHead:
    """Have a head ask for a stream that can be read as it comes."""
    asking = copy(head)
    fields = without(head.fields, b"accept", b"accept-encoding")
    asking.fields = fields + b"accept: text/event-stream\r\naccept-encoding: identity\r\n"
    return asking
