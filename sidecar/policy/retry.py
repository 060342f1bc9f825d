"""Which failures are tried again, and after what wait. The table is closed: what it does not name is never retried."""

from dataclasses import dataclass
from random import Random
from typing import Final, Literal, get_args

from sidecar.model import ERROR_STATUS, Outcome, Phase, Verdict
from sidecar.policy.check import Faults
from sidecar.policy.hints import NO_HINTS, Hints

Jitter = Literal["full", "equal", "none"]

_RETRIED_STATUS: Final = frozenset({408, 409, 429, *range(500, 600)})  # 529 is among them
_RETRIED_WITHOUT_ANSWER: Final = frozenset({Outcome.CONNECTION_ERROR, Outcome.TIMEOUT})
_NOT_THE_SERVICE: Final = frozenset({Phase.DEADLINE, Phase.CLIENT})
_FIRST_ERROR: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How an attempt ended, as far as a decision needs it."""

    verdict: Verdict
    duration: float
    """Seconds it took, as the breaker's rule for slow calls should see it."""
    status: int | None = None
    """The HTTP status; None when not a byte of an answer came."""
    hints: Hints = NO_HINTS
    """What the answer's headers said of a retry."""
    delivered: bool = False
    """Whether the first byte of a stream reached the application: from then on nobody may start over."""


def retryable(ended: Ended) -> bool:
    """Look an attempt up in the table of what is retried.

    Retried are connection errors and timeouts before any byte of the answer, the statuses 408, 409, 429 and 5xx
    (529 too), and what ``x-should-retry`` asks for. An ``event: error`` follows the status its type stands for.
    Never retried: what the application has begun to read or has given up, a deadline that ran out, a spend limit.
    """
    verdict = ended.verdict
    if ended.delivered or verdict.outcome in {Outcome.OK, Outcome.CANCELLED} or verdict.phase in _NOT_THE_SERVICE:
        return False
    status, asked = ended.status, ended.hints.should_retry
    if status is None:
        return verdict.outcome in _RETRIED_WITHOUT_ANSWER and verdict.phase is not Phase.STALL
    if status < _FIRST_ERROR:  # an error inside a stream that began well, and its headers knew nothing of it
        status, asked = ERROR_STATUS.get(verdict.error_type or ""), None
    if status == ERROR_STATUS["rate_limit_error"] and verdict.outcome is Outcome.CLIENT_ERROR:
        return False  # a spend limit: no header turns waiting into money
    return asked if asked is not None else status in _RETRIED_STATUS


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a call is tried, and how long it waits in between."""

    max_attempts: int = 3
    """Requests in all, the first included."""
    base: float = 0.5
    """Seconds before the first retry; each further one doubles them."""
    cap: float = 8.0
    """The most they grow to."""
    jitter: Jitter = "full"
    """``full`` waits anything up to that, ``equal`` at least half of it, ``none`` exactly that."""
    retry_after_cap: float = 60.0
    """The most a wait the server asked for may be; a longer one is cut to it."""

    def __post_init__(self) -> None:
        faults = Faults("retry")
        faults.whole("max_attempts", self.max_attempts, least=1, most=100)
        if faults.number("base", self.base, least=0):
            faults.number("cap", self.cap, least=self.base)
        else:
            faults.number("cap", self.cap, least=0)
        faults.choice("jitter", self.jitter, get_args(Jitter))
        faults.number("retry_after_cap", self.retry_after_cap, least=0)
        faults.stop_if_any()

    def wait(self, retry: int, hints: Hints, rng: Random) -> float:
        """Seconds before retry number ``retry`` (the first is 1): what the server asked for, or else the backoff."""
        if hints.after is not None:
            return min(hints.after, self.retry_after_cap)
        longest = min(self.base * 2.0 ** (retry - 1), self.cap)
        if self.jitter == "full":
            return longest * rng.random()
        return longest * (1 + rng.random()) / 2 if self.jitter == "equal" else longest
