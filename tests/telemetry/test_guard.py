import tracemalloc
from collections import Counter

import pytest

from sidecar.model import Outcome
from sidecar.telemetry import Telemetry
from sidecar.telemetry.guard import NONE, OTHER, LabelGuard
from tests.telemetry.records import attempt, call


@pytest.fixture
def overflows() -> Counter[str]:
    return Counter()


@pytest.fixture
def guard(overflows: Counter[str]) -> LabelGuard:
    return LabelGuard(4, lambda label: overflows.update([label]))


def test_a_label_takes_unproven_values_for_half_its_places_only(guard: LabelGuard, overflows: Counter[str]) -> None:
    assert [guard.admit("model", name).value for name in "abcda"] == ["a", "b", OTHER, OTHER, "a"]
    assert overflows == {"model": 2}


def test_proven_values_get_the_places_kept_for_them(guard: LabelGuard) -> None:
    for name in "ab":
        guard.admit("model", name)
    assert [guard.admit("model", name, proven=True).value for name in "cdef"] == ["c", "d", OTHER, OTHER]


def test_proven_values_may_take_every_place(guard: LabelGuard) -> None:
    assert [guard.admit("model", name, proven=True).value for name in "abcde"] == ["a", "b", "c", "d", OTHER]
    assert guard.admit("model", "f").value == OTHER


def test_a_value_that_proves_itself_gives_its_place_back(guard: LabelGuard) -> None:
    for name in "ab":
        guard.admit("model", name)
    assert not guard.is_proven("model", "a")
    guard.admit("model", "a", proven=True)
    assert guard.is_proven("model", "a")
    assert guard.admit("model", "c").value == "c"


def test_labels_do_not_take_each_others_places(guard: LabelGuard) -> None:
    for name in "abc":
        guard.admit("model", name)
    assert guard.admit("endpoint", "a").value == "a"
    assert not guard.is_proven("status", "a")


def test_an_empty_value_is_none_and_takes_no_place(guard: LabelGuard, overflows: Counter[str]) -> None:
    assert guard.admit("model", "") == (NONE, True)
    assert [guard.admit("model", name).value for name in (OTHER, NONE, "a", "b")] == [OTHER, NONE, "a", "b"]
    assert not overflows


@pytest.mark.parametrize("value", ["x" * 129, "two\nlines", "\ud800", "\x00", "\u2028"])
def test_a_value_that_would_garble_a_page_has_no_place(guard: LabelGuard, overflows: Counter[str], value: str) -> None:
    assert guard.admit("model", value, proven=True) == (OTHER, False)
    assert overflows == {"model": 1}


def test_what_became_other_may_get_a_place_later(guard: LabelGuard) -> None:
    for name in "ab":
        guard.admit("model", name)
    assert guard.admit("model", "c") == (OTHER, False)
    assert guard.admit("model", "c", proven=True) == ("c", True)


@pytest.mark.parametrize("limit", [1, 0, -3])
def test_a_limit_without_room_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=f"at least 2 values, not {limit}"):
        Telemetry(label_limit=limit)


def test_invented_models_cannot_crowd_out_real_ones() -> None:
    telemetry = Telemetry(label_limit=10)
    for n in range(100):
        telemetry.call(call(model=f"invented-{n}", outcome=Outcome.CLIENT_ERROR))
    telemetry.call(call(model="claude-sonnet-4-5"))
    assert telemetry.value("claude_calls_total", model="claude-sonnet-4-5") == 1
    assert telemetry.value("claude_calls_total", model="other") == 95
    assert telemetry.value("sidecar_label_overflows_total", label="model") == 95


def test_what_became_other_is_still_counted_in_full() -> None:
    telemetry = Telemetry(label_limit=2)
    for n in range(10):
        telemetry.attempt(attempt(model=f"invented-{n}", outcome=Outcome.TIMEOUT, phase="stall", status=None))
        telemetry.call(call(model=f"invented-{n}", outcome=Outcome.TIMEOUT, phase="stall", duration=60.0))
    assert telemetry.value("claude_calls_total", outcome="timeout") == 10
    assert telemetry.value("claude_timeouts_total", model="other") == 9
    assert telemetry.histogram("claude_call_duration_seconds").total == 10


def test_once_full_a_flood_of_invented_models_takes_no_memory() -> None:
    telemetry = Telemetry()
    floods = 2_000

    def flood(begin: int) -> None:
        for n in range(begin, begin + floods):
            telemetry.attempt(attempt(model=f"invented-{n}", outcome=Outcome.CLIENT_ERROR, status=404))
            telemetry.call(call(model=f"invented-{n}", outcome=Outcome.CLIENT_ERROR, stop_reason=f"invented-{n}"))
            telemetry.in_flight.begin("messages", f"invented-{n}").end()

    flood(0)
    tracemalloc.start()
    try:
        flood(floods)
        before, _ = tracemalloc.get_traced_memory()
        flood(2 * floods)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A million may cost a megabyte: a byte each. One remembered name would cost fifty.
    assert after - before < floods
