"""One HTTP request while it lasts, and the record it ends in.

Pure: the clock comes from the observer, and nothing here knows the SDK or an HTTP library. Every method may be called
late, twice or from another thread; what is told first counts. No method raises: our faults never reach a call.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, Protocol, TypeVar, cast

from sidecar.client.bodies import FIRST_ERROR, Body, Feed, body_of
from sidecar.model import (
    OK,
    AttemptRecord,
    Outcome,
    RateLimit,
    Source,
    Stage,
    StreamEnd,
    Usage,
    Verdict,
    classify_exception,
)
from sidecar.wire.frames import FRAMED
from sidecar.wire.ratelimit import parse_rate_limits

if TYPE_CHECKING:
    from sidecar.client.call import Call
    from sidecar.client.observer import Observer

_P = ParamSpec("_P")
_S = TypeVar("_S", bound="Observed")

_SOURCE: Final = Source.CLIENT  # looking up a member in an enum is a call
_FRAMED: Final = FRAMED.encode()
_MAX_REQUEST_ID: Final = 128
_PORTS: Final = {"https": 443, "http": 80}


class Url(Protocol):
    """What is needed of a request's address."""

    @property
    def scheme(self) -> str:
        """``https``, or ``http``."""

    @property
    def host(self) -> str:
        """The name of the host."""

    @property
    def port(self) -> int | None:
        """The port, where it is not the scheme's own."""


class Headers(Protocol):
    """What is needed of a response's headers."""

    @property
    def raw(self) -> Sequence[tuple[bytes, bytes]]:
        """Names and values. Making this list may cost as much as all the rest, so nobody asks for it in vain."""


class Observed:
    """Something with an observer."""

    observer: "Observer"


