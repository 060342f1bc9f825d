"""The circuit breaker as callers use it: permits, an operator's overrides, threads and callbacks.

The rules live in ``breaker_cycle``. The lock covers bookkeeping only, never the call and never a callback.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from random import Random
from threading import Lock, RLock
from types import TracebackType
from typing import Final, Self

from sidecar.model import BreakerState, Outcome, classify_exception
from sidecar.policy.breaker_config import BreakerConfig
from sidecar.policy.breaker_cycle import MARKS, Closed, Counts, Cycle, HalfOpen, Mark, Open, Reason
from sidecar.policy.check import Faults, SettingsError

_log = logging.getLogger(__name__)

OnTransition = Callable[[BreakerState, BreakerState, Reason], object]

_GOOD: Final = Mark.GOOD  # looked up once: members are slow to look up
_NO_PHASE: Final = object()
"""Stands at the door of a disabled breaker: a phase that will hear no verdict."""


class BreakerOpen(Exception):  # noqa: N818  # the name callers know; it is a state, not a fault of theirs
    """Nothing was sent: the breaker rejects calls."""

    def __init__(self, name: str, retry_after: float | None, state: BreakerState = BreakerState.OPEN) -> None:
        super().__init__(name, retry_after, state)
        self.name = name
        self.retry_after = retry_after
        """Seconds until the breaker decides anew; None when only an operator can (``forced_open``)."""
        self.state = state

    def __str__(self) -> str:
        if self.retry_after is None:
            return f"breaker {self.name!r} is {self.state}: it stays so until reset() is called"
        return f"breaker {self.name!r} is {self.state}: try again in {self.retry_after:.3g} s"


class Permit:
    """Leave to make one call. It ends once; what is reported after that changes nothing.

    As a context manager it measures the time and classifies what was raised, which passes through unchanged.
    """

    __slots__ = ("_admitted", "_breaker", "_entered", "_phase")

    def __init__(self, breaker: "CircuitBreaker", phase: object, admitted: float = 0.0) -> None:
        self._breaker = breaker
        self._phase = phase
        self._admitted = admitted

    def success(self, duration: float) -> None:
        """Report an answer that took ``duration`` seconds."""
        self._breaker._judge(self, _GOOD, duration)  # noqa: SLF001  # a permit is the breaker's own hand

    def failure(self, outcome: Outcome | str, duration: float) -> None:
        """Report how the call failed; an outcome that says nothing of the service's health is ignored."""
        mark = MARKS[Outcome(outcome)]
        if mark is Mark.GOOD:
            raise ValueError("a failure cannot have the outcome 'ok': report it with success(duration)")
        self._breaker._judge(self, mark, duration)  # noqa: SLF001

    def ignore(self) -> None:
        """Give the permit back without a verdict."""
        self._breaker._judge(self, Mark.IGNORED, 0.0)  # noqa: SLF001

    def __enter__(self) -> Self:
        self._entered = self._breaker._clock()  # noqa: SLF001
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        duration = self._breaker._clock() - self._entered  # noqa: SLF001
        if error is None:
            self.success(duration)
        else:
            self.failure(classify_exception(error).outcome, duration)


class _Probe(Permit):
    """A permit whose loss would be felt: there are only so many. Dropped without a verdict it counts as ignored."""

    __slots__ = ()

    def __del__(self) -> None:
        # The collector may run this anywhere, also while this very thread holds the breaker's lock: only note it.
        phase = self._phase
        if isinstance(phase, HalfOpen):
            phase.dropped.append(self._admitted)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSnapshot:
    """What a breaker has to tell at one moment."""

    name: str
    state: BreakerState
    counts: Counts
    rejected: int
    """Calls it has refused."""
    would_have_rejected: int
    """Calls it would have refused, had it not been observing only."""
    callback_errors: int


