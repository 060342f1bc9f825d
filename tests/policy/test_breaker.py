import asyncio
import gc
import inspect
import logging
import pickle
import random
import threading
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Protocol

import pytest

import sidecar
from sidecar.model import BreakerState, Outcome
from sidecar.policy import BreakerConfig, BreakerOpen, CircuitBreaker, Counts, Reason

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock(Protocol):
    now: float

    def __call__(self) -> float: ...


class Chance(random.Random):
    value = 0.0

    def random(self) -> float:
        return self.value


def opened(clock: Clock, **settings: float) -> CircuitBreaker:
    breaker = CircuitBreaker("host/model", **{"consecutive": 1, "open_jitter": 0.0, **settings}, clock=clock)  # type: ignore[arg-type]
    breaker.acquire().failure("timeout", 1.0)
    return breaker


def test_its_parameters_are_those_that_are_promised() -> None:
    parameters = inspect.signature(CircuitBreaker).parameters
    promised = {
        "window": 60.0,
        "min_calls": 10,
        "failure_ratio": 0.5,
        "consecutive": 5,
        "slow_after": None,
        "slow_ratio": 1.0,
        "open_for": 60.0,
        "max_open_for": 300.0,
        "open_jitter": 0.1,
        "probes": 3,
        "probe_wait": 60.0,
    }
    assert list(parameters) == ["name", *promised, "clock", "rng"]
    assert {name: parameters[name].default for name in promised} == promised
    assert {parameter.kind for name, parameter in parameters.items() if name != "name"} == {
        inspect.Parameter.KEYWORD_ONLY
    }


def test_its_configuration_has_the_same_defaults() -> None:
    parameters = inspect.signature(CircuitBreaker).parameters
    assert {field.name: field.default for field in fields(BreakerConfig)} == {
        name: parameter.default for name, parameter in parameters.items() if name not in {"name", "clock", "rng"}
    }


def test_it_keeps_its_name_and_its_numbers() -> None:
    numbers = {
        "window": 30.0,
        "min_calls": 4,
        "failure_ratio": 0.25,
        "consecutive": 7,
        "slow_after": 9.0,
        "slow_ratio": 0.75,
        "open_for": 11.0,
        "max_open_for": 99.0,
        "open_jitter": 0.3,
        "probes": 2,
        "probe_wait": 5.0,
    }
    breaker = CircuitBreaker("host/model", **numbers)  # type: ignore[arg-type]
    assert breaker.name == "host/model"
    assert breaker.config == BreakerConfig(**numbers)  # type: ignore[arg-type]


def test_it_is_public() -> None:
    assert sidecar.CircuitBreaker is CircuitBreaker
    assert sidecar.BreakerOpen is BreakerOpen


def test_without_a_clock_it_runs_by_the_monotonic_one() -> None:
    assert inspect.signature(CircuitBreaker).parameters["clock"].default is time.monotonic
    breaker = CircuitBreaker("host/model", consecutive=1, open_for=1e9, max_open_for=1e9)
    breaker.acquire().failure("timeout", 1.0)
    assert breaker.state == "open"


def test_two_breakers_without_a_random_source_do_not_share_one(clock: Clock) -> None:
    waits = set()
    for _ in range(5):
        breaker = CircuitBreaker("x", consecutive=1, probes=1, open_jitter=1.0, clock=clock)
        clock.now = 0.0
        breaker.acquire().failure("timeout", 1.0)
        clock.now = 60.0
        breaker.acquire().failure("timeout", 1.0)
        waits.add(breaker.rejects_for())
    assert len(waits) == 5
    assert all(0 < wait <= 120 for wait in waits)


