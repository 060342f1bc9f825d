"""Finds what matters in the bytes of a Messages event stream, without decoding or holding it.

It follows lines the way the SDKs do (LF, CRLF or CR, cut anywhere) and reads the payload of three small events only:
``message_start``, ``message_delta`` and ``error``. Content is never looked at: while deltas pass by, a chunk costs two
substring counts.
"""

import json
from typing import TYPE_CHECKING, Any, Final

from sidecar.model.classify import ApiError, parse_api_error
from sidecar.wire.usage import merge_usage, word

if TYPE_CHECKING:
    from sidecar.model.records import Usage

PAYLOAD_LIMIT: Final = 64 * 1024
"""A longer payload of an event that is read is taken as unreadable."""

EVENT: Final = b"event:"
LF: Final = ord("\n")
NAME_AT: Final = len("event: ")
CONTENT: Final = ord("c")
"""What the names of the events of content begin with, and no name that matters otherwise."""

_CONTENT: Final = b"event: content_block_"
_DELTA: Final = b"event: content_block_delta"
_MESSAGE: Final = b"event: message_"
_HELD: Final = 4096  # a longer payload is read at once; those of the API have a few hundred bytes
_MANY: Final = 8  # as are so many of them: the API sends two
_LINE_LIMIT: Final = 64  # enough to tell an event's name
_ENDS: Final = frozenset(b"\r\n")
_READ: Final = frozenset({b"message_start", b"message_delta", b"error"})


