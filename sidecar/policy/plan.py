"""The planner: what to do next with a call. It decides and never acts: client and proxy send, wait and stop.

The contract between a plan and the shell that executes it:

    step = plan.next()
    Send    -> send with these timeouts; when the attempt has ended (a stream: when its reading has), plan.ended(...)
    WaitFor -> wait, then plan.next(); if the application gives up meanwhile, plan.cancelled()
    Stop    -> done. With ``refusal`` nothing was sent: raise it. Otherwise the caller gets what the last attempt gave.

Every question is asked in one order, and only the last of them spends anything that is not given back:

    before the first attempt: deadline -> breaker -> (the call deposits into the retry budget) -> Send
    after an attempt: its verdict goes to the breaker; then ok? cancelled? own deadline out? delivered? in the table?
        attempts left? -> deadline (a wait that leaves no time for an attempt is not begun) -> breaker (certain to
        reject when the wait is over?) -> retry budget (withdraws) -> WaitFor
    after a wait: deadline -> breaker -> Send. The retry's withdrawal stays spent even if one of them refuses.

So a breaker's permit is held only while an attempt is under way, never during a wait.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from random import Random
from typing import Final

from sidecar.model import CANCELLED, Outcome, Phase, RetryResult, Verdict
from sidecar.policy.breaker import BreakerOpen, CircuitBreaker, Permit
from sidecar.policy.breaker_registry import BreakerRegistry
from sidecar.policy.budget import RetryBudget
from sidecar.policy.config import Policy
from sidecar.policy.deadlines import Deadline, DeadlineExceeded
from sidecar.policy.retry import Ended, retryable
from sidecar.policy.timeouts import Timeouts


class Because(StrEnum):
    """Why a call stops."""

    DONE = "done"
    """It was answered."""
    CANCELLED = "cancelled"
    """The application gave up."""
    DEADLINE = "deadline"
    """The call's time ran out, or would during the next wait."""
    DELIVERED = "delivered"
    """The application has begun to read the stream that failed."""
    NOT_RETRYABLE = "not_retryable"
    """The failure is not in the table of what is retried."""
    ATTEMPTS = "attempts"
    """There were as many attempts as there may be."""
    BREAKER = "breaker"
    """The breaker rejects calls."""
    BUDGET = "budget"
    """The retry budget is spent."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request now."""

    number: int
    """0 for the first attempt, 1 for the first retry, ..."""
    timeouts: Timeouts
    """What this attempt may take; ``total`` is what is left of the call."""


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Wait before the next attempt."""

    seconds: float
    reason: Outcome
    """The outcome that led to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The call is over."""

    because: Because
    outcome: Outcome
    """Of the call: its last attempt's, or ``rejected`` when nothing was sent."""
    phase: Phase | None = None
    """What ran out: ``deadline`` when that ended the call, else of the last attempt."""
    retry_result: RetryResult | None = None
    """None when the call was never retried."""
    attempts: int = 0
    refusal: BreakerOpen | DeadlineExceeded | None = None
    """What to raise, when nothing was sent."""


Step = Send | WaitFor | Stop

_ABANDONED: Final = frozenset({Because.CANCELLED, Because.DEADLINE, Because.BUDGET})


