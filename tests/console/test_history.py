"""The last hour of records: added up rightly, kept for an hour, small whatever comes, and no burden to a call."""

import random
import threading
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.console.history import BATCH, MAX_NAMES, History, sources_of
from sidecar.console.tally import Tally, merged, needed, ran_out
from sidecar.console.view import HOUR, MAX_KEYS, MAX_LISTED, STEP, Point, View
from sidecar.model import AttemptRecord, CallRecord, Outcome, Phase, Profile, RetryResult, Source, Wait
from tests.outlets import samples
from tests.telemetry.clock import Clock

START = 1_790_000_040.0
"""Ten seconds into a minute."""


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def history(clock: Clock) -> History:
    return History(clock)


def total(history: History, seconds: int = HOUR, source: Source = Source.CLIENT) -> Tally:
    return history.read(lambda views, now: merged(list(views[source].sums(seconds, now).values())))


def points(history: History, since: float = 0) -> list[Point]:
    return history.read(lambda views, now: views[Source.CLIENT].points(since, now))


def test_calls_and_attempts_add_up(history: History) -> None:
    history.attempt(samples.attempt(outcome=Outcome.TIMEOUT, phase=Phase.STALL, max_gap=20.0, duration=25.0))
    history.attempt(samples.attempt(outcome=Outcome.TIMEOUT, phase=Phase.FIRST_BYTE, max_gap=None, duration=30.0))
    history.attempt(samples.attempt(first_byte=0.5, max_gap=1.0))
    history.call(samples.call(attempts=3, retry_result=RetryResult.RECOVERED, duration=60.0, first_token=56.0))
    history.call(samples.call(outcome=Outcome.TIMEOUT, phase=Phase.STALL, first_token=None, duration=80.0))
    history.call(samples.call(outcome=Outcome.REJECTED, attempts=0, first_token=None, duration=0.0))
    whole = total(history)
    assert whole.outcomes == {Outcome.OK: 1, Outcome.TIMEOUT: 1, Outcome.REJECTED: 1}
    assert (whole.calls, whole.attempts) == (3, 4)
    assert whole.timed_out == {Phase.STALL: 1}
    assert whole.expired == {Phase.STALL: 1, Phase.FIRST_BYTE: 1}
    assert whole.results == {RetryResult.RECOVERED: 1}
    found = {name: times.snapshot().quantile(0.5) for name, times in whole.times.items()}
    assert found == pytest.approx(
        {
            Tally.CALL: 60.0,
            Tally.FIRST_TOKEN: 56.0,
            needed(Phase.DEADLINE): 60.0,
            needed(Phase.FIRST_BYTE): 0.5,
            needed(Phase.STALL): 1.0,
            ran_out(Phase.STALL): 20.0,
            ran_out(Phase.FIRST_BYTE): 30.0,
        },
        rel=0.022,
    )


def test_a_deadline_that_ended_a_wait_counts_though_no_attempt_saw_it(history: History) -> None:
    wait = Wait(reason=Outcome.OVERLOADED, at=1.0, seconds=0.0, completed=False)
    history.call(samples.call(outcome=Outcome.TIMEOUT, phase=Phase.DEADLINE, waits=(wait,)))
    assert total(history).expired == {Phase.DEADLINE: 1}


@pytest.mark.parametrize("outcome", [Outcome.CLIENT_ERROR, Outcome.CANCELLED, Outcome.REJECTED])
def test_what_says_nothing_of_answers_is_not_in_their_percentiles(history: History, outcome: Outcome) -> None:
    history.call(samples.call(outcome=outcome, first_token=None))
    assert total(history).times == {}
    assert [point.duration for point in points(history)] == [None]


def test_client_and_proxy_are_two_views_and_never_added_up(history: History) -> None:
    for source in Source:
        history.call(samples.call(source=source))
    assert total(history, source=Source.CLIENT).calls == 1
    assert total(history, source=Source.PROXY).calls == 2
    assert sources_of(Source.PROXY) == {Source.PROXY, Source.INFERRED}
    assert sources_of(Source.CLIENT) == {Source.CLIENT}


