"""Metrics from records: exact percentiles in bounded memory, rendered for Prometheus.

It knows records, and neither who made them nor what becomes of them.
"""

from sidecar.telemetry.breaker import Breaker
from sidecar.telemetry.histogram import HistogramSnapshot, SparseHistogram
from sidecar.telemetry.in_flight import InFlight, Ticket
from sidecar.telemetry.snapshot import GaugeSnapshot, Sample
from sidecar.telemetry.telemetry import Sink, Telemetry, default_telemetry

__all__ = [
    "Breaker",
    "GaugeSnapshot",
    "HistogramSnapshot",
    "InFlight",
    "Sample",
    "Sink",
    "SparseHistogram",
    "Telemetry",
    "Ticket",
    "default_telemetry",
]