def test_every_bad_parameter_is_named_with_its_value_and_its_range_at_once() -> None:
    with pytest.raises(ValueError, match="circuit breaker") as raised:
        CircuitBreaker(
            "",
            window=1.5,
            min_calls=0,
            failure_ratio=float("nan"),
            consecutive=0,
            slow_after=-1.0,
            slow_ratio=1.01,
            open_for=60.0,
            max_open_for=59.0,
            open_jitter=1.1,
            probes=0,
            probe_wait=0.0,
            clock=3,  # type: ignore[arg-type]
            rng=4,  # type: ignore[arg-type]
        )
    assert str(raised.value) == (
        "circuit breaker: "
        "name must be a string that is not empty, got ''; "
        "clock must be a callable that returns seconds, got 3; "
        "rng must be a random.Random, got 4; "
        "window must be a whole number of seconds at least 1 and at most 3600, got 1.5; "
        "min_calls must be a whole number at least 1 and at most 1e+06, got 0; "
        "failure_ratio must be a finite number above 0 and at most 1, or None, got nan; "
        "consecutive must be a whole number at least 1 and at most 1e+06, or None, got 0; "
        "slow_after must be a finite number at least 0, or None, got -1.0; "
        "slow_ratio must be a finite number above 0 and at most 1, got 1.01; "
        "max_open_for must be a finite number at least 60, got 59.0; "
        "open_jitter must be a finite number at least 0 and at most 1, got 1.1; "
        "probes must be a whole number at least 1 and at most 1000, got 0; "
        "probe_wait must be a finite number above 0, got 0.0"
    )


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("window", [1, 1.0, 3600], [0, 3601, -1, 0.5, float("nan"), float("inf"), "60", None, True]),
        ("min_calls", [1, 1_000_000], [0, -1, 1_000_001, 1.0, None, True]),
        ("failure_ratio", [1e-9, 1, None], [0, -0.5, 1.0001, float("nan"), "0.5", False]),
        ("consecutive", [1, 1_000_000, None], [0, 1_000_001, 1.5, True]),
        ("slow_after", [0, 5.5, None], [-0.001, float("inf"), float("nan")]),
        ("slow_ratio", [1e-9, 1], [0, 1.0001, float("nan"), None]),
        ("open_for", [0.001, 300], [0, -1, float("nan"), float("inf"), 300.5, None]),
        ("max_open_for", [60, 1e9], [59.999, float("nan"), float("inf"), -1, None]),
        ("open_jitter", [0, 1], [-0.001, 1.001, float("nan"), None]),
        ("probes", [1, 1000], [0, 1001, -1, 2.0, None]),
        ("probe_wait", [0.001, 1e6], [0, -1, float("nan"), float("inf"), None]),
    ],
)
def test_each_parameter_has_its_range(name: str, good: list[object], bad: list[object]) -> None:
    for value in good:
        assert getattr(BreakerConfig(**{name: value}), name) == value  # type: ignore[arg-type]
    for value in bad:
        with pytest.raises(ValueError, match=f"{name if value != 300.5 else 'max_open_for'} must be"):
            BreakerConfig(**{name: value})  # type: ignore[arg-type]


def test_a_bad_open_for_is_not_blamed_on_max_open_for() -> None:
    with pytest.raises(ValueError, match=r"^circuit breaker: open_for must be") as raised:
        BreakerConfig(open_for=-1.0)
    assert "max_open_for" not in str(raised.value)
    with pytest.raises(ValueError, match="open_for") as raised:
        BreakerConfig(open_for=-1.0, max_open_for=0.0)
    assert "max_open_for must be a finite number above 0, got 0.0" in str(raised.value)


# --- permits ---------------------------------------------------------------------------------------------------------


def test_outcomes_may_be_members_or_their_words(clock: Clock) -> None:
    breaker = CircuitBreaker("x", clock=clock)
    breaker.acquire().failure(Outcome.OVERLOADED, 1.0)
    breaker.acquire().failure("overloaded", 1.0)
    assert breaker.snapshot().counts == Counts(2, 2, 0)


def test_a_word_that_is_no_outcome_is_refused_and_the_permit_is_still_good(clock: Clock) -> None:
    breaker = CircuitBreaker("x", clock=clock)
    permit = breaker.acquire()
    with pytest.raises(ValueError, match="'meh' is not a valid Outcome"):
        permit.failure("meh", 1.0)
    permit.success(1.0)
    assert breaker.snapshot().counts == Counts(1, 0, 0)


