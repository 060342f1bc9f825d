"""Makes OpenTelemetry spans of our records. The only module, with ``genai``, that imports OpenTelemetry for it.

A span says what the records say: names, numbers and times. No path, header, message or exception text comes near it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
)

from sidecar.model import AttemptRecord, CallRecord, Outcome, Phase, Profile, Source, TraceRef, Wait
from sidecar.telemetry import semconv
from sidecar.telemetry.otel import guarded

_Attributes = dict[str, str | bool | int | float | list[str]]

_ERRORS_FROM: Final = 400
_STALL_FROM: Final = 5.0
"""A silence of this many seconds is worth an event even if the stream went on after it."""
_HTTPS, _HTTP = 443, 80
_NO_ERRORS: Final = frozenset({Outcome.OK, Outcome.CANCELLED})
"""Giving up is the application's right, and no error; the conventions leave the status unset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What is known of a call when it begins."""

    source: Source
    endpoint: str
    model: str
    profile: Profile
    stream: bool
    started_at: float
    host: str = ""
    port: int | None = None


class SdkSpan:
    """The SDK's own span of the call under way: we add to it, and leave its life to the SDK."""

    __slots__ = ("_span", "_started_at", "_tracer", "ref")

    def __init__(self, tracer: Tracer, span: Span, started_at: float) -> None:
        self._tracer: Final = tracer
        self._span: Final = span
        self._started_at: Final = started_at
        self.ref: Final = _ref(span)

    @property
    def open(self) -> bool:
        """Whether it can still be added to: the SDK ends its own before it hands over an answer in one piece."""
        return self._span.is_recording()

    def headers(self) -> Mapping[str, str]:
        """Return nothing: the SDK sends its own."""
        return {}

    def attempt(self, record: AttemptRecord, /) -> None:
        """Make the span of a finished attempt, below this one."""
        if self.ref.sampled:
            with guarded():
                _record_attempt(self._tracer, record, trace.set_span_in_context(self._span, Context()))

    def waited(self, wait: Wait, /) -> None:
        """Note a pause between two attempts."""
        with guarded():
            _note_wait(self._span, wait, self._started_at)

    def rejected(self, breaker: str, retry_after: float | None = None) -> None:
        """Note that a breaker did not let the call through."""
        with guarded():
            _note_rejection(self._span, breaker, retry_after)

    def end(self, record: CallRecord, /) -> None:
        """Add what only we know, where the SDK has not ended its span yet."""
        with guarded():
            if self._span.is_recording():
                self._span.set_attributes(_ours_of_call(record))


class OwnSpan(SdkSpan):
    """A call's span that we began and therefore end."""

    __slots__ = ()

    @property
    def open(self) -> bool:
        """Whether it can still be added to: until we end it, and that we always do."""
        return True

    def headers(self) -> Mapping[str, str]:
        """Return the trace's headers, as the application's propagators write them."""
        carrier: dict[str, str] = {}
        with guarded():
            propagate.inject(carrier, trace.set_span_in_context(self._span))
        return carrier

    def end(self, record: CallRecord, /) -> None:
        """End the span with what became of the call."""
        with guarded():
            if self._span.is_recording():
                self._span.set_attributes(_attributes_of_call(record) | _ours_of_call(record))
                _set_status(self._span, record.outcome)
            self._span.end(_nanoseconds(record.started_at, record.duration))


def current_sdk_span(tracer: Tracer, started_at: float) -> SdkSpan | None:
    """Return the current span if it is the SDK's own of a call."""
    span = trace.get_current_span()
    scope = getattr(span, "instrumentation_scope", None)  # only the SDK's spans that record have one
    if scope is None or not scope.name.startswith(semconv.SDK_SCOPE) or getattr(span, "kind", None) != SpanKind.CLIENT:
        return None
    return SdkSpan(tracer, span, started_at)


