"""One HTTP request while it lasts, and the record it ends in.

Pure: the clock comes from the observer, and nothing here knows the SDK or an HTTP library. Every method may be called
late, twice or from another thread; what is told first counts. No method raises: our faults never reach a call.
"""

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar, cast

from sidecar.client.bodies import FIRST_ERROR, Body, Feed, body_of
from sidecar.model import OK, AttemptRecord, Outcome, RateLimit, Source, Stage, StreamEnd, Verdict, classify_exception
from sidecar.wire.ratelimit import parse_rate_limits

if TYPE_CHECKING:
    from sidecar.client.call import Call
    from sidecar.client.observer import Observer

_P = ParamSpec("_P")
_S = TypeVar("_S", bound="Observed")

_MAX_REQUEST_ID: Final = 128


class Observed:
    """Something with an observer."""

    __slots__ = ("observer",)

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
    """One HTTP request."""

    __slots__ = (
        "_body",
        "_claim",
        "_content",
        "_decoded",
        "_first_byte",
        "_first_token",
        "_gap_at",
        "_headers",
        "_host",
        "_limits",
        "_method",
        "_number",
        "_port",
        "_request_id",
        "_settled",
        "_started_at",
        "_status",
        "began",
        "call",
        "ended_at",
        "gap",
        "verdict",
    )

    def __init__(self, call: "Call", number: int, *, method: str, host: str, port: int | None) -> None:
        self.call = call
        self.observer = call.observer
        self.verdict: Verdict | None = None
        """What it was, once it has ended."""
        self.ended_at: float | None = None
        self._number = number
        self._method = method
        self._host = host
        self._port = port
        self._status: int | None = None
        self._request_id: str | None = None
        self._limits: tuple[RateLimit, ...] = ()
        self._body: Body | None = None
        self._content: bytes | None = None
        self._headers: dict[bytes, bytes] = {}
        self._decoded = False
        self._first_byte: float | None = None
        self._first_token: float | None = None
        self.gap = -1.0
        """The longest wait for a byte of the body so far; below zero while there was none."""
        self._gap_at = 0.0
        self._claim = [None]
        self._settled = [None]
        self._started_at = self.observer.wall()
        self.began = self.observer.clock()

    @property
    def status(self) -> int | None:
        """The HTTP status, once the response has begun."""
        return self._status

    @property
    def request_id(self) -> str | None:
        """The API's id of it."""
        return self._request_id

    @property
    def duration(self) -> float:
        """Seconds it has taken, once it has ended."""
        return (self.ended_at or self.began) - self.began

    @property
    def complete(self) -> bool:
        """Whether its answer is whole, as far as its body tells."""
        return self._body is not None and self._body.complete

    def responded(self, status: int, headers: Sequence[tuple[bytes, bytes]], *, decoded: bool) -> None:
        """Take note that the response has begun; ``decoded``: its body comes without its ``content-encoding``."""
        try:
            call = self.call
            self._first_byte = self.observer.clock() - self.began
            self._status = status
            call.ticket.idle()
            named = {name.lower(): value for name, value in headers}
            self._headers = named
            self._decoded = decoded
            request_id = named.get(b"request-id")
            if request_id:
                self._request_id = call.request_id = request_id[:_MAX_REQUEST_ID].decode("ascii", "replace")
            self._limits = parse_rate_limits(named)
        except Exception as error:  # noqa: BLE001  # whatever it is, the call must not suffer
            self.observer.fault("client.responded", error)

    def reading(self) -> Feed:
        """Begin to look at the body. Gives what to feed with its chunks: it says when to call ``learnt``."""
        try:
            self._body, feed = body_of(
                self._status or 0,
                self._headers,
                messages=self.call.endpoint == "messages",
                stream=self.call.stream,
                decoded=self._decoded,
            )
        except Exception as error:  # noqa: BLE001  # the same
            return self.blind(error)
        return feed

    def learnt(self, now: float) -> None:
        """Take what the body has just told."""
        body = self._body
        if body is not None:
            if self._first_token is None and body.first_delta:
                self._first_token = now - self.began
                self.call.note_first_token(now)
            if body.complete and self.call.answered is None:
                self.call.answered = now

    def blind(self, error: Exception) -> Feed:
        """Report a fault of ours in looking at the body, and look no further."""
        self.observer.fault("client.reading", error)
        return _ignore

    def waited(self, before: float, now: float) -> None:
        """Note a wait for the next byte, also for one that did not come."""
        if now - before > self.gap:
            self.gap = now - before
            self._gap_at = before - self.began

    @guarded
    def failed(self, error: BaseException, *, stage: Stage) -> None:
        """Take note of what was raised before the body was handed out."""
        self._close(classify_exception(error, stage))

    @guarded
    def end(self, end: StreamEnd, error: BaseException | None = None) -> None:
        """Take the end of the body: read, left, or broken by ``error``."""
        body = self._body
        if body is None:
            self._close(classify_exception(error, Stage.READING) if error else Verdict(Outcome.OK))
            return
        if self.verdict is None:
            self._close(body.verdict(end, error))

    def whole(self, content: bytes) -> None:
        """Take a body that was read in one piece. Of one that is well, the SDK may tell more cheaply what it holds."""
        try:
            status = self._status or 0
            if status < FIRST_ERROR and not self.call.stream:
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
        content, self._content = self._content, None
        if content is None:
            return
        feed = self.reading()
        feed(content)
        if self._body is not None:
            verdict = self._body.verdict(StreamEnd.EOF)
            self._tell(self._body)
            if verdict.outcome is not Outcome.OK:
                self.overrule(verdict)

    @guarded
    def overrule(self, verdict: Verdict) -> None:
        """Replace the verdict of an attempt that ended well, for the SDK could not use its answer."""
        self.verdict = verdict
        self.settle()

    def settle(self) -> None:
        """Report the attempt, once it has ended."""
        verdict = self.verdict
        if verdict is None:
            return
        try:
            self._settled.pop()
        except IndexError:
            return
        call = self.call
        streamed = call.stream and self.gap >= 0
        self.observer.attempt(
            AttemptRecord(
                source=Source.CLIENT,
                endpoint=call.endpoint,
                model=call.model,
                profile=call.profile,
                stream=call.stream,
                number=self._number,
                started_at=self._started_at,
                duration=(self.ended_at or self.began) - self.began,
                outcome=verdict.outcome,
                phase=verdict.phase,
                status=self._status,
                error_type=verdict.error_type,
                method=self._method,
                host=self._host,
                port=self._port,
                request_id=self._request_id,
                first_byte=self._first_byte,
                first_token=self._first_token,
                max_gap=self.gap if streamed else None,
                max_gap_at=self._gap_at if streamed else None,
                limits=self._limits,
                trace=None if call.span is None else call.span.ref,
            )
        )

    def _close(self, verdict: Verdict) -> None:
        try:
            self._claim.pop()
        except IndexError:
            return
        self.ended_at = self.observer.clock()
        self.verdict = verdict
        call = self.call
        call.ticket.idle()
        if self._body is not None:
            self._tell(self._body)
        if verdict.outcome is not Outcome.OK:
            self.settle()  # one that ended well may still be overruled by the SDK, which is about to read it
        call.ended(self)

    def _tell(self, body: Body) -> None:
        call = self.call
        call.usage = body.usage or call.usage
        call.stop_reason = body.stop_reason or call.stop_reason


def _ignore(_: bytes) -> bool:
    return False
