"""Attempts of one call in several workers become one call, in whatever order their notes come."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.model import CallRecord, Outcome, Profile, RetryResult, Source
from sidecar.proxy.correlate import Calls, Correlation
from sidecar.proxy.notes import IN_ORDER_SECONDS, Joiner, SharedCalls
from sidecar.proxy.wheel import Wheel
from tests.proxy.clock import ClockLoop

KEY = (b"POST", b"/v1/messages", b"", (1, 2))


def record(outcome: Outcome = Outcome.OVERLOADED, **more: Any) -> CallRecord:
    fields: dict[str, Any] = {
        "source": Source.PROXY,
        "endpoint": "messages",
        "model": "m",
        "profile": Profile.DEFAULT,
        "stream": True,
        "started_at": 1000.0,
        "duration": 1.0,
        "outcome": outcome,
        "host": "h",
    }
    return CallRecord(**(fields | more))


class Joined:
    """A process that joins the notes of several workers, and what becomes of them."""

    def __init__(self, workers: int = 2) -> None:
        self.clock = ClockLoop()
        self.wheel = Wheel(self.clock)  # type: ignore[arg-type]  # all that it needs of a loop
        self.told: list[CallRecord] = []
        self.alone: list[CallRecord] = []
        self.dropped: list[str] = []
        self.notes: list[bytes] = []
        self.full = False
        self.times: list[tuple[float, float]] = []
        self.arrived: list[bytes] = []
        """What the process was too busy to take."""
        self.joiner = Joiner(
            self.wheel, Calls(self.wheel, self.told.append), self.dropped.append, catch_up=self._catch_up
        )
        self.workers: list[Correlation] = []
        for pid in range(workers):
            worker = SharedCalls(self._send, self.alone.append)
            worker._pid = pid
            self.workers.append(worker)

    def _send(self, note: bytes) -> bool:
        if not self.full:
            self.notes.append(note)
        return not self.full

    def _catch_up(self) -> None:
        while self.arrived:
            self.joiner.take(self.arrived.pop(0))

    def deliver(self, order: random.Random | None = None) -> None:
        if order is not None:
            order.shuffle(self.notes)
        for note in self.notes:
            self.joiner.take(note)
        self.notes.clear()
        self.clock.advance(self.clock.now + 2 * IN_ORDER_SECONDS)

    def attempt(self, worker: int, number: int | None, outcome: Outcome, again: float | None = 10.0) -> None:
        calls = self.workers[worker]
        now = self.clock.now
        past = calls.past(KEY, now, 900.0 + now, number=number)
        ended = record(outcome, started_at=900.0 + now, first_token=0.25 if outcome is Outcome.OK else None)
        calls.ended(KEY, past, ended, began=now, now=now + 1.0, again_within=again)
        self.times.append((now, now + 1.0))
        self.clock.now += 1.5


def test_a_busy_process_takes_what_has_arrived_before_it_joins() -> None:
    """The note of the retry was read in time, that of what it retries was not: it is still no call of its own."""
    joined = Joined()
    joined.attempt(0, None, Outcome.OVERLOADED)
    joined.arrived, joined.notes = joined.notes, []
    joined.attempt(1, None, Outcome.OK, again=None)
    joined.deliver()
    assert [(call.attempts, call.retry_result) for call in joined.told] == [(2, RetryResult.RECOVERED)]


def test_a_retry_can_be_quicker_than_the_worker_that_saw_the_failure() -> None:
    """Its client knew from the answer's head; the end was looked at after the retry had begun elsewhere."""
    joined = Joined()
    first, second = joined.workers
    past = first.past(KEY, 1.0, 901.0, number=None)
    retried = second.past(KEY, 2.1, 902.1, number=None)
    failed = record(Outcome.OVERLOADED, started_at=901.0, first_token=None)
    first.ended(KEY, past, failed, began=1.0, now=2.2, again_within=10.0, known=2.0)
    second.ended(KEY, retried, record(Outcome.OK, started_at=902.1), began=2.1, now=3.1, again_within=None)
    joined.deliver()
    assert [(call.attempts, call.retry_result) for call in joined.told] == [(2, RetryResult.RECOVERED)]