class SseScanner:
    """The state of one stream. Feed it every chunk in order; look at its attributes whenever ``feed`` says so."""

    __slots__ = (
        "_after_cr",
        "_line",
        "_malformed",
        "_model",
        "_name",
        "_overlong",
        "_payload",
        "_quiet",
        "_skip",
        "_stop_reason",
        "_unread",
        "_usage",
        "complete",
        "error",
        "first_delta",
    )

    def __init__(self) -> None:
        self.first_delta = False
        """A ``content_block_delta`` has been seen."""
        self.complete = False
        """``message_stop`` has been seen, and no error before it."""
        self.error: ApiError | None = None
        """The first ``event: error``."""
        self._malformed = False
        self._usage: Usage | None = None
        self._model: str | None = None
        self._stop_reason: str | None = None
        self._unread: list[tuple[bytes, bytearray]] = []  # decoded when they are asked for, out of the stream's way
        self._name = b""  # of the event that is being received
        self._payload: bytearray | None = None  # its data, when it is one of those that are read
        self._overlong = False
        self._line = bytearray()  # the beginning of an unfinished line
        self._skip = False  # the rest of the unfinished line does not matter
        self._after_cr = False  # the last byte was a CR, whose LF may come next
        self._quiet = False  # content flows: chunks in which only more of it begins need no closer look

    @property
    def malformed(self) -> bool:
        """A payload that was read is not what the API sends: an SDK fails on it too."""
        self._catch_up()
        return self._malformed

    @property
    def usage(self) -> "Usage | None":
        """Tokens as told so far."""
        self._catch_up()
        return self._usage

    @property
    def model(self) -> str | None:
        """The model that answers."""
        self._catch_up()
        return self._model

    @property
    def stop_reason(self) -> str | None:
        """Why the model stopped."""
        self._catch_up()
        return self._stop_reason

    @property
    def flows(self) -> bool:
        """Content flows, and the next chunk begins with a line: one that is a single event of it need not be fed.

        That is when ``chunk[-1] == LF and chunk[NAME_AT] == CONTENT and chunk.rfind(EVENT) == 0``. Who has to save
        even the call asks so itself.
        """
        return self._quiet and not self._skip

    def feed(self, chunk: bytes) -> bool:
        """Take the next chunk; True when an attribute may have changed."""
        if not self._quiet:
            return self._look(chunk)
        last = chunk.rfind(EVENT)
        if last == 0 and len(chunk) > NAME_AT and chunk[-1] == LF and chunk[NAME_AT] == CONTENT:
            self._skip = False
            return False
        if last < 0 or chunk.count(EVENT) == chunk.count(_CONTENT):
            return not self._pass_by(chunk) and self._scan(chunk)
        return self._look(chunk)

    def _look(self, chunk: bytes) -> bool:
        """Take a chunk that holds more than content, and look closely only at the part that does."""
        end = 0
        if self._quiet:
            # The end of the message, or a name that is cut.
            end = chunk.find(_MESSAGE)
            if end < 0:
                end = chunk.rfind(b"\n") + 1
            if 0 < end < len(chunk):
                news = self.feed(chunk[:end])
                return self._scan(chunk[end:]) or news
        elif self.first_delta:
            # Once the line that was cut is settled, the rest may be quiet again.
            end = chunk.find(b"\n") + 1 if self._line else 0
        else:
            # So may what follows the first delta.
            end = chunk.find(b"\n\n", chunk.find(_DELTA)) + 2 if _DELTA in chunk else 0
        if 1 < end < len(chunk):
            news = self._scan(chunk[:end])
            return (self.feed if self._quiet else self._scan)(chunk[end:]) or news
        return self._scan(chunk)

    def _pass_by(self, chunk: bytes) -> bool:
        """Go over a chunk in which only content begins; False when it has to be looked at line by line."""
        start = chunk.rfind(b"\n") + 1
        tail = chunk[start:]
        if not tail:
            self._skip = self._skip and not start
            return True
        if b"\r" in tail:
            return False
        if start or not self._skip:
            # All that is left to know is whether an event's name begins here.
            self._skip = tail[:6] != EVENT[: len(tail)]
            if not self._skip:
                self._quiet = False
                self._line += tail[:_LINE_LIMIT]
        return True

    def _scan(self, chunk: bytes) -> bool:
        """Take a chunk line by line."""
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        news = False
        for line in chunk.splitlines(keepends=True):
            if line[-1] not in _ENDS:
                self._hold(line)
                break
            if self._skip:
                self._skip = False
                continue
            line = line.rstrip(b"\r\n")  # noqa: PLW2901  # a line has one end
            if self._line:
                self._hold(line)
                if self._line:
                    self._field(bytes(self._line))
                    self._line.clear()
                self._skip = False
            elif line:
                self._field(line)
            elif self._dispatch():
                news = True
        self._after_cr = chunk.endswith(b"\r") if chunk else self._after_cr
        self._quiet = (
            self.first_delta
            and self._payload is None
            and self._name != b"message_stop"
            and not self._line
            and not self._after_cr
        )
        return news

    def _hold(self, piece: bytes) -> None:
        """Keep what matters of a line that has not ended."""
        if self._skip:
            return
        line = self._line
        line += piece[: PAYLOAD_LIMIT + 1 - len(line)] if self._payload is not None else piece[:_LINE_LIMIT]
        head = bytes(line[:6])
        if head == EVENT[: len(head)]:
            del line[_LINE_LIMIT:]
        elif self._payload is None or head[:5] != b"data:"[: len(head)]:
            line.clear()
            self._skip = True
        elif len(line) > PAYLOAD_LIMIT:
            line.clear()
            self._skip = self._overlong = True

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"event":
            self._name = value.removeprefix(b" ")
            if self._payload is None and self._name in _READ:
                self._payload = bytearray()
        elif name == b"data" and self._payload is not None:
            if len(self._payload) + len(value) > PAYLOAD_LIMIT:
                self._overlong = True
            else:
                self._payload += value + b"\n"

    def _dispatch(self) -> bool:
        """Act on the event that an empty line has ended."""
        name, payload, overlong = self._name, self._payload, self._overlong
        self._name, self._payload, self._overlong = b"", None, False
        if name == b"content_block_delta":
            news, self.first_delta = not self.first_delta, True
            return news
        if name == b"message_stop":
            self.complete = self.error is None  # nobody reads on after an error
            return True
        if name not in _READ or payload is None:
            return False
        if name == b"error":
            # An SDK raises on it whatever its payload says.
            self.error = self.error or parse_api_error(None if overlong else _decode(payload))
            return True
        self._unread.append((name, bytearray() if overlong else payload))
        if len(payload) > _HELD or len(self._unread) > _MANY:
            self._catch_up()
        return True

    def _catch_up(self) -> None:
        """Read the payloads that came since."""
        while self._unread:
            name, payload = self._unread.pop(0)
            data = _decode(payload)
            if isinstance(data, dict):
                self._read(name, data)
            else:
                self._malformed = True

    def _read(self, name: bytes, data: dict[str, Any]) -> None:
        if name == b"message_start":
            message = data.get("message")
            if isinstance(message, dict):
                self._model = word(message.get("model"))
                self._usage = merge_usage(message.get("usage"), self._usage)
            return
        self._usage = merge_usage(data.get("usage"), self._usage)
        delta = data.get("delta")
        if isinstance(delta, dict):
            self._stop_reason = word(delta.get("stop_reason")) or self._stop_reason


def _decode(payload: bytearray) -> Any:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return None
