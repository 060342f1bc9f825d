"""What the body of a response tells while it passes by, and what its end means. Pure; it holds no content.

Each kind of body has ``feed(chunk)``, true when something was learnt, and ``verdict(end, error)``, asked once.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from sidecar.model import (
    CANCELLED,
    OK,
    UNPARSABLE,
    Outcome,
    Stage,
    StreamEnd,
    Usage,
    Verdict,
    classify_exception,
    classify_status,
    classify_stream_end,
    classify_stream_error,
    parse_api_error,
)
from sidecar.wire.decompress import Decompressor, decompressor
from sidecar.wire.frames import FRAMED, EventFrames
from sidecar.wire.sse import SseScanner
from sidecar.wire.usage import TAIL, WHOLE_LIMIT, read_body, read_tail

ERROR_LIMIT: Final = 64 * 1024
"""How much of an error body is held to find its type; the API's are a few hundred bytes."""

FIRST_ERROR: Final = 400
"""The lowest status that is an error."""
_FRAMED: Final = FRAMED.encode()
_EVENTS: Final = b"text/event-stream"
_NO_CONTENT: Final = 204
_DAMAGED: Final = Verdict(Outcome.SERVER_ERROR, error_type="DecodingError")
"""What whoever reads a damaged body is told; the name is that of the HTTP client's error."""


class Body(Protocol):
    """A body that is being read."""

    damaged: bool
    """Its compression cannot be undone: whoever reads it fails on that, where it is closed, and not in here."""

    @property
    def feed(self) -> "Feed":
        """Look at the next chunk, without its ``content-encoding``; true when something was learnt."""

    @property
    def usage(self) -> Usage | None:
        """Tokens as told so far."""

    @property
    def stop_reason(self) -> str | None:
        """Why the model stopped."""

    @property
    def first_delta(self) -> bool:
        """The first token of the answer has come."""

    @property
    def complete(self) -> bool:
        """The answer is whole; what follows does not matter."""

    @property
    def flows(self) -> bool:
        """What comes next may be only more of the content, see `SseScanner.flows`."""

    def verdict(self, end: StreamEnd, error: BaseException | None = None) -> Verdict:
        """Say what the attempt was, now that its body has ended."""


Feed = Callable[[bytes], bool]


class EventStream:
    """A stream of events: a message's, or another, which has no event to end with."""

    def __init__(self, *, message: bool = True) -> None:
        self.damaged = False
        self._message = message
        self._scanner = SseScanner()
        self.feed: Feed = self._scanner.feed  # once a chunk: no layer between

    @property
    def usage(self) -> Usage | None:
        """Tokens as told so far."""
        return self._scanner.usage

    @property
    def stop_reason(self) -> str | None:
        """Why the model stopped."""
        return self._scanner.stop_reason

    @property
    def first_delta(self) -> bool:
        """The first token has come."""
        return self._scanner.first_delta

    @property
    def complete(self) -> bool:
        """``message_stop`` has come."""
        return self._scanner.complete

    @property
    def flows(self) -> bool:
        """Content is passing by."""
        return self._scanner.flows

    def verdict(self, end: StreamEnd, error: BaseException | None = None) -> Verdict:
        """Say what the stream was: what it said of itself counts before how its bytes ended."""
        scanner = self._scanner
        undecodable = isinstance(error, ValueError)  # the SDK could not decode an event
        if scanner.complete and not undecodable:
            return OK
        if scanner.error is not None:
            return classify_stream_error(scanner.error)
        if scanner.malformed:
            return UNPARSABLE
        if undecodable:
            return Verdict(Outcome.SERVER_ERROR, error_type=type(error).__name__)
        if self.damaged and error is None and end is StreamEnd.CLOSED:
            return _DAMAGED
        if end is StreamEnd.EOF and not self._message:
            end = StreamEnd.COMPLETE
        return classify_stream_end(end) if error is None else classify_exception(error, Stage.STREAMING)


