"""``process_*`` and ``python_info``, as prometheus_client measures them, for the pages we serve ourselves."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import PlatformCollector, ProcessCollector

from sidecar.telemetry.families import Family, Kind
from sidecar.telemetry.view import FamilyView


class ProcessMetrics:
    """Reads this process's memory, CPU time, files and Python version; where there is no /proc, the last alone."""

    def __init__(self) -> None:
        # Without a registry: the global one is the application's.
        self._collectors: Final = (ProcessCollector(registry=None), PlatformCollector(registry=None))

    def collect(self) -> Iterator[FamilyView]:
        """Yield the families as of now."""
        for collector in self._collectors:
            for metric in collector.collect():
                sample = metric.samples[0]
                family = Family(
                    name=sample.name,
                    kind=Kind(metric.type),
                    help=metric.documentation,
                    labels=tuple(sample.labels),
                )
                yield FamilyView(family, values=[(tuple(each.labels.values()), each.value) for each in metric.samples])
