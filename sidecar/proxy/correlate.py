"""Attempts put together to calls: which request is the retry of which, and when no further one will come.

A retry is known by its body, its trace and its target being those of an attempt that failed a moment ago. The official
SDKs also say how many came before it, which makes it certain; of others it is inferred.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from sidecar.model import CallRecord, Outcome, RetryResult, TraceRef, Wait
from sidecar.proxy.wheel import Timer, Wheel

BACKOFF_SECONDS: Final = 8.0
"""The longest the SDKs wait by themselves before they try again."""
SLACK_SECONDS: Final = 2.0
PATIENT_SECONDS: Final = 60.0
"""The same for clients that try ten times and more."""
MAX_PENDING: Final = 10_000

Key = tuple[object, ...]


@dataclass(slots=True, kw_only=True)
class Open:
    """A call whose last attempt failed, and that may go on with another."""

    first: float
    """When its first attempt began, by the loop's clock."""
    ended: float
    """When its last one ended."""
    known: float
    """When the client could know of that: another may have begun since."""
    requests: int
    """How often the client has asked; the proxy may have tried more often than that, or not at all."""
    attempts: int
    waits: tuple[Wait, ...]
    record: CallRecord
    """What to say if no further attempt comes."""


@dataclass(slots=True, kw_only=True)
class Past:
    """What came before an attempt within its call."""

    first: float
    started_at: float
    requests: int = 0
    attempts: int = 0
    waits: tuple[Wait, ...] = ()
    record: CallRecord | None = None
    """How the last attempt ended; None where nothing was sent yet."""
    trace: TraceRef | None = None
    """The span its attempts stand under, where one came before."""


class Correlation(Protocol):
    """Whoever puts attempts together to calls."""

    def past(self, key: Key, now: float, started_at: float, *, number: int | None) -> Past:
        """Find what came before an attempt that begins now. ``number`` is what the client says of it, if anything."""

    def ended(
        self,
        key: Key,
        past: Past,
        record: CallRecord,
        *,
        began: float,
        now: float,
        again_within: float | None,
        known: float | None = None,
    ) -> None:
        """Take the end of an attempt, whose record speaks of it alone.

        ``again_within`` is how long the next may take to come; None when none will. ``known``: when the client could
        know of the end, where that was earlier: the next, which another process may see, can begin at once.
        """

    def close(self) -> None:
        """Tell of every call that might have gone on."""


def whole(past: Past, record: CallRecord, *, began: float, now: float) -> CallRecord:
    """Make the record of a call out of its last request's and what came before."""
    if not (past.requests or past.attempts):
        return record
    later = began - past.first
    attempts = past.attempts + record.attempts
    waits = past.waits
    result = record.retry_result
    if not record.attempts:
        # Nothing was sent this time: what the last attempt was, the call is.
        record = past.record or record
        later = 0.0
        waits = waits and (*waits[:-1], replace(waits[-1], completed=False))
        result = record.retry_result
    elif attempts > 1:
        waits = (*waits, *(replace(wait, at=wait.at + later) for wait in record.waits))
        result = result or _result(record.outcome)
    return replace(
        record,
        started_at=past.started_at,
        duration=now - past.first,
        attempts=attempts,
        waits=waits,
        retry_result=result,
        first_token=None if record.first_token is None else record.first_token + later,
    )


class Calls:
    """The calls that may go on, where one process sees all their attempts."""

    def __init__(self, wheel: Wheel, tell: Callable[[CallRecord], None], *, limit: int = MAX_PENDING) -> None:
        self._wheel = wheel
        self._tell = tell
        self._limit = limit
        self._open: dict[Key, deque[tuple[Open, Timer]]] = {}
        self._count = 0

    @property
    def waiting(self) -> int:
        """How many calls may still go on."""
        return self._count

    def past(self, key: Key, now: float, started_at: float, *, number: int | None) -> Past:
        """Find what came before an attempt that begins now. ``number`` is what the client says of it, if anything."""
        alone = Past(first=now, started_at=started_at, requests=number or 0, attempts=number or 0)
        if number == 0:
            return alone
        waiting = self._open.get(key, ())
        for entry in waiting:
            call, timer = entry
            # What began before it was known that the other had failed is no retry of it, though looked into after that.
            if call.known <= now and (number is None or call.requests == number):
                self._remove(key, entry)
                timer.close()
                wait = Wait(reason=call.record.outcome, at=call.ended - call.first, seconds=max(0.0, now - call.ended))
                return Past(
                    first=call.first,
                    started_at=call.record.started_at,
                    requests=call.requests,
                    attempts=call.attempts,
                    waits=(*call.waits, wait) if call.attempts else (),
                    record=call.record if call.attempts else None,
                    trace=call.record.trace,
                )
        return alone

    def ended(
        self,
        key: Key,
        past: Past,
        record: CallRecord,
        *,
        began: float,
        now: float,
        again_within: float | None,
        known: float | None = None,
    ) -> None:
        """Take the end of a request, whose record speaks of it alone: of one attempt, or of what the proxy made of it.

        The rest is as `Correlation` says.
        """
        record = whole(past, record, began=began, now=now)
        if again_within is None:
            self._tell(record)
            return
        if self._count >= self._limit:
            self._close_oldest()
        call = Open(
            first=past.first,
            ended=now,
            known=now if known is None else known,
            requests=(past.requests or past.attempts) + 1,
            attempts=record.attempts,
            waits=record.waits,
            record=record,
        )
        timer = self._wheel.timer(lambda: self._expired(key, entry))
        entry = (call, timer)
        self._open.setdefault(key, deque()).append(entry)
        self._count += 1
        timer.after(again_within)

    def close(self) -> None:
        """Tell of every call that might have gone on."""
        while self._open:
            self._close_oldest()

    def _close_oldest(self) -> None:
        key = next(iter(self._open))
        self._expired(key, self._open[key][0])

    def _expired(self, key: Key, entry: tuple[Open, Timer]) -> None:
        self._remove(key, entry)
        entry[1].close()
        self._tell(entry[0].record)

    def _remove(self, key: Key, entry: tuple[Open, Timer]) -> None:
        waiting = self._open[key]
        waiting.remove(entry)
        self._count -= 1
        if not waiting:
            del self._open[key]


def _result(outcome: Outcome) -> RetryResult:
    if outcome is Outcome.OK:
        return RetryResult.RECOVERED
    return RetryResult.ABANDONED if outcome is Outcome.CANCELLED else RetryResult.EXHAUSTED
