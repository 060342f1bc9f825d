"""The families as a prometheus_client collector, so that they show in an application's own ``/metrics``.

It has classic buckets and exemplars; native histograms are beyond prometheus_client, so they are `serve_metrics`' own.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import Metric
from prometheus_client.registry import Collector as PrometheusCollector
from prometheus_client.samples import Exemplar, Sample

from sidecar.telemetry.exposition.classic import bounds, place_exemplars
from sidecar.telemetry.exposition.text import number
from sidecar.telemetry.families import FAMILIES, Family, Kind
from sidecar.telemetry.view import FamilyView

if TYPE_CHECKING:
    from sidecar.telemetry.telemetry import Telemetry


class Collector(PrometheusCollector):
    """Reads a `Telemetry` each time it is collected from."""

    def __init__(self, telemetry: "Telemetry") -> None:
        self._telemetry = telemetry

    def describe(self) -> Iterable[Metric]:
        """Name the families, so that a registry can refuse two of the same name."""
        return [_metric(family) for family in FAMILIES]

    def collect(self) -> Iterator[Metric]:
        """Yield the families that have series."""
        for view in self._telemetry.collect():
            metric = _metric(view.family)
            metric.samples = list(_histograms(view) if view.family.kind is Kind.HISTOGRAM else _values(view))
            if metric.samples:
                yield metric


def _metric(family: Family) -> Metric:
    name = family.name.removesuffix("_total")
    return Metric(name, family.help, family.kind.value, family.unit if name.endswith(f"_{family.unit}") else "")


def _values(view: FamilyView) -> Iterator[Sample]:
    for labels, value in view.values:
        yield Sample(view.family.name, dict(zip(view.family.labels, labels, strict=True)), value)


def _histograms(view: FamilyView) -> Iterator[Sample]:
    name, octaves = view.family.name, view.family.buckets
    assert octaves is not None  # noqa: S101  # every histogram of the table has them
    edges = [*map(number, bounds(octaves)), "+Inf"]
    for values, snapshot in view.histograms:
        labels = dict(zip(view.family.labels, values, strict=True))
        counts = snapshot.cumulative(octaves.low * 2, octaves.high * 2)
        exemplars = place_exemplars(snapshot.exemplars, octaves)
        for position, (edge, count) in enumerate(zip(edges, counts, strict=True)):
            known = exemplars.get(position)
            exemplar = Exemplar({"trace_id": known.trace_id}, known.value, known.at) if known else None
            yield Sample(f"{name}_bucket", {**labels, "le": edge}, count, None, exemplar)
        yield Sample(f"{name}_sum", labels, snapshot.sum)
        yield Sample(f"{name}_count", labels, counts[-1])