def start_call(tracer: Tracer, beginning: Beginning, parent: TraceRef | None) -> OwnSpan:
    """Begin the span of a call."""
    operation = semconv.OPERATIONS.get(beginning.endpoint)
    attributes: _Attributes = {
        semconv.GEN_AI_PROVIDER_NAME: semconv.PROVIDER,
        semconv.CLAUDE_PROFILE: beginning.profile.value,
        semconv.CLAUDE_SOURCE: beginning.source.value,
        **_server(beginning.host, beginning.port),
    }
    if operation:
        attributes[semconv.GEN_AI_OPERATION_NAME] = operation
    if beginning.model:
        attributes[semconv.GEN_AI_REQUEST_MODEL] = beginning.model
    if beginning.stream:
        attributes[semconv.GEN_AI_REQUEST_STREAM] = True
    span = tracer.start_span(
        f"{operation or beginning.endpoint} {beginning.model}".rstrip(),
        context=None if parent is None else context_under(parent, remote=True),
        kind=SpanKind.CLIENT,
        attributes=attributes,
        start_time=_nanoseconds(beginning.started_at),
    )
    return OwnSpan(tracer, span, beginning.started_at)


def record_attempt(tracer: Tracer, record: AttemptRecord) -> None:
    """Make the span of a finished attempt, under its call's."""
    _record_attempt(tracer, record, Context() if record.trace is None else context_under(record.trace))


def _record_attempt(tracer: Tracer, record: AttemptRecord, parent: Context) -> None:
    span = tracer.start_span(
        _name_of_attempt(record),
        context=parent,
        kind=SpanKind.CLIENT,
        attributes=_attributes_of_attempt(record),
        start_time=_nanoseconds(record.started_at),
    )
    if span.is_recording():
        _add_events(span, record)
        _set_status(span, record.outcome)
    span.end(_nanoseconds(record.started_at, record.duration))


def context_under(parent: TraceRef, *, remote: bool = False) -> Context:
    """Return a context whose current span is the referenced one."""
    context = SpanContext(
        int(parent.trace_id, 16),
        int(parent.span_id, 16),
        is_remote=remote,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT),
    )
    return trace.set_span_in_context(NonRecordingSpan(context), Context())


def _ref(span: Span) -> TraceRef:
    context = span.get_span_context()
    return TraceRef(
        trace_id=f"{context.trace_id:032x}", span_id=f"{context.span_id:016x}", sampled=context.trace_flags.sampled
    )


def _method(record: AttemptRecord) -> str:
    return record.method if record.method in semconv.METHODS else semconv.OTHER_METHOD


def _name_of_attempt(record: AttemptRecord) -> str:
    method = _method(record)
    name = "HTTP" if method == semconv.OTHER_METHOD else method
    template = semconv.URL_TEMPLATES.get(record.endpoint)
    return f"{name} {template}" if template else name


def _attributes_of_attempt(record: AttemptRecord) -> _Attributes:
    attributes: _Attributes = {
        semconv.HTTP_REQUEST_METHOD: _method(record),
        semconv.CLAUDE_OUTCOME: str(record.outcome),  # a tenth of the price of its ``value``
        semconv.CLAUDE_PROFILE: str(record.profile),
        semconv.CLAUDE_SOURCE: str(record.source),
        **_server(record.host, record.port),
    }
    template = semconv.URL_TEMPLATES.get(record.endpoint)
    if template:
        attributes[semconv.URL_TEMPLATE] = template
        # The conventions want the whole URL. Ours has the route for its path, and is left out where the port does
        # not tell the scheme.
        scheme = {None: "https", _HTTPS: "https", _HTTP: "http"}.get(record.port)
        if record.host and scheme:
            attributes[semconv.URL_FULL] = f"{scheme}://{record.host}{template}"
    if record.model:
        attributes[semconv.GEN_AI_REQUEST_MODEL] = record.model
    if record.number:
        attributes[semconv.HTTP_REQUEST_RESEND_COUNT] = record.number
    if record.status is not None:
        attributes[semconv.HTTP_RESPONSE_STATUS_CODE] = record.status
    if record.phase is not None:
        attributes[semconv.CLAUDE_TIMEOUT_PHASE] = record.phase.value
    if record.request_id:
        attributes[semconv.ANTHROPIC_REQUEST_ID] = record.request_id
    if _is_error(record.outcome):
        status = str(record.status) if record.status is not None and record.status >= _ERRORS_FROM else None
        attributes[semconv.ERROR_TYPE] = record.error_type or status or record.outcome.value
    return attributes


