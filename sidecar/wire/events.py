"""Whole events out of the bytes of an event stream, for those who need their content; of bounded size.

Who only measures uses ``sse.SseScanner`` instead, which holds no content.
"""

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

EVENT_LIMIT: Final = 16 * 1024 * 1024
"""One event, and one line, may be this long. A stream that goes beyond is refused."""


class EventTooLong(ValueError):  # noqa: N818  # it names what is wrong
    """An event is longer than anything the API sends."""


class Event(NamedTuple):
    """One event as it was sent."""

    name: str
    data: bytes

    def decoded(self) -> dict[str, Any] | None:
        """Decode the data; None unless it is a JSON object."""
        try:
            value = json.loads(self.data)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


class SseEvents:
    """The decoding of one stream: feed it chunks cut anywhere, iterate over the events they complete."""

    __slots__ = ("_after_cr", "_data", "_limit", "_line", "_name", "_size")

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._name = b""
        self._size = 0
        self._after_cr = False

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Take the next chunk."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        for piece in chunk.splitlines(keepends=True):
            self._size += len(piece)
            if self._size > self._limit:
                raise EventTooLong(f"an event is longer than {self._limit} bytes; the API sends nothing of this size")
            if not piece.endswith((b"\n", b"\r")):
                self._line.append(piece)
                continue
            line = piece.rstrip(b"\r\n")
            if self._line:
                line = b"".join((*self._line, line))
                self._line.clear()
            if line:
                self._field(line)
                continue
            name, data = self._name, self._data
            self._name, self._data, self._size = b"", [], 0
            if name or data:
                yield Event(name.decode("utf-8", "replace"), b"\n".join(data))

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"event":
            self._name = value.removeprefix(b" ")
        elif name == b"data":
            self._data.append(value.removeprefix(b" "))
