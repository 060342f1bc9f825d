"""`FamilyView`: the series of one family at one moment, which is all that rendering and reading need."""

from collections.abc import Iterable
from dataclasses import dataclass

from sidecar.telemetry.families import Family
from sidecar.telemetry.histogram import HistogramSnapshot

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FamilyView:
    """A family and its series: ``values`` of a counter or gauge, or ``histograms``, copied as they are asked for."""

    family: Family
    values: Iterable[tuple[Labels, float]] = ()
    histograms: Iterable[tuple[Labels, HistogramSnapshot]] = ()
