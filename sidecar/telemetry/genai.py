"""The GenAI semantic conventions' client metrics, from the same records, for whoever collects OpenTelemetry metrics.

Their names and attributes are the conventions'; everything that those leave out is in our own families.
"""

from typing import TYPE_CHECKING, Any, Final

from sidecar._version import __version__
from sidecar.model import AttemptRecord, CallRecord, Outcome, TraceRef
from sidecar.telemetry import semconv
from sidecar.telemetry.otel import METRICS, active_provider

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Histogram, MeterProvider
    from opentelemetry.sdk.metrics.view import View

# The conventions' advice ends at 81.92 s; a call may take the SDK's own 600 s and more.
_DURATION_BOUNDS: Final = tuple(0.01 * 2**n for n in range(18))
_FIRST_CHUNK_BOUNDS: Final = tuple(0.005 * 2**n for n in range(18))
_TOKEN_BOUNDS: Final = tuple(float(4**n) for n in range(12))


class GenAIMetrics:
    """A sink for `Telemetry` that feeds the ``gen_ai.client.*`` metrics.

    ``provider``: by default the meter provider that the application has set, whenever it does so.
    """

    def __init__(self, provider: "MeterProvider | None" = None) -> None:
        self._given: Final = provider
        self._instruments_of: tuple[Any, _Instruments | None] = (None, None)

    def attempt(self, record: AttemptRecord, /) -> None:
        """Do nothing: the conventions count operations, which are calls."""

    def call(self, record: CallRecord, /) -> None:
        """Record a finished call, if its endpoint generates."""
        operation = semconv.OPERATIONS.get(record.endpoint)
        if operation is None:
            return
        instruments = self._instruments()
        if instruments is not None:
            instruments.record(record, operation)

    def _instruments(self) -> "_Instruments | None":
        provider = self._given or active_provider(METRICS)
        if provider is None:
            return None
        known, instruments = self._instruments_of
        if provider is not known:
            instruments = _Instruments(provider)
            self._instruments_of = (provider, instruments)
        return instruments


class _Instruments:
    """One meter's instruments."""

    def __init__(self, provider: "MeterProvider") -> None:
        meter = provider.get_meter(semconv.SCOPE, __version__)
        self._duration: Final[Histogram] = meter.create_histogram(
            semconv.METRIC_OPERATION_DURATION,
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_DURATION_BOUNDS,
        )
        self._tokens: Final[Histogram] = meter.create_histogram(
            semconv.METRIC_TOKEN_USAGE,
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKEN_BOUNDS,
        )
        self._first_chunk: Final[Histogram] = meter.create_histogram(
            semconv.METRIC_TIME_TO_FIRST_CHUNK,
            unit="s",
            description="Time to receive the first chunk.",
            explicit_bucket_boundaries_advisory=_FIRST_CHUNK_BOUNDS,
        )

    def record(self, record: CallRecord, operation: str) -> None:
        attributes: dict[str, str] = {
            semconv.GEN_AI_OPERATION_NAME: operation,
            semconv.GEN_AI_PROVIDER_NAME: semconv.PROVIDER,
        }
        if record.model:
            attributes[semconv.GEN_AI_REQUEST_MODEL] = record.model
        if record.host:
            attributes[semconv.SERVER_ADDRESS] = record.host
        context = _context(record.trace)
        if record.usage is not None:
            for kind, count in (("input", record.usage.prompt), ("output", record.usage.output)):
                self._tokens.record(count, attributes | {semconv.GEN_AI_TOKEN_TYPE: kind}, context)
        if record.first_token is not None:
            self._first_chunk.record(record.first_token, attributes, context)
        if record.outcome is not Outcome.OK:
            attributes[semconv.ERROR_TYPE] = record.error_type or record.outcome.value
        self._duration.record(record.duration, attributes, context)


def _context(ref: TraceRef | None) -> "Context":
    # Always one of our own: the current span, where a record arrives, may be anybody's.
    from opentelemetry.context import Context  # noqa: PLC0415  # a provider is set, so it is imported already

    if ref is None:
        return Context()
    from sidecar.telemetry.spans import context_under  # noqa: PLC0415

    return context_under(ref)


def exponential_views() -> "list[View]":
    """Return views that make exponential histograms of the GenAI metrics: give them to your ``MeterProvider``.

    A provider takes views only when it is made, so this cannot be done for you::

        MeterProvider(metric_readers=[...], views=exponential_views())
    """
    from opentelemetry.sdk.metrics.view import (  # noqa: PLC0415  # only who asks needs the SDK
        ExponentialBucketHistogramAggregation,
        View,
    )

    names = (semconv.METRIC_OPERATION_DURATION, semconv.METRIC_TOKEN_USAGE, semconv.METRIC_TIME_TO_FIRST_CHUNK)
    return [
        View(instrument_name=name, meter_name=semconv.SCOPE, aggregation=ExponentialBucketHistogramAggregation())
        for name in names
    ]