def _server(host: str, port: int | None) -> _Attributes:
    return {semconv.SERVER_ADDRESS: host, semconv.SERVER_PORT: port or _HTTPS} if host else {}


def _add_events(span: Span, record: AttemptRecord) -> None:
    if record.first_token is not None:
        span.add_event(semconv.EVENT_FIRST_TOKEN, timestamp=_nanoseconds(record.started_at, record.first_token))
    gap, at = record.max_gap, record.max_gap_at
    if gap is not None and at is not None and (gap >= _STALL_FROM or record.phase is Phase.STALL):
        span.add_event(
            semconv.EVENT_STALL, {semconv.CLAUDE_SECONDS: gap}, timestamp=_nanoseconds(record.started_at, at)
        )


def _attributes_of_call(record: CallRecord) -> _Attributes:
    attributes: _Attributes = {}
    if record.attempts > 1:
        attributes[semconv.HTTP_REQUEST_RESEND_COUNT] = record.attempts - 1
    if record.usage is not None:
        attributes[semconv.GEN_AI_USAGE_INPUT_TOKENS] = record.usage.prompt
        attributes[semconv.GEN_AI_USAGE_OUTPUT_TOKENS] = record.usage.output
    if record.stop_reason:
        attributes[semconv.GEN_AI_RESPONSE_FINISH_REASONS] = [record.stop_reason]
    if record.first_token is not None:
        attributes[semconv.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] = record.first_token
    if record.request_id:
        attributes[semconv.ANTHROPIC_REQUEST_ID] = record.request_id
    if _is_error(record.outcome):
        attributes[semconv.ERROR_TYPE] = record.error_type or record.outcome.value
    return attributes


def _ours_of_call(record: CallRecord) -> _Attributes:
    attributes: _Attributes = {
        semconv.CLAUDE_OUTCOME: str(record.outcome),
        semconv.CLAUDE_PROFILE: str(record.profile),
        semconv.CLAUDE_ATTEMPTS: record.attempts,
    }
    if record.phase is not None:
        attributes[semconv.CLAUDE_TIMEOUT_PHASE] = record.phase.value
    if record.retry_result is not None:
        attributes[semconv.CLAUDE_RETRY_RESULT] = record.retry_result.value
    return attributes


def _note_wait(span: Span, wait: Wait, started_at: float) -> None:
    span.add_event(
        semconv.EVENT_RETRY_WAIT,
        {semconv.CLAUDE_RETRY_REASON: wait.reason.value, semconv.CLAUDE_SECONDS: wait.seconds},
        timestamp=_nanoseconds(started_at, wait.at),
    )


def _note_rejection(span: Span, breaker: str, retry_after: float | None) -> None:
    attributes: _Attributes = {semconv.CLAUDE_BREAKER: breaker}
    if retry_after is not None:
        attributes[semconv.CLAUDE_RETRY_AFTER] = retry_after
    span.add_event(semconv.EVENT_BREAKER_REJECTED, attributes)


def _set_status(span: Span, outcome: Outcome) -> None:
    if _is_error(outcome):
        span.set_status(Status(StatusCode.ERROR))


def _is_error(outcome: Outcome) -> bool:
    return outcome not in _NO_ERRORS


def _nanoseconds(moment: float, later: float = 0.0) -> int:
    # In integers: a float of nanoseconds since 1970 is only good to 256 of them.
    whole, rest = divmod(moment, 1.0)
    return int(whole) * 1_000_000_000 + round((rest + later) * 1e9)
