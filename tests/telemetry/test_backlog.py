"""Records that are made later are counted before anybody reads, once, and held in a bounded number."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.model import AttemptRecord, CallRecord
from sidecar.telemetry import Telemetry
from sidecar.telemetry.backlog import BATCH
from tests.telemetry.records import attempt, call
from tests.telemetry.test_threads_and_forks import fork_beside_threads, in_child


class Sink:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[AttemptRecord | CallRecord] = []

    def attempt(self, record: AttemptRecord, /) -> None:
        self.told.append(record)

    def call(self, record: CallRecord, /) -> None:
        self.told.append(record)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


READERS: list[Callable[[Telemetry], object]] = [
    lambda telemetry: telemetry.value("claude_calls_total"),
    lambda telemetry: telemetry.histogram("claude_call_duration_seconds"),
    lambda telemetry: next(telemetry.collect()),
    lambda telemetry: telemetry.snapshot(),
]


@pytest.mark.parametrize("read", READERS)
def test_whoever_reads_finds_everything_counted(telemetry: Telemetry, read: Callable[[Telemetry], object]) -> None:
    made: list[int] = []

    def records() -> list[AttemptRecord | CallRecord]:
        made.append(1)
        return [attempt(), call()]

    telemetry.ended(records)
    assert made == []
    read(telemetry)
    assert made == [1]
    assert telemetry.value("claude_calls_total") == telemetry.value("claude_attempts_total") == 1


def test_no_more_than_a_batch_is_ever_held(telemetry: Telemetry) -> None:
    held: set[int] = set()
    most = 0
    for n in range(BATCH * 3):
        held.add(n)
        most = max(most, len(held))

        def records(n: int = n) -> list[CallRecord]:
            held.discard(n)
            return [call()]

        telemetry.ended(records)
    assert most == BATCH
    assert held == set()


def test_a_sink_gets_its_records_at_once_and_none_from_before(telemetry: Telemetry) -> None:
    telemetry.ended(lambda: [call(model="before")])
    sink = Sink()
    telemetry.add_sink(sink)
    telemetry.ended(lambda: [attempt(model="during"), call(model="during")])
    assert [record.model for record in sink.told] == ["during", "during"]
    telemetry.remove_sink(sink)
    telemetry.ended(lambda: [call(model="after")])
    assert telemetry.value("claude_calls_total") == 3
    assert len(sink.told) == 2


@pytest.mark.parametrize("listening", [True, False])
def test_records_that_cannot_be_made_are_a_fault_of_ours_and_hold_up_no_other(
    telemetry: Telemetry, *, listening: bool
) -> None:
    def records() -> Any:
        raise ZeroDivisionError

    if listening:
        telemetry.add_sink(Sink())
    telemetry.ended(records)
    telemetry.ended(lambda: [call()])
    assert telemetry.value("claude_calls_total") == 1
    assert telemetry.value("sidecar_internal_errors_total", where="backlog") == 1


def test_a_record_that_makes_no_sense_is_dropped_as_ever(telemetry: Telemetry) -> None:
    telemetry.ended(lambda: [attempt(duration=-1.0), call()])
    assert telemetry.value("sidecar_dropped_records_total", reason="negative") == 1
    assert telemetry.value("claude_calls_total") == 1


def test_what_ends_while_others_are_counted_is_counted_too(telemetry: Telemetry) -> None:
    """The garbage collector can end a stream at any point, also inside of the counting."""

    class Model(str):
        __slots__ = ()

        def __hash__(self) -> int:
            for _ in range(BATCH):
                telemetry.ended(lambda: [call(model="inner")])
            return str.__hash__(self)

        __eq__ = str.__eq__

    telemetry.ended(lambda: [call(model=Model("outer"))])
    assert telemetry.value("claude_calls_total", model="outer") == 1
    assert telemetry.value("claude_calls_total", model="inner") >= BATCH


@pytest.mark.usefixtures("eager_threads")
def test_threads_lose_nothing_and_a_scrape_misses_nothing_that_had_ended() -> None:
    telemetry = Telemetry()
    workers, each = 4, 300
    ended = [0] * workers
    start = threading.Barrier(workers)
    missed: list[tuple[float, int]] = []

    def work(number: int) -> None:
        start.wait()
        for n in range(each):
            telemetry.ended(lambda: [attempt(), call()])
            ended[number] += 1
            if n % 50 == 0:
                least = sum(ended)
                seen = telemetry.value("claude_calls_total")
                if seen < least:
                    missed.append((seen, least))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert missed == []
    assert telemetry.value("claude_calls_total") == telemetry.value("claude_attempts_total") == workers * each


@fork_beside_threads
def test_what_ended_before_a_fork_is_counted_on_either_side(telemetry: Telemetry) -> None:
    telemetry.ended(lambda: [call()])

    def child() -> None:
        assert telemetry.value("claude_calls_total") == 1

    assert in_child(child) == 0
    assert telemetry.value("claude_calls_total") == 1
