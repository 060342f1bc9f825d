"""The stream of an upgraded request, put together to what the API would have answered without one. It sends nothing."""

import json
from dataclasses import dataclass
from typing import Final

from sidecar.model import ERROR_STATUS, parse_api_error
from sidecar.proxy.errors import Fault
from sidecar.wire.errors import error_json
from sidecar.wire.events import Event, EventTooLong, SseEvents
from sidecar.wire.message import DELTAS, MalformedStream, MessageBuilder

_UNKNOWN_ERROR: Final = "api_error"


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer without a stream."""

    status: int
    body: bytes


class Assembly:
    """One stream. Feed it the content of its body; ask for the answer when that has ended, or ``over`` says so."""

    __slots__ = ("_answer", "_builder", "_events", "_left", "_limit", "_open")

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit
        self._events = SseEvents()
        self._builder = MessageBuilder()
        self._open = 0
        self._answer: Whole | Fault | None = None

    @property
    def over(self) -> bool:
        """Nothing that may still come changes the answer."""
        return self._answer is not None

    @property
    def is_hopeless(self) -> bool:
        """It will not become a message."""
        return self._answer is not None and not self._builder.complete

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        self._left -= len(data)
        if self._answer is not None:
            return
        if self._left < 0:
            self.refuse(f"it is longer than {self._limit} bytes")
            return
        try:
            for event in self._events.feed(data):
                self._take(event)
                if self.over:
                    return
        except (MalformedStream, EventTooLong) as error:
            self.refuse(str(error))

    def refuse(self, why: str) -> None:
        """Give up on it."""
        self._answer = Fault("stream_unreadable", f"the upstream's stream could not be put together: {why}")

    def answer(self) -> Whole | Fault:
        """Say what it came to: the message, the error the stream told of, or what was wrong with it."""
        if self._answer is None:
            return Fault("stream_broken", "the upstream's stream ended before its message was complete")
        return self._answer

    def _take(self, event: Event) -> None:
        if event.name == "error":
            self._answer = _error(event)
            return
        if event.name not in _NAMES:
            return
        data = event.decoded()
        if data is None or data.get("type") != event.name:
            raise MalformedStream("an event's data is not the JSON object its name announces")
        if event.name == "content_block_delta":
            # What cannot be put together must not go missing unnoticed.
            delta = data.get("delta")
            if not isinstance(delta, dict) or delta.get("type") not in DELTAS:
                raise MalformedStream("a delta is of a kind that is not known here")
        self._builder.add(data)
        self._open += _NAMES[event.name]
        if self._builder.complete:
            if self._open:
                raise MalformedStream("message_stop came before the end of a content block")
            self._answer = Whole(200, _spell(self._builder))


_NAMES: Final = {
    "message_start": 0,
    "content_block_start": 1,
    "content_block_delta": 0,
    "content_block_stop": -1,
    "message_delta": 0,
    "message_stop": 0,
}
"""The events of a message, and what each adds to the number of blocks that are open."""


def _spell(builder: MessageBuilder) -> bytes:
    message = builder.message()
    try:
        return json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair is JSON, but no UTF-8
        return json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise MalformedStream("it holds a number that is not JSON, or too many brackets") from None


def _error(event: Event) -> Whole:
    """Turn an ``event: error`` into the answer the API gives when the error comes first."""
    api = parse_api_error(event.data)
    if api.type is None:
        return Whole(500, error_json(_UNKNOWN_ERROR, "the upstream's stream ended with an error that cannot be read"))
    return Whole(ERROR_STATUS.get(api.type, ERROR_STATUS[_UNKNOWN_ERROR]), event.data)