class CircuitBreaker:
    """Stops calling a service that does not answer, and finds out carefully when it does again.

    ``clock`` must never step back (``time.monotonic``); ``rng`` takes part of the wait off when it reopens.
    """

    __slots__ = (
        "__weakref__",
        "_busy",
        "_callback_errors",
        "_callbacks",
        "_clock",
        "_cycle",
        "_door",
        "_events",
        "_late",
        "_lock",
        "_override",
        "_rejected",
        "_rng",
        "_telling",
        "_would_have_rejected",
        "config",
        "name",
    )

    def __init__(
        self,
        name: str,
        *,
        window: float = 60.0,
        min_calls: int = 10,
        failure_ratio: float | None = 0.5,
        consecutive: int | None = 5,
        slow_after: float | None = None,
        slow_ratio: float = 1.0,
        open_for: float = 60.0,
        max_open_for: float = 300.0,
        open_jitter: float = 0.1,
        probes: int = 3,
        probe_wait: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        rng: Random | None = None,
    ) -> None:
        rng = Random() if rng is None else rng
        faults = Faults("circuit breaker")
        faults.text("name", name)
        faults.sources(clock, rng)
        try:
            self.config = BreakerConfig(
                window=window,
                min_calls=min_calls,
                failure_ratio=failure_ratio,
                consecutive=consecutive,
                slow_after=slow_after,
                slow_ratio=slow_ratio,
                open_for=open_for,
                max_open_for=max_open_for,
                open_jitter=open_jitter,
                probes=probes,
                probe_wait=probe_wait,
            )
        except SettingsError as error:
            faults.take(error)
        faults.stop_if_any()
        self.name = name
        self._clock = clock
        self._rng = rng
        # Re-entrant, because a finalizer or a signal handler may report a verdict while its thread holds the lock;
        # `_busy` then tells it to leave the verdict in `_late` rather than to count in the middle of counting.
        self._lock = RLock()
        self._busy = False
        self._late: deque[tuple[Permit, Mark, float]] = deque()
        self._events: deque[tuple[BreakerState, BreakerState, Reason]] = deque()
        self._telling = Lock()
        self._callbacks: tuple[OnTransition, ...] = ()
        self._callback_errors = 0
        self._rejected = 0
        self._would_have_rejected = 0
        self._override: BreakerState | None = None
        self._cycle = Cycle(self.config, rng, clock(), self._changed)
        # While every call is admitted, the phase that hears their verdicts; None while a call has to ask. It is read
        # without the lock: that one read is the moment a call is admitted.
        self._door: object | None = self._cycle.phase

    @property
    def state(self) -> BreakerState:
        """The state right now; what time alone brings about has happened by then."""
        with self._turn() as now:
            self._cycle.tick(now)
            state = self._state()
        self._tell()
        return state

    def acquire(self) -> Permit:
        """Ask to make a call: a permit, or ``BreakerOpen``."""
        door = self._door
        if door is not None:
            return Permit(self, door)
        with self._turn() as now:
            answer = self._ask(now)
        self._tell()
        if isinstance(answer, BreakerOpen):
            raise answer
        return answer

    def force_open(self) -> None:
        """Reject every call until ``reset()``."""
        self._put(BreakerState.FORCED_OPEN, Reason.FORCED)

    def disable(self) -> None:
        """Admit every call and record nothing until ``reset()``."""
        self._put(BreakerState.DISABLED, Reason.DISABLED)

    def observe_only(self) -> None:
        """Admit every call, and count and tell what would have happened, until ``reset()``."""
        self._put(BreakerState.OBSERVE_ONLY, Reason.OBSERVED)

    def reset(self) -> None:
        """Close, with an empty window and the first wait. A closed breaker stays as it is."""
        self._put(BreakerState.CLOSED, Reason.RESET)

    def on_transition(self, callback: OnTransition) -> OnTransition:
        """Call ``callback(before, after, reason)`` after every transition, in order, and never under the lock.

        While the breaker only observes, it is called for the transitions that would have been. What it raises is
        swallowed and counted.
        """
        with self._lock:
            self._callbacks = (*self._callbacks, callback)
        return callback

    def snapshot(self) -> BreakerSnapshot:
        """Everything a gauge wants to know, at one moment."""
        with self._turn() as now:
            self._cycle.tick(now)
            snapshot = BreakerSnapshot(
                name=self.name,
                state=self._state(),
                counts=self._cycle.phase.counts(now),
                rejected=self._rejected,
                would_have_rejected=self._would_have_rejected,
                callback_errors=self._callback_errors,
            )
        self._tell()
        return snapshot

    def rejects_for(self) -> float:
        """Seconds for which a call is certain to be rejected: 0 when one may be admitted, infinite when forced open.

        Asking takes no permit and counts as no rejection.
        """
        with self._turn() as now:
            self._cycle.tick(now)
            phase = self._cycle.phase
            if self._override is BreakerState.FORCED_OPEN:
                seconds = inf
            elif self._override is None and isinstance(phase, Open):
                seconds = phase.due - now
            else:
                seconds = 0.0
        self._tell()
        return seconds

    def _state(self) -> BreakerState:
        return self._override or self._cycle.phase.state

    def _ask(self, now: float) -> "Permit | BreakerOpen":
        self._cycle.tick(now)
        if self._door is not None:  # it opened since the caller looked
            return Permit(self, self._door)
        if self._override is BreakerState.FORCED_OPEN:
            self._rejected += 1
            return BreakerOpen(self.name, None, BreakerState.FORCED_OPEN)
        phase = self._cycle.phase
        if isinstance(phase, HalfOpen) and phase.admit(now):
            return _Probe(self, phase, now)
        if self._override is BreakerState.OBSERVE_ONLY:
            self._would_have_rejected += 1
            return Permit(self, None)  # it would not have been made, so nobody hears its verdict
        self._rejected += 1
        return BreakerOpen(self.name, self._cycle.due() - now, phase.state)

    def _judge(self, permit: Permit, mark: Mark, duration: float) -> None:
        with self._lock:
            if self._busy:
                self._late.append((permit, mark, duration))
                return
            try:
                self._busy = True
                phase, permit._phase = permit._phase, None  # noqa: SLF001
                self._cycle.judge(phase, mark, duration, permit._admitted, self._clock())  # noqa: SLF001
                if self._late:
                    self._count_late()
            finally:
                self._busy = False
        if self._events:
            self._tell()

    def _count_late(self) -> None:
        while self._late:
            permit, mark, duration = self._late.popleft()
            phase, permit._phase = permit._phase, None  # noqa: SLF001
            self._cycle.judge(phase, mark, duration, permit._admitted, self._clock())  # noqa: SLF001

    @contextmanager
    def _turn(self) -> Iterator[float]:
        with self._lock:
            outer = self._busy
            try:
                self._busy = True
                if not outer:
                    self._count_late()
                yield self._clock()
            finally:
                self._busy = outer

    def _put(self, state: BreakerState, reason: Reason) -> None:
        with self._turn() as now:
            self._cycle.tick(now)
            before = self._state()
            if before is not state:
                self._override = None if state is BreakerState.CLOSED else state
                # A new cycle is a new generation: what was permitted before has no say any more.
                self._cycle = Cycle(self.config, self._rng, now, self._changed)
                self._changed(before, state, reason)
        self._tell()

    def _changed(self, before: BreakerState, after: BreakerState, reason: Reason) -> None:
        phase = self._cycle.phase
        if self._override is BreakerState.DISABLED:
            self._door = _NO_PHASE
        elif self._override is not BreakerState.FORCED_OPEN and isinstance(phase, Closed):
            self._door = phase
        else:
            self._door = None
        self._events.append((before, after, reason))

    def _tell(self) -> None:
        # One thread tells at a time, so that callbacks hear the transitions in their order; whoever finds it busy
        # may leave, for the teller looks again after it has let go.
        while self._events and self._telling.acquire(blocking=False):
            try:
                while self._events:
                    event = self._events.popleft()
                    for callback in self._callbacks:
                        try:
                            callback(*event)
                        except Exception:  # noqa: BLE001  # whatever it is, no call shall suffer from it
                            self._callback_errors += 1
                            _log.exception("breaker %r: a transition callback failed", self.name)
            finally:
                self._telling.release()
