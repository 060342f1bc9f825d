"""Ground truth: what really happened to every attempt, so that tests can compare it with what was measured.

Holds timings, counts and names, never content or keys. Memory is bounded: the newest attempts are kept, and the
counts go on counting all of them.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

__all__ = ["MAX_ATTEMPTS", "Attempt", "End", "Truth"]

MAX_ATTEMPTS: Final = 100_000
"""How many attempts are remembered; at about 1 kB each."""


class End(StrEnum):
    """How an attempt ended, seen from the server."""

    COMPLETE = "complete"
    """All that was meant to be sent was sent, whatever its status."""
    CUT = "cut"
    """The server closed the connection before the body was finished, or before any answer."""
    ENDED_EARLY = "ended_early"
    """The server ended the body properly, but too early: a stream without ``message_stop``, or half a JSON body."""
    RESET = "reset"
    """The server reset the connection."""
    CLIENT_LEFT = "client_left"
    """The client closed the connection first."""
    SERVER_STOPPED = "server_stopped"
    """The server was stopped while it was under way."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One request and what became of it. All times are Unix seconds whose differences are monotonic."""

    sequence: int
    request_id: str
    method: str
    path: str
    endpoint: str
    model: str
    stream: bool
    retry_count: int | None
    trace_id: str | None
    span_id: str | None
    fault: str
    """As ``x-chaos`` would ask for it; ``ok`` for none."""
    forced: bool
    """Whether the request asked for it; else the scenario drew it."""
    phase: str
    """The scenario's phase it arrived in."""
    started: float
    """When its first byte arrived."""
    received: float
    """When its last byte arrived."""
    status: int | None = None
    error_type: str | None = None
    headers_sent_at: float | None = None
    first_delta_at: float | None = None
    """When the first ``content_block_delta`` was sent."""
    last_sent_at: float | None = None
    max_gap: float | None = None
    """The longest silence from the headers to the end, or to now."""
    ended: float | None = None
    end: End | None = None
    """None while it is under way."""
    events: int = 0
    """Content events sent."""
    bytes: int = 0
    """Bytes sent, headers included."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    """What the usage says, or would have said."""
    stop_reason: str | None = None


@dataclass(slots=True)
class _Counts:
    total: int = 0
    ended: int = 0
    forgotten: int = 0
    by_fault: Counter[str] = field(default_factory=Counter)
    by_status: Counter[str] = field(default_factory=Counter)
    by_end: Counter[str] = field(default_factory=Counter)
    by_endpoint: Counter[str] = field(default_factory=Counter)


class Truth:
    """The log of attempts."""

    def __init__(self, wall: Callable[[], float], clock: Callable[[], float], limit: int = MAX_ATTEMPTS) -> None:
        self._attempts: deque[Attempt] = deque(maxlen=limit)
        self._counts = _Counts()
        self._offset = wall() - clock()
        self.on_idle: Callable[[], None] | None = None
        """Called when the last attempt under way has ended."""

    @property
    def total(self) -> int:
        """How many attempts have begun."""
        return self._counts.total

    @property
    def under_way(self) -> int:
        """How many attempts have begun and not ended."""
        return self._counts.total - self._counts.ended

    def wall(self, moment: float) -> float:
        """Turn a moment of the loop's clock into Unix seconds."""
        return moment + self._offset

    def begin(self, attempt: Attempt) -> None:
        """Remember an attempt that has arrived."""
        counts = self._counts
        counts.total += 1
        counts.by_fault[attempt.fault.partition(";")[0]] += 1
        counts.by_endpoint[attempt.endpoint] += 1
        if len(self._attempts) == self._attempts.maxlen:
            counts.forgotten += 1
        self._attempts.append(attempt)

    def finish(self, attempt: Attempt, end: End, moment: float) -> None:
        """Write down how an attempt ended."""
        attempt.end = end
        attempt.ended = self.wall(moment)
        self._counts.ended += 1
        self._counts.by_end[end.value] += 1
        self._counts.by_status[str(attempt.status or "none")] += 1
        if not self.under_way and self.on_idle is not None:
            self.on_idle()

    def reset(self) -> None:
        """Forget all that has ended; what is under way stays."""
        under_way = [attempt for attempt in self._attempts if attempt.end is None]
        kept = self.under_way
        self._attempts.clear()
        self._attempts.extend(under_way)
        self._counts = _Counts(total=kept, forgotten=kept - len(under_way))
        for attempt in under_way:
            self._counts.by_fault[attempt.fault.partition(";")[0]] += 1
            self._counts.by_endpoint[attempt.endpoint] += 1

    def attempts(self, *, since: int = 0, limit: int | None = None) -> tuple[Attempt, ...]:
        """Return the remembered attempts in the order they arrived, those under way too."""
        found = tuple(attempt for attempt in self._attempts if attempt.sequence >= since)
        return found if limit is None else found[:limit]

    def counts(self) -> dict[str, Any]:
        """Count all attempts since the start or the last reset, forgotten ones too."""
        counts = self._counts
        return {
            "total": counts.total,
            "ended": counts.ended,
            "under_way": self.under_way,
            "forgotten": counts.forgotten,
            "by_fault": dict(counts.by_fault),
            "by_status": dict(counts.by_status),
            "by_end": dict(counts.by_end),
            "by_endpoint": dict(counts.by_endpoint),
        }
