"""What an answer says of itself, out of its bytes as they go by. Nothing of its content is kept."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from sidecar.model import (
    CANCELLED,
    OK,
    UNPARSABLE,
    Outcome,
    StreamEnd,
    Usage,
    Verdict,
    classify_status,
    classify_stream_end,
    classify_stream_error,
    parse_api_error,
)
from sidecar.proxy.framing import NO_BODY
from sidecar.proxy.headers import ResponseHead
from sidecar.wire.decompress import Decompressor, decompressor
from sidecar.wire.sse import SseScanner
from sidecar.wire.usage import TAIL, WHOLE_LIMIT, read_body, read_tail

FIRST_ERROR: Final = 400
_EVENTS: Final = b"text/event-stream"
_JSON: Final = b"application/json"
_PLAIN: Final = frozenset({b"", b"identity"})


class _Kind(NamedTuple):
    """What sort of body an answer has."""

    events: bool
    json: bool
    encoding: str
    """Empty where it is plain."""


class Reading:
    """One answer. Feed it the pieces of its body; ask for the verdict when they have ended."""

    __slots__ = ("_decompress", "_held", "_json", "_message", "_size", "_status", "scanner", "stop_reason", "usage")

    def __init__(self, head: ResponseHead, *, message: bool = True) -> None:
        """Begin. ``message``: the request was for one, so that a stream without any event of one is cut short."""
        watched = head.watched
        events, self._json, encoding = _kind(watched.get(b"content-type", b""), watched.get(b"content-encoding", b""))
        self._status = head.status
        self._message = message
        self._decompress: Decompressor | None = None
        if head.body is NO_BODY:  # an answer to HEAD says what its body would be, and has none
            events = self._json = False
        elif encoding:
            self._decompress = decompressor(encoding)
            if self._decompress is None:
                events = self._json = False
        self.scanner = SseScanner() if events and head.status < FIRST_ERROR else None
        """Finds the events, if it is a stream of them."""
        self._held = b""  # a JSON body, or the end of a long one
        self._size = 0
        self.usage: Usage | None = None
        self.stop_reason: str | None = None

    @property
    def look(self) -> Callable[[bytes], bool]:
        """What takes the pieces of the body: of a plain stream the scanner itself, as there are so many."""
        return self.feed if self.scanner is None or self._decompress is not None else self.scanner.feed

    def feed(self, data: bytes) -> bool:
        """Take the next piece; True when the scanner has news."""
        if self._decompress is None:
            return self._feed(data)
        news = False
        for piece in self._decompress.feed(data):
            news |= self._feed(piece)
        return news

    def _feed(self, data: bytes) -> bool:
        if self.scanner is not None:
            return self.scanner.feed(data)
        if self._json:
            self._size += len(data)
            held = self._held + data if self._held else data
            # Of a body that came in many pieces only the end matters, where its usage stands.
            self._held = held if len(held) <= WHOLE_LIMIT else held[-TAIL:]
        return False

    def verdict(self, end: StreamEnd, broken: Verdict | None = None) -> Verdict:
        """Say what the answer was. ``broken``: what became of the connection, where it did not end by itself."""
        if self._status >= FIRST_ERROR:
            return classify_status(self._status, parse_api_error(self._held) if self._held else None)
        if self.scanner is not None:
            return self._verdict_of_stream(self.scanner, end, broken)
        if broken is not None or end is StreamEnd.CLOSED:
            return broken or CANCELLED
        if not self._json or (self._decompress is not None and self._decompress.failed):
            return OK
        answer = read_body(self._held) if self._size == len(self._held) else read_tail(self._held)
        if answer is None:
            return UNPARSABLE
        self.usage, self.stop_reason = answer.usage, answer.stop_reason
        return OK

    def _verdict_of_stream(self, scanner: SseScanner, end: StreamEnd, broken: Verdict | None) -> Verdict:
        """Say what a stream was: what it said of itself counts before how its bytes ended."""
        self.usage, self.stop_reason = scanner.usage, scanner.stop_reason
        if scanner.complete:
            return OK
        if scanner.error is not None:
            return classify_stream_error(scanner.error)
        if scanner.malformed:
            return UNPARSABLE
        if broken is not None and broken.outcome is Outcome.CONNECTION_ERROR:
            return Verdict(Outcome.TRUNCATED, None, broken.error_type)
        if broken is None and end is StreamEnd.EOF and not (self._message or scanner.first_delta or scanner.model):
            return OK  # other streams, such as a session's, have no event of their own to end with
        return broken or classify_stream_end(end)


@lru_cache(maxsize=64)  # there are few
def _kind(content_type: bytes, content_encoding: bytes) -> _Kind:
    kind = content_type.partition(b";")[0].strip().lower()
    encoding = content_encoding.strip().lower()
    return _Kind(kind == _EVENTS, kind == _JSON, "" if encoding in _PLAIN else encoding.decode("latin-1"))
