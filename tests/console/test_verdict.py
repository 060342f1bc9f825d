"""What the console says in words, case by case."""

from typing import Any

import pytest

from sidecar.console.verdict import Expired, Facts, Severity, judge, nice, percent, seconds
from sidecar.model import BreakerState, Outcome, Phase, Profile

CALM: dict[str, Any] = {"span": "15 minutes", "outcomes": {Outcome.OK: 400}, "p95": 6.2}


def waits(phase: Phase = Phase.STALL, count: int = 49, **changes: Any) -> Expired:
    values: dict[str, Any] = {
        "phase": phase,
        "profile": Profile.INTERACTIVE,
        "model": "claude-x",
        "stream": True,
        "count": count,
        "setting": 20.0,
        "longest_good": 19.0,
    }
    return Expired(**(values | changes))


def facts(**changes: Any) -> Facts:
    return Facts(**(CALM | changes))


def timed_out(*expired: Expired, **changes: Any) -> Facts:
    count = sum(each.count for each in expired)
    return facts(outcomes={Outcome.OK: 400, Outcome.TIMEOUT: count}, timed_out=count, expired=expired, **changes)


SENTENCES = {
    "nothing was ever reported": (
        facts(ever=False, outcomes={}),
        "No calls yet: nothing has been reported to this sidecar.",
    ),
    "it is quiet": (facts(outcomes={}, span="hour"), "No call ended in the last hour."),
    "all is well": (
        facts(outcomes={Outcome.OK: 1234, Outcome.CANCELLED: 1}),
        "All is well: 1 235 calls ended in the last 15 minutes, 99.9 % of them well, 95 of 100 within 6.2 s.",
    ),
    "one call is no plural, and nothing may have been measured": (
        facts(outcomes={Outcome.CANCELLED: 1}, p95=None),
        "All is well: 1 call ended in the last 15 minutes, 0 % of them well.",
    ),
    "streams stall though answers come close to the limit": (
        timed_out(waits(), waits(Phase.CONNECT, 1)),
        "98 % of timeouts are stalls on claude-x; raise stall from 20 s to 45 s, or switch to streaming.",
    ),
    "streams stall though answers are never silent for long": (
        timed_out(waits(longest_good=2.0)),
        (
            "100 % of timeouts are stalls on claude-x; the answers that do come need at most 2 s, so a longer"
            " wait would"
            " not have saved them: retry, and lower stall from 20 s to 8 s."
        ),
    ),
    "a wait that is short already is not to be lowered": (
        timed_out(waits(Phase.FIRST_BYTE, setting=5.0, longest_good=2.0)),
        (
            "100 % of timeouts are waits for the first byte on claude-x; the answers that do come need at most"
            " 2 s, so a"
            " longer wait would not have saved them: retry."
        ),
    ),
    "nothing succeeded, so nothing is known of what answers need": (
        timed_out(waits(Phase.FIRST_BYTE, setting=30.0, longest_good=None)),
        "100 % of timeouts are waits for the first byte on claude-x; raise first_byte from 30 s to 60 s.",
    ),
    "an answer that is not streamed is silent until it is complete": (
        timed_out(waits(Phase.FIRST_BYTE, stream=False, setting=60.0, longest_good=1.0)),
        (
            "100 % of timeouts are waits for the first byte on claude-x; an answer that is not streamed stays"
            " silent until"
            " it is complete: switch to streaming, or raise first_byte from 60 s to 120 s."
        ),
    ),
    "the call's own total runs out": (
        timed_out(waits(Phase.DEADLINE, setting=75.0, longest_good=74.0)),
        "100 % of timeouts are deadlines on claude-x; raise total from 75 s to 150 s.",
    ),
    "nobody knows the timeout": (
        timed_out(waits(setting=None)),
        "100 % of timeouts are stalls on claude-x; raise stall, or switch to streaming.",
    ),
    "connections fail": (
        timed_out(waits(Phase.CONNECT)),
        (
            "100 % of timeouts are waits to connect on claude-x; nothing of the API was reached: look at DNS,"
            " the network and"
            " proxies on your own side."
        ),
    ),
    "no single model is to blame": (
        timed_out(waits(count=10), waits(count=9, model="claude-y"), waits(count=8, model="claude-z")),
        "100 % of timeouts are stalls; raise stall from 20 s to 45 s, or switch to streaming.",
    ),
    "models that are not told apart are not named": (
        timed_out(waits(model="other")),
        "100 % of timeouts are stalls; raise stall from 20 s to 45 s, or switch to streaming.",
    ),
    "they time out in several ways": (
        timed_out(waits(count=10), waits(Phase.CONNECT, 9), waits(Phase.POOL, 5), waits(Phase.WRITE, 1)),
        (
            "6 % of calls time out, in several ways at once: 40 % stalls, 36 % waits to connect, 20 % waits for a free"
            " connection. Look at the path to the API as a whole."
        ),
    ),
    "a breaker opened": (
        facts(breakers=[("host/claude-x", BreakerState.OPEN, "consecutive")]),
        (
            "The breaker of host/claude-x is open (too many failures in a row): its calls fail at once, without"
            " being sent."
        ),
    ),
    "a breaker opened, who knows why": (
        facts(breakers=[("host/claude-x", BreakerState.OPEN, None)]),
        "The breaker of host/claude-x is open: its calls fail at once, without being sent.",
    ),
    "a breaker opened for a reason of another version": (
        facts(breakers=[("host/claude-x", BreakerState.OPEN, "full_moon")]),
        "The breaker of host/claude-x is open (full_moon): its calls fail at once, without being sent.",
    ),
    "a breaker was forced open": (
        facts(breakers=[("host/claude-x", BreakerState.FORCED_OPEN, "forced")]),
        "The breaker of host/claude-x was forced open: its calls fail at once until somebody resets it.",
    ),
    "a breaker tries": (
        facts(breakers=[("host/claude-x", BreakerState.HALF_OPEN, None)]),
        "The breaker of host/claude-x is trying out whether it may close.",
    ),
    "calls hang": (
        facts(silent=100.0, waiting=3, usual_wait=7.0),
        (
            "Of 3 calls under way, one has been waiting for 100 s without a byte; the first token usually comes"
            " within 7 s."
        ),
    ),
    "a call hangs, and nothing ever came": (
        facts(silent=60.0, waiting=1),
        "A call has been waiting for 60 s without a byte.",
    ),
    "the API is overloaded": (
        facts(outcomes={Outcome.OK: 80, Outcome.OVERLOADED: 20}),
        "20 % of calls end because the API is overloaded (529): send less, retry later, or use another model.",
    ),
    "retries do not help": (
        facts(recovered=4, exhausted=6),
        "Retries do not help: 6 of 10 retried calls failed all the same.",
    ),
    "a limit runs out": (
        facts(limits=[("input_tokens", 0.04, 12.0)]),
        "Only 4 % of the rate limit for input tokens is left; it is full again in 12 s.",
    ),
    "a limit runs out, until nobody knows when": (
        facts(limits=[("requests", 0.0, None)]),
        "Only 0 % of the rate limit for requests is left.",
    ),
    "a budget burns": (
        facts(burning=[("claude-timeouts", 3.0), ("claude-availability", 54.5)]),
        "The error budget of claude-availability is being spent 54 times faster than its objective allows.",
    ),
    "records were lost": (
        facts(dropped=3),
        "3 records were lost or made no sense, so these numbers are too low.",
    ),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_it_says(case: str) -> None:
    given, sentence = SENTENCES[case]
    assert [verdict.text for verdict in judge(given)] == [sentence]


QUIET = {
    "a handful of timeouts": timed_out(waits(count=4)),
    "few timeouts of many": facts(
        outcomes={Outcome.OK: 10_000, Outcome.TIMEOUT: 9}, timed_out=9, expired=[waits(count=9)]
    ),
    "a breaker that is closed": facts(breakers=[("host/claude", BreakerState.CLOSED, None)]),
    "a breaker that is switched off": facts(breakers=[("host/claude", BreakerState.DISABLED, None)]),
    "a wait that is usual here": facts(silent=60.0, waiting=1, usual_wait=30.0),
    "few failures of a kind": facts(outcomes={Outcome.OK: 4, Outcome.SERVER_ERROR: 4}),
    "a small share of failures": facts(outcomes={Outcome.OK: 990, Outcome.SERVER_ERROR: 10}),
    "retries that mostly help": facts(recovered=6, exhausted=6),
    "a limit with room": facts(limits=[("requests", 0.1, 3.0)]),
    "a budget that is spent as allowed": facts(burning=[("claude-availability", 1.9)]),
    "a budget spent by a call or two": facts(outcomes={Outcome.OK: 49}, burning=[("claude-availability", 9.0)]),
}


@pytest.mark.parametrize("case", QUIET)
def test_it_does_not_cry_wolf_over(case: str) -> None:
    assert [verdict.id for verdict in judge(QUIET[case])] == ["calm"]


def test_calls_that_were_never_sent_do_not_hide_the_timeouts_of_those_that_were() -> None:
    given = facts(
        outcomes={Outcome.OK: 40, Outcome.TIMEOUT: 10, Outcome.REJECTED: 950}, timed_out=10, expired=[waits(count=10)]
    )
    assert [(verdict.id, verdict.severity) for verdict in judge(given)] == [("timeouts:stall:claude-x", Severity.BAD)]


def test_the_worst_comes_first_and_what_is_alike_keeps_its_order() -> None:
    given = facts(
        outcomes={Outcome.OK: 50, Outcome.OVERLOADED: 50},
        breakers=[("host/a", BreakerState.HALF_OPEN, None), ("host/b", BreakerState.OPEN, None)],
        dropped=1,
    )
    assert [verdict.id for verdict in judge(given)] == [
        "breaker-open:host/b",
        "failing:overloaded",
        "breaker-half-open:host/a",
        "dropped",
    ]


def test_the_id_stays_while_only_numbers_change() -> None:
    one, two = (judge(timed_out(waits(count=count)))[0] for count in (30, 40))
    assert one.id == two.id


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_its_advice(phase: Phase) -> None:
    (verdict,) = judge(timed_out(waits(phase)))
    assert verdict.text.count("; ") >= 1
    assert "None" not in verdict.text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0, "0 %"), (0.0001, "0.1 %"), (0.5, "50 %"), (0.9999, "99.9 %"), (1, "100 %"), (0.991, "99.1 %")],
)
def test_a_share_is_never_rounded_to_all_or_nothing(ratio: float, text: str) -> None:
    assert percent(ratio) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.25, "250 ms"), (1.5, "1.5 s"), (2.0, "2 s"), (45.4, "45 s"), (120, "120 s"), (150, "150 s"), (640, "11 min")],
)
def test_durations_are_short(value: float, text: str) -> None:
    assert seconds(value) == text


def test_a_suggested_timeout_is_one_that_people_choose() -> None:
    assert [nice(value) for value in (0.5, 40, 41, 5000)] == [1, 45, 45, 5000]
