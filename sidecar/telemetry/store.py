"""The series of every family, behind one lock: what recording writes to and a scrape copies from.

One lock for all is no slower than many while one record touches a dozen series, and nobody holds it for longer than
one record takes, or the copy of one histogram.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from threading import RLock
from typing import Any, Final, TypeVar

from sidecar.telemetry.families import Family, Kind, of_kind
from sidecar.telemetry.histogram import HistogramSnapshot, SparseHistogram

Labels = tuple[str, ...]
_T = TypeVar("_T")
_Tables = dict[str, dict[Labels, _T]]


class Counter:
    """One series that only rises."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Gauge:
    """One series that is set."""

    __slots__ = ("at", "value")

    def __init__(self) -> None:
        self.value: float | None = None
        """None until it is first set: such a series is not shown."""
        self.at = 0.0

    def set(self, value: float | None, at: float = 0.0) -> None:
        """Set it, as known at ``at`` (Unix seconds); None takes it away."""
        self.value = value
        self.at = at


class Store:
    """The series by family and label values, made when first asked for and never taken away."""

    def __init__(self) -> None:
        self.lock: Final = RLock()
        self.busy = False
        """Whether a thread is inside. The lock is reentrant, as the thread that holds it may come again: the garbage
        collector or a signal handler can end a stream, and so report a call, at any point."""
        self._later: Final[deque[Callable[[], None]]] = deque()
        self._counters: Final[_Tables[Counter]] = {family.name: {} for family in of_kind(Kind.COUNTER)}
        self._gauges: Final[_Tables[Gauge]] = {family.name: {} for family in of_kind(Kind.GAUGE)}
        self._histograms: Final[_Tables[SparseHistogram]] = {family.name: {} for family in of_kind(Kind.HISTOGRAM)}
        self._listed: Final[dict[str, tuple[list[Labels], list[Any]]]] = {}

    def counter(self, family: Family, *labels: str) -> Counter:
        """Return the counter with these label values, from 0 when it is new."""
        table = self._counters[family.name]
        return table.get(labels) or table.setdefault(labels, Counter())

    def gauge(self, family: Family, *labels: str) -> Gauge:
        """Return the gauge with these label values, not shown until it is set."""
        table = self._gauges[family.name]
        return table.get(labels) or table.setdefault(labels, Gauge())

    def histogram(self, family: Family, *labels: str) -> SparseHistogram:
        """Return the histogram with these label values, empty when it is new."""
        table = self._histograms[family.name]
        return table.get(labels) or table.setdefault(labels, SparseHistogram(self.lock))

    def alone(self, work: Callable[[], None]) -> None:
        """Do something while nobody else reads or writes; when this very thread is already inside, right after it."""
        with self.lock:
            if self.busy:
                self._later.append(work)
                return
            self.busy = True
            try:
                work()
            finally:
                self.busy = False
        self.catch_up()

    def later(self, work: Callable[[], None]) -> None:
        """Put off what came up while this thread was inside."""
        self._later.append(work)

    def catch_up(self) -> None:
        """Do what was put off."""
        while self._later:
            try:
                work = self._later.popleft()
            except IndexError:  # another thread was quicker
                return
            work()

    def counters(self, family: Family) -> Iterator[tuple[Labels, float]]:
        """Copy the counters of a family one by one: there may be thousands."""
        for labels, counter in self._series(self._counters[family.name], family):
            yield labels, counter.value

    def gauges(self, family: Family) -> list[tuple[Labels, float, float]]:
        """Copy the gauges of a family that are set: labels, value, and when it was set."""
        with self._reading():
            return [
                (labels, gauge.value, gauge.at)
                for labels, gauge in self._gauges[family.name].items()
                if gauge.value is not None
            ]

    def histograms(self, family: Family) -> Iterator[tuple[Labels, HistogramSnapshot]]:
        """Copy the histograms of a family one by one, so that recording waits for one copy at most."""
        for labels, histogram in self._series(self._histograms[family.name], family):
            with self._reading():
                snapshot = histogram.snapshot()
            if snapshot.counts or snapshot.zeros:  # a histogram begins with its first observation
                yield labels, snapshot

    def _series(self, table: dict[Labels, _T], family: Family) -> Iterator[tuple[Labels, _T]]:
        """Give the series that a family has now. To list thousands takes a moment, so only new ones are added."""
        labels, series = self._listed.setdefault(family.name, ([], []))
        with self._reading():
            if (known := len(labels)) < len(table):
                labels += islice(table, known, None)
                series += islice(table.values(), known, None)
            count = len(labels)
        return zip(islice(labels, count), islice(series, count), strict=True)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self.lock:
            outer, self.busy = self.busy, True
            try:
                yield
            finally:
                self.busy = outer
        if not outer:
            self.catch_up()
