"""`Telemetry`: the one object every way in reports to and every way out reads from.

It knows records, not who made them. Nothing that is told to it raises into a call.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import index
from threading import Lock
from typing import TYPE_CHECKING, Final, Protocol

from sidecar._version import __version__
from sidecar.model import AttemptRecord, CallRecord, Phase, Profile, Source
from sidecar.telemetry import families as f
from sidecar.telemetry import query
from sidecar.telemetry.backlog import Backlog, Maker, Record
from sidecar.telemetry.breaker import Breaker
from sidecar.telemetry.families import FAMILIES, UNEXPOSED, Family, Kind
from sidecar.telemetry.faults import FaultLog
from sidecar.telemetry.fork import survive_forks
from sidecar.telemetry.guard import GUARDED, OTHER, LabelGuard
from sidecar.telemetry.histogram import HistogramSnapshot
from sidecar.telemetry.in_flight import InFlight, Start
from sidecar.telemetry.recorder import LIMIT, MALFORMED, REASONS, Recorder, UnfitError
from sidecar.telemetry.series import flag, prepare_attempts, prepare_calls
from sidecar.telemetry.snapshot import SHARED_COUNTERS, SHARED_GAUGES, GaugeSnapshot, Key, Peers, Sample, merged
from sidecar.telemetry.store import Labels, Store
from sidecar.telemetry.view import FamilyView

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_MALFORMED: Final = (TypeError, AttributeError, ValueError, LookupError, ArithmeticError)
"""What looking at a record of the wrong shape raises."""


class Sink(Protocol):
    """A further way out (traces, OTLP metrics, the socket): gets each record that made sense, after it was counted."""

    def attempt(self, record: AttemptRecord, /) -> None:
        """Take a finished attempt."""

    def call(self, record: CallRecord, /) -> None:
        """Take a finished call."""


class Telemetry:
    """Metrics of one process, or, fed by a socket, of several.

    ``registry``: a prometheus_client registry to show the families on too, as in an application's own ``/metrics``;
    by default none. ``source`` labels what no record tells of (calls under way, breakers, settings). ``label_limit``
    is how many distinct values a label keeps before the rest become ``other``.
    """

    in_flight: InFlight
    """Calls under way: ``ticket = telemetry.in_flight.begin(endpoint, model)``."""

    def __init__(
        self,
        registry: "CollectorRegistry | None" = None,
        *,
        source: Source = Source.CLIENT,
        label_limit: int = 50,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._source: Final = source
        self._wall: Final = wall
        self._store: Final = Store()
        self._guard: Final = LabelGuard(label_limit, self._overflowed)
        self._recorder: Final = Recorder(self._store, self._guard)
        self._peers: Final = Peers(clock, lambda label, value: self._guard.admit(label, value).value)
        self.in_flight = InFlight(self._admit_flight, clock)
        self._sinks: tuple[Sink, ...] = ()
        self._askers: tuple[Callable[[], None], ...] = ()
        self._backlog: Final = Backlog(self._store, self._count_all, partial(self.internal_error, "backlog"))
        self._faults: Final = FaultLog()
        self._process = _process_name()
        self._inherited: Mapping[Key, float] = {}
        self._store.gauge(f.BUILD_INFO, __version__).set(1.0)
        for label in GUARDED:
            self._store.counter(f.OVERFLOWS, label)
        for reason in (*REASONS, MALFORMED):
            self._store.counter(f.DROPPED, reason)
        survive_forks(self)
        if registry is not None:
            self.register(registry)

    # Records in. None of these raises.

    def attempt(self, record: AttemptRecord) -> None:
        """Count a finished attempt; one that makes no sense is dropped whole, and counted as dropped."""
        self.count((record,))

    def call(self, record: CallRecord) -> None:
        """Count a finished call; one that makes no sense is dropped whole, and counted as dropped."""
        self.count((record,))

    def ended(self, records: Maker) -> None:
        """Take the records of something that has ended, still to be made: they are counted before anybody reads.

        While there is a sink, it gets them at once; one that is added later does not get what ended before it.
        """
        if not self._sinks:
            self._backlog.add(records)
            return
        try:
            self.count(list(records()))
        except Exception as error:  # noqa: BLE001  # whatever it is, no call suffers from it
            self.internal_error("backlog", error)

    def count(self, records: Sequence[Record]) -> None:
        """Count finished attempts and calls in their order: one by one they would cost more.

        Sinks get them once all are counted.
        """
        store = self._store
        with store.lock:
            if store.busy:
                store.later(partial(self.count, records))
                return
            unfit = self._count_all(records)
        store.catch_up()
        if unfit:
            records = [record for record in records if all(record is not each for each in unfit)]
        for sink in self._sinks:
            attempt, call = sink.attempt, sink.call
            for record in records:
                try:
                    if isinstance(record, CallRecord):
                        call(record)
                    else:
                        attempt(record)
                except Exception as error:  # noqa: BLE001  # the same
                    self.internal_error(f"sink {type(sink).__name__}", error)

    def breaker(self, name: str, *, source: Source | None = None) -> Breaker:
        """Return the series of the breaker ``host/model``."""
        label = partial(self._breaker_label, name)
        return Breaker(
            self._store, self._do, label, self._source_of(source), reason=self._reason_label, wall=self._wall
        )

    def timeouts(
        self, profile: Profile, settings: Mapping[Phase, float | None], *, source: Source | None = None
    ) -> None:
        """Tell which timeouts are in force for a profile; None means no timeout, and no series."""

        def work() -> None:
            for phase, seconds in settings.items():
                labels = (Profile(profile).value, Phase(phase).value, self._source_of(source).value)
                in_force = None if seconds is None or not 0.0 <= seconds <= LIMIT else float(seconds)
                self._store.gauge(f.TIMEOUT_SETTING, *labels).set(in_force, self._wall())

        self._do("timeouts", work)

    def retry_budget(self, scope: str, ratio: float, *, source: Source | None = None) -> None:
        """Tell how full a retry budget is (1 = full)."""

        def work() -> None:
            label = self._guard.admit("scope", scope).value
            gauge = self._store.gauge(f.RETRY_BUDGET, label, self._source_of(source).value)
            gauge.set(float(ratio) if 0.0 <= ratio <= 1.0 else None)

        self._do("retry_budget", work)

    def event_loop_lag(self, seconds: float) -> None:
        """Tell how late the event loop runs."""

        def work() -> None:
            self._store.gauge(f.EVENT_LOOP_LAG).set(float(seconds) if 0.0 <= seconds <= LIMIT else None)

        self._do("event_loop_lag", work)

    def dropped(self, reason: str, n: int = 1) -> None:
        """Count records that were lost."""

        def work() -> None:
            self._store.counter(f.DROPPED, self._guard.admit("reason", reason).value).value += max(0, index(n))

        self._do("dropped", work)

    def internal_error(self, where: str, error: BaseException) -> None:
        """Count a fault of ours that was swallowed; the first of each place is logged, without its message."""

        def work() -> None:
            self._store.counter(f.INTERNAL_ERRORS, self._guard.admit("where", where).value).value += 1

        self._store.alone(work)
        self._faults.tell(where, error)

    # Ways out.

    def add_sink(self, sink: Sink) -> None:
        """Pass every record on to ``sink`` as well; what it raises is counted, logged once and goes no further."""
        self._sinks = (*self._sinks, sink)

    def remove_sink(self, sink: Sink) -> None:
        """Stop passing records to ``sink``."""
        self._sinks = tuple(each for each in self._sinks if each is not sink)

    def before_collecting(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` before gauges are read: it tells what time alone may have changed."""
        self._askers = (*self._askers, tell)

    def register(self, registry: "CollectorRegistry") -> None:
        """Show the families on a prometheus_client registry too."""
        from sidecar.telemetry.collector import Collector  # noqa: PLC0415  # 30 ms that only this way out needs

        registry.register(Collector(self))

    def collect(self) -> Iterator[FamilyView]:
        """Yield every family with its series as of now."""
        self._backlog.settle()
        self._ask()
        gauges: dict[str, list[tuple[tuple[str, ...], float]]] = {}
        for sample in self.gauges():
            gauges.setdefault(sample.family, []).append((sample.labels, sample.value))
        for family in FAMILIES:
            match family.kind:
                case Kind.COUNTER:
                    yield FamilyView(family, values=self._store.counters(family))
                case Kind.GAUGE:
                    yield FamilyView(family, values=gauges.get(family.name, ()))
                case Kind.HISTOGRAM:
                    yield FamilyView(family, histograms=self._store.histograms(family))

    def gauges(self) -> Iterable[Sample]:
        """Return every gauge as of now, of this process and of those that report to it, also those no scraper sees."""
        return merged([*self._own_gauges((*FAMILIES, *UNEXPOSED)), *self._absorbed_gauges()]).values()

    def snapshot(self) -> GaugeSnapshot:
        """Return what this process knows beyond its records: what the socket sends each second."""
        self._backlog.settle()
        self._ask()
        return GaugeSnapshot(
            process=self._process,
            gauges=tuple(self._own_gauges(SHARED_GAUGES)),
            counters=tuple(
                Sample(family, labels, total - self._inherited.get((family, labels), 0))
                for (family, labels), total in self._shared_totals().items()
            ),
        )

    def absorb(self, snapshot: GaugeSnapshot) -> None:
        """Take the newest snapshot of another process; its gauges vanish after 5 s without a further one.

        What does not fit is dropped whole, and counted as dropped.
        """

        def work() -> None:
            for family, labels, rise in self._peers.absorb(snapshot):
                self._store.counter(family, *labels).value += rise

        self._do("absorb", work)

    # Reading, for the console page and tests. ``labels`` narrows down; what matches is put together.

    def value(self, family: str, **labels: str) -> float:
        """Return the sum of the matching series of a counter or gauge; 0 when there is none."""
        return sum(value for _, value in self.values(family, **labels))

    def values(self, family: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """Return each matching series of a counter or gauge with its labels."""
        return query.values(self.collect, family, labels)

    def histogram(self, family: str, **labels: str) -> HistogramSnapshot:
        """Return the matching series of a histogram merged into one; ask it for ``.quantile(0.99)``."""
        return query.histogram(self.collect, family, labels)

    # How records are counted, and faults swallowed.

    def _count_all(self, records: Iterable[Record]) -> list[Record]:
        """Count records for one who holds the lock, while nobody is inside; return those that make no sense."""
        store, recorder = self._store, self._recorder
        unfit: list[Record] = []
        store.busy = True
        try:
            for record in records:
                try:
                    if isinstance(record, CallRecord):
                        recorder.call(record)
                    else:
                        recorder.attempt(record)
                except Exception as error:  # noqa: BLE001  # whatever it is, no call suffers from it
                    store.later(partial(self._unfit, error))
                    unfit.append(record)
        finally:
            store.busy = False
        return unfit

    def _ask(self) -> None:
        for tell in self._askers:
            try:
                tell()
            except Exception as error:  # noqa: BLE001  # a scrape shows all the rest
                self.internal_error("before_collecting", error)

    def _do(self, where: str, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except _MALFORMED as error:
                self._store.later(partial(self._unfit, error))
            except Exception as error:  # noqa: BLE001  # the same
                self._store.later(partial(self.internal_error, where, error))

        self._store.alone(guarded)

    def _unfit(self, error: Exception) -> None:
        if isinstance(error, UnfitError):
            self.dropped(str(error))
        elif isinstance(error, _MALFORMED):
            # The record's fault, as far as can be told. In case it is ours, the log says where.
            self.dropped(MALFORMED)
            self._faults.tell("malformed record", error)
        else:
            self.internal_error("recorder", error)

    def _overflowed(self, label: str) -> None:
        self._store.counter(f.OVERFLOWS, label).value += 1

    def _admit_flight(self, start: Start) -> tuple[Labels, bool]:
        """Say under which labels a call under way is shown, and whether that will not change."""
        try:
            source = self._source_of(start.source).value
            with self._store.lock:
                endpoint = self._guard.admit("endpoint", start.endpoint)
                model = self._guard.admit("model", start.model)
            if start.profile is not None and isinstance(start.stream, bool):
                where = (self._store, endpoint.value, model.value, Profile(start.profile).value)
                stream = flag(start.stream)
                self._do("in_flight", lambda: prepare_attempts(*where, source=source))
                self._do("in_flight", lambda: prepare_calls(*where, stream=stream, source=source))
        except _MALFORMED as error:
            self._unfit(error)
            return (OTHER, OTHER, self._source.value), False
        return (endpoint.value, model.value, source), endpoint.stable and model.stable

    def _source_of(self, source: Source | None) -> Source:
        try:
            return Source(source or self._source)
        except ValueError as error:
            self._unfit(error)
            return self._source

    def _breaker_label(self, name: str) -> str:
        # Nothing proves a breaker's name but the model in it.
        proven = self._guard.is_proven("model", name.partition("/")[2])
        return self._guard.admit("breaker", name, proven=proven).value

    def _reason_label(self, reason: str) -> str:
        return self._guard.admit("reason", reason).value

    # What of this process and the others makes the gauges.

    def _own_gauges(self, families: Iterable[Family]) -> Iterator[Sample]:
        for family in families:
            if family.kind is Kind.GAUGE:
                for labels, value, at in self._store.gauges(family):
                    yield Sample(family.name, labels, value, at)
        for labels, load in self.in_flight.loads().items():
            yield Sample(f.IN_FLIGHT.name, labels, load.count)
            yield Sample(f.IN_FLIGHT_OLDEST.name, labels, load.oldest)
            yield Sample(f.IN_FLIGHT_SILENT.name, labels, load.silent)

    def _absorbed_gauges(self) -> list[Sample]:
        absorbed: list[Sample] = []
        self._store.alone(lambda: absorbed.extend(self._peers.gauges()))
        return absorbed

    def _shared_totals(self) -> dict[Key, float]:
        return {
            (family.name, labels): total for family in SHARED_COUNTERS for labels, total in self._store.counters(family)
        }

    def before_fork(self) -> None:
        """Let nobody be inside while the process forks."""
        self._store.lock.acquire()

    def after_fork(self, *, child: bool) -> None:
        """Go on; a child begins anew, as the calls under way, the peers and the totals so far are its parent's."""
        self._store.lock.release()
        if child:
            self._process = _process_name()
            self._inherited = self._shared_totals()
            self.in_flight.clear()
            self._peers.clear()


def _process_name() -> str:
    return f"{os.getpid()}-{os.urandom(4).hex()}"


_default: Telemetry | None = None
_default_lock: Final = Lock()


def default_telemetry() -> Telemetry:
    """Return the one `Telemetry` that `install()`, `instrument()` and `serve_metrics()` share."""
    global _default  # noqa: PLW0603  # one default is what it is for
    with _default_lock:
        if _default is None:
            _default = Telemetry()
        return _default