def guarded(method: Callable[Concatenate[_S, _P], None]) -> Callable[Concatenate[_S, _P], None]:
    """Keep a fault of ours from the call: it is reported, and the call goes on unobserved."""

    def run(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it is, the call must not suffer
            self.observer.fault(f"client.{method.__name__}", error)

    return cast("Callable[Concatenate[_S, _P], None]", update_wrapper(run, method))


class Attempt(Observed):
    """One HTTP request.

    It only keeps what it is told: the record is worked out when it is asked for, which may be a while after the end.
    """

    # Most attempts never need most of these: what stays as it is here costs nothing.
    verdict: Verdict | None = None
    """What it was, once it has ended."""
    ended_at: float | None = None
    gap: float = -1.0
    """The longest wait for a byte of the body so far; below zero while there was none."""
    gap_at: float = 0.0
    """When that began."""
    _status: int | None = None
    _headers: Headers | None = None
    _named: Mapping[bytes, bytes] | None = None
    _request_id: str | None = None
    _decoded: bool = False
    _limits: tuple[RateLimit, ...] = ()
    _responded_at: float | None = None
    _first_token_at: float | None = None
    _body: Body | None = None
    _content: bytes | None = None

    def __init__(self, call: "Call", number: int, method: str, url: Url) -> None:
        self.call = call
        self.observer = observer = call.observer
        self._number = number
        self._method = method
        self._url = url
        self._unended = self._untold = True
        self.began = observer.clock()

    @property
    def host(self) -> str:
        """The host it is sent to."""
        return self._url.host

    @property
    def port(self) -> int | None:
        """The port it is sent to."""
        return self._url.port or _PORTS.get(self._url.scheme)

    @property
    def request_id(self) -> str | None:
        """The API's id of it, once the response has begun."""
        told = self._request_id
        if told is None:
            told = self._by_name().get(b"request-id", b"").decode("ascii", "replace")
        return told[:_MAX_REQUEST_ID] or None

    @property
    def status(self) -> int | None:
        """The HTTP status, once the response has begun."""
        return self._status

    @property
    def duration(self) -> float:
        """Seconds it has taken, once it has ended."""
        return (self.ended_at or self.began) - self.began

    @property
    def complete(self) -> bool:
        """Whether its answer is whole, as far as its body tells."""
        return self._body is not None and self._body.complete

    @property
    def framed(self) -> bool:
        """Whether its answer comes in Amazon's framing."""
        return self._by_name().get(b"content-type", b"").startswith(_FRAMED)

    @property
    def _streams(self) -> bool:
        """Whether its answer is a stream. One that was to be so underneath need not be: an error is not."""
        call = self.call
        if call.stream or not call.streams:
            return call.stream
        return self._by_name().get(b"content-type", b"").startswith(b"text/event-stream")

    def _by_name(self) -> Mapping[bytes, bytes]:
        """Give the response's headers by their names, in lower case."""
        named = self._named
        if named is None:
            raw = () if self._headers is None else self._headers.raw
            named = self._named = {name.lower(): value for name, value in raw}
        return named

    def responded(self, status: int, headers: Headers, *, decoded: bool) -> None:
        """Take note that the response has begun; ``decoded``: its body comes without its ``content-encoding``."""
        try:
            self._responded_at = now = self.observer.clock()
            self._status = status
            self.call.ticket.flight.silent_since = None
            self._headers = headers
            self._decoded = decoded
            if self.observer.limits.lets_through(now):
                self._limits = parse_rate_limits(self._by_name())
        except Exception as error:  # noqa: BLE001  # whatever it is, the call must not suffer
            self.observer.fault("client.responded", error)

    def reading(self) -> Feed:
        """Begin to look at the body. Gives what to feed with its chunks: it says when to call ``learnt``."""
        try:
            self._body, feed = body_of(
                self._status or 0,
                self._by_name(),
                messages=self.call.endpoint == "messages",
                stream=self._streams,
                decoded=self._decoded,
            )
        except Exception as error:  # noqa: BLE001  # the same
            return self.blind(error)
        return feed

    def flows(self, feed: Feed) -> bool:
        """Whether ``feed`` wants no chunk that is a single event of content, see `SseScanner.flows`."""
        body = self._body
        return body is not None and feed == body.feed and body.flows

    def learnt(self, now: float) -> None:
        """Take what the body has just told."""
        body = self._body
        if body is not None:
            call = self.call
            if self._first_token_at is None and body.first_delta:
                self._first_token_at = now
                if call.first_token_at is None:
                    call.first_token_at = now
            if body.complete and call.answered is None:
                call.answered = now

    def blind(self, error: Exception) -> Feed:
        """Report a fault of ours in looking at the body, and look no further."""
        self.observer.fault("client.reading", error)
        return _ignore

    def waited(self, before: float, now: float) -> None:
        """Note a wait for the next byte, also for one that did not come."""
        if now - before > self.gap:
            self.gap = now - before
            self.gap_at = before

    @guarded
    def failed(self, error: BaseException, *, stage: Stage) -> None:
        """Take note of what was raised before the body was handed out."""
        self._close(classify_exception(error, stage))

    @guarded
    def end(self, end: StreamEnd, error: BaseException | None = None) -> None:
        """Take the end of the body: read, left, or broken by ``error``."""
        if self.verdict is not None:
            return
        body = self._body
        if body is None:
            self._close(classify_exception(error, Stage.READING) if error else OK)
        else:
            self._close(body.verdict(end, error))

    def whole(self, content: bytes) -> None:
        """Take a body that was read in one piece. Of one that is well, the SDK may tell more cheaply what it holds."""
        try:
            if (self._status or 0) < FIRST_ERROR and not self._streams:
                self._content = content
                self._close(OK)
                return
            now = self.observer.clock()
            if self.reading()(content):
                self.learnt(now)
        except Exception as error:  # noqa: BLE001  # whatever it is, the call must not suffer
            self.observer.fault("client.whole", error)
        self.end(StreamEnd.EOF)

    def parse(self) -> None:
        """Read the body that was read in one piece, where the SDK has not."""
        if self._content is None:
            return
        self.reading()(self._content)
        self._content = None
        if self._body is not None:
            verdict = self._body.verdict(StreamEnd.EOF)
            if verdict.outcome is not Outcome.OK:
                self.overrule(verdict)

    def parsed(self, request_id: object) -> None:
        """Let go of what the SDK has parsed: the record may be made a while later. ``request_id``: as it told it."""
        self._request_id = request_id if isinstance(request_id, str) else self.request_id
        self._content = self._headers = self._named = None

    @guarded
    def overrule(self, verdict: Verdict) -> None:
        """Replace the verdict of an attempt that ended well, for the SDK could not use its answer."""
        self.verdict = verdict
        self.settle()

    def settle(self) -> None:
        """Report the attempt by itself, once it has ended: its call may go on for a while."""
        if self.call.is_parents or not self.take():
            return
        span = self.call.span
        if span is None:
            self.observer.ended(lambda: [self.record()])
            return
        record = self.record()
        span.attempt(record)
        self.observer.ended(lambda: [record])

    def take(self) -> bool:
        """Whether it has ended and nobody has reported it yet: who asks is the one to do so."""
        if self.verdict is None:
            return False
        try:
            del self._untold  # in one go: another thread may be asking
        except AttributeError:
            return False
        return True

    def record(self) -> AttemptRecord:
        """Make its record."""
        call, began = self.call, self.began
        verdict = self.verdict or OK
        streamed = call.streams and self.gap >= 0 and (self._status or 0) < FIRST_ERROR  # an error is no stream
        return AttemptRecord(  # by position: keywords cost more than all the rest
            _SOURCE,
            call.endpoint,
            call.model,
            call.profile,
            call.streams,
            self._number,
            call.started_at + (began - call.began),
            (self.ended_at or began) - began,  # duration
            verdict.outcome,
            verdict.phase,
            self._status,
            verdict.error_type,
            self._method,
            self.host,
            self.port,
            self.request_id,
            None if self._responded_at is None else self._responded_at - began,  # first_byte
            None if self._first_token_at is None else self._first_token_at - began,
            self.gap if streamed else None,  # max_gap
            self.gap_at - began if streamed else None,
            self._limits,
            None if call.span is None else call.span.ref,  # trace
        )

    @property
    def usage(self) -> Usage | None:
        """Tokens, as its body told them."""
        return None if self._body is None else self._body.usage

    @property
    def stop_reason(self) -> str | None:
        """Why the model stopped, as its body told it."""
        return None if self._body is None else self._body.stop_reason

    def _close(self, verdict: Verdict) -> None:
        try:
            del self._unended  # in one go: of several that tell of the end, the first counts
        except AttributeError:
            return
        self.ended_at = self.observer.clock()
        self.verdict = verdict
        call = self.call
        call.ticket.flight.silent_since = None
        if verdict.outcome is not OK.outcome:
            self.settle()  # one that ended well may still be overruled by the SDK, which is about to read it
        call.ended(self)


def _ignore(_: bytes) -> bool:
    return False
