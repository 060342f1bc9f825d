"""Token usage and stop reason out of a ``Message`` or one of its stream events, decoded or as bytes.

Numbers from the wire are believed only when they are whole and not negative; nothing else of a body is kept.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from sidecar.model.construction import cheaply_built
from sidecar.model.records import Usage

WHOLE_LIMIT: Final = 256 * 1024
"""Bodies up to this size are decoded whole; of longer ones only the tail is read."""
TAIL: Final = 4096
"""How much of a body's end is enough to find its usage: the API writes ``stop_reason`` and ``usage`` last."""

_MAX_TOKENS: Final = 1 << 53
_MAX_WORD: Final = 256
_NOTHING: Final = Usage()
# In JSON a quote inside a string is escaped, so an unescaped `"usage":` is a key and nothing else.
_USAGE_KEY: Final = re.compile(rb'(?<!\\)"usage"\s*:\s*(?=\{)')
_STOP_KEY: Final = re.compile(rb'(?<!\\)"stop_reason"\s*:\s*"([a-z_]{1,64})"')
_OBJECT: Final = json.JSONDecoder()


@cheaply_built
@dataclass(frozen=True, slots=True)
class Answer:
    """What a finished answer says of itself."""

    usage: Usage | None = None
    stop_reason: str | None = None


NO_ANSWER: Final = Answer()


def merge_usage(value: object, before: Usage | None = None) -> Usage | None:
    """Read a decoded ``usage`` object over what was known before: the API's later counts replace earlier ones."""
    if not isinstance(value, dict):
        return before
    known = before or _NOTHING
    get = value.get
    # Each is checked in place: this is done for every answer, and calls would cost more than all the rest.
    read, written = get("input_tokens"), get("output_tokens")
    if type(read) is not int or not 0 <= read < _MAX_TOKENS:
        read = known.input
    if type(written) is not int or not 0 <= written < _MAX_TOKENS:
        written = known.output
    cached, stored = get("cache_read_input_tokens"), get("cache_creation_input_tokens")
    if type(cached) is not int or not 0 <= cached < _MAX_TOKENS:
        cached = known.cache_read
    if type(stored) is not int or not 0 <= stored < _MAX_TOKENS:
        stored = known.cache_write
    if (read, written, cached, stored) == (known.input, known.output, known.cache_read, known.cache_write):
        return before
    return Usage(read, written, cached, stored)


def read_message(message: object) -> Answer:
    """Read a decoded ``Message``."""
    if not isinstance(message, dict):
        return NO_ANSWER
    return Answer(merge_usage(message.get("usage")), word(message.get("stop_reason")))


def read_body(body: bytes) -> Answer | None:
    """Read the JSON body of an answer; None when it is no JSON. A body over the limit is believed to be JSON."""
    if len(body) > WHOLE_LIMIT:
        return read_tail(body[-TAIL:])
    try:
        return read_message(decoded(body))
    except (ValueError, RecursionError):
        return None


def read_tail(tail: bytes) -> Answer:
    """Find the last usage and stop reason in the end of a body, which may begin in the middle of anything."""
    usage = None
    for found in _USAGE_KEY.finditer(tail):
        usage = merge_usage(_object_at(tail, found.end()), usage)
    stop = None
    for stop in _STOP_KEY.finditer(tail):  # noqa: B007  # the last one is wanted
        pass
    return Answer(usage, stop.group(1).decode() if stop else None)


def word(value: object) -> str | None:
    """Take a short word such as a stop reason or a model's name; anything else is not one."""
    return value if isinstance(value, str) and 0 < len(value) <= _MAX_WORD else None


def decoded(body: bytes) -> Any:
    """Decode JSON, or raise what ``json.loads`` does; by a shorter way where it is UTF-8 with no white space around."""
    try:
        value, end = _OBJECT.raw_decode(text := body.decode())
    except ValueError:
        return json.loads(body)
    return value if end == len(text) else json.loads(body)


def _object_at(data: bytes, start: int) -> Any:
    try:
        return _OBJECT.raw_decode(data[start:].decode("utf-8", "replace"))[0]
    except (ValueError, RecursionError):
        return None
