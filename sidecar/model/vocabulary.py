"""The closed sets of words the whole project speaks in; every other module imports them from here.

A member *is* the label value users see in their metrics, so renaming one breaks dashboards and alerts.
"""

from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """How an attempt, or a whole call, ended."""

    OK = "ok"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    CONNECTION_ERROR = "connection_error"
    CLIENT_ERROR = "client_error"
    TRUNCATED = "truncated"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    """Of a call only: nothing was sent (breaker open, deadline already spent, the proxy's own limit)."""


class Phase(StrEnum):
    """What a call was waiting for when its time ran out."""

    POOL = "pool"
    CONNECT = "connect"
    WRITE = "write"
    FIRST_BYTE = "first_byte"
    STALL = "stall"
    DEADLINE = "deadline"
    GATEWAY = "gateway"
    CLIENT = "client"


class Profile(StrEnum):
    """The kind of use a call serves; timeouts and objectives differ by it."""

    INTERACTIVE = "interactive"
    BACKGROUND = "background"
    REALTIME = "realtime"
    AGENTIC = "agentic"
    DEFAULT = "default"


class Source(StrEnum):
    """Who saw the call: the instrumented client, the proxy, or the proxy's heuristics."""

    CLIENT = "client"
    PROXY = "proxy"
    INFERRED = "inferred"


class RetryResult(StrEnum):
    """How a call that was retried came out."""

    RECOVERED = "recovered"
    EXHAUSTED = "exhausted"
    ABANDONED = "abandoned"


class TokenKind(StrEnum):
    """What a token was counted as."""

    INPUT = "input"
    OUTPUT = "output"
    CACHE_READ = "cache_read"
    CACHE_WRITE = "cache_write"


class LimitKind(StrEnum):
    """What a rate limit is counted in."""

    REQUESTS = "requests"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    TOKENS = "tokens"


class BreakerState(StrEnum):
    """The state of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"
    OBSERVE_ONLY = "observe_only"


REJECTING: Final = frozenset({BreakerState.OPEN, BreakerState.FORCED_OPEN})
"""The states in which a breaker lets no call through."""

ATTEMPT_OUTCOMES: Final = tuple(outcome for outcome in Outcome if outcome is not Outcome.REJECTED)
"""The outcomes a single HTTP request can have."""

NEVER_COUNTED: Final = frozenset({Outcome.CLIENT_ERROR, Outcome.CANCELLED})
"""Outcomes that say nothing of the service's health: on neither side of an availability ratio."""

AVAILABILITY_FAILURES: Final = frozenset(Outcome) - NEVER_COUNTED - {Outcome.OK}
"""Outcomes that spend an availability objective's budget; an objective may take ``rate_limited`` out."""
