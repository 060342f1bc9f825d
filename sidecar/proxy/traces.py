"""Spans of what passes: one for each attempt, and one for a call whose client traces nothing itself.

The client's ``traceparent`` passes unchanged, and an attempt's span stands under it. OpenTelemetry is imported only
where its own environment variables ask for traces.
"""

import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from sidecar.model import AttemptRecord, CallRecord, Profile, TraceRef
from sidecar.telemetry import Telemetry
from sidecar.telemetry.traces import CallSpan, Tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from sidecar.proxy.caller import Caller
    from sidecar.proxy.origin import Origin
    from sidecar.proxy.request_scan import Asked

MAX_CALLS: Final = 10_000
"""More calls under way than this lose the spans of the oldest."""
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_log: Final = logging.getLogger("sidecar.proxy")


class CallSpans:
    """The spans of calls under way. A sink: it ends a call's span with its record."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing: Final = tracing
        self._spans: Final[OrderedDict[str, CallSpan]] = OrderedDict()

    def begin(
        self, caller: "Caller", asked: "Asked", profile: Profile, *, started_at: float, origin: "Origin"
    ) -> TraceRef | None:
        """Begin the span of a call whose client sent no trace; None while nobody traces."""
        span = self._tracing.for_call(
            source=caller.source,
            endpoint=caller.told.endpoint,
            model=asked.model,
            profile=profile,
            stream=asked.stream,
            started_at=started_at,
            host=origin.host,
            port=origin.port,
        )
        if span is None:
            return None
        self._spans[span.ref.span_id] = span
        if len(self._spans) > MAX_CALLS:
            self._spans.popitem(last=False)
        return span.ref

    def attempt(self, record: AttemptRecord, /) -> None:
        """Make the span of a finished attempt."""
        self._tracing.attempt(record)

    def call(self, record: CallRecord, /) -> None:
        """End the span of a finished call, where it is ours."""
        span = None if record.trace is None else self._spans.pop(record.trace.span_id, None)
        if span is not None:
            for wait in record.waits:
                span.waited(wait)
            span.end(record)


class Traces:
    """The way of spans out of this process."""

    def __init__(self, provider: "TracerProvider", telemetry: Telemetry) -> None:
        self._provider: Final = provider
        self.calls: Final = CallSpans(Tracing(provider))
        telemetry.add_sink(self.calls)

    def close(self) -> None:
        """Send what is still to be sent; that may take as long as the exporter's own time limit."""
        self._provider.shutdown()


def open_traces(telemetry: Telemetry, environ: Mapping[str, str]) -> Traces | None:
    """Send spans where OpenTelemetry's environment variables say; None where they do not ask for any."""
    if not _asked_for(environ):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # 20 MB
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  # the same
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415  # the same
    except ImportError:
        _log.warning("no traces are sent: the exporter is missing; install claude-sidecar[otlp]")
        return None
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider, telemetry)


def _asked_for(environ: Mapping[str, str]) -> bool:
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter not in {"", "otlp"}:
        return False
    return exporter == "otlp" or any(environ.get(name) for name in _ENDPOINTS)
