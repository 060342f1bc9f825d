"""Timelines, distributions and dice: pure, so nothing here waits."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.chaos.dice import draw
from sidecar.chaos.faults import parse_fault
from sidecar.chaos.scenario import (
    AtEnd,
    Bimodal,
    Constant,
    Distribution,
    Exponential,
    Lognormal,
    Mix,
    Phase,
    Scenario,
    Uniform,
)
from sidecar.chaos.scenario_file import builtin_names, load_scenario

_A = Phase(name="a", duration=10)
_B = Phase(name="b", duration=30, drift=4)


def _scenario(at_end: AtEnd = AtEnd.LOOP) -> Scenario:
    return Scenario(name="s", summary="s", phases=(_A, _B), at_end=at_end)


@pytest.mark.parametrize(
    ("elapsed", "phase", "progress"),
    [(0, "a", 0.0), (5, "a", 0.5), (10, "b", 0.0), (25, "b", 0.5), (40, "a", 0.0), (45, "a", 0.5), (85, "a", 0.5)],
)
def test_a_looping_timeline_begins_again(elapsed: float, phase: str, progress: float) -> None:
    moment = _scenario().at(elapsed)
    assert (moment.phase.name, moment.progress) == (phase, progress)


@pytest.mark.parametrize(("elapsed", "phase", "progress"), [(39, "b", 29 / 30), (40, "b", 1.0), (1e9, "b", 1.0)])
def test_a_holding_timeline_stays_at_the_end_of_its_last_phase(elapsed: float, phase: str, progress: float) -> None:
    moment = _scenario(AtEnd.HOLD).at(elapsed)
    assert (moment.phase.name, moment.progress) == (phase, progress)


def test_a_clock_that_stands_before_the_start_is_at_the_start() -> None:
    assert _scenario(AtEnd.HOLD).at(-1).progress == 0.0


def test_a_drift_grows_evenly_over_its_phase() -> None:
    scenario = _scenario()
    assert [scenario.at(elapsed).factor for elapsed in (0, 10, 25)] == [1.0, 1.0, 2.5]


_BUILTIN = [load_scenario(name) for name in builtin_names()]


@given(st.floats(-1e6, 1e9))
@settings(deadline=None, max_examples=100)
def test_every_time_is_in_some_phase(elapsed: float) -> None:
    for scenario in _BUILTIN:
        assert 0.0 <= scenario.at(elapsed).progress <= 1.0


_SAMPLES = 4_000


def _quantile(distribution: Distribution, share: float) -> float:
    dice = Random(7)
    return sorted(distribution.sample(dice) for _ in range(_SAMPLES))[int(share * _SAMPLES)]


def test_a_lognormal_has_the_median_and_99th_percentile_it_was_given() -> None:
    distribution = Lognormal(median=1.0, p99=10.0)
    assert _quantile(distribution, 0.5) == pytest.approx(1.0, rel=0.1)
    assert _quantile(distribution, 0.99) == pytest.approx(10.0, rel=0.25)


def test_a_bimodal_has_its_share_of_high_values() -> None:
    dice = Random(7)
    high = sum(Bimodal(1.0, 50.0, 0.2).sample(dice) > 40 for _ in range(_SAMPLES))
    assert high / _SAMPLES == pytest.approx(0.2, abs=0.03)


def test_the_simple_distributions_are_what_they_say() -> None:
    assert _quantile(Constant(3.0), 0.0) == _quantile(Constant(3.0), 0.999) == 3.0
    assert 2.0 <= _quantile(Uniform(2.0, 4.0), 0.0) < _quantile(Uniform(2.0, 4.0), 0.999) <= 4.0
    assert _quantile(Exponential(2.0), 0.5) == pytest.approx(2.0 * 0.693, rel=0.1)


def test_the_same_seed_gives_the_same_sequence_and_another_seed_another() -> None:
    moment = load_scenario("stalls").at(100)
    first = [draw(1, number, moment, None) for number in range(50)]
    assert first == [draw(1, number, moment, None) for number in range(50)]
    assert first != [draw(2, number, moment, None) for number in range(50)]


def test_a_request_draws_the_same_whatever_came_before_it() -> None:
    moment = load_scenario("stalls").at(100)
    assert draw(3, 17, moment, None) == [draw(3, number, moment, None) for number in range(18)][17]


def test_a_forced_fault_leaves_the_rest_of_the_draw_as_it_was() -> None:
    moment = load_scenario("stalls").at(100)
    free, forced = draw(3, 17, moment, None), draw(3, 17, moment, parse_fault("529"))
    assert forced.fault.status == 529
    assert (free.latency, free.output_tokens) == (forced.latency, forced.output_tokens)


def test_overrides_take_the_place_of_what_was_drawn() -> None:
    moment = load_scenario("slow-drift").at(100)
    plan = draw(0, 0, moment, parse_fault("ok;latency=1.5;tokens=9;tps=20;input-tokens=77"))
    assert (plan.latency, plan.output_tokens, plan.tokens_per_second, plan.prompt_tokens) == (1.5, 9, 20.0, 77)
    assert plan.event_seconds == 4 / 20.0


def test_an_overridden_latency_is_exact_where_a_drawn_one_is_shared() -> None:
    phase = Phase(name="p", duration=1, latency=Constant(2.0))
    moment = Scenario(name="s", summary="s", phases=(phase,)).at(0)
    assert draw(0, 0, moment, None).delay(0.5) == 1.0
    assert draw(0, 0, moment, parse_fault("ok;latency=2")).delay(0.5) == 2.0


def test_drift_makes_prompts_and_latencies_grow() -> None:
    scenario = load_scenario("slow-drift")
    early = [draw(0, number, scenario.at(130), None) for number in range(200)]
    late = [draw(0, number, scenario.at(1190), None) for number in range(200)]
    assert sum(plan.prompt_tokens or 0 for plan in late) > 4 * sum(plan.prompt_tokens or 0 for plan in early)
    assert sum(plan.latency for plan in late) > 4 * sum(plan.latency for plan in early)


def test_a_mix_is_drawn_by_weight() -> None:
    mix = Mix((parse_fault("ok"), parse_fault("529")), (3.0, 1.0))
    dice = Random(5)
    drawn = Counter(mix.draw(dice).text for _ in range(_SAMPLES))
    assert drawn["529"] / _SAMPLES == pytest.approx(0.25, abs=0.03)
