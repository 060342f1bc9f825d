"""What is read while it grows: each reader gets the series there were when it began, in the order they came."""

from sidecar.telemetry.families import CALL_DURATION, CALLS
from sidecar.telemetry.store import Store


def labels(n: int) -> list[str]:
    return [str(n), "model", "default", "true", "ok", "client"]


def counted(store: Store) -> list[tuple[str, float]]:
    return [(series[0], value) for series, value in store.counters(CALLS)]


def test_a_reader_gets_the_series_there_were_when_it_began() -> None:
    store = Store()
    for n in range(3):
        store.counter(CALLS, *labels(n)).value = n
    reading = store.counters(CALLS)
    assert next(reading)[0][0] == "0"
    store.counter(CALLS, *labels(3)).value = 3
    assert counted(store) == [("0", 0), ("1", 1), ("2", 2), ("3", 3)]
    assert [series[0] for series, _ in reading] == ["1", "2"]
    assert counted(store) == [("0", 0), ("1", 1), ("2", 2), ("3", 3)]


def test_what_is_read_is_newest_also_of_series_that_were_read_before() -> None:
    store = Store()
    store.counter(CALLS, *labels(0)).value = 1
    assert counted(store) == [("0", 1)]
    store.counter(CALLS, *labels(0)).value = 2
    assert counted(store) == [("0", 2)]


def test_families_do_not_mix() -> None:
    store = Store()
    store.counter(CALLS, *labels(0)).value = 1
    store.histogram(CALL_DURATION, *labels(1)).observe(1.0)
    store.histogram(CALL_DURATION, *labels(2))
    assert counted(store) == [("0", 1)]
    assert [(series[0], snapshot.total) for series, snapshot in store.histograms(CALL_DURATION)] == [("1", 1)]
