"""Colours and what they mean, once for every dashboard.

A hue carries a meaning rather than a rank: blue is your own side, orange the API's, pink and violet your own limits,
grey what does not count. Within each set the colours stay apart with every common colour blindness (a test computes
it), and no panel relies on colour alone: series carry names, states carry words.
"""

from collections.abc import Mapping
from typing import Final

from sidecar.model import BreakerState, LimitKind, Outcome, Phase, Profile, RetryResult, TokenKind

GOOD: Final = "#1FA187"
NOTICE: Final = "#F0BE2C"
BAD: Final = "#D9541E"
QUIET: Final = "#7A828C"
PLAIN: Final = "text"
"""What is neither good nor bad: Grafana's own text colour, in both themes."""
HIDDEN: Final = "transparent"

PERCENTILES: Final[Mapping[str, str]] = {"p50": "#8FD3EE", "p95": "#2F7FD1", "p99": "#E0559A"}

OUTCOMES: Final[Mapping[str, str]] = {
    Outcome.OK: GOOD,
    Outcome.TIMEOUT: BAD,
    Outcome.OVERLOADED: "#F2A65A",
    Outcome.SERVER_ERROR: "#B8387F",
    Outcome.RATE_LIMITED: "#F0E442",
    Outcome.CONNECTION_ERROR: "#2F74C0",
    Outcome.TRUNCATED: "#9ECBFF",
    Outcome.REJECTED: "#5F3596",
    Outcome.CLIENT_ERROR: "#C4CAD0",
    Outcome.CANCELLED: "#4B5058",
}

PHASES: Final[Mapping[str, str]] = {
    Phase.POOL: "#9ECBFF",
    Phase.CONNECT: "#3E8EDE",
    Phase.WRITE: "#23599C",
    Phase.FIRST_BYTE: BAD,
    Phase.STALL: "#F7B977",
    Phase.DEADLINE: "#CC79A7",
    Phase.GATEWAY: "#F0E442",
    Phase.CLIENT: "#6B7280",
}

RESULTS: Final[Mapping[str, str]] = {
    RetryResult.RECOVERED: GOOD,
    RetryResult.EXHAUSTED: BAD,
    RetryResult.ABANDONED: "#5F666D",
}

TOKENS: Final[Mapping[str, str]] = {
    TokenKind.CACHE_READ: GOOD,
    TokenKind.CACHE_WRITE: "#F0E442",
    TokenKind.INPUT: "#9ECBFF",
    TokenKind.OUTPUT: "#A97BE8",
}

LIMITS: Final[Mapping[str, str]] = {
    LimitKind.REQUESTS: "#2C6CB0",
    LimitKind.INPUT_TOKENS: "#9ECBFF",
    LimitKind.OUTPUT_TOKENS: "#F2A65A",
    LimitKind.TOKENS: "#F0E442",
}

BREAKER_STATES: Final[Mapping[str, tuple[int, str]]] = {
    BreakerState.CLOSED: (0, GOOD),
    BreakerState.OBSERVE_ONLY: (1, "#9ECBFF"),
    BreakerState.DISABLED: (2, "#C8CDD2"),
    BreakerState.HALF_OPEN: (3, "#F0E442"),
    BreakerState.OPEN: (4, BAD),
    BreakerState.FORCED_OPEN: (5, "#A83279"),
}
"""State -> how bad it is (of several processes the worst is shown), and its colour."""

SEVERITIES: Final = {"page": BAD, "ticket": NOTICE, "info": "#9ECBFF"}

PROFILES: Final[Mapping[str, str]] = {
    Profile.INTERACTIVE: "#4F9BD9",
    Profile.REALTIME: BAD,
    Profile.AGENTIC: "#F2A65A",
    Profile.BACKGROUND: "#7A828C",
    Profile.DEFAULT: "#F0E442",
}
