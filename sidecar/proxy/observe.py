"""What goes by, turned into records: one `Sight` for each request, told of everything and delaying nothing.

It keeps measurements and names. No fault of its own reaches the bytes: it is counted, and the request goes unseen.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, Final, ParamSpec, cast

from sidecar.model import (
    CANCELLED,
    AttemptRecord,
    CallRecord,
    Outcome,
    Phase,
    Profile,
    RateLimit,
    Source,
    StreamEnd,
    TraceRef,
    Verdict,
)
from sidecar.proxy.correlate import BACKOFF_SECONDS, PATIENT_SECONDS, SLACK_SECONDS, Calls, Correlation, Key, Past
from sidecar.proxy.ending import Ending
from sidecar.proxy.errors import Fault
from sidecar.proxy.hangup import due_timeouts, why
from sidecar.proxy.headers import RequestHead, ResponseHead
from sidecar.proxy.origin import Origin
from sidecar.proxy.reading import FIRST_ERROR, Reading
from sidecar.proxy.request_scan import Asked, RequestScan
from sidecar.proxy.shapes import Shape, read_path
from sidecar.proxy.wheel import Wheel
from sidecar.telemetry import Telemetry, Ticket
from sidecar.wire.ratelimit import parse_rate_limits

P = ParamSpec("P")

FAULTS: Final = {
    "upstream_unreachable": Verdict(Outcome.CONNECTION_ERROR),
    "upstream_closed": Verdict(Outcome.CONNECTION_ERROR),
    "upstream_protocol": Verdict(Outcome.SERVER_ERROR),
    "connect_timeout": Verdict(Outcome.TIMEOUT, Phase.CONNECT),
    "no_connection": Verdict(Outcome.TIMEOUT, Phase.POOL),
    "upstream_silent": Verdict(Outcome.TIMEOUT, Phase.FIRST_BYTE),
}
_STALLED: Final = Verdict(Outcome.TIMEOUT, Phase.STALL)
TRIED_AGAIN: Final = frozenset(
    {Outcome.TIMEOUT, Outcome.RATE_LIMITED, Outcome.OVERLOADED, Outcome.SERVER_ERROR, Outcome.CONNECTION_ERROR}
)
_PROFILES: Final = {profile.value.encode(): profile for profile in Profile}
CONFLICT: Final = 409
_OVERLOAD: Final = 503
_LIMITS_FRESH: Final = 0.1
LONGEST_RETRY_AFTER: Final = 60.0  # what is longer the SDKs ignore
_CLAUDE_CODE: Final = b"claude-cli/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRule:
    """Which requests serve which use. An empty condition holds for all."""

    profile: Profile
    user_agent: str = ""
    """How the user agent begins."""
    model: str = ""
    """How the model's name begins."""


