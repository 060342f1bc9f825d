"""The two immutable records every way in ends in and every way out starts from.

Durations and offsets are seconds measured by a monotonic clock; only ``started_at`` is wall time (Unix seconds).
A record holds measurements and names, never content: no prompt, completion, header value or key.

Make them by keywords. Where one is made for each call, its values may be given in their order instead: passing twenty
keywords takes several times as long as all the rest.
"""

from dataclasses import dataclass

from sidecar.model.construction import cheaply_built
from sidecar.model.vocabulary import LimitKind, Outcome, Phase, Profile, RetryResult, Source


@cheaply_built
@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the API counted them."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    @property
    def prompt(self) -> int:
        """All tokens of the prompt, whether read from the cache or not."""
        return self.input + self.cache_read + self.cache_write


@cheaply_built
@dataclass(frozen=True, slots=True)
class RateLimit:
    """One rate limit as the response's headers told it; None where a header was missing."""

    kind: LimitKind
    limit: int | None = None
    remaining: int | None = None
    reset_at: float | None = None
    """When it is full again, in Unix seconds."""


@cheaply_built
@dataclass(frozen=True, slots=True)
class TraceRef:
    """The span a record belongs under, as lower-case hex; it also labels the exemplars."""

    trace_id: str
    span_id: str
    sampled: bool = True


@cheaply_built
@dataclass(frozen=True, slots=True)
class Wait:
    """A pause between two attempts of a call."""

    reason: Outcome
    """The outcome of the attempt before it."""
    at: float
    """When it began, from the start of the call."""
    seconds: float
    """How long it really took."""
    completed: bool = True
    """False when no attempt followed: a deadline or a cancellation ended the wait, or forbade it (0 seconds)."""


@cheaply_built
@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One HTTP request, told when it has ended (for a stream: when its reading has ended)."""

    source: Source
    endpoint: str
    """A route name such as ``messages``, never a raw path."""
    model: str
    """The requested model, or an empty string where a request names none."""
    profile: Profile
    stream: bool
    number: int
    """0 for the first attempt of a call, 1 for its first retry, ..."""
    started_at: float
    duration: float
    outcome: Outcome
    phase: Phase | None = None
    """What it waited for, when the outcome is ``timeout``."""
    status: int | None = None
    """The HTTP status, or None when no response came."""
    error_type: str | None = None
    """The API's error type (``overloaded_error``), else the exception's class name. Never a message."""
    method: str = "POST"
    host: str = ""
    """The upstream's host name; with ``model`` it names a breaker."""
    port: int | None = None
    request_id: str | None = None
    first_byte: float | None = None
    """From the attempt's start to the response's headers."""
    first_token: float | None = None
    """From the attempt's start to the first ``content_block_delta``."""
    max_gap: float | None = None
    """The longest silence of its stream; None when there was no stream to be silent."""
    max_gap_at: float | None = None
    """When that silence began, from the attempt's start."""
    limits: tuple[RateLimit, ...] = ()
    trace: TraceRef | None = None


@cheaply_built
@dataclass(frozen=True, slots=True)
class CallRecord:
    """One request as the application made it, with all its retries and the reading of its stream."""

    source: Source
    endpoint: str
    model: str
    profile: Profile
    stream: bool
    started_at: float
    duration: float
    outcome: Outcome
    phase: Phase | None = None
    """What ran out: of the last attempt, or ``deadline`` when the call's own total ended it (also in a wait)."""
    attempts: int = 1
    """HTTP requests sent; 0 when the call was rejected."""
    waits: tuple[Wait, ...] = ()
    retry_result: RetryResult | None = None
    """None when the call was never retried."""
    error_type: str | None = None
    host: str = ""
    request_id: str | None = None
    """The API's id of the last attempt."""
    first_token: float | None = None
    """From the start of the call, retries and waits included, to the first ``content_block_delta``."""
    output_seconds: float | None = None
    """From the first token to the end of the answer: what ``usage.output`` is divided by for tokens a second."""
    usage: Usage | None = None
    stop_reason: str | None = None
    trace: TraceRef | None = None
