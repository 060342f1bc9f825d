"""The table of metric families: names, types, labels, help, units and how processes' values add up.

Pure data. It is the one place a family is named; recording, rendering, merging and the reference table read it.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final


class Kind(StrEnum):
    """The type of a family, as the exposition formats spell it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(Enum):
    """What becomes of one series when several processes report it."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    NEWEST = "newest"


@dataclass(frozen=True, slots=True)
class Octaves:
    """A histogram's classic buckets: every bound 2**(n/2) with ``2**low`` <= bound <= ``2**high``."""

    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric family."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: Octaves | None = None
    merge: Merge = Merge.SUM


LATENCY: Final = Octaves(-7, 12)
"""7.8 ms to 4,096 s: covers 10 ms to 1 h."""
PROMPT: Final = Octaves(4, 21)
"""16 to 2,097,152 tokens."""
RATE: Final = Octaves(0, 12)
"""1 to 4,096 tokens a second."""


def _counter(name: str, labels: str, text: str, unit: str = "") -> Family:
    return Family(name=name, kind=Kind.COUNTER, labels=_labels(name, labels), help=text, unit=unit)


def _gauge(name: str, labels: str, text: str, unit: str = "", merge: Merge = Merge.SUM) -> Family:
    return Family(name=name, kind=Kind.GAUGE, labels=_labels(name, labels), help=text, unit=unit, merge=merge)


def _histogram(name: str, labels: str, text: str, unit: str = "seconds", buckets: Octaves = LATENCY) -> Family:
    return Family(name=name, kind=Kind.HISTOGRAM, labels=_labels(name, labels), help=text, unit=unit, buckets=buckets)


def _labels(name: str, labels: str) -> tuple[str, ...]:
    return (*labels.split(), *(("source",) if name.startswith("claude_") else ()))


