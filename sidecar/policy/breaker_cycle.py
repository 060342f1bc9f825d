"""The rules of a breaker: closed, open, half-open. One sequential machine that knows no lock, thread or callback.

Each phase is an object of its own, and its identity is its generation: a verdict on a call that was admitted in an
earlier phase finds another object in place and changes nothing. What time alone brings about happens at the moment it
was due, however late somebody looks.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from math import inf
from random import Random
from typing import Final

from sidecar.model import BreakerState, Outcome
from sidecar.policy.breaker_config import BreakerConfig
from sidecar.policy.window import SlidingCounts

_CALLS: Final = 0
_FAILURES: Final = 1
_SLOW: Final = 2


class Reason(StrEnum):
    """Why a breaker changed its state."""

    CONSECUTIVE = "consecutive"
    FAILURE_RATIO = "failure_ratio"
    SLOW_RATIO = "slow_ratio"
    ELAPSED = "elapsed"
    """The wait of an open breaker is over."""
    PROBES_PASSED = "probes_passed"
    PROBES_FAILED = "probes_failed"
    PROBES_SLOW = "probes_slow"
    PROBE_WAIT = "probe_wait"
    """A probe was outstanding for too long."""
    FORCED = "forced"
    DISABLED = "disabled"
    OBSERVED = "observed"
    RESET = "reset"


class Mark(Enum):
    """What a verdict means to a breaker."""

    GOOD = "good"
    FAILED = "failed"
    LIMITED = "limited"
    """A failure that says nothing of a streak: the service answered, and asked for less."""
    IGNORED = "ignored"


# Enum members are slow to look up, and these stand on the path of every call.
_GOOD: Final = Mark.GOOD
_IGNORED: Final = Mark.IGNORED

MARKS: Final = {
    Outcome.OK: Mark.GOOD,
    Outcome.RATE_LIMITED: Mark.LIMITED,
    Outcome.CLIENT_ERROR: Mark.IGNORED,
    Outcome.CANCELLED: Mark.IGNORED,
    Outcome.REJECTED: Mark.IGNORED,  # nothing was sent
    Outcome.TIMEOUT: Mark.FAILED,
    Outcome.OVERLOADED: Mark.FAILED,
    Outcome.SERVER_ERROR: Mark.FAILED,
    Outcome.CONNECTION_ERROR: Mark.FAILED,
    Outcome.TRUNCATED: Mark.FAILED,
}


@dataclass(frozen=True, slots=True)
class Counts:
    """Verdicts a phase has seen: in its window when closed, of its probes when half-open, the last ones when open."""

    calls: int = 0
    failures: int = 0
    slow: int = 0

    @property
    def failure_ratio(self) -> float:
        """Share of failures; 0 while there are no verdicts."""
        return self.failures / self.calls if self.calls else 0.0


class Closed:
    """Admits everything and watches."""

    __slots__ = ("_config", "_counts", "_slow_after", "_streak")
    state: Final = BreakerState.CLOSED

    def __init__(self, config: BreakerConfig, now: float) -> None:
        self._config = config
        self._slow_after = config.slow_after
        self._counts = SlidingCounts(3, int(config.window), now)
        self._streak = 0

    def judge(self, mark: Mark, duration: float, now: float) -> Reason | None:
        """Count a verdict; the answer is why the breaker must open, if it must."""
        if mark is _IGNORED:
            return None
        counts = self._counts
        counts.roll(now)
        counts.totals[_CALLS] += 1
        slow = self._slow_after is not None and duration > self._slow_after
        if slow:
            counts.totals[_SLOW] += 1
        if mark is _GOOD:
            self._streak = 0
            return self._ratio_crossed(now, failed=False) if slow else None
        counts.totals[_FAILURES] += 1
        if mark is Mark.FAILED:
            self._streak += 1
        if self._config.consecutive is not None and self._streak >= self._config.consecutive:
            return Reason.CONSECUTIVE
        return self._ratio_crossed(now, failed=True)

    def _ratio_crossed(self, now: float, *, failed: bool) -> Reason | None:
        calls, failures, slow = self._counts.within(now)
        config = self._config
        if calls < config.min_calls:
            return None
        # Dividing, and not multiplying, makes 3 of 10 exactly the 0.3 a user wrote.
        if failed and config.failure_ratio is not None and failures / calls >= config.failure_ratio:
            return Reason.FAILURE_RATIO
        return Reason.SLOW_RATIO if slow / calls >= config.slow_ratio else None

    def counts(self, now: float) -> Counts:
        """Count the verdicts in the window."""
        return Counts(*self._counts.within(now))


class Open:
    """Rejects everything until its wait is over."""

    __slots__ = ("_counts", "due")
    state: Final = BreakerState.OPEN

    def __init__(self, due: float, counts: Counts) -> None:
        self.due = due
        self._counts = counts

    def counts(self, _now: float) -> Counts:
        """Count the verdicts that opened it."""
        return self._counts


class HalfOpen:
    """Lets a few probes through and decides by their verdicts."""

    __slots__ = ("_calls", "_config", "_failures", "_outstanding", "_slow", "dropped")
    state: Final = BreakerState.HALF_OPEN

    def __init__(self, config: BreakerConfig) -> None:
        self._config = config
        self._outstanding: list[float] = []  # when each was admitted, oldest first; never more than `probes`
        self._calls = self._failures = self._slow = 0
        self.dropped: deque[float] = deque()
        """Probes lost without a verdict, by when they were admitted. Appending needs no lock, so a finalizer may."""

    def admit(self, now: float) -> bool:
        """Admit one more probe if there is room."""
        if len(self._outstanding) + self._calls >= self._config.probes:
            return False
        self._outstanding.append(now)
        return True

    def due(self) -> float:
        """When the oldest probe has been outstanding for too long; never while there is none."""
        while self.dropped:
            self._outstanding.remove(self.dropped.popleft())
        return self._outstanding[0] + self._config.probe_wait if self._outstanding else inf

    def judge(self, mark: Mark, duration: float, admitted: float) -> Reason | None:
        """Count a probe's verdict; the answer is why the breaker must close or reopen, if it must."""
        self._outstanding.remove(admitted)
        if mark is _IGNORED:
            return None
        config = self._config
        self._calls += 1
        if mark is not _GOOD:
            self._failures += 1
        if config.slow_after is not None and duration > config.slow_after:
            self._slow += 1
        # Without a ratio there is no share of failures that may be let pass.
        bearable = config.failure_ratio if config.failure_ratio is not None else 0.0
        if self._failures and self._failures / config.probes >= bearable:
            return Reason.PROBES_FAILED
        if self._slow / config.probes >= config.slow_ratio:
            return Reason.PROBES_SLOW
        return Reason.PROBES_PASSED if self._calls == config.probes else None

    def counts(self, _now: float) -> Counts:
        """Count the probes' verdicts."""
        return Counts(self._calls, self._failures, self._slow)