class Observer:
    """Makes a sight of each request, and records of what was seen."""

    def __init__(
        self,
        telemetry: Telemetry,
        wheel: Wheel,
        origin: Origin,
        *,
        shape: Shape = Shape.ANTHROPIC,
        calls: Correlation | None = None,
        profile: Profile = Profile.DEFAULT,
        rules: Sequence[ProfileRule] = (),
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.telemetry: Final = telemetry
        self.origin: Final = origin
        self.clock: Final = clock
        self.wall: Final = wall
        self.calls: Final[Correlation] = calls or Calls(wheel, telemetry.call)
        self.shape: Final = shape
        self._profile = profile
        self._rules = tuple(rules)
        self._limits_due = 0.0

    def sight(self, head: RequestHead, profile: Profile | None = None) -> "Sight":
        """Begin to look at a request; ``profile`` is its listener's, if that has one."""
        return Sight(self, head, profile)

    def profile_of(self, watched: dict[bytes, bytes], model: str, listener: Profile | None) -> Profile:
        """Say which use a request serves: its header's, else the first rule's that fits, else the listener's."""
        said = _PROFILES.get(watched.get(b"x-sidecar-profile", b""))
        if said is not None:
            return said
        agent = watched.get(b"user-agent", b"").decode("latin-1")
        for rule in self._rules:
            if agent.startswith(rule.user_agent) and model.startswith(rule.model):
                return rule.profile
        return listener or self._profile

    def limits_of(self, head: ResponseHead, now: float) -> tuple[RateLimit, ...]:
        """Read an answer's rate limits, if the last ones read are not fresh still: only the newest are ever shown."""
        if now < self._limits_due:
            return ()
        limits = parse_rate_limits(head.rate_limits())
        if limits:
            self._limits_due = now + _LIMITS_FRESH
        return limits

    def close(self) -> None:
        """Tell of every call that might have gone on."""
        self.calls.close()


def _guarded(method: "Callable[Concatenate[Sight, P], None]") -> "Callable[Concatenate[Sight, P], None]":
    @wraps(method)
    def wrapper(self: "Sight", *args: P.args, **kwargs: P.kwargs) -> None:
        if self.blind:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it is, the bytes do not suffer from it
            self.go_blind(error)

    return cast("Callable[Concatenate[Sight, P], None]", wrapper)


class Sight:
    """One request as it goes by."""

    __slots__ = (
        "_asked",
        "_began",
        "_first_byte",
        "_first_token",
        "_head",
        "_key",
        "_last",
        "_listener",
        "_max_gap",
        "_max_gap_at",
        "_observer",
        "_past",
        "_profile",
        "_reading",
        "_reply",
        "_scan",
        "_source",
        "_started_at",
        "_ticket",
        "blind",
    )

    def __init__(self, observer: Observer, head: RequestHead, listener: Profile | None = None) -> None:
        self._observer = observer
        self._head = head
        self._began = self._last = observer.clock()
        self._started_at = observer.wall()
        self._scan: RequestScan | None = RequestScan()
        self._asked = Asked()
        self._key: Key = ()
        self._past: Past | None = None
        self._listener = listener
        self._profile = Profile.DEFAULT
        self._source = Source.PROXY
        self._ticket: Ticket | None = None
        self._reply: ResponseHead | None = None
        self._reading: Reading | None = None
        self._first_byte: float | None = None
        self._first_token: float | None = None
        self._max_gap = 0.0
        self._max_gap_at = 0.0
        self.blind = False
        """Looking has failed; nothing more is seen of this request."""

    def go_blind(self, error: Exception) -> None:
        """Count a fault of our own, and look no further."""
        self.blind = True
        self._scan = None
        if self._ticket is not None:
            self._ticket.end()
        self._observer.telemetry.internal_error("proxy observation", error)

    @_guarded
    def request_piece(self, piece: bytes) -> None:
        """Take a piece of the request's body."""
        if self._scan is not None:
            self._scan.feed(piece)

    @_guarded
    def request_over(self) -> None:
        """Take note that all of the request has come; the wait for the answer begins."""
        self._last = self._observer.clock()
        self._settle_request()
        if self._ticket is not None:
            self._ticket.waiting()

    @_guarded
    def answer_head(self, head: ResponseHead) -> None:
        """Take the answer's head."""
        now = self._observer.clock()
        self._first_byte = now - self._began
        self._last = now
        self._reply = head
        self._reading = Reading(head)

    def answer(self, data: bytes) -> None:
        """Take a part of the answer's body. This is called for every chunk."""
        reading = self._reading
        if reading is None or self.blind:
            return
        try:
            now = self._observer.clock()
            gap = now - self._last
            if gap > self._max_gap:
                self._max_gap = gap
                self._max_gap_at = self._last - self._began
            self._last = now
            if self._ticket is not None:
                self._ticket.waiting()
            if reading.feed(data) and self._first_token is None:
                scanner = reading.scanner
                if scanner is not None and scanner.first_delta:
                    self._first_token = now - self._began
        except Exception as error:  # noqa: BLE001  # as above
            self.go_blind(error)

    @_guarded
    def paused(self) -> None:
        """Take note that nobody waits for the upstream: the client reads too slowly."""
        if self._ticket is not None:
            self._ticket.idle()

    @_guarded
    def resumed(self) -> None:
        """Take note that the next byte is waited for again."""
        self._last = self._observer.clock()
        if self._ticket is not None:
            self._ticket.waiting()

    @_guarded
    def ended(self, ending: Ending, fault: Fault | None) -> None:
        """Take the end, and tell of it."""
        self._settle_request()
        if self._ticket is not None:
            self._ticket.end()
        observer = self._observer
        now = observer.clock()
        if ending is Ending.REFUSED:
            self._refused(fault, now)
            return
        verdict = self._verdict(ending, fault, now)
        attempt = self._attempt(verdict, now)
        observer.telemetry.attempt(attempt)
        assert self._past is not None  # noqa: S101  # the request is settled
        observer.calls.ended(
            self._key,
            self._past,
            self._call(attempt, now),
            began=self._began,
            now=now,
            again_within=self._again_within(verdict),
        )

    # --- inside

    def _settle_request(self) -> None:
        scan, self._scan = self._scan, None
        if scan is None:
            return
        observer, head = self._observer, self._head
        watched = head.watched
        told = read_path(observer.shape, head.target)
        asked = scan.asked()
        if told.model:
            asked = asked._replace(model=told.model, stream=asked.stream or told.stream)
        self._asked = asked
        self._profile = observer.profile_of(watched, asked.model, self._listener)
        number = number_of(watched)
        if number is None:
            self._source = Source.INFERRED
        self._key = key_of(head, scan)
        self._past = observer.calls.past(self._key, self._began, self._started_at, number=number)
        self._ticket = observer.telemetry.in_flight.begin(
            told.endpoint, asked.model, profile=self._profile, stream=asked.stream, source=self._source
        )

    def _verdict(self, ending: Ending, fault: Fault | None, now: float) -> Verdict:
        reading = self._reading
        if ending is Ending.COMPLETE and reading is not None:
            return reading.verdict(StreamEnd.EOF)
        if ending is Ending.LEFT:
            hung_up = why(now - self._last, due_timeouts(self._head.watched, answering=reading is not None))
            return hung_up if reading is None else reading.verdict(StreamEnd.CLOSED, hung_up)
        broken = Verdict(Outcome.CONNECTION_ERROR) if fault is None else FAULTS.get(fault.code, CANCELLED)
        if reading is None:
            return broken
        return reading.verdict(StreamEnd.EOF, _STALLED if broken.outcome is Outcome.TIMEOUT else broken)

    def _attempt(self, verdict: Verdict, now: float) -> AttemptRecord:
        observer, reply, reading = self._observer, self._reply, self._reading
        streamed = reading is not None and reading.scanner is not None
        past = self._past
        return AttemptRecord(
            source=self._source,
            endpoint=read_path(observer.shape, self._head.target).endpoint,
            model=self._asked.model,
            profile=self._profile,
            stream=self._asked.stream,
            number=past.attempts if past is not None else 0,
            started_at=self._started_at,
            duration=now - self._began,
            outcome=verdict.outcome,
            phase=verdict.phase,
            status=None if reply is None else reply.status,
            error_type=verdict.error_type,
            method=self._head.method.decode("ascii"),
            host=observer.origin.host,
            port=observer.origin.port,
            request_id=None if reply is None else word_of(reply.watched.get(b"request-id")),
            first_byte=self._first_byte,
            first_token=self._first_token,
            max_gap=self._max_gap if streamed else None,
            max_gap_at=self._max_gap_at if streamed else None,
            limits=() if reply is None else observer.limits_of(reply, now),
            trace=trace_of(self._head.watched.get(b"traceparent")),
        )

    def _call(self, attempt: AttemptRecord, now: float) -> CallRecord:
        reading = self._reading
        first_token = self._first_token
        return CallRecord(
            source=attempt.source,
            endpoint=attempt.endpoint,
            model=attempt.model,
            profile=attempt.profile,
            stream=attempt.stream,
            started_at=attempt.started_at,
            duration=attempt.duration,
            outcome=attempt.outcome,
            phase=attempt.phase,
            error_type=attempt.error_type,
            host=attempt.host,
            request_id=attempt.request_id,
            first_token=first_token,
            output_seconds=None if first_token is None else now - self._began - first_token,
            usage=None if reading is None else reading.usage,
            stop_reason=None if reading is None else reading.stop_reason,
            trace=attempt.trace,
        )

    def _refused(self, fault: Fault | None, now: float) -> None:
        """Tell of a request that was never sent on: by a limit of ours, or for what was wrong with it."""
        overload = fault is not None and fault.status == _OVERLOAD
        self._observer.telemetry.call(
            CallRecord(
                source=self._source,
                endpoint=read_path(self._observer.shape, self._head.target).endpoint,
                model=self._asked.model,
                profile=self._profile,
                stream=self._asked.stream,
                started_at=self._started_at,
                duration=now - self._began,
                outcome=Outcome.REJECTED if overload else Outcome.CLIENT_ERROR,
                attempts=0,
                error_type=None if fault is None else fault.code,
                host=self._observer.origin.host,
                trace=trace_of(self._head.watched.get(b"traceparent")),
            )
        )

    def _again_within(self, verdict: Verdict) -> float | None:
        """Say how long the client may take to try again; None when it will not."""
        reply = self._reply
        conflict = reply is not None and reply.status == CONFLICT
        if not (conflict or verdict.outcome in TRIED_AGAIN):
            return None
        if reply is not None and reply.status < FIRST_ERROR:
            # An answer that began well is asked for again when it broke before the application had any of it.
            streamed = self._reading is not None and self._reading.scanner is not None
            if streamed or verdict.outcome is Outcome.SERVER_ERROR:
                return None
        told = {} if reply is None else reply.watched
        if told.get(b"x-should-retry") == b"false":
            return None
        wait = _number(told.get(b"retry-after-ms"), 1000.0)
        if wait is None:
            wait = _number(told.get(b"retry-after"), 1.0)
        patience = PATIENT_SECONDS if self._source is Source.INFERRED else BACKOFF_SECONDS
        return max(patience, wait if wait is not None and wait <= LONGEST_RETRY_AFTER else 0.0) + SLACK_SECONDS


def number_of(watched: Mapping[bytes, bytes]) -> int | None:
    """Read how many requests of the same call a client says it made before; None where it does not count them."""
    said = watched.get(b"x-stainless-retry-count", b"")
    if not said.isdigit() or len(said) > 3 or watched.get(b"user-agent", b"").startswith(_CLAUDE_CODE):  # noqa: PLR2004  # no sensible number is longer
        return None
    return int(said)


def key_of(head: RequestHead, scan: RequestScan) -> Key:
    """Give what all requests of one call have in common."""
    return head.method, head.target, head.watched.get(b"traceparent", b"")[:35], scan.fingerprint


def _number(value: bytes | None, divisor: float) -> float | None:
    try:
        return None if value is None or len(value) > 12 else float(value) / divisor  # noqa: PLR2004  # as above
    except ValueError:
        return None


def word_of(value: bytes | None) -> str | None:
    """Take a header's value if it is an id, not a text."""
    return value.decode("latin-1") if value and len(value) <= 128 else None  # noqa: PLR2004  # an id, not a text


def trace_of(value: bytes | None) -> TraceRef | None:
    """Read a ``traceparent``."""
    parts = value.decode("latin-1").split("-") if value is not None and len(value) <= 64 else []  # noqa: PLR2004
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2] or parts[0] == "ff":  # noqa: PLR2004
        return None
    try:
        trace, span, flags = (int(part, 16) for part in parts[1:4])
    except ValueError:
        return None
    return (
        TraceRef(trace_id=parts[1].lower(), span_id=parts[2].lower(), sampled=bool(flags & 1))
        if trace and span
        else None
    )
