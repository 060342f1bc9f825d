"""Attempts become calls: by what the clients say, by what repeats, and by what does not come any more."""

import pytest

from sidecar.model import CallRecord, Outcome, Profile, RetryResult, Source, Wait
from sidecar.proxy.correlate import Calls, Past
from sidecar.proxy.wheel import Wheel
from tests.proxy.clock import ClockLoop

ONE, OTHER = ("one",), ("other",)


class Setting:
    """Calls, their clock, and what is told of them."""

    def __init__(self, limit: int = 100) -> None:
        self.loop = ClockLoop()
        self.told: list[CallRecord] = []
        self.calls = Calls(Wheel(self.loop), self.told.append, limit=limit)  # type: ignore[arg-type]  # all it needs

    def begin(self, number: int | None, key: tuple[str, ...] = ONE) -> tuple[Past, float]:
        return self.calls.past(key, self.loop.now, self.loop.now + 1e9, number=number), self.loop.now

    def end(
        self,
        begun: tuple[Past, float],
        outcome: Outcome = Outcome.OVERLOADED,
        again_within: float | None = 10.0,
        key: tuple[str, ...] = ONE,
        first_token: float | None = None,
        attempts: int = 1,
        known: float | None = None,
    ) -> None:
        past, began = begun
        record = CallRecord(
            source=Source.PROXY,
            endpoint="messages",
            model="m",
            profile=Profile.DEFAULT,
            stream=False,
            started_at=began + 1e9,
            duration=self.loop.now - began,
            outcome=outcome,
            first_token=first_token,
            attempts=attempts,
            waits=tuple(Wait(reason=outcome, at=at, seconds=0.5) for at in range(attempts - 1)),
        )
        now = self.loop.now
        self.calls.ended(key, past, record, began=began, now=now, again_within=again_within, known=known)


def test_an_attempt_that_is_not_tried_again_is_a_call() -> None:
    setting = Setting()
    begun = setting.begin(0)
    setting.loop.advance(103.0)
    setting.end(begun, Outcome.OK, None, first_token=1.0)
    (call,) = setting.told
    assert (call.attempts, call.duration, call.first_token, call.retry_result) == (1, 3.0, 1.0, None)


@pytest.mark.parametrize(("began", "attempts"), [(100.5, 1), (101.0, 2), (101.5, 2)])
def test_a_retry_may_come_as_soon_as_the_client_knows(began: float, attempts: int) -> None:
    """The answer says at once that it is an error: the client need not wait for its end, others may see it come."""
    setting = Setting()
    begun = setting.begin(0)
    setting.loop.advance(102.0)
    setting.end(begun, Outcome.OVERLOADED, 8.0, known=101.0)
    past = setting.calls.past(ONE, began, 0.0, number=None)
    assert past.attempts + 1 == attempts


def test_a_retry_that_succeeds_recovers_its_call() -> None:
    setting = Setting()
    begun = setting.begin(0)
    setting.loop.advance(101.0)
    setting.end(begun)
    setting.loop.advance(103.0)
    begun = setting.begin(1)
    assert setting.calls.waiting == 0
    setting.loop.advance(107.0)
    setting.end(begun, Outcome.OK, None, first_token=0.5)
    (call,) = setting.told
    assert (call.attempts, call.duration, call.started_at) == (2, 7.0, 100.0 + 1e9)
    assert (call.first_token, call.retry_result, call.outcome) == (3.5, RetryResult.RECOVERED, Outcome.OK)
    assert [(wait.reason, wait.at, wait.seconds, wait.completed) for wait in call.waits] == [
        (Outcome.OVERLOADED, 1.0, 2.0, True)
    ]


def test_what_began_before_a_failure_is_no_retry_of_it() -> None:
    """Two equal requests at once, by a client that does not count, are two calls, whenever they are looked into."""
    setting = Setting()
    begun = setting.begin(None)
    setting.loop.advance(103.0)
    setting.end(begun)
    beside = setting.calls.past(ONE, 102.0, 102.0 + 1e9, number=None)
    assert (beside.first, beside.attempts, setting.calls.waiting) == (102.0, 0, 1)
    after, _ = setting.begin(None)
    assert (after.first, after.attempts, setting.calls.waiting) == (100.0, 1, 0)