Phase = Closed | Open | HalfOpen
OnChange = Callable[[BreakerState, BreakerState, Reason], None]


class Cycle:
    """The phase a breaker is in, and how one follows another."""

    __slots__ = ("_config", "_on_change", "_rng", "_wait", "phase")

    def __init__(self, config: BreakerConfig, rng: Random, now: float, on_change: OnChange) -> None:
        self._config = config
        self._rng = rng
        self._on_change = on_change
        self._wait = config.open_for
        self.phase: Phase = Closed(config, now)

    def tick(self, now: float) -> None:
        """Let happen what time alone brings about."""
        while now >= (due := self.due()):
            if isinstance(self.phase, HalfOpen):
                self._reopen(self.phase, due, Reason.PROBE_WAIT)
            else:
                self._go(HalfOpen(self._config), Reason.ELAPSED)

    def due(self) -> float:
        """When time alone will next bring about a change: a wait ends, or the oldest probe is overdue."""
        phase = self.phase
        if isinstance(phase, Closed):
            return inf
        return phase.due if isinstance(phase, Open) else phase.due()

    def judge(self, admitted_in: object, mark: Mark, duration: float, admitted: float, now: float) -> None:
        """Count the verdict on a call, unless the phase that admitted it has passed."""
        phase = self.phase
        if isinstance(phase, Closed):
            if phase is admitted_in:
                reason = phase.judge(mark, duration, now)
                if reason is not None:
                    self._go(Open(now + self._wait, phase.counts(now)), reason)
            return
        self.tick(now)
        phase = self.phase
        if phase is admitted_in and isinstance(phase, HalfOpen):
            reason = phase.judge(mark, duration, admitted)
            if reason is Reason.PROBES_PASSED:
                self._wait = self._config.open_for
                self._go(Closed(self._config, now), reason)
            elif reason is not None:
                self._reopen(phase, now, reason)

    def _reopen(self, phase: HalfOpen, now: float, reason: Reason) -> None:
        self._wait = min(self._wait * 2, self._config.max_open_for)
        wait = self._wait * (1 - self._config.open_jitter * self._rng.random())
        self._go(Open(now + wait, phase.counts(now)), reason)

    def _go(self, phase: Phase, reason: Reason) -> None:
        before, self.phase = self.phase, phase
        self._on_change(before.state, phase.state, reason)
