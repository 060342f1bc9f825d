"""Runs conformance/retry.toml and conformance/waits.toml; each says at its top how to read it."""

import inspect
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sidecar
from sidecar.model import Outcome, Phase, Verdict
from sidecar.policy import NO_HINTS, Ended, Hints, Retry, parse_hints, retryable

TABLES = Path(__file__).parent / "conformance"
RETRIED = tomllib.loads((TABLES / "retry.toml").read_text())["case"]
WAITS = tomllib.loads((TABLES / "waits.toml").read_text())["case"]


class Chance(Random):
    value = 0.0

    def random(self) -> float:
        return self.value


@pytest.mark.parametrize("case", RETRIED, ids=[case["name"] for case in RETRIED])
def test_what_is_retried_is_what_the_table_says(case: dict[str, Any]) -> None:
    known = {"name", "covers", "outcome", "status", "phase", "error", "headers", "delivered", "retried"}
    assert {"name", "covers", "outcome", "retried"} <= case.keys() <= known
    phase = Phase(case["phase"]) if "phase" in case else None
    ended = Ended(
        verdict=Verdict(Outcome(case["outcome"]), phase, case.get("error")),
        duration=1.0,
        status=case.get("status"),
        hints=parse_hints(case.get("headers", {})),
        delivered=case.get("delivered", False),
    )
    assert retryable(ended) is case["retried"]


@pytest.mark.parametrize("case", WAITS, ids=[case["name"] for case in WAITS])
def test_waits_are_what_the_table_says(case: dict[str, Any]) -> None:
    known = {"name", "covers", "settings", "headers", "retry", "chance", "unix_now", "wait"}
    assert {"name", "covers", "retry", "wait"} <= case.keys() <= known
    chance = Chance()
    chance.value = case.get("chance", 0.0)
    hints = parse_hints(case.get("headers", {}), unix_now=case.get("unix_now"))
    assert Retry(**case.get("settings", {})).wait(case["retry"], hints, chance) == pytest.approx(case["wait"])


def test_its_parameters_are_those_that_are_promised() -> None:
    parameters = inspect.signature(Retry).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    assert defaults == {"max_attempts": 3, "base": 0.5, "cap": 8.0, "jitter": "full", "retry_after_cap": 60.0}
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert sidecar.Retry is Retry


def test_every_bad_parameter_is_named_at_once() -> None:
    with pytest.raises(ValueError, match="retry") as raised:
        Retry(max_attempts=0, base=1.0, cap=0.5, jitter="some", retry_after_cap=-1.0)  # type: ignore[arg-type]
    assert str(raised.value) == (
        "retry: max_attempts must be a whole number at least 1 and at most 100, got 0; "
        "cap must be a finite number at least 1, got 0.5; "
        "jitter must be one of full, equal, none, got 'some'; "
        "retry_after_cap must be a finite number at least 0, got -1.0"
    )
    with pytest.raises(ValueError, match="base") as raised:
        Retry(base=-1.0, cap=-2.0)
    assert str(raised.value) == (
        "retry: base must be a finite number at least 0, got -1.0; cap must be a finite number at least 0, got -2.0"
    )


def test_the_ends_of_the_ranges_are_good() -> None:
    assert Retry(max_attempts=1, base=0, cap=0, retry_after_cap=0).wait(1, NO_HINTS, Random(1)) == 0
    assert Retry(max_attempts=100).max_attempts == 100
    with pytest.raises(ValueError, match="max_attempts"):
        Retry(max_attempts=101)


# --- the headers -----------------------------------------------------------------------------------------------------


def test_no_header_is_no_hint() -> None:
    assert parse_hints({}) == NO_HINTS == Hints(after=None, should_retry=None)
    assert parse_hints({"content-type": "application/json"}) == NO_HINTS


def test_names_and_words_may_be_written_in_any_case() -> None:
    assert parse_hints({"RETRY-AFTER-MS": "250", "X-Should-Retry": "TRUE"}) == Hints(after=0.25, should_retry=True)
    assert parse_hints({"Retry-After": "2", "X-SHOULD-RETRY": " False "}) == Hints(after=2.0, should_retry=False)
    now = {"Date": "Wed, 21 Oct 2026 07:28:00 GMT", "Retry-After": "Wed, 21 Oct 2026 07:28:02 GMT"}
    assert parse_hints(now) == Hints(after=2.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nan",
        "inf",
        "-5",
        "+5",
        "1e3",
        "0x10",
        "1_000",
        "5 s",
        "5.",
        ".5",
        "٣",
        "99999999999",
        "9" * 100_000,
        "Wed, 99 Oct 2026 07:28:00 GMT",
        "Wed, 21 Oct 99999999999 07:28:00 GMT",
        "Wed, 21 Foo 2026 07:28:00 GMT",
        "Wed, 21 Oct 2026 07:28:00 +9999999999",
        "x" * 100_000,
        "\x00",
        ", , , ,",
    ],
)
def test_what_is_not_plainly_right_counts_as_absent(text: str) -> None:
    assert parse_hints({"retry-after": text, "retry-after-ms": text}, unix_now=0.0).after is None
    assert parse_hints({"x-should-retry": text}).should_retry is None


def test_the_longest_numbers_it_takes() -> None:
    assert parse_hints({"retry-after": "9999999999"}).after == 9_999_999_999.0
    assert parse_hints({"retry-after": "1.123456789"}).after == 1.123456789
    assert parse_hints({"retry-after": "1.1234567891"}).after is None


def test_a_date_is_never_longer_than_dates_are() -> None:
    date = "Thu, 01 Jan 1970 00:01:40 GMT"
    assert parse_hints({"retry-after": date + " " * 50}, unix_now=0.0).after == 100.0  # spaces around do not count
    longest = date.replace("01 Jan", "01            Jan")
    assert len(longest) == 40
    assert parse_hints({"retry-after": longest}, unix_now=0.0).after == 100.0
    assert parse_hints({"retry-after": longest.replace("Jan", " Jan")}, unix_now=0.0).after is None


def test_a_date_of_another_zone_is_understood() -> None:
    assert parse_hints({"retry-after": "Thu, 01 Jan 1970 01:01:40 +0100"}, unix_now=0.0).after == 100.0


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
def test_a_date_without_a_zone_is_utc_wherever_it_is_read() -> None:
    assert parse_hints({"retry-after": "Thu, 01 Jan 1970 00:01:40 -0000"}, unix_now=0.0).after == 100.0


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date", "x-should-retry"]), st.text()))
def test_no_header_can_break_it(headers: dict[str, str]) -> None:
    hints = parse_hints(headers, unix_now=0.0)
    assert hints.after is None or hints.after >= 0
    assert 0 <= Retry().wait(1, hints, Random(1)) <= 60
