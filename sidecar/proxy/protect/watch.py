"""Records of one protected request: of each attempt the proxy made, and of the call they add up to.

The client's own retries are told apart from the proxy's: those are further requests of the same call (`Calls`), these
are attempts within one.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, cast

from sidecar.model import (
    CANCELLED,
    AttemptRecord,
    CallRecord,
    Outcome,
    Phase,
    Profile,
    Source,
    StreamEnd,
    Verdict,
    Wait,
)
from sidecar.policy import NO_HINTS, Because, Hints, Stop
from sidecar.proxy.attempts import word_of
from sidecar.proxy.calls import LONGEST_RETRY_AFTER, TRIED_AGAIN, is_asked_again
from sidecar.proxy.correlate import BACKOFF_SECONDS, PATIENT_SECONDS, SLACK_SECONDS, Key, Past
from sidecar.proxy.hangup import due_timeouts, why
from sidecar.proxy.headers import RequestHead, ResponseHead
from sidecar.proxy.reading import FIRST_ERROR, Reading
from sidecar.proxy.request_scan import Asked, RequestScan

if TYPE_CHECKING:
    from sidecar.proxy.observe import Observer
    from sidecar.telemetry import Ticket

P = ParamSpec("P")

_ASKED_AGAIN: Final = TRIED_AGAIN | {Outcome.REJECTED}


class Look:
    """One attempt as it goes by."""

    __slots__ = (
        "_began",
        "_clock",
        "_first_token",
        "_last",
        "_max_gap",
        "_max_gap_at",
        "first_byte",
        "head",
        "reading",
    )

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = self._last = clock()
        self._first_token: float | None = None
        self._max_gap = 0.0
        self._max_gap_at = 0.0
        self.first_byte: float | None = None
        self.head: ResponseHead | None = None
        self.reading: Reading | None = None

    @property
    def duration(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._began

    def answer_head(self, head: ResponseHead) -> None:
        """Take the answer's head."""
        self.first_byte = self.duration
        self._last = self._clock()
        self.head = head
        self.reading = Reading(head)

    def data(self, data: bytes) -> None:
        """Take a part of the answer's body."""
        now = self._clock()
        gap = now - self._last
        if gap > self._max_gap:
            self._max_gap, self._max_gap_at = gap, self._last - self._began
        self._last = now
        reading = self.reading
        if reading is not None and reading.feed(data) and self._first_token is None and reading.scanner is not None:
            self._first_token = now - self._began if reading.scanner.first_delta else None

    def resumed(self) -> None:
        """Take note that the next byte is waited for only from now on."""
        self._last = self._clock()

    def verdict(self, end: StreamEnd, broken: Verdict | None = None) -> Verdict:
        """Say how it ended; ``broken``: what became of the connection, where it did not end by itself."""
        return broken or CANCELLED if self.reading is None else self.reading.verdict(end, broken)

    def measured(self, record: AttemptRecord) -> AttemptRecord:
        """Fill in what was seen."""
        head, reading = self.head, self.reading
        streamed = reading is not None and reading.scanner is not None
        return replace(
            record,
            duration=self.duration,
            started_at=record.started_at - self.duration,
            status=None if head is None else head.status,
            request_id=None if head is None else word_of(head.watched.get(b"request-id")),
            first_byte=self.first_byte,
            first_token=self._first_token,
            max_gap=self._max_gap if streamed else None,
            max_gap_at=self._max_gap_at if streamed else None,
        )


