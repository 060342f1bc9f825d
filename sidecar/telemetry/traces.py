"""Traces: a span for each attempt, and for a call where the SDK makes none.

This is the seam that client and proxy use. It costs one check while no tracer provider is set, and only a set one makes
it import OpenTelemetry (through ``spans``).
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from sidecar._version import __version__
from sidecar.model import AttemptRecord, CallRecord, Profile, Source, TraceRef, Wait
from sidecar.telemetry import semconv
from sidecar.telemetry.otel import TRACES, active_provider, guarded

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer, TracerProvider

_TRACEPARENT: Final = re.compile(r"\s*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\s*", re.ASCII)
_SAMPLED: Final = 1


class CallSpan(Protocol):
    """The span of one call under way: the SDK's own, or ours. No method raises because of what OpenTelemetry does."""

    @property
    def ref(self) -> TraceRef:
        """What the records of the call carry as ``trace``."""

    @property
    def open(self) -> bool:
        """Whether ``end`` can still add to it."""

    def headers(self) -> Mapping[str, str]:
        """Return the headers that pass the trace on to the upstream; empty when the SDK sends them itself."""

    def attempt(self, record: AttemptRecord, /) -> None:
        """Make the span of one of its attempts, for who is not a sink of records."""

    def waited(self, wait: Wait, /) -> None:
        """Note a pause between two attempts, once it is over."""

    def rejected(self, breaker: str, retry_after: float | None = None) -> None:
        """Note that a breaker did not let the call through."""

    def end(self, record: CallRecord, /) -> None:
        """End the span with what became of the call; the SDK ends its own itself."""


class Tracing:
    """A sink for `Telemetry` that makes spans of attempts; ``for_call`` gives them the call's span to stand under.

    ``provider``: by default the one that the application has set, whenever it does so.
    """

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        self._given: Final = provider
        self._tracer_of: tuple[Any, Tracer | None] = (None, None)

    @property
    def active(self) -> bool:
        """Whether anybody traces: it takes a few dictionary look-ups."""
        return self._given is not None or active_provider(TRACES) is not None

    def for_call(
        self,
        *,
        source: Source,
        endpoint: str,
        model: str,
        profile: Profile,
        stream: bool,
        started_at: float,
        host: str = "",
        port: int | None = None,
        parent: TraceRef | None = None,
        begin: bool = True,
    ) -> CallSpan | None:
        """Return the span of the call under way, or None while nobody traces.

        Ask where the call's requests are sent from: inside the SDK's ``request()`` the SDK's own span is the current
        one, and is used. Where it has none, one is begun at ``started_at`` (Unix seconds), under ``parent`` or else
        the current span; then ``end`` it. Without ``begin`` the answer is None there.
        """
        if not self.active:
            return None  # the usual, and once a call: before all that costs something
        with guarded():
            tracer = self._tracer()
            if tracer is not None:
                from sidecar.telemetry import spans  # noqa: PLC0415  # imports OpenTelemetry

                of_the_sdk = spans.current_sdk_span(tracer, started_at)
                if of_the_sdk is not None:
                    return of_the_sdk
                if not begin:
                    return None
                beginning = spans.Beginning(
                    source=source,
                    endpoint=endpoint,
                    model=model,
                    profile=profile,
                    stream=stream,
                    started_at=started_at,
                    host=host,
                    port=port,
                )
                return spans.start_call(tracer, beginning, parent)
        return None

    def attempt(self, record: AttemptRecord, /) -> None:
        """Make the span of a finished attempt."""
        tracer = self._tracer()
        if tracer is None or (record.trace is not None and not record.trace.sampled):
            return
        from sidecar.telemetry import spans  # noqa: PLC0415  # imports OpenTelemetry

        spans.record_attempt(tracer, record)

    def call(self, record: CallRecord, /) -> None:
        """Do nothing: a call's span ends where the call does, in `CallSpan.end`."""

    def _tracer(self) -> "Tracer | None":
        provider = self._given or active_provider(TRACES)
        if provider is None:
            return None
        known, tracer = self._tracer_of
        if provider is not known:
            tracer = provider.get_tracer(semconv.SCOPE, __version__)
            self._tracer_of = (provider, tracer)
        return tracer


def parse_traceparent(header: str | None) -> TraceRef | None:
    """Read a W3C ``traceparent`` header; None when there is none or it is not one."""
    match = _TRACEPARENT.fullmatch(header) if header and len(header) < 200 else None  # noqa: PLR2004  # it has 55
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    # Later versions may append fields; this one may not. All zeros, and version ff, are forbidden.
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceRef(trace_id=trace_id, span_id=span_id, sampled=bool(int(flags, 16) & _SAMPLED))