class CallPlan:
    """The plan of one call; one thread or task at a time follows it."""

    __slots__ = (
        "_attempts",
        "_breaker",
        "_budget",
        "_clock",
        "_deadline",
        "_end",
        "_last",
        "_permit",
        "_policy",
        "_rng",
        "_sending",
        "_stopped",
        "_stream",
        "_take_all",
    )

    def __init__(
        self,
        policy: Policy,
        *,
        breaker: CircuitBreaker | None,
        budget: RetryBudget | None,
        deadline: Deadline | None,
        stream: bool,
        last: bool,
        clock: Callable[[], float],
        rng: Random,
    ) -> None:
        self._policy = policy
        self._breaker = breaker
        self._budget = budget
        self._deadline = deadline
        self._stream = stream
        self._take_all = last
        self._clock = clock
        self._rng = rng
        self._attempts = 0
        self._end: float | None = None
        self._last: Verdict | None = None
        self._permit: Permit | None = None
        self._sending = False
        self._stopped = False

    def next(self) -> Step:
        """Ask what to do, at the start and after a wait."""
        self._expect(sending=False)
        now = self._clock()
        first = self._attempts == 0
        try:
            if first:
                self._begin(now)
            elif not self._time_for(0.0, now):
                return self._stop(Because.DEADLINE)
            if self._breaker is not None:
                self._permit = self._breaker.acquire()
        except DeadlineExceeded as refusal:
            return self._stop(Because.DEADLINE, refusal)
        except BreakerOpen as refusal:
            return self._stop(Because.BREAKER, refusal)
        if first and self._budget is not None:
            self._budget.deposit()
        self._attempts += 1
        self._sending = True
        remaining = None if self._end is None else self._end - now
        return Send(self._attempts - 1, self._policy.timeouts.for_attempt(remaining, stream=self._stream))

    def ended(self, attempt: Ended) -> Step:
        """Report how the attempt ended, and ask what to do."""
        self._expect(sending=True)
        self._sending = False
        self._last = attempt.verdict
        self._tell_breaker(attempt)
        because = self._final(attempt)
        if because is not None:
            return self._stop(because)
        seconds = self._policy.retry.wait(self._attempts, attempt.hints, self._rng)
        if not self._time_for(seconds, self._clock()):
            return self._stop(Because.DEADLINE)
        if self._breaker is not None and self._breaker.rejects_for() > seconds:
            return self._stop(Because.BREAKER)
        if self._budget is not None and not self._budget.withdraw():
            return self._stop(Because.BUDGET)
        return WaitFor(seconds, attempt.verdict.outcome)

    def cancelled(self) -> Stop:
        """Report that the application gave up during a wait."""
        self._expect(sending=False)
        return self._stop(Because.CANCELLED)

    def _expect(self, *, sending: bool) -> None:
        if self._stopped or self._sending is not sending:
            now = "has stopped" if self._stopped else "has an attempt under way" if self._sending else "has none"
            raise RuntimeError(f"ended() follows Send, next() and cancelled() do not: this call {now}")

    def _begin(self, now: float) -> None:
        limit = self._policy.timeouts.total
        if self._deadline is not None:
            limit = self._deadline.allot(limit, last=self._take_all)
        if limit is not None:
            self._end = now + limit

    def _time_for(self, wait: float, now: float) -> bool:
        """Whether an attempt after ``wait`` seconds would have any time, and its chain's deadline not refuse it."""
        if self._end is not None and self._end - now <= wait:
            return False
        return self._deadline is None or self._deadline.remaining() - wait >= self._deadline.floor

    def _tell_breaker(self, attempt: Ended) -> None:
        permit, self._permit = self._permit, None
        if permit is None:
            return
        if attempt.verdict.outcome is Outcome.OK:
            permit.success(attempt.duration)
        else:
            permit.failure(attempt.verdict.outcome, attempt.duration)

    def _final(self, attempt: Ended) -> Because | None:  # noqa: PLR0911  # one return for each reason
        verdict = attempt.verdict
        if verdict.outcome is Outcome.OK:
            return Because.DONE
        if verdict.outcome is Outcome.CANCELLED:
            return Because.CANCELLED
        if verdict.phase is Phase.DEADLINE:
            return Because.DEADLINE
        if attempt.delivered:
            return Because.DELIVERED
        if not retryable(attempt):
            return Because.NOT_RETRYABLE
        if self._attempts >= self._policy.retry.max_attempts:
            return Because.ATTEMPTS
        return None

    def _stop(self, because: Because, refusal: BreakerOpen | DeadlineExceeded | None = None) -> Stop:
        self._stopped = True
        retried = self._attempts > 1
        result = (
            RetryResult.RECOVERED
            if because is Because.DONE
            else RetryResult.ABANDONED
            if because in _ABANDONED
            else RetryResult.EXHAUSTED
        )
        last = self._last or (CANCELLED if because is Because.CANCELLED else Verdict(Outcome.REJECTED))
        return Stop(
            because=because,
            outcome=last.outcome,
            phase=Phase.DEADLINE if because is Because.DEADLINE else last.phase,
            retry_result=result if retried else None,
            attempts=self._attempts,
            refusal=None if self._attempts else refusal,
        )


class Planner:
    """What the calls of one client or proxy share: the policy, the breakers, the retry budget, time and chance."""

    def __init__(
        self,
        policy: Policy,
        *,
        breakers: BreakerRegistry | None = None,
        budget: RetryBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: Random | None = None,
    ) -> None:
        self.policy = policy
        self._clock = clock
        self._rng = Random() if rng is None else rng
        if breakers is None and policy.breaker is not None:
            breakers = BreakerRegistry(policy.breaker, clock=clock, rng=self._rng)
        if budget is None and policy.retry_budget is not None:
            budget = RetryBudget(**asdict(policy.retry_budget), clock=clock)
        self.breakers = breakers
        """Shared when they were passed in, own when the policy asks for them, else None."""
        self.budget = budget

    def plan(
        self, host: str, model: str, *, stream: bool, deadline: Deadline | None = None, last: bool = False
    ) -> CallPlan:
        """Begin the plan of one call to ``model`` at ``host``.

        ``deadline`` is that of its chain (``current_deadline()``); ``last`` says that no call comes after it.
        """
        return CallPlan(
            self.policy,
            breaker=self.breakers.get(host, model) if self.breakers is not None else None,
            budget=self.budget,
            deadline=deadline,
            stream=stream,
            last=last,
            clock=self._clock,
            rng=self._rng,
        )