def test_a_call_whose_retry_never_comes_ended_with_its_last_attempt() -> None:
    setting = Setting()
    setting.end(setting.begin(0))
    setting.loop.advance(102.0)
    setting.end(setting.begin(1), Outcome.RATE_LIMITED)
    setting.loop.advance(111.9)
    assert (setting.told, setting.calls.waiting) == ([], 1)
    setting.loop.advance(113.0)
    (call,) = setting.told
    assert (call.attempts, call.duration, call.outcome) == (2, 2.0, Outcome.RATE_LIMITED)
    assert call.retry_result is RetryResult.EXHAUSTED
    assert setting.calls.waiting == 0


def test_a_retry_that_is_given_up_abandons_its_call() -> None:
    setting = Setting()
    setting.end(setting.begin(0))
    setting.end(setting.begin(1), Outcome.CANCELLED, None)
    assert setting.told[0].retry_result is RetryResult.ABANDONED


def test_the_same_request_made_anew_is_another_call() -> None:
    setting = Setting()
    setting.end(setting.begin(0))
    setting.end(setting.begin(0), Outcome.OK, None)
    setting.calls.close()
    assert [(call.outcome, call.attempts) for call in setting.told] == [(Outcome.OK, 1), (Outcome.OVERLOADED, 1)]


def test_equal_requests_at_once_are_told_apart_by_their_numbers() -> None:
    setting = Setting()
    first, second = setting.begin(0), setting.begin(0)
    setting.end(first)
    setting.end(second)
    setting.end(setting.begin(1))
    retried_once_more = setting.begin(2)
    setting.end(retried_once_more, Outcome.OK, None)
    setting.end(setting.begin(1), Outcome.OK, None)
    assert [(call.attempts, call.retry_result) for call in setting.told] == [
        (3, RetryResult.RECOVERED),
        (2, RetryResult.RECOVERED),
    ]


def test_a_retry_whose_beginning_was_not_seen_still_counts_its_attempts() -> None:
    setting = Setting()
    setting.end(setting.begin(2), Outcome.OK, None)
    (call,) = setting.told
    assert (call.attempts, call.waits, call.retry_result) == (3, (), RetryResult.RECOVERED)


def test_of_a_client_that_says_nothing_a_repetition_is_a_retry() -> None:
    setting = Setting()
    setting.end(setting.begin(None))
    setting.end(setting.begin(None, OTHER), Outcome.OK, None, key=OTHER)
    setting.end(setting.begin(None), Outcome.OK, None)
    assert [(call.attempts, call.retry_result) for call in setting.told] == [(1, None), (2, RetryResult.RECOVERED)]


def test_only_so_many_calls_are_waited_for_and_the_oldest_is_closed_first() -> None:
    setting = Setting(limit=2)
    for n in range(3):
        setting.end(setting.begin(0, (f"{n}",)), key=(f"{n}",))
        setting.loop.advance(setting.loop.now + 1)
    assert (len(setting.told), setting.calls.waiting) == (1, 2)
    setting.calls.close()
    assert (len(setting.told), setting.calls.waiting) == (3, 0)
    setting.loop.advance(200.0)
    assert len(setting.told) == 3


def test_requests_are_counted_apart_from_the_attempts_made_for_them() -> None:
    setting = Setting()
    begun = setting.begin(0)
    setting.end(begun, attempts=3)
    setting.loop.advance(104.0)
    begun = setting.begin(1)
    assert (begun[0].requests, begun[0].attempts) == (1, 3)
    setting.end(begun, Outcome.OK, None, attempts=2)
    (call,) = setting.told
    assert (call.attempts, call.retry_result, call.duration) == (5, RetryResult.RECOVERED, 4.0)
    assert [(wait.at, wait.seconds) for wait in call.waits] == [(0, 0.5), (1, 0.5), (0, 4.0), (4, 0.5)]


def test_a_request_that_was_never_sent_changes_nothing_of_the_attempts_before() -> None:
    setting = Setting()
    setting.end(setting.begin(0), Outcome.OVERLOADED)
    setting.loop.advance(102.0)
    setting.end(setting.begin(1), Outcome.REJECTED, None, attempts=0)
    (call,) = setting.told
    assert (call.outcome, call.attempts, call.retry_result, call.duration) == (Outcome.OVERLOADED, 1, None, 2.0)
    assert [(wait.seconds, wait.completed) for wait in call.waits] == [(2.0, False)]


def test_requests_that_were_never_sent_are_one_call_without_attempts() -> None:
    setting = Setting()
    for number in range(3):
        setting.end(setting.begin(number), Outcome.REJECTED, None if number == 2 else 10.0, attempts=0)
        setting.loop.advance(setting.loop.now + 1)
    (call,) = setting.told
    assert (call.outcome, call.attempts, call.waits, call.duration) == (Outcome.REJECTED, 0, (), 2.0)