CALLS: Final = _counter(
    "claude_calls_total",
    "endpoint model profile stream outcome",
    "Calls as the application made them, with all their retries, by how they ended.",
)
CALL_DURATION: Final = _histogram(
    "claude_call_duration_seconds",
    "endpoint model profile stream outcome",
    "How long calls took, with retries, waits and the reading of the stream.",
)
ATTEMPTS: Final = _counter(
    "claude_attempts_total",
    "endpoint model profile outcome status",
    'HTTP requests within calls, by outcome and HTTP status ("none" when no response came).',
)
ATTEMPT_DURATION: Final = _histogram(
    "claude_attempt_duration_seconds",
    "endpoint model profile outcome",
    "How long single HTTP requests took, with the reading of the stream.",
)
TIMEOUTS: Final = _counter(
    "claude_timeouts_total",
    "endpoint model profile phase",
    "Attempts that timed out, and deadlines that ended a wait, by what was waited for.",
)
FIRST_TOKEN: Final = _histogram(
    "claude_first_token_seconds",
    "endpoint model profile",
    "From the start of the call, retries and waits included, to the first token.",
)
MAX_GAP: Final = _histogram(
    "claude_stream_max_gap_seconds",
    "endpoint model",
    "The longest silence of each stream, one observation a stream.",
)
RETRIES: Final = _counter(
    "claude_retries_total",
    "endpoint model reason",
    "Attempts made again, by the outcome that led to it.",
)
RETRIED_CALLS: Final = _counter(
    "claude_retried_calls_total",
    "endpoint model result",
    "Calls that were retried, by how they came out.",
)
RETRY_WAIT: Final = _histogram(
    "claude_retry_wait_seconds",
    "reason",
    "How long calls waited before an attempt was made again.",
)
RETRY_BUDGET: Final = _gauge(
    "claude_retry_budget_ratio",
    "scope",
    "How full the retry budget is: 1 is full, 0 forbids retries. Of several processes the emptiest.",
    "ratio",
    Merge.MIN,
)
BREAKER_STATE: Final = _gauge(
    "claude_breaker_state",
    "breaker state",
    "1 for the state the breaker is in, 0 for the others; over several processes, how many are in it.",
)
BREAKER_TRANSITIONS: Final = _counter(
    "claude_breaker_transitions_total",
    "breaker from to",
    "Changes of a breaker's state.",
)
BREAKER_REJECTIONS: Final = _counter(
    "claude_breaker_rejections_total",
    "breaker",
    "Calls a breaker refused to send.",
)
BREAKER_FAILURE_RATIO: Final = _gauge(
    "claude_breaker_failure_ratio",
    "breaker",
    "The share of failures in the breaker's window. Of several processes the worst.",
    "ratio",
    Merge.MAX,
)
IN_FLIGHT: Final = _gauge("claude_in_flight", "endpoint model", "Calls under way.")
IN_FLIGHT_OLDEST: Final = _gauge(
    "claude_in_flight_oldest_seconds",
    "endpoint model",
    "The age of the oldest call under way; 0 when there is none.",
    "seconds",
    Merge.MAX,
)
IN_FLIGHT_SILENT: Final = _gauge(
    "claude_in_flight_silent_seconds",
    "endpoint model",
    "The longest current wait for the next byte; 0 when nobody waits.",
    "seconds",
    Merge.MAX,
)
TIMEOUT_SETTING: Final = _gauge(
    "claude_timeout_setting_seconds",
    "profile phase",
    "The timeout in force; a phase without one has no series.",
    "seconds",
    Merge.NEWEST,
)
TOKENS: Final = _counter("claude_tokens_total", "model kind", "Tokens as the API counted them.", "tokens")
PROMPT_TOKENS: Final = _histogram(
    "claude_prompt_tokens",
    "endpoint model",
    "Tokens of the prompt of each call, whether read from the cache or not.",
    "tokens",
    PROMPT,
)
OUTPUT_RATE: Final = _histogram(
    "claude_output_tokens_per_second",
    "model",
    "Output tokens a second, from the first token to the end of the answer.",
    "",
    RATE,
)
STOPS: Final = _counter("claude_stops_total", "model reason", "Answers by their stop_reason.")
RATELIMIT_LIMIT: Final = _gauge(
    "claude_ratelimit_limit", "kind", "The rate limit, as the newest response told it.", "", Merge.NEWEST
)
RATELIMIT_REMAINING: Final = _gauge(
    "claude_ratelimit_remaining", "kind", "What is left of the rate limit.", "", Merge.NEWEST
)
RATELIMIT_RESET: Final = _gauge(
    "claude_ratelimit_reset_timestamp_seconds",
    "kind",
    "When the rate limit is full again, in Unix seconds.",
    "seconds",
    Merge.NEWEST,
)
BUILD_INFO: Final = _gauge("sidecar_build_info", "version", "1, with the version of claude-sidecar.")
DROPPED: Final = _counter(
    "sidecar_dropped_records_total", "reason", "Records that were not counted, because they made no sense or got lost."
)
OVERFLOWS: Final = _counter(
    "sidecar_label_overflows_total", "label", 'Label values replaced by "other" because the label was full.'
)
INTERNAL_ERRORS: Final = _counter(
    "sidecar_internal_errors_total", "where", "Faults of claude-sidecar itself, swallowed so that no call suffers."
)
EVENT_LOOP_LAG: Final = _gauge(
    "sidecar_event_loop_lag_seconds",
    "",
    "How late the event loop of the proxy or the collector runs.",
    "seconds",
    Merge.MAX,
)

FAMILIES: Final = (
    CALLS,
    CALL_DURATION,
    ATTEMPTS,
    ATTEMPT_DURATION,
    TIMEOUTS,
    FIRST_TOKEN,
    MAX_GAP,
    RETRIES,
    RETRIED_CALLS,
    RETRY_WAIT,
    RETRY_BUDGET,
    BREAKER_STATE,
    BREAKER_TRANSITIONS,
    BREAKER_REJECTIONS,
    BREAKER_FAILURE_RATIO,
    IN_FLIGHT,
    IN_FLIGHT_OLDEST,
    IN_FLIGHT_SILENT,
    TIMEOUT_SETTING,
    TOKENS,
    PROMPT_TOKENS,
    OUTPUT_RATE,
    STOPS,
    RATELIMIT_LIMIT,
    RATELIMIT_REMAINING,
    RATELIMIT_RESET,
    BUILD_INFO,
    DROPPED,
    OVERFLOWS,
    INTERNAL_ERRORS,
    EVENT_LOOP_LAG,
)
"""Every family, in the order they are exposed."""

BREAKER_REOPENS: Final = _gauge(
    "claude_breaker_reopens_timestamp_seconds",
    "breaker reason",
    "When an open breaker tries again, in Unix seconds, and why it opened; 0: not before somebody resets it.",
    "seconds",
    Merge.MAX,
)
UNEXPOSED: Final = (BREAKER_REOPENS,)
"""What processes tell each other for the console page; scrapers do not see it."""

BY_NAME: Final = {family.name: family for family in FAMILIES}


def of_kind(kind: Kind) -> tuple[Family, ...]:
    """Return the families of one type, in the order they are exposed."""
    return tuple(family for family in (*FAMILIES, *UNEXPOSED) if family.kind is kind)
