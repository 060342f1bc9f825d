"""A whole answer out of the bytes of its stream: what the API would have sent had it not been asked to stream. Pure."""

import json
from dataclasses import dataclass
from typing import Any, Final

from sidecar.model import ERROR_STATUS, parse_api_error
from sidecar.wire.events import EventTooLong, SseEvents
from sidecar.wire.message import MalformedStream, MessageBuilder

__all__ = ["Assembly", "Unreadable", "WholeAnswer"]

_OK: Final = 200
_SERVER_ERROR: Final = 500
_PING: Final = "ping"


class Unreadable(ValueError):  # noqa: N818  # it says what the stream is
    """The stream is nothing that the API sends; the message says which rule it breaks, never what it holds."""


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """An answer in one piece."""

    status: int
    body: bytes


class Assembly:
    """One answer being put together: feed it the stream, decoded, in chunks cut anywhere."""

    def __init__(self) -> None:
        self._events = SseEvents()
        self._builder = MessageBuilder()
        self._error: dict[str, Any] | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises `Unreadable` where they cannot be a part of an answer."""
        try:
            for event in self._events.feed(chunk):
                if event.name == _PING or self._error is not None:
                    continue
                data = event.decoded()
                if data is None:
                    raise Unreadable("an event of the stream is no JSON object")
                if event.name == "error":
                    self._error = data
                else:
                    self._builder.add(data)
        except (MalformedStream, EventTooLong) as error:
            raise Unreadable(str(error)) from None

    def answer(self) -> WholeAnswer | None:
        """Give the answer, now that the stream has ended; None where it ended too early.

        An error that came inside the stream is what it would have been instead of it, with the status it stands for.
        """
        if self._builder.complete:
            return WholeAnswer(_OK, _encoded(self._builder.message()))
        if self._error is not None:
            status = ERROR_STATUS.get(parse_api_error(self._error).type or "", _SERVER_ERROR)
            return WholeAnswer(status, _encoded(self._error))
        return None


def _encoded(data: dict[str, Any]) -> bytes:
    try:
        return json.dumps(data).encode()
    except RecursionError:
        raise Unreadable("the message is nested deeper than any that the API sends") from None
