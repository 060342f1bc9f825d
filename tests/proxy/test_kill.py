"""Whatever is killed with `kill -9`: nothing hangs, every call ends once, and what is counted is what happened.

The real thing is `make chaos-test`; here are its short version, and its judge, which must not be easy to please.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.chaos_ledger import Attempt, Kill, expected, misbehaved, read
from tests.proxy.processes import PATIENCE

GOOD = Attempt(call="a", number=0, began=10.0, ended=11.0, status="200", ending="whole", last=True)
FAILED = replace(GOOD, status="529", last=False)
RETRY = replace(GOOD, number=1, began=12.0, ended=13.0)
CUT = replace(FAILED, status="none", ending="broken", last=True)
UNDER_WAY = Attempt(call="a", number=0, began=10.0, killed=True)
LATER = 100.0


def kill(moment: float, *, whole: bool = False) -> Kill:
    return Kill(began=moment, ended=moment + 0.1, whole=whole)


class Told:
    """A page that says these counts."""

    def __init__(self, statuses: dict[str, int], *, calls: int, ok: int, recovered: int = 0) -> None:
        self._statuses = statuses
        self._calls = {"": calls, "ok": ok}
        self._recovered = recovered

    def total(self, family: str, **labels: str) -> float:
        if family == "claude_attempts_total":
            wanted = labels.get("status")
            return sum(count for status, count in self._statuses.items() if wanted in {None, status})
        return self._calls[labels.get("outcome", "")] if family == "claude_calls_total" else self._recovered


ONE = Told({"200": 1}, calls=1, ok=1)
TWO = Told({"200": 2}, calls=2, ok=2)
NOTHING = Told({}, calls=0, ok=0)


def faults(told: Told, attempts: Sequence[Attempt], kills: Sequence[Kill] = (), *, now: float = LATER) -> list[str]:
    return list(expected(attempts, kills, now=now).wrong(told.total))


def test_whatever_is_killed_nothing_hangs_and_what_is_counted_is_what_happened() -> None:
    program = Path(__file__).parents[2] / "scripts" / "chaos_test.py"
    options = ("--seconds", "1", "--pause", "0.2", "--calm", "1.5", "--callers", "2", "--seed", "1")
    ran = subprocess.run(
        [sys.executable, program, *options], capture_output=True, text=True, timeout=10 * PATIENCE, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    killed = dict(re.findall(r"'(\w+)': (\d+)", ran.stdout[ran.stdout.index("\nkilled") :]))
    assert killed.keys() == {"worker", "proxy", "upstream", "caller"}
    assert min(map(int, killed.values())) >= 1


def test_what_is_counted_as_it_happened_is_right() -> None:
    assert faults(ONE, [GOOD]) == []
    assert faults(Told({"529": 1, "200": 1}, calls=1, ok=1, recovered=1), [FAILED, RETRY]) == []


@pytest.mark.parametrize("told", [NOTHING, TWO, Told({"529": 1}, calls=1, ok=1), Told({"200": 1}, calls=1, ok=0)])
def test_what_is_not_counted_or_twice_or_as_something_else_is_told(told: Told) -> None:
    assert faults(told, [GOOD]) != []


def test_a_call_told_as_two_is_told() -> None:
    assert faults(Told({"529": 1, "200": 1}, calls=2, ok=1), [FAILED, RETRY]) == [
        "calls: 2 counted, there were 1 to 1",
        "recovered calls: 0 counted, there were 1 to 1",
    ]


@pytest.mark.parametrize("moment", [10.5, 12.5], ids=["under way", "not reported"])
def test_what_a_kill_may_have_hidden_may_be_counted_or_not_but_not_twice(moment: float) -> None:
    assert faults(NOTHING, [GOOD], [kill(moment)]) == []
    assert faults(ONE, [GOOD], [kill(moment)]) == []
    assert faults(TWO, [GOOD], [kill(moment)]) != []


@pytest.mark.parametrize("moment", [5.0, 20.0], ids=["before", "long after"])
def test_what_a_kill_cannot_have_hidden_must_be_counted(moment: float) -> None:
    assert faults(NOTHING, [GOOD], [kill(moment)]) != []


def test_what_came_before_the_proxy_was_killed_is_not_expected_of_the_next() -> None:
    assert faults(NOTHING, [GOOD], [kill(20.0, whole=True)]) == []
    assert faults(ONE, [GOOD], [kill(20.0, whole=True)]) != []


def test_a_failed_call_may_be_told_when_no_retry_comes_any_more() -> None:
    failed = replace(FAILED, last=True)
    waiting = Told({"529": 1}, calls=0, ok=0)
    assert faults(waiting, [failed], now=12.0) == []
    assert faults(waiting, [failed]) == ["calls: 0 counted, there were 1 to 1"]


def test_a_call_whose_caller_was_killed_may_have_any_end() -> None:
    assert faults(NOTHING, [UNDER_WAY]) == []
    assert faults(Told({"529": 1}, calls=1, ok=0), [UNDER_WAY]) == []
    assert faults(TWO, [UNDER_WAY]) != []


@pytest.mark.parametrize(
    ("attempts", "fault"),
    [
        ([replace(CUT, ending="hung")], "attempt 0 hung"),
        ([CUT], "attempt 0 was broken, 39.000 s from the next kill"),
        ([replace(CUT, ending="refused")], "attempt 0 was refused, 39.000 s from the next kill"),
        ([replace(UNDER_WAY, killed=False)], "ended with 0 outcomes"),
        ([FAILED], "ended with 0 outcomes"),
        ([GOOD, RETRY], "ended with 2 outcomes"),
    ],
)
def test_a_call_that_misbehaves_is_told(attempts: list[Attempt], fault: str) -> None:
    (told,) = misbehaved(attempts, [kill(50.0)])
    assert fault in told


def test_a_call_that_a_kill_met_may_break_off_and_one_whose_caller_was_killed_need_not_end() -> None:
    assert list(misbehaved([CUT], [kill(10.5)])) == []
    assert list(misbehaved([UNDER_WAY], [])) == []
    assert list(misbehaved([FAILED, RETRY], [])) == []


def test_what_a_caller_wrote_is_read_also_where_it_was_killed() -> None:
    log = "9 started 42\n10.0 began a 0\n11.0 ended a 0 529 whole again\n12.0 began a 1\n"
    first, second = read(log, killed=True)
    assert first == replace(FAILED, killed=True)
    assert second == replace(UNDER_WAY, number=1, began=12.0)
    log += "13.0 ended a 1 200 whole last\n"
    assert list(read(log, killed=False)) == [FAILED, RETRY]
