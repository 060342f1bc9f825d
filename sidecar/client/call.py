"""One request as the application made it, while it lasts, and the record it ends in.

Pure, like its attempts, and under the same rules: told late, twice or from another thread, it never raises.
"""

from typing import TYPE_CHECKING, Final

from sidecar.client.attempt import Attempt, Observed, Url, guarded
from sidecar.client.observer import Defaults
from sidecar.model import (
    OK,
    AttemptRecord,
    CallRecord,
    Outcome,
    Phase,
    Profile,
    RetryResult,
    Source,
    Stage,
    StreamEnd,
    Verdict,
    Wait,
    classify_exception,
)

if TYPE_CHECKING:
    from sidecar.client.answers import Parsed
    from sidecar.client.observer import Observer
    from sidecar.client.survival import Survival
    from sidecar.policy import BreakerOpen, DeadlineExceeded
    from sidecar.telemetry.traces import CallSpan

_SOURCE: Final = Source.CLIENT  # looking up a member in an enum is a call
_ABANDONED: Final = frozenset({Outcome.CANCELLED, Outcome.REJECTED})


class Call(Observed):
    """One request as the application made it.

    It only keeps what it is told: the record is worked out when it is asked for, which may be a while after the end.
    """

    # Most calls never need most of these: what stays as it is here costs nothing.
    first_token_at: float | None = None
    answered: float | None = None
    """When the answer was whole, of a stream that may have gone on."""
    span: "CallSpan | None" = None
    """The trace it is part of, while anybody traces."""
    survival: "Survival | None" = None
    """What a policy does for it, if it is under one."""
    _fate: RetryResult | None = None
    """What became of its retries, as its policy saw it."""
    _attempts: int = 0
    _last: Attempt | None = None
    _host: str = ""
    """The host it would have been sent to, while nothing is."""
    _request_id: str | None = None
    """The API's id of an attempt before the last."""
    _waits: tuple[Wait, ...] = ()
    _told: "Parsed | None" = None
    _returned: bool = False
    _ended_at: float = 0.0
    _verdict: Verdict = OK

    def __init__(
        self,
        observer: "Observer",
        *,
        endpoint: str,
        path: str,
        model: str,
        profile: Profile,
        stream: bool,
        http: object = None,
    ) -> None:
        self.observer = observer
        self.endpoint = endpoint
        self.path = path
        self.model = model
        self.profile = profile
        self.stream = self.streams = stream
        """``streams``: whether its answer is sent as one, which may be so though the application asked for a whole."""
        self.http = http
        """The HTTP client its attempts go through; others' requests in the same context are not its own."""
        self.ticket = observer.telemetry.in_flight.begin(endpoint, model, profile=profile, stream=stream)
        self._unended = True
        self.started_at = observer.wall()
        self.began = observer.clock()

    @property
    def is_parents(self) -> bool:
        """Whether a fork has made another process of this one since: the parent goes on with the call, and tells it."""
        return hasattr(self, "_unended") and not self.ticket.live

    @property
    def last(self) -> Attempt | None:
        """The newest attempt."""
        return self._last

    def attempt(self, method: str, url: Url) -> Attempt:
        """Begin the next attempt."""
        before = self._last
        attempt = Attempt(self, self._attempts, method, url)
        if before is None:
            self.span = self._trace(attempt)
        else:
            before.end(StreamEnd.CLOSED)
            before.settle()
            self._wait(before, attempt.began)
            self._request_id = before.request_id or self._request_id
        self._attempts += 1
        self._last = attempt
        self.ticket.flight.silent_since = attempt.began
        return attempt

    def returned(self, told: "Parsed | None") -> None:
        """Take note that the SDK has handed its answer over; where that is still to be read, the call goes on.

        ``told``: what the answer says, where the SDK has parsed it.
        """
        try:
            self._returned = True
            last = self._last
            if last is None:
                self._told = told
                self._end(OK)  # a middleware answered without sending anything
                return
            if told is None:
                last.parse()
            else:
                self._told = told
                last.parsed(told.request_id)
            if last.verdict is not None:
                self._end(last.verdict)
        except Exception as error:  # noqa: BLE001  # whatever it is, the call must not suffer
            self.observer.fault("client.returned", error)

    @guarded
    def raised(self, error: BaseException) -> None:
        """Take note that the SDK has raised into the application."""
        last = self._last
        if last is None:
            self._end(classify_exception(error, Stage.PREPARING))
            return
        verdict = classify_exception(error)
        if last.verdict is None:
            # It was raised while a body was open, before the application could read it.
            last.end(StreamEnd.CLOSED, error)
        elif last.verdict.outcome is Outcome.OK and verdict.outcome is Outcome.SERVER_ERROR:
            last.overrule(verdict)  # the SDK could not parse what looked well
        elif verdict.outcome is Outcome.CANCELLED and last.verdict.outcome is not Outcome.CANCELLED:
            last.settle()
            self._wait(last, self.observer.clock(), completed=False)
            self._end(verdict)
            return
        self._end(last.verdict or verdict)

    def ended(self, attempt: Attempt) -> None:
        """Take the end of an attempt: of the last one, when the application has the answer, it is the call's too."""
        if attempt is self._last and self._returned and attempt.verdict is not None:
            self._end(attempt.verdict)

    @guarded
    def gave_up(self, *, waited: bool) -> None:
        """Take note that a policy lets no attempt follow the last: after a wait, or without one."""
        last = self._last
        if last is not None:
            last.settle()
            now = self.observer.clock()
            self._wait(last, now if waited else last.ended_at or now, completed=False)

    @guarded
    def rejected(self, breaker: str, refusal: "BreakerOpen | DeadlineExceeded | None") -> None:
        """Take note that a breaker let no attempt through."""
        self._host = breaker.partition("/")[0]
        self.span = self.span or self._trace(None)
        if self.span is not None:
            self.span.rejected(breaker, getattr(refusal, "retry_after", None))

    def _wait(self, before: Attempt, now: float, *, completed: bool = True) -> None:
        verdict = before.verdict
        if verdict is not None and verdict.outcome is not Outcome.OK and before.ended_at is not None:
            at = before.ended_at - self.began
            seconds = max(0.0, now - before.ended_at)
            wait = Wait(reason=verdict.outcome, at=at, seconds=seconds, completed=completed)
            self._waits = (*self._waits, wait)
            if self.span is not None:
                self.span.waited(wait)

    def _trace(self, first: Attempt | None) -> "CallSpan | None":
        tracing, wanted = self.observer.tracing, Defaults.traces
        if tracing is None or wanted is False or not tracing.active:
            return None
        return tracing.for_call(
            source=_SOURCE,
            endpoint=self.endpoint,
            model=self.model,
            profile=self.profile,
            stream=self.stream,
            started_at=self.started_at,
            host=self._host if first is None else first.host,
            port=None if first is None else first.port,
            begin=wanted is True,
        )

    def _retry_result(self, verdict: Verdict) -> RetryResult | None:
        if not self._waits or not any(wait.completed for wait in self._waits):
            return None
        if verdict.outcome is Outcome.OK:
            return RetryResult.RECOVERED
        if verdict.outcome in _ABANDONED or verdict.phase is Phase.DEADLINE:
            return RetryResult.ABANDONED
        return RetryResult.EXHAUSTED

    def _end(self, verdict: Verdict) -> None:
        try:
            del self._unended  # in one go: of several that tell of the end, the first counts
        except AttributeError:
            return
        under_way = self.ticket.end()
        self._ended_at = self.observer.clock()
        self._verdict = verdict if self.survival is None else self._survived(self.survival, verdict)
        self.http = None  # whoever keeps the record waiting does not keep the client
        if not under_way:  # as `is_parents` says
            return
        span, last = self.span, self._last
        if span is not None:
            if last is not None:
                last.settle()
            if span.open:  # whoever looks at traces may be asking for them next: only the counting can wait
                record = self._record(last)
                self._last = None
                span.end(record)
                self.observer.ended(lambda: [record])
                return
        self.observer.ended(self._records)

    def _survived(self, survival: "Survival", verdict: Verdict) -> Verdict:
        """Give back at once what a policy holds for the call; the records may be made later."""
        try:
            verdict, self._fate = survival.ended(verdict, self._last)
        except Exception as error:  # noqa: BLE001  # whatever it is, the call must not suffer
            self.observer.fault("client.survival", error)
        return verdict

    def _records(self) -> list[AttemptRecord | CallRecord]:
        """Make the record of the call, and before it that of its last attempt where that is not told yet."""
        last = self._last
        self._last = None  # the attempt holds the call: together they would be left to the garbage collector
        record = self._record(last)
        return [last.record(), record] if last is not None and last.take() else [record]

    def _record(self, last: Attempt | None) -> CallRecord:
        verdict = self._verdict
        told = self._told or last
        usage = None if told is None else told.usage
        duration = self._ended_at - self.began
        first_token = None if self.first_token_at is None else self.first_token_at - self.began
        output_seconds = None
        if first_token is not None and usage is not None:
            output_seconds = max(0.0, (self.answered or self._ended_at) - self.began - first_token)
        return CallRecord(  # by position: keywords cost more than all the rest
            _SOURCE,
            self.endpoint,
            self.model,
            self.profile,
            self.stream,
            self.started_at,
            duration,
            verdict.outcome,
            verdict.phase,
            self._attempts,
            self._waits,
            self._retry_result(verdict) if self.survival is None else self._fate,
            verdict.error_type,
            self._host if last is None else last.host,
            self._request_id if last is None else last.request_id or self._request_id,
            first_token,
            output_seconds,
            usage,
            None if told is None else told.stop_reason,
            None if self.span is None else self.span.ref,  # trace
        )