def test_a_failure_that_is_ok_is_refused(clock: Clock) -> None:
    breaker = CircuitBreaker("x", clock=clock)
    with pytest.raises(
        ValueError, match=r"^a failure cannot have the outcome 'ok': report it with success\(duration\)$"
    ):
        breaker.acquire().failure("ok", 1.0)
    assert breaker.snapshot().counts == Counts()


def test_as_a_context_manager_it_measures_the_time(clock: Clock) -> None:
    breaker = CircuitBreaker("x", slow_after=2.0, clock=clock)
    clock.now = 7.0
    permit = breaker.acquire()
    clock.now = 50.0
    with permit as entered:
        assert entered is permit
        clock.now = 52.0
    assert breaker.snapshot().counts == Counts(1, 0, 0)
    with breaker.acquire():
        clock.now = 54.5
    assert breaker.snapshot().counts == Counts(2, 0, 1)


def test_as_a_context_manager_it_measures_failures_too(clock: Clock) -> None:
    breaker = CircuitBreaker("x", slow_after=2.0, clock=clock)

    def time_out() -> None:
        clock.now = 3.0
        raise TimeoutError

    with pytest.raises(TimeoutError), breaker.acquire():
        time_out()
    assert breaker.snapshot().counts == Counts(1, 1, 1)


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (TimeoutError(), Counts(1, 1)),
        (ConnectionResetError(), Counts(1, 1)),
        (KeyboardInterrupt(), Counts()),
        (asyncio.CancelledError(), Counts()),
        (GeneratorExit(), Counts()),
        (SystemExit(), Counts()),
        (ValueError("the application's own"), Counts()),
        (BreakerOpen("another", 1.0), Counts()),
    ],
)
def test_as_a_context_manager_it_classifies_as_the_vocabulary_does(
    clock: Clock, error: BaseException, counts: Counts
) -> None:
    breaker = CircuitBreaker("x", clock=clock)
    with pytest.raises(type(error)) as raised, breaker.acquire():
        raise error
    assert raised.value is error
    assert breaker.snapshot().counts == counts


def test_a_verdict_inside_the_context_manager_stands(clock: Clock) -> None:
    breaker = CircuitBreaker("x", clock=clock)
    with breaker.acquire() as permit:
        permit.failure("server_error", 1.0)
    assert breaker.snapshot().counts == Counts(1, 1, 0)


# --- BreakerOpen -----------------------------------------------------------------------------------------------------