def test_points_have_the_counts_of_five_seconds_and_the_percentiles_of_a_minute(history: History, clock: Clock) -> None:
    for duration in (1.0, 2.0, 3.0):
        history.call(samples.call(duration=duration, first_token=duration / 2))
    clock.now += STEP
    history.call(samples.call(outcome=Outcome.TIMEOUT, phase=Phase.CONNECT, duration=9.0, first_token=None))
    one, two = points(history)
    assert (one.at, two.at) == (START, START + STEP)
    assert one.outcomes == {Outcome.OK: 3}
    assert two.outcomes == {Outcome.TIMEOUT: 1}
    assert two.timed_out == {Phase.CONNECT: 1}
    assert one.duration == pytest.approx((2.0, 3.0, 3.0), rel=0.022)
    assert two.duration == pytest.approx((2.0, 9.0, 9.0), rel=0.022)
    assert two.first_token == pytest.approx((1.0, 1.5, 1.5), rel=0.022)
    clock.now += 60
    history.call(samples.call(duration=7.0))
    assert points(history)[-1].duration == pytest.approx((7.0, 7.0, 7.0), rel=0.022)


def test_only_what_changed_since_is_given(history: History, clock: Clock) -> None:
    for _ in range(4):
        history.call(samples.call())
        clock.now += STEP
    assert [point.at - START for point in points(history, since=START + 2 * STEP)] == [2 * STEP, 3 * STEP]


@pytest.mark.parametrize("seconds", [300, 900, 3600])
def test_a_window_is_the_minute_under_way_and_the_whole_minutes_before_it(
    history: History, clock: Clock, seconds: int
) -> None:
    history.call(samples.call())
    clock.now = START // 60 * 60 + seconds + 59.9
    assert total(history, seconds).calls == 1
    history.call(samples.call())
    assert total(history, seconds).calls == 2
    clock.now += 0.2
    assert total(history, seconds).calls == 1


def test_after_an_hour_everything_is_gone(history: History, clock: Clock) -> None:
    history.attempt(samples.attempt())
    history.call(samples.call(outcome=Outcome.TIMEOUT, phase=Phase.STALL))
    clock.now += HOUR + 120
    assert total(history).calls == 0
    assert points(history) == []
    view: View = history.read(lambda views, _now: views[Source.CLIENT])
    assert (view.slowest(HOUR, clock.now), view.failed(HOUR, clock.now)) == ([], [])


def test_the_slowest_and_the_last_failed_calls_are_listed(history: History, clock: Clock) -> None:
    for number in range(50):
        failed = number % 2
        history.call(
            samples.call(
                duration=float(number % 37),
                outcome=Outcome.TRUNCATED if failed else Outcome.OK,
                request_id=f"req_{number}",
            )
        )
        clock.now += 7
    view: View = history.read(lambda views, _now: views[Source.CLIENT])
    slowest = view.slowest(HOUR, clock.now)
    assert [each.duration for each in slowest] == sorted((float(n % 37) for n in range(50)), reverse=True)[:MAX_LISTED]
    failed_calls = view.failed(HOUR, clock.now)
    assert [each.request_id for each in failed_calls] == [f"req_{number}" for number in range(49, 9, -2)]
    assert {each.outcome for each in failed_calls} == {Outcome.TRUNCATED}


def test_calls_that_took_equally_long_are_listed_alike(history: History) -> None:
    for request_id in (None, "req_1", None, *(f"req_{number}" for number in range(30))):
        history.call(samples.call(outcome=Outcome.REJECTED, duration=0.0, first_token=None, request_id=request_id))
    assert len(history.read(lambda views, now: views[Source.CLIENT].slowest(HOUR, now))) == MAX_LISTED


@pytest.mark.parametrize("request_id", [None, "", "req <b>", "a" * 65, "id\n"])
def test_a_request_id_that_is_none_is_not_listed(history: History, request_id: str | None) -> None:
    history.call(samples.call(request_id=request_id))
    assert history.read(lambda views, now: views[Source.CLIENT].slowest(HOUR, now))[0].request_id is None