def _guarded(method: "Callable[Concatenate[Watch, P], None]") -> "Callable[Concatenate[Watch, P], None]":
    @wraps(method)
    def wrapper(self: "Watch", *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it is, the call does not suffer from it
            self.observer.telemetry.internal_error("proxy observation", error)

    return cast("Callable[Concatenate[Watch, P], None]", wrapper)


class Watch:
    """One request of a client."""

    __slots__ = (
        "_attempts",
        "_began",
        "_caller",
        "_head",
        "_key",
        "_last",
        "_last_attempt",
        "_listener",
        "_past",
        "_reading",
        "_scan",
        "_settled",
        "_started_at",
        "_ticket",
        "_trace",
        "_waits",
        "asked",
        "observer",
        "profile",
    )

    def __init__(self, observer: "Observer", head: RequestHead, listener: Profile | None) -> None:
        self.observer = observer
        self._head = head
        self._listener = listener
        self._caller = observer.caller_of(head)
        self._began = self._last = observer.clock()
        self._started_at = observer.wall()
        self._scan = RequestScan()
        self._settled = False
        self._key: Key = ()
        self._past = Past(first=self._began, started_at=self._started_at)
        self._trace = self._caller.trace
        self._ticket: Ticket | None = None
        self._attempts = 0
        self._waits: list[Wait] = []
        self._reading: Reading | None = None  # of the last attempt
        self._last_attempt: AttemptRecord | None = None
        self.asked = Asked()
        """What the request asks for, as far as it has come."""
        self.profile: Profile | None = None
        """The use it serves, once ``asked`` is known."""

    @property
    def began(self) -> float:
        """When the request came."""
        return self._began

    @property
    def attempts(self) -> int:
        """How many attempts have ended."""
        return self._attempts

    def request_piece(self, piece: bytes) -> None:
        """Take a piece of the request's body."""
        self._scan.feed(piece)

    def decide(self, *, over: bool) -> Profile:
        """Find out what is asked for, and by which use: with all of the body here, or only its beginning."""
        self._read(self._scan.asked() if over else self._scan.asked_so_far())
        self.profile = self.observer.profile_of(self._caller, self.asked.model, self._listener)
        return self.profile

    def request_over(self) -> None:
        """Take note that all of the request has come."""
        self._last = self.observer.clock()
        self.settle()

    @_guarded
    def settle(self) -> None:
        """Find the call that the request belongs to."""
        if self._settled:
            return
        self._settled = True
        observer, caller = self.observer, self._caller
        self._read(self._scan.asked())
        if self.profile is None:
            self.profile = observer.profile_of(caller, self.asked.model, self._listener)
        self._key = (caller.key, self._scan.fingerprint)
        self._past = observer.calls.past(self._key, self._began, self._started_at, number=caller.number)
        if observer.spans is not None and self._trace is None:
            self._trace = self._past.trace or observer.spans.begin(
                caller, self.asked, self.profile, started_at=self._started_at, origin=observer.origin
            )
        self._ticket = observer.telemetry.in_flight.begin(
            caller.told.endpoint,
            self.asked.model,
            profile=self.profile,
            stream=self.asked.stream,
            source=caller.source,
        )
        self._ticket.waiting()

    def delivered(self) -> None:
        """Take note that the client was given something."""
        self._last = self.observer.clock()
        self.waiting()

    def waiting(self) -> None:
        """Take note that the upstream's next byte is waited for."""
        if self._ticket is not None:
            self._ticket.waiting()

    def idle(self) -> None:
        """Take note that nobody waits for the upstream."""
        if self._ticket is not None:
            self._ticket.idle()

    def waited(self, reason: Outcome, seconds: float, *, completed: bool = True) -> None:
        """Take note of a wait between two attempts that ends now."""
        at = self.observer.clock() - self._began - seconds
        self._waits.append(Wait(reason=reason, at=max(at, 0.0), seconds=seconds, completed=completed))

    def hung_up(self, *, answering: bool) -> Verdict:
        """Say why the client hung up now."""
        now = self.observer.clock()
        due = due_timeouts(self._head.watched, answering=answering)
        return why(due, silence=now - self._last, elapsed=now - self._began)

    @_guarded
    def attempt_ended(self, look: Look, verdict: Verdict, *, stream: bool) -> None:
        """Tell of an attempt."""
        self.settle()
        observer, now = self.observer, self.observer.clock()
        record = look.measured(
            AttemptRecord(
                source=self._caller.source,
                endpoint=self._caller.told.endpoint,
                model=self.asked.model,
                profile=self.profile or Profile.DEFAULT,
                stream=stream,
                number=self._past.attempts + self._attempts,
                started_at=observer.wall(),
                duration=0.0,
                outcome=verdict.outcome,
                phase=verdict.phase,
                error_type=verdict.error_type,
                method=self._caller.method,
                host=observer.origin.host,
                port=observer.origin.port,
                limits=observer.limits_of(look.head, now),
                trace=self._trace,
            )
        )
        self._attempts += 1
        self._last_attempt = record
        self._reading = look.reading
        observer.telemetry.attempt(record)

    @_guarded
    def ended(
        self,
        stop: Stop,
        *,
        status: int | None,
        error_type: str | None = None,
        hints: Hints = NO_HINTS,
        final: bool = False,
    ) -> None:
        """Tell of the call, as far as this request is it.

        ``status`` is what the client was given, None where it left with nothing; ``hints``: what it was told of trying
        again; ``final``: it was told not to.
        """
        self.settle()
        if self._ticket is not None:
            self._ticket.end()
        observer, now, last = self.observer, self.observer.clock(), self._last_attempt
        self._end_waits(stop)
        reading = self._reading
        first_token = output_seconds = None
        if last is not None and last.first_token is not None:
            output_seconds = last.duration - last.first_token
            if self.asked.stream:  # else the application saw nothing before all of it
                first_token = now - self._began - output_seconds
        record = CallRecord(
            source=self._caller.source,
            endpoint=self._caller.told.endpoint,
            model=self.asked.model,
            profile=self.profile or Profile.DEFAULT,
            stream=self.asked.stream,
            started_at=self._started_at,
            duration=now - self._began,
            outcome=stop.outcome,
            phase=stop.phase,
            attempts=self._attempts,
            waits=tuple(self._waits),
            retry_result=stop.retry_result,
            error_type=error_type if last is None else last.error_type,
            host=observer.origin.host,
            request_id=None if last is None else last.request_id,
            first_token=first_token,
            output_seconds=output_seconds,
            usage=None if reading is None else reading.usage,
            stop_reason=None if reading is None else reading.stop_reason,
            trace=self._trace,
        )
        observer.calls.ended(
            self._key,
            self._past,
            record,
            began=self._began,
            now=now,
            again_within=self._again_within(stop.outcome, status, hints, final=final),
        )

    def _read(self, asked: Asked) -> None:
        """Take what the body asks for, and what the path does where it says so."""
        path = self._caller.told
        self.asked = asked._replace(model=path.model, stream=asked.stream or path.stream) if path.model else asked

    def _end_waits(self, stop: Stop) -> None:
        """Mark a wait that no attempt followed, and one that a deadline did not even let begin."""
        last = self._last_attempt
        if last is None:
            return
        if len(self._waits) == self._attempts:
            self._waits[-1] = replace(self._waits[-1], completed=False)
        elif stop.because is Because.DEADLINE and last.phase is not Phase.DEADLINE:
            self.waited(last.outcome, 0.0, completed=False)

    def _again_within(self, outcome: Outcome, status: int | None, hints: Hints, *, final: bool) -> float | None:
        """Say how long the client may take to ask again; None when it will not."""
        counts = self._caller.source is Source.PROXY
        if hints.should_retry is False or (final and counts):
            return None
        said = b"true" if hints.should_retry else None
        if outcome not in _ASKED_AGAIN and not (status is not None and is_asked_again(status, said)):
            return None
        if status is not None and status < FIRST_ERROR and (self.asked.stream or outcome is Outcome.SERVER_ERROR):
            # What began well is asked for again only when it broke before the application had any of it.
            return None
        patience = BACKOFF_SECONDS if counts else PATIENT_SECONDS
        wait = hints.after or 0.0
        return max(patience, wait if wait <= LONGEST_RETRY_AFTER else 0.0) + SLACK_SECONDS
