"""The series one record touches, looked up once per combination of labels and kept together.

Looking them up also makes the counters of whatever may yet happen to the same endpoint and model, at 0: `rate()`
cannot see the first failure of a counter that was not there before it.
"""

from typing import Final, NamedTuple

from sidecar.model import Outcome, Phase, RetryResult, TokenKind
from sidecar.telemetry import families as f
from sidecar.telemetry.guard import NONE
from sidecar.telemetry.store import Counter, Store

_USUAL_STATUS: Final = {
    Outcome.OK: "200",
    Outcome.TIMEOUT: NONE,
    Outcome.RATE_LIMITED: "429",
    Outcome.OVERLOADED: "529",
    Outcome.SERVER_ERROR: "500",
    Outcome.CONNECTION_ERROR: NONE,
}
"""How attempts end when they end in the ways one watches for: these exist before the first of them."""
_USUAL_REASONS: Final = tuple(outcome for outcome in _USUAL_STATUS if outcome is not Outcome.OK)


class AttemptLabels(NamedTuple):
    """The labels of an attempt, as the guard let them through."""

    endpoint: str
    model: str
    profile: str
    outcome: str
    status: str
    source: str


class CallLabels(NamedTuple):
    """The labels of a call, as the guard let them through."""

    endpoint: str
    model: str
    profile: str
    stream: str
    outcome: str
    source: str


class AttemptSeries:
    """The series of attempts with one set of labels."""

    __slots__ = ("duration", "gap", "timeouts", "total")

    def __init__(self, store: Store, labels: AttemptLabels) -> None:
        endpoint, model, profile, outcome, _, source = labels
        prepare_attempts(store, endpoint, model, profile, source=source)
        self.total: Final = store.counter(f.ATTEMPTS, *labels)
        self.duration: Final = store.histogram(f.ATTEMPT_DURATION, endpoint, model, profile, outcome, source)
        self.gap: Final = store.histogram(f.MAX_GAP, endpoint, model, source)
        self.timeouts: Final = (
            {phase: store.counter(f.TIMEOUTS, endpoint, model, profile, phase.value, source) for phase in Phase}
            if outcome == Outcome.TIMEOUT
            else None
        )
        """By phase; None where the outcome is another."""


class CallSeries:
    """The series of calls with one set of labels."""

    __slots__ = ("duration", "first_token", "labels", "prompt", "rate", "stops", "tokens", "total")

    def __init__(self, store: Store, labels: CallLabels) -> None:
        endpoint, model, profile, stream, _, source = labels
        prepare_calls(store, endpoint, model, profile, stream=stream, source=source)
        self.labels: Final = labels
        self.total: Final = store.counter(f.CALLS, *labels)
        self.duration: Final = store.histogram(f.CALL_DURATION, *labels)
        self.first_token: Final = store.histogram(f.FIRST_TOKEN, endpoint, model, profile, source)
        self.prompt: Final = store.histogram(f.PROMPT_TOKENS, endpoint, model, source)
        self.rate: Final = store.histogram(f.OUTPUT_RATE, model, source)
        self.stops: Final[dict[str, Counter]] = {}
        """By stop_reason, as far as the guard lets it through."""
        self.tokens: Final = tuple(store.counter(f.TOKENS, model, kind.value, source) for kind in TokenKind)
        """In the order of their kinds."""


def prepare_attempts(store: Store, endpoint: str, model: str, profile: str, *, source: str) -> None:
    """Make the counters of attempts there may be."""
    for outcome, status in _USUAL_STATUS.items():
        store.counter(f.ATTEMPTS, endpoint, model, profile, outcome.value, status, source)
    for phase in Phase:
        store.counter(f.TIMEOUTS, endpoint, model, profile, phase.value, source)


def prepare_calls(store: Store, endpoint: str, model: str, profile: str, *, stream: str, source: str) -> None:
    """Make the counters of calls there may be."""
    for outcome in Outcome:
        store.counter(f.CALLS, endpoint, model, profile, stream, outcome.value, source)
    for reason in _USUAL_REASONS:
        store.counter(f.RETRIES, endpoint, model, reason.value, source)
    for result in RetryResult:
        store.counter(f.RETRIED_CALLS, endpoint, model, result.value, source)
    for kind in TokenKind:
        store.counter(f.TOKENS, model, kind.value, source)


def flag(value: bool) -> str:  # noqa: FBT001  # it is what is rendered
    """Render a boolean label."""
    return "true" if value else "false"