class PlainBody:
    """A body that is no stream of events: a JSON answer, a file, the lines of a batch's results."""

    first_delta: Final = False
    complete: Final = False
    flows: Final = False

    def __init__(self, *, json: bool, length: int | None, streamed: bool) -> None:
        self.usage: Usage | None = None
        self.stop_reason: str | None = None
        self.damaged = False
        self._json = json
        self._length = length
        self._stage = Stage.STREAMING if streamed else Stage.READING
        self._received = 0
        self._first = b""
        self._tail = b""

    def feed(self, chunk: bytes) -> bool:
        """Hold the end of a JSON body: its usage stands there."""
        self._received += len(chunk)
        if self._json:
            if not self._first:
                self._first = chunk[:1]
                # A body in one piece is read as one; of others only the end is held.
                self._tail = chunk if len(chunk) <= WHOLE_LIMIT else chunk[-TAIL:]
                return False
            self._tail = (self._tail + chunk)[-TAIL:] if len(chunk) < TAIL else chunk[-TAIL:]
        return False

    def verdict(self, end: StreamEnd, error: BaseException | None = None) -> Verdict:
        """Say what the answer was; one that was read to its last byte is whole, however the reading ended."""
        if error is not None:
            return classify_exception(error, self._stage)
        if end is StreamEnd.CLOSED and (self._length is None or self._received < self._length):
            return _DAMAGED if self.damaged else CANCELLED
        if not self._json:
            return OK
        tail, self._tail = self._tail, b""
        if len(tail) == self._received:
            answer = read_body(tail)
            if answer is None:
                return UNPARSABLE
        else:
            if self._first not in b"{[" or not tail.rstrip().endswith((b"}", b"]")):
                return UNPARSABLE
            answer = read_tail(tail)
        self.usage, self.stop_reason = answer.usage, answer.stop_reason
        return OK


class ErrorBody:
    """The body of an error, which says the error's type."""

    usage: Final = None
    stop_reason: Final = None
    first_delta: Final = False
    complete: Final = False
    flows: Final = False

    def __init__(self, status: int) -> None:
        self.damaged = False
        self._status = status
        self._held = b""

    def feed(self, chunk: bytes) -> bool:
        """Hold the error as far as it may be long."""
        if len(self._held) < ERROR_LIMIT:
            self._held += chunk[: ERROR_LIMIT - len(self._held)]
        return False

    def verdict(self, end: StreamEnd, error: BaseException | None = None) -> Verdict:  # noqa: ARG002
        """Say what the error was. The status speaks, even where the rest could not be read."""
        held, self._held = self._held, b""
        return classify_status(self._status, parse_api_error(held) if held else None)


def body_of(
    status: int, headers: Mapping[bytes, bytes], *, messages: bool, stream: bool, decoded: bool
) -> tuple[Body, Feed]:
    """Choose how to look at a body: what it is, and where its chunks go.

    ``messages``: it answers a request to the Messages API; ``decoded``: its chunks come without their
    ``content-encoding``. Names of ``headers`` are lower-case.
    """
    encoding = b"" if decoded else headers.get(b"content-encoding", b"")
    if encoding in {b"", b"identity"}:
        if stream and messages and status < FIRST_ERROR and headers.get(b"content-type", b"").startswith(_FRAMED):
            events = EventStream()
            return events, _unpacked(EventFrames(), events)
        body = _body_of(status, headers, messages=messages, stream=stream)
        return body, body.feed
    decompress = decompressor(encoding.decode("latin-1"))
    if decompress is None and status < FIRST_ERROR:  # nobody here can look into it: only its end is told
        body = PlainBody(json=False, length=_length(headers), streamed=stream)
        return body, body.feed
    body = _body_of(status, headers, messages=messages, stream=stream)
    return body, _nothing if decompress is None else _unpacked(decompress, body)


def _nothing(_: bytes) -> bool:
    return False


def _unpacked(decompress: Decompressor | EventFrames, body: Body) -> Feed:
    feed = body.feed

    def feed_packed(chunk: bytes) -> bool:
        news = False
        for piece in decompress.feed(chunk):
            news |= feed(piece)
        body.damaged = decompress.damaged
        return news

    return feed_packed


def _body_of(status: int, headers: Mapping[bytes, bytes], *, messages: bool, stream: bool) -> Body:
    if status >= FIRST_ERROR:
        return ErrorBody(status)
    kind = headers.get(b"content-type", b"")
    if stream and (messages or kind.startswith(_EVENTS)) and not kind.startswith(_FRAMED):
        return EventStream(message=messages)
    json = not stream and status != _NO_CONTENT
    json = json and (messages or kind.partition(b";")[0].strip().lower().endswith(b"json"))
    # The length of a compressed body says nothing of what comes out of it.
    length = None if b"content-encoding" in headers else _length(headers)
    return PlainBody(json=json, length=length, streamed=stream)


def _length(headers: Mapping[bytes, bytes]) -> int | None:
    value = headers.get(b"content-length", b"")
    return int(value) if value.isdigit() and len(value) < 18 else None  # noqa: PLR2004  # no body is longer
