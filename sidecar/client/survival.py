"""One call under a policy: asks the planner what to do, and tells it, the records and the metrics what became of it.

Pure: whoever drives it sends and waits. What a policy holds for a call, a breaker's permit above all, is given back
when the call's record is made, however it ended.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from sidecar.client.limits import Limits
from sidecar.model import Outcome, Phase, RetryResult, Stage, StreamEnd, Verdict, classify_exception
from sidecar.policy import (
    NO_HINTS,
    Because,
    BreakerOpen,
    CallPlan,
    DeadlineExceeded,
    Ended,
    Hints,
    Send,
    Step,
    Stop,
    WaitFor,
)

if TYPE_CHECKING:
    from sidecar.client.attempt import Attempt
    from sidecar.client.call import Call
    from sidecar.client.policies import Shared, Time

_ASKED_FOR: Final = Verdict(Outcome.CONNECTION_ERROR)
"""What an attempt counts as that failed by an error made to be tried again, or of which nothing was handed over."""


class Survival:
    """The plan of one call, and how far it has come."""

    __slots__ = ("_before", "_breaker", "_plan", "_sending", "_shared", "handed_over", "limits", "stop")

    def __init__(self, plan: CallPlan, shared: "Shared", breaker: str | None) -> None:
        self._plan = plan
        self._shared = shared
        self._breaker = breaker
        self._sending = False
        self._before: Attempt | None = None
        self.limits: Limits | None = None
        """The timeouts of the attempt under way."""
        self.stop: Stop | None = None
        """How it ended, once it has."""
        self.handed_over = False
        """The SDK has given its answer to the application, which reads what is still to come."""
        if breaker is not None:
            shared.series(breaker)

    @property
    def times(self) -> "Time":
        """Where time comes from, and how to wait."""
        return self._shared.times

    def begin(self, call: "Call") -> Send | BreakerOpen | DeadlineExceeded:
        """Ask to send; what refuses it is to be raised."""
        step = self._next(call)
        if isinstance(step, Stop):
            return cast(
                "BreakerOpen | DeadlineExceeded", step.refusal
            )  # before anything is sent a plan stops by refusing
        return step

    def failed(
        self, call: "Call", error: BaseException, hints: Hints = NO_HINTS, *, asked: bool = False
    ) -> float | None:
        """Tell what the SDK has raised. Gives the seconds to wait before the next attempt; None: there is none.

        ``asked``: the error itself asks for another.
        """
        if not self._sending:  # its end was told already, and what is raised now is something else
            if self.stop is None:
                self.cancelled()
            return None
        attempt = call.last if call.last is not self._before else None
        self._before = call.last
        verdict = _verdict(attempt, error)
        status = None if attempt is None else attempt.status
        if asked or (call.streams and not call.stream and _is_half(verdict)):
            verdict, status = _ASKED_FOR, None
        duration = 0.0 if attempt is None else attempt.duration
        step = self._ended(Ended(verdict=verdict, duration=duration, status=status, hints=hints))
        if isinstance(step, WaitFor):
            return step.seconds
        if self.stop is not None and self.stop.because is Because.DEADLINE and verdict.phase is not Phase.DEADLINE:
            call.gave_up(waited=False)
        return None

    def again(self, call: "Call") -> Send | None:
        """Ask, after a wait, whether to send. None: the call ends with what the last attempt gave."""
        step = self._next(call)
        if isinstance(step, Stop):
            call.gave_up(waited=True)
            return None
        return step

    def cancelled(self) -> None:
        """Tell that the application gave up during a wait."""
        self.stop = self._plan.cancelled()

    def ended(self, verdict: Verdict, attempt: "Attempt | None") -> tuple[Verdict, RetryResult | None]:
        """Tell how the call ended. Gives its verdict and the fate of its retries, as the policy saw them."""
        self._before = None  # attempts hold their call, and it holds this
        if self._sending:
            duration = 0.0 if attempt is None else attempt.duration
            status = None if attempt is None else attempt.status
            self._ended(Ended(verdict=verdict, duration=duration, status=status, delivered=True))
        stop = self.stop
        if stop is None:
            return verdict, None
        if stop.attempts == 0 or stop.because is Because.DEADLINE:
            verdict = replace(verdict, outcome=stop.outcome, phase=stop.phase)
        return verdict, stop.retry_result

    def _next(self, call: "Call") -> Send | Stop:
        step = cast("Send | Stop", self._plan.next())  # one that has just waited does not ask to wait
        if isinstance(step, Stop):
            self.stop = step
            if step.because is Because.BREAKER and self._breaker is not None:
                series = self._shared.series(self._breaker)
                if series is not None:
                    series.rejected()
                call.rejected(self._breaker, step.refusal)
            return step
        self._sending = True
        self.limits = Limits(step.timeouts, self._shared.times.clock)
        return step

    def _ended(self, ended: Ended) -> Step:
        self._sending = False
        step = self._plan.ended(ended)
        if isinstance(step, Stop):
            self.stop = step
        return step


def _is_half(verdict: Verdict) -> bool:
    """Say whether an answer broke off; streamed underneath, it is nothing the application has begun to read."""
    return verdict.outcome is Outcome.TRUNCATED or verdict.phase is Phase.STALL


def _verdict(attempt: "Attempt | None", error: BaseException) -> Verdict:
    """Say what an attempt was that made the SDK raise; closes what it may have left open."""
    if attempt is None:
        return classify_exception(error, Stage.PREPARING)
    if attempt.verdict is None:
        attempt.end(StreamEnd.CLOSED, error)
    verdict, said = attempt.verdict, classify_exception(error)
    if verdict is None or said.outcome is Outcome.CANCELLED:
        return said
    if verdict.outcome is Outcome.OK and said.outcome is Outcome.SERVER_ERROR:
        return said  # it only looked well
    return verdict