def test_invented_names_fill_no_memory(history: History, clock: Clock) -> None:
    chance = random.Random(3)
    for _ in range(600):
        model = f"invented-{chance.getrandbits(60):x}"
        history.call(samples.call(model=model, outcome=Outcome.CLIENT_ERROR, profile=chance.choice(list(Profile))))
        clock.now += 0.01
    sums = history.read(lambda views, now: views[Source.CLIENT].sums(HOUR, now))
    assert len({key.model for key in sums}) <= MAX_NAMES // 2 + 1
    assert len(sums) <= MAX_KEYS + 1
    assert sum(tally.calls for tally in sums.values()) == 600


def test_an_hour_of_traffic_fits_in_a_few_megabytes(history: History, clock: Clock) -> None:
    chance = random.Random(1)
    models = [f"claude-{number}" for number in range(6)]
    tracemalloc.start()
    try:
        for _ in range(1_200):
            model, profile, duration = chance.choice(models), chance.choice(list(Profile)), chance.lognormvariate(1, 1)
            history.attempt(samples.attempt(model=model, profile=profile, duration=duration))
            history.call(samples.call(model=model, profile=profile, duration=duration, first_token=duration / 3))
            clock.now += HOUR / 1_200
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 6e6


def test_records_wait_while_somebody_reads_and_never_hold_a_call_up(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.console.history.MAX_WAITING", 500)

    def reading(_views: object, _now: float) -> None:
        for _ in range(510):
            history.call(samples.call())  # would hang here if it waited for the lock

    history.read(reading)
    assert total(history).calls == 500
    assert history.missed == 10


def test_nobody_has_to_look_for_the_inbox_to_be_emptied(history: History) -> None:
    for _ in range(10 * BATCH):
        history.call(samples.call())
    assert len(history._inbox) < BATCH


def test_threads_lose_nothing(history: History) -> None:
    def work() -> None:
        for _ in range(300):
            history.call(samples.call())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert total(history).calls == 1_200
    assert sum(sum(point.outcomes.values()) for point in points(history)) == 1_200


def test_a_clock_that_steps_back_a_little_is_waited_for(history: History, clock: Clock) -> None:
    history.call(samples.call())
    clock.now -= 30
    history.call(samples.call())
    assert total(history).calls == 2
    assert len(points(history)) == 1


def test_a_clock_that_steps_back_a_lot_begins_anew(history: History, clock: Clock) -> None:
    history.call(samples.call())
    total(history)
    clock.now -= 7200
    history.call(samples.call())
    assert total(history).calls == 1
    assert history.since == clock.now


_RECORDS = st.lists(
    st.tuples(
        st.floats(0, 400),
        st.one_of(
            st.builds(
                lambda outcome, duration: samples.call(outcome=outcome, duration=duration, first_token=None),
                st.sampled_from(Outcome),
                st.floats(0, 1e6),
            ),
            st.builds(lambda duration: samples.attempt(duration=duration), st.floats(0, 1e6)),
        ),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(_RECORDS)
def test_whatever_comes_the_graphs_and_the_sums_agree(steps: list[tuple[float, Any]]) -> None:
    clock = Clock(START)
    history = History(clock)
    history.call(samples.call())
    seen: list[tuple[float, AttemptRecord | CallRecord]] = []
    for pause, record in steps:
        clock.now += pause
        (history.call if isinstance(record, CallRecord) else history.attempt)(record)
        seen.append((clock.now, record))
    recent = [record for at, record in seen if at // 60 > clock.now // 60 - 60 and isinstance(record, CallRecord)]
    drawn = [point for point in points(history) if point.at // 60 > clock.now // 60 - 60]
    counted = history.read(lambda views, now: views[Source.CLIENT].sums(3540, now))
    first = clock.now // 60 - 60 < START // 60
    assert sum(tally.calls for tally in counted.values()) == len(recent) + first
    assert sum(sum(point.outcomes.values()) for point in drawn) == len(recent) + first
    assert [point.at for point in drawn] == sorted({point.at for point in drawn})