def test_breaker_open_says_what_is_open_and_when_to_come_back(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now = 47.75
    with pytest.raises(BreakerOpen) as raised:
        breaker.acquire()
    assert (raised.value.name, raised.value.retry_after, raised.value.state) == ("host/model", 12.25, "open")
    assert str(raised.value) == "breaker 'host/model' is open: try again in 12.2 s"


def test_breaker_open_says_that_only_an_operator_can_close_what_was_forced(clock: Clock) -> None:
    breaker = CircuitBreaker("host/model", clock=clock)
    breaker.force_open()
    with pytest.raises(BreakerOpen) as raised:
        breaker.acquire()
    assert raised.value.retry_after is None
    assert str(raised.value) == "breaker 'host/model' is forced_open: it stays so until reset() is called"


def test_breaker_open_survives_pickling() -> None:
    error = BreakerOpen("host/model", 3.0, BreakerState.HALF_OPEN)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert (copy.name, copy.retry_after, copy.state) == copy.args == ("host/model", 3.0, BreakerState.HALF_OPEN)
    assert BreakerOpen("x", 1.0).state is BreakerState.OPEN


# --- looking at it ---------------------------------------------------------------------------------------------------


def test_rejections_are_counted(clock: Clock) -> None:
    breaker = opened(clock)
    for _ in range(3):
        with pytest.raises(BreakerOpen):
            breaker.acquire()
    breaker.force_open()
    with pytest.raises(BreakerOpen):
        breaker.acquire()
    snapshot = breaker.snapshot()
    assert (snapshot.name, snapshot.state, snapshot.rejected) == ("host/model", "forced_open", 4)
    assert (snapshot.would_have_rejected, snapshot.callback_errors) == (0, 0)


def test_it_says_for_how_long_it_is_certain_to_reject(clock: Clock) -> None:
    breaker = opened(clock, probes=1)
    assert breaker.rejects_for() == 60.0
    clock.now = 59.0
    assert breaker.rejects_for() == 1.0
    clock.now = 60.0
    assert breaker.rejects_for() == 0.0
    permit = breaker.acquire()
    assert breaker.rejects_for() == 0.0  # a probe may be judged at any time
    permit.success(1.0)
    assert breaker.rejects_for() == 0.0
    breaker.force_open()
    assert breaker.rejects_for() == float("inf")
    breaker.disable()
    assert breaker.rejects_for() == 0.0
    breaker.observe_only()
    breaker.acquire().failure("timeout", 1.0)
    assert breaker.rejects_for() == 0.0
    assert breaker.snapshot().rejected == 0


def test_the_failure_ratio_of_nothing_is_zero() -> None:
    assert Counts().failure_ratio == 0.0
    assert Counts(4, 1).failure_ratio == 0.25


def test_a_breaker_may_be_referred_to_weakly(clock: Clock) -> None:
    import weakref

    breaker = CircuitBreaker("x", clock=clock)
    assert weakref.ref(breaker)() is breaker


# --- callbacks -------------------------------------------------------------------------------------------------------


def test_a_callback_hears_from_to_and_why(clock: Clock) -> None:
    breaker = CircuitBreaker("x", consecutive=1, probes=1, clock=clock, rng=Chance())
    heard: list[tuple[str, str, str]] = []

    @breaker.on_transition
    def listen(before: BreakerState, after: BreakerState, reason: Reason) -> None:
        heard.append((before, after, reason))

    breaker.acquire().failure("timeout", 1.0)
    clock.now = 60.0
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.acquire().success(1.0)
    breaker.force_open()
    breaker.disable()
    breaker.observe_only()
    breaker.reset()
    assert heard == [
        ("closed", "open", "consecutive"),
        ("open", "half_open", "elapsed"),
        ("half_open", "closed", "probes_passed"),
        ("closed", "forced_open", "forced"),
        ("forced_open", "disabled", "disabled"),
        ("disabled", "observe_only", "observed"),
        ("observe_only", "closed", "reset"),
    ]
    assert listen is not None


def test_every_callback_is_called_in_the_order_they_came(clock: Clock) -> None:
    breaker = CircuitBreaker("x", consecutive=1, clock=clock)
    heard: list[int] = []
    breaker.on_transition(lambda *_: heard.append(1))
    breaker.on_transition(lambda *_: heard.append(2))
    breaker.force_open()
    assert heard == [1, 2]


@pytest.mark.parametrize("look", ["state", "snapshot", "rejects_for", "acquire"])
def test_whoever_looks_first_tells_what_time_has_brought_about(clock: Clock, look: str) -> None:
    breaker = opened(clock)
    heard: list[str] = []
    breaker.on_transition(lambda _before, after, _why: heard.append(after))
    clock.now = 60.0
    seen = getattr(breaker, look)
    if callable(seen):
        seen()
    assert heard == ["half_open"]


def test_an_exception_in_a_callback_is_swallowed_and_counted(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    breaker = CircuitBreaker("host/model", consecutive=1, clock=clock)
    heard: list[str] = []

    def fail(*_: object) -> None:
        raise RuntimeError("a fault of its own")

    breaker.on_transition(fail)
    breaker.on_transition(lambda _before, after, _why: heard.append(after))
    with caplog.at_level(logging.ERROR):
        breaker.acquire().failure("timeout", 1.0)
        breaker.reset()
    assert heard == ["open", "closed"]
    assert breaker.snapshot().callback_errors == 2
    assert [record.getMessage() for record in caplog.records] == [
        "breaker 'host/model': a transition callback failed"
    ] * 2


def test_what_ends_the_program_is_not_swallowed(clock: Clock) -> None:
    breaker = CircuitBreaker("x", clock=clock)
    heard: list[str] = []

    def interrupt(_before: str, after: str, _why: str) -> None:
        heard.append(after)
        if after == "forced_open":
            raise KeyboardInterrupt

    breaker.on_transition(interrupt)
    with pytest.raises(KeyboardInterrupt):
        breaker.force_open()
    breaker.reset()
    assert heard == ["forced_open", "closed"]
    assert breaker.snapshot().callback_errors == 0


def test_a_callback_runs_outside_the_lock(clock: Clock) -> None:
    breaker = CircuitBreaker("x", consecutive=1, clock=clock)
    seen: list[str] = []

    def ask_from_another_thread(*_: object) -> None:
        thread = threading.Thread(target=lambda: seen.append(breaker.state))
        thread.start()
        thread.join(timeout=30)
        assert not thread.is_alive(), "the lock was held"

    breaker.on_transition(ask_from_another_thread)
    breaker.acquire().failure("timeout", 1.0)
    assert seen == ["open"]
    assert breaker.snapshot().callback_errors == 0


def test_a_callback_may_use_the_breaker_and_transitions_stay_in_order(clock: Clock) -> None:
    breaker = CircuitBreaker("x", consecutive=1, clock=clock)
    heard: list[str] = []

    def reset_at_once(_before: str, after: str, _why: str) -> None:
        if after == "open":
            breaker.reset()
        heard.append(after)

    breaker.on_transition(reset_at_once)
    breaker.acquire().failure("timeout", 1.0)
    assert heard == ["open", "closed"]
    assert breaker.state == "closed"


def test_a_callback_that_takes_its_time_does_not_hold_up_others_and_misses_nothing(clock: Clock) -> None:
    breaker = CircuitBreaker("x", clock=clock)
    heard: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def slow(_before: str, after: str, _why: str) -> None:
        if not heard:
            inside.set()
            assert go_on.wait(30)
        heard.append(after)

    breaker.on_transition(slow)
    teller = threading.Thread(target=breaker.force_open)
    teller.start()
    assert inside.wait(30)
    breaker.disable()  # returns though the callback is still at the first transition
    assert heard == []
    go_on.set()
    teller.join(30)
    assert heard == ["forced_open", "disabled"]


# --- finalizers ------------------------------------------------------------------------------------------------------


class Interrupting:
    """A clock that, in the middle of the breaker's bookkeeping, does what a finalizer would do."""

    def __init__(self) -> None:
        self.now = 0.0
        self.meanwhile: Callable[[], object] | None = None

    def __call__(self) -> float:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return self.now


def test_a_verdict_reported_in_the_middle_of_bookkeeping_waits_its_turn() -> None:
    clock = Interrupting()
    breaker = CircuitBreaker("x", clock=clock)
    late = breaker.acquire()
    clock.meanwhile = lambda: late.failure("truncated", 1.0)
    breaker.acquire().success(1.0)
    assert breaker.snapshot().counts == Counts(2, 1, 0)


@pytest.mark.parametrize("look", ["state", "snapshot", "rejects_for"])
def test_a_verdict_reported_while_somebody_looks_is_counted_when_somebody_looks_again(look: str) -> None:
    clock = Interrupting()
    breaker = CircuitBreaker("x", consecutive=1, clock=clock)
    late = breaker.acquire()
    clock.meanwhile = lambda: late.failure("truncated", 1.0)
    seen = getattr(breaker, look)
    if callable(seen):
        seen()
    assert breaker.state == "open"


def test_a_late_verdict_is_counted_as_what_it_was() -> None:
    clock = Interrupting()
    breaker = CircuitBreaker("x", slow_after=1.0, clock=clock)
    late = breaker.acquire()
    clock.meanwhile = lambda: late.success(1.5)
    breaker.acquire().success(0.5)
    assert breaker.snapshot().counts == Counts(2, 0, 1)


def test_the_late_verdict_of_a_probe_gives_its_place_back() -> None:
    clock = Interrupting()
    breaker = CircuitBreaker("x", consecutive=1, probes=2, probe_wait=5.0, clock=clock)
    breaker.acquire().failure("timeout", 1.0)
    clock.now = 60.0
    first = breaker.acquire()
    clock.now = 62.0
    second = breaker.acquire()
    clock.meanwhile = lambda: first.success(1.0)
    second.ignore()
    clock.now = 1000.0  # none is outstanding that could be overdue
    assert breaker.state == "half_open"
    assert breaker.snapshot().counts == Counts(1, 0, 0)


def test_whoever_looks_from_within_the_bookkeeping_leaves_late_verdicts_alone() -> None:
    clock = Interrupting()
    breaker = CircuitBreaker("x", consecutive=1, clock=clock)
    late = breaker.acquire()
    seen: list[Counts] = []

    def finalize() -> None:
        late.failure("truncated", 1.0)
        seen.append(breaker.snapshot().counts)

    clock.meanwhile = finalize
    breaker.acquire().success(1.0)
    assert seen == [Counts()]
    assert breaker.state == "open"


def test_a_late_verdict_counts_once_and_its_transition_is_told() -> None:
    clock = Interrupting()
    breaker = CircuitBreaker("x", consecutive=1, clock=clock)
    heard: list[str] = []
    breaker.on_transition(lambda _before, after, _why: heard.append(after))
    late, other = breaker.acquire(), breaker.acquire()

    def twice() -> None:
        late.failure("truncated", 1.0)
        late.failure("truncated", 1.0)

    clock.meanwhile = twice
    other.success(1.0)
    assert heard == ["open"]
    assert breaker.snapshot().counts == Counts(2, 1, 0)


@pytest.mark.parametrize(("step_in", "calls"), [("disable", 0), ("reset", 1)])
def test_a_breaker_that_opens_its_door_while_a_call_asks_admits_it(step_in: str, calls: int) -> None:
    clock = Interrupting()
    breaker = CircuitBreaker("x", consecutive=2, clock=clock)
    breaker.force_open()
    clock.meanwhile = getattr(breaker, step_in)
    breaker.acquire().failure("timeout", 1.0)
    assert breaker.snapshot().counts == Counts(calls, calls, 0)


def test_a_probe_collected_while_its_own_thread_holds_the_lock_is_given_back() -> None:
    clock = Interrupting()
    breaker = CircuitBreaker("x", consecutive=1, probes=1, clock=clock)
    breaker.acquire().failure("timeout", 1.0)
    clock.now = 60.0
    probes = [breaker.acquire()]
    clock.meanwhile = probes.clear
    assert breaker.state == "half_open"
    breaker.acquire().success(1.0)
    assert breaker.state == "closed"


def test_a_probe_that_was_judged_is_not_given_back_when_it_is_collected(clock: Clock) -> None:
    breaker = opened(clock, probes=2)
    clock.now = 60.0
    breaker.acquire().success(1.0)
    gc.collect()
    assert breaker.snapshot().counts == Counts(1, 0, 0)
    kept = breaker.acquire()
    with pytest.raises(BreakerOpen):
        breaker.acquire()
    kept.ignore()


def test_a_forgotten_permit_of_a_closed_breaker_costs_nothing(clock: Clock) -> None:
    breaker = CircuitBreaker("x", clock=clock)
    for _ in range(100):
        breaker.acquire()
    assert breaker.snapshot().counts == Counts()


# --- memory --------------------------------------------------------------------------------------------------------


def test_its_memory_does_not_grow_with_its_use(clock: Clock) -> None:
    import tracemalloc

    breaker = CircuitBreaker("x", consecutive=None, failure_ratio=None, clock=clock)

    def use(times: int) -> None:
        for i in range(times):
            clock.now += 0.25
            permit = breaker.acquire()
            if i % 2:
                permit.failure("timeout", 1.0)
            else:
                permit.success(1.0)

    use(1000)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        use(20_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000
