"""Token usage and stop reason out of a ``Message`` or one of its stream events, decoded or as bytes.

Numbers from the wire are believed only when they are whole and not negative; nothing else of a body is kept.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

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
    counts = (
        _count(value.get("input_tokens"), known.input),
        _count(value.get("output_tokens"), known.output),
        _count(value.get("cache_read_input_tokens"), known.cache_read),
        _count(value.get("cache_creation_input_tokens"), known.cache_write),
    )
    if counts == (known.input, known.output, known.cache_read, known.cache_write):
        return before
    return Usage(input=counts[0], output=counts[1], cache_read=counts[2], cache_write=counts[3])


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
        return read_message(_decoded(body))
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


def _decoded(body: bytes) -> Any:
    """Decode JSON; by the short way where it is UTF-8 without white space around it."""
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


def _count(value: object, known: int) -> int:
    return value if type(value) is int and 0 <= value < _MAX_TOKENS else known
