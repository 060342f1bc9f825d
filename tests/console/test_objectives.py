"""How a stretch of calls stands to an objective, and that it counts as the generated rules do."""

import pytest

from sidecar.console.objectives import Standing, default_objectives, standings
from sidecar.console.tally import Key, Tally
from sidecar.model import Outcome, Profile
from sidecar.slo import Calls, Events, Kind, Slo
from tests.outlets import samples

KEY = Key("messages", "claude", Profile.INTERACTIVE, stream=True)


def tally(*calls: tuple[Outcome, float, float | None]) -> Tally:
    made = Tally()
    for outcome, duration, first_token in calls:
        made.call(samples.call(outcome=outcome, duration=duration, first_token=first_token))
    return made


def standing(calls: Calls, *, objective: float = 90.0, key: Key = KEY, **tallies: Tally) -> Standing:
    given = {key._replace(model=model): each for model, each in tallies.items()}
    (found,) = standings([Slo(service="s", name="n", objective=objective, indicator=calls)], given)
    return found


MIXED = tally(
    *[(Outcome.OK, 2.0, 1.0)] * 7,
    (Outcome.OK, 9.0, 8.5),
    (Outcome.TIMEOUT, 60.0, None),
    (Outcome.RATE_LIMITED, 0.1, None),
    (Outcome.CLIENT_ERROR, 0.1, None),
    (Outcome.CANCELLED, 3.0, None),
)


@pytest.mark.parametrize(
    ("calls", "counted", "bad"),
    [
        (Calls(kind=Kind.AVAILABILITY), 10, 2),
        (Calls(kind=Kind.AVAILABILITY, count_rate_limited=False), 9, 1),
        (Calls(kind=Kind.TIMEOUT), 10, 1),
        (Calls(kind=Kind.LATENCY, threshold=8.0), 10, 3),
        (Calls(kind=Kind.FIRST_TOKEN, threshold=8.0), 10, 3),
        (Calls(kind=Kind.FIRST_TOKEN, threshold=9.0), 10, 2),
        (Calls(kind=Kind.AVAILABILITY, selector={"model": ("other",)}), 0, 0),
        (Calls(kind=Kind.AVAILABILITY, selector={"profile": ("interactive", "agentic"), "job": ("any",)}), 10, 2),
    ],
)
def test_bad_calls_are_counted_as_the_objective_says(calls: Calls, counted: int, bad: float) -> None:
    found = standing(calls, claude=MIXED)
    assert found.counted == counted
    assert found.bad == pytest.approx(bad)


def test_the_burn_rate_is_1_where_the_budget_is_just_kept() -> None:
    found = standing(Calls(kind=Kind.AVAILABILITY), objective=80.0, claude=MIXED)
    assert found.good_ratio == pytest.approx(0.8)
    assert found.burn_rate == pytest.approx(1.0)


def test_without_calls_nothing_is_claimed() -> None:
    found = standing(Calls(kind=Kind.LATENCY, threshold=1.0))
    assert (found.good_ratio, found.burn_rate) == (None, None)


def test_a_first_token_is_asked_of_streams_only() -> None:
    calls = Calls(kind=Kind.FIRST_TOKEN, threshold=8.0)
    assert standing(calls, key=KEY._replace(stream=False), claude=MIXED).counted == 0


def test_successes_that_told_no_time_are_not_called_slow() -> None:
    found = standing(Calls(kind=Kind.FIRST_TOKEN, threshold=8.0), claude=tally((Outcome.OK, 1.0, None)))
    assert (found.counted, found.bad) == (1, 0)


def test_a_threshold_on_a_bucket_bound_counts_as_within() -> None:
    found = standing(Calls(kind=Kind.LATENCY, threshold=8.0), claude=tally((Outcome.OK, 8.0, None)))
    assert found.bad == 0


def test_the_defaults_are_those_of_the_exported_file_and_foreign_queries_are_left_out() -> None:
    assert [slo.name for slo in default_objectives()] == ["availability", "timeouts", "interactive-first-token"]
    foreign = Slo(service="s", name="n", objective=99.0, indicator=Events(error="a", total="b"))
    assert standings([foreign], {KEY: MIXED}) == []
