"""One request as the application made it, while it lasts, and the record it ends in.

Pure, like its attempts, and under the same rules: told late, twice or from another thread, it never raises.
"""

from typing import TYPE_CHECKING, Final

from sidecar.client.attempt import Attempt, Observed, guarded
from sidecar.client.observer import Defaults
from sidecar.model import (
    OK,
    CallRecord,
    Outcome,
    Phase,
    Profile,
    RetryResult,
    Source,
    Stage,
    StreamEnd,
    Usage,
    Verdict,
    Wait,
    classify_exception,
)

if TYPE_CHECKING:
    from sidecar.client.observer import CallSpan, Observer
    from sidecar.client.survival import Survival
    from sidecar.policy import BreakerOpen, DeadlineExceeded
    from sidecar.wire.usage import Answer

_ABANDONED: Final = frozenset({Outcome.CANCELLED, Outcome.REJECTED})


class Call(Observed):
    """One request as the application made it."""

    __slots__ = (
        "_attempts",
        "_began",
        "_claim",
        "_last",
        "_returned",
        "_started_at",
        "_waits",
        "answered",
        "endpoint",
        "first_token",
        "host",
        "http",
        "model",
        "path",
        "profile",
        "request_id",
        "span",
        "stop_reason",
        "stream",
        "survival",
        "ticket",
        "usage",
    )

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
        self.stream = stream
        self.http = http
        """The HTTP client its attempts go through; others' requests in the same context are not its own."""
        self.host = ""
        self.request_id: str | None = None
        self.first_token: float | None = None
        self.answered: float | None = None
        self.usage: Usage | None = None
        self.stop_reason: str | None = None
        self.span: CallSpan | None = None
        """The trace it is part of, while anybody traces."""
        self.survival: Survival | None = None
        """What a policy does for it, if it is under one."""
        self._claim = [None]
        self._attempts = 0
        self._last: Attempt | None = None
        self._waits: list[Wait] = []
        self._returned = False
        self.ticket = observer.telemetry.in_flight.begin(endpoint, model, profile=profile, stream=stream)
        self._started_at = observer.wall()
        self._began = observer.clock()

    @property
    def last(self) -> Attempt | None:
        """The newest attempt."""
        return self._last

    def attempt(self, *, method: str, host: str, port: int | None) -> Attempt:
        """Begin the next attempt."""
        before = self._last
        if before is None:
            self.host = host
            self.span = self._trace(port)
        attempt = Attempt(self, self._attempts, method=method, host=host, port=port)
        if before is not None:
            before.end(StreamEnd.CLOSED)
            before.settle()
            self._wait(before, attempt.began)
        self._attempts += 1
        self._last = attempt
        self.host = host
        self.ticket.waiting()
        return attempt

    def returned(self, told: "Answer | None") -> None:
        """Take note that the SDK has handed its answer over; where that is still to be read, the call goes on.

        ``told``: what the answer says, where the SDK has parsed it.
        """
        try:
            self._returned = True
            last = self._last
            if told is not None:
                self.usage, self.stop_reason = told.usage, told.stop_reason
            elif last is not None:
                last.parse()
            if last is None:
                self._end(OK)  # a middleware answered without sending anything
            elif last.verdict is not None:
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
        self.host = self.host or breaker.partition("/")[0]
        self.span = self.span or self._trace(None)
        if self.span is not None:
            self.span.rejected(breaker, getattr(refusal, "retry_after", None))

    def note_first_token(self, now: float) -> None:
        """Note when the first token of the answer came."""
        if self.first_token is None:
            self.first_token = now - self._began

    def _wait(self, before: Attempt, now: float, *, completed: bool = True) -> None:
        verdict = before.verdict
        if verdict is not None and verdict.outcome is not Outcome.OK and before.ended_at is not None:
            at = before.ended_at - self._began
            seconds = max(0.0, now - before.ended_at)
            wait = Wait(reason=verdict.outcome, at=at, seconds=seconds, completed=completed)
            self._waits.append(wait)
            if self.span is not None:
                self.span.waited(wait)

    def _trace(self, port: int | None) -> "CallSpan | None":
        tracing = self.observer.tracing
        if tracing is None or not Defaults.traces:
            return None
        return tracing.for_call(
            source=Source.CLIENT,
            endpoint=self.endpoint,
            model=self.model,
            profile=self.profile,
            stream=self.stream,
            started_at=self._started_at,
            host=self.host,
            port=port,
        )

    def _retry_result(self, verdict: Verdict) -> RetryResult | None:
        if not any(wait.completed for wait in self._waits):
            return None
        if verdict.outcome is Outcome.OK:
            return RetryResult.RECOVERED
        if verdict.outcome in _ABANDONED or verdict.phase is Phase.DEADLINE:
            return RetryResult.ABANDONED
        return RetryResult.EXHAUSTED

    def _end(self, verdict: Verdict) -> None:
        try:
            self._claim.pop()
        except IndexError:
            return
        self.ticket.end()
        observer = self.observer
        now = observer.clock()
        last = self._last
        if last is not None:
            last.settle()
        retry_result = None
        if self.survival is None:
            retry_result = self._retry_result(verdict)
        else:
            try:
                verdict, retry_result = self.survival.ended(verdict, last)
            except Exception as error:  # noqa: BLE001  # whatever it is, the call must not suffer
                observer.fault("client.survival", error)
        output_seconds = None
        if self.first_token is not None and self.usage is not None:
            output_seconds = max(0.0, (self.answered or now) - self._began - self.first_token)
        record = CallRecord(
            source=Source.CLIENT,
            endpoint=self.endpoint,
            model=self.model,
            profile=self.profile,
            stream=self.stream,
            started_at=self._started_at,
            duration=now - self._began,
            outcome=verdict.outcome,
            phase=verdict.phase,
            attempts=self._attempts,
            waits=tuple(self._waits),
            retry_result=retry_result,
            error_type=verdict.error_type,
            host=self.host,
            request_id=self.request_id,
            first_token=self.first_token,
            output_seconds=output_seconds,
            usage=self.usage,
            stop_reason=self.stop_reason,
            trace=None if self.span is None else self.span.ref,
        )
        if self.span is not None:
            self.span.end(record)
        observer.call(record)
        self._last = None  # the attempt holds the call: together they would be left to the garbage collector
