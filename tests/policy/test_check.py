import pickle

import pytest

from sidecar.policy import SettingsError
from sidecar.policy.check import Fault, Faults


def test_no_fault_is_no_error() -> None:
    Faults("thing").stop_if_any()


def test_all_faults_come_in_one_error() -> None:
    faults = Faults("thing")
    faults.add("a", 1, "2")
    faults.note("b", "is odd")
    with pytest.raises(SettingsError) as raised:
        faults.stop_if_any()
    assert str(raised.value) == "thing: a must be 2, got 1; b is odd"
    assert raised.value.subject == "thing"
    assert raised.value.faults == (Fault("a", "must be 2, got 1"), Fault("b", "is odd"))
    assert isinstance(raised.value, ValueError)


def test_a_fault_is_listed_once() -> None:
    faults = Faults("thing")
    faults.note("a", "is odd")
    faults.note("a", "is odd")
    faults.note("a", "is even")
    assert faults.found == [Fault("a", "is odd"), Fault("a", "is even")]


def test_the_error_survives_pickling() -> None:
    error = SettingsError("thing", [Fault("a", "is odd: very")])
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert (str(copy), copy.faults) == ("thing: a is odd: very", error.faults)
    assert copy.args == ("thing", error.faults)


def test_a_long_value_is_cut_short() -> None:
    faults = Faults("thing")
    faults.add("a", "x" * 78, "y")
    faults.add("b", "x" * 79, "y")
    short, long = (fault.problem for fault in faults.found)
    assert short == "must be y, got '" + "x" * 78 + "'"
    assert long == "must be y, got '" + "x" * 78 + "…"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "a finite number"),
        ({"above": 0}, "a finite number above 0"),
        ({"least": 2}, "a finite number at least 2"),
        ({"least": 2, "most": 3}, "a finite number at least 2 and at most 3"),
        ({"above": 0.5, "most": 1, "optional": True}, "a finite number above 0.5 and at most 1, or None"),
    ],
)
def test_a_number_s_range_is_told(given: dict[str, float], wanted: str) -> None:
    faults = Faults("thing")
    assert faults.number("a", "text", **given) is False  # type: ignore[arg-type]
    assert faults.found == [Fault("a", f"must be {wanted}, got 'text'")]


@pytest.mark.parametrize("value", [None, True, "1", float("nan"), float("inf"), -float("inf"), 1j, []])
def test_what_is_no_finite_number_is_refused(value: object) -> None:
    assert Faults("thing").number("a", value) is False


def test_the_ends_of_a_range_belong_to_it_or_not() -> None:
    faults = Faults("thing")
    assert faults.number("a", 1, above=0, most=1) is True
    assert faults.number("a", 2, least=2) is True
    assert faults.number("a", None, optional=True) is True
    assert faults.whole("a", 1, least=1, most=2) is True
    assert faults.whole("a", 2, least=1, most=2) is True
    assert faults.whole("a", None, least=1, most=2, optional=True) is True
    assert faults.whole_seconds("a", 1.0, most=2) is True
    assert faults.whole_seconds("a", 2, most=2) is True
    assert faults.choice("a", "x", ["x", "y"]) is True
    assert faults.text("a", "x") is True
    assert faults.found == []
    assert faults.number("a", 0, above=0) is False
    assert faults.number("b", 1.5, least=2) is False
    assert faults.whole("c", 0, least=1, most=2) is False
    assert faults.whole("d", 3, least=1, most=2) is False
    assert faults.whole_seconds("e", 3, most=2) is False
    assert faults.choice("f", "z", ["x", "y"]) is False
    assert faults.choice("g", ["x"], ["x", "y"]) is False
    assert faults.text("h", "") is False
    assert faults.text("i", 1) is False
    assert [fault.name for fault in faults.found] == list("abcdefghi")
    assert faults.found[5].problem == "must be one of x, y, got 'z'"
    assert faults.found[2].problem == "must be a whole number at least 1 and at most 2, got 0"
    assert faults.found[4].problem == "must be a whole number of seconds at least 1 and at most 2, got 3"
    assert faults.found[7].problem == "must be a string that is not empty, got ''"