@pytest.mark.parametrize("numbers", [(0, 1, 2), (None, None, None)])
@given(seed=st.integers(0, 2**32), delivered=st.booleans())
@settings(max_examples=30, deadline=None)
def test_retries_that_came_to_other_workers_are_one_call(
    numbers: tuple[int | None, ...], seed: int, delivered: bool
) -> None:
    joined, order = Joined(), random.Random(seed)
    for number, outcome in zip(numbers, (Outcome.OVERLOADED, Outcome.TIMEOUT, Outcome.OK), strict=True):
        again = None if outcome is Outcome.OK else 10.0
        joined.attempt(order.randrange(2), number, outcome, again)
        if delivered:
            joined.deliver()
    joined.deliver(order)
    assert joined.alone == []
    [call] = joined.told
    assert (call.outcome, call.attempts, call.retry_result) == (Outcome.OK, 3, RetryResult.RECOVERED)
    assert [wait.reason for wait in call.waits] == [Outcome.OVERLOADED, Outcome.TIMEOUT]
    assert call.started_at == 1000.0
    (first, _), *_, (last, end) = joined.times
    assert call.duration == pytest.approx(end - first)
    assert call.first_token == pytest.approx(last - first + 0.25)


def test_what_is_a_call_by_itself_is_told_at_once_and_nobody_is_asked() -> None:
    joined = Joined()
    joined.attempt(0, 0, Outcome.OK, None)
    assert (len(joined.alone), joined.notes) == (1, [])


def test_a_call_whose_retry_never_comes_is_told_after_its_window() -> None:
    joined = Joined()
    joined.attempt(0, 0, Outcome.OVERLOADED, 3.0)
    joined.deliver()
    assert joined.told == []
    joined.clock.advance(joined.clock.now + 4.0)
    assert [(call.outcome, call.attempts) for call in joined.told] == [(Outcome.OVERLOADED, 1)]


def test_what_no_note_can_be_sent_of_is_told_as_it_is_with_the_clients_own_count() -> None:
    joined = Joined()
    joined.full = True
    joined.attempt(0, 0, Outcome.OVERLOADED)
    joined.attempt(1, 1, Outcome.OK, None)
    joined.attempt(1, None, Outcome.OK, None)
    assert [(call.attempts, call.retry_result) for call in joined.alone] == [
        (1, None),
        (2, RetryResult.RECOVERED),
        (1, None),
    ]


def test_the_end_tells_everything_that_was_heard() -> None:
    joined = Joined()
    joined.attempt(0, 0, Outcome.OVERLOADED)
    for note in joined.notes:
        joined.joiner.take(note)
    joined.joiner.close()
    assert len(joined.told) == 1


def test_a_worker_that_is_gone_leaves_nothing_behind() -> None:
    joined = Joined()
    joined.workers[1].past(KEY, joined.clock.now, 0.0, number=1)
    joined.deliver()
    assert list(joined.joiner._pasts) == [1]
    joined.joiner.forget(1)
    joined.clock.advance(joined.clock.now + 2.0)
    assert joined.joiner._pasts == {}


@pytest.mark.parametrize("cut", [0, 10, 60, 100, -1])
def test_notes_that_make_no_sense_are_counted_and_passed_over(cut: int) -> None:
    joined = Joined()
    joined.attempt(0, 0, Outcome.OVERLOADED)
    [note] = joined.notes
    joined.notes[:] = [note[:cut]]
    joined.deliver()
    joined.joiner.close()
    assert (joined.dropped, joined.told) == (["note_malformed"], [])


def test_closing_a_worker_tells_nothing() -> None:
    joined = Joined()
    joined.attempt(0, 0, Outcome.OVERLOADED)
    joined.workers[0].close()
    assert joined.alone == []
