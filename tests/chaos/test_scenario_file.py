"""Scenario files: what is read, and how all of what is wrong is told at once."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.chaos import Scenario, ScenarioError, builtin_names, load_scenario, parse_scenario
from sidecar.chaos.scenario import AtEnd, Bimodal, Constant, Limits, Lognormal

_NAMES = {
    "calm",
    "timeout-spike",
    "overload",
    "rate-limited",
    "stalls",
    "flaky-network",
    "slow-drift",
    "outage-and-recovery",
    "instant",
}

_TOML = """
summary = "Two phases."
at_end = "hold"
batch_seconds = 5
models = ["claude-mine"]

[limits]
requests = 7

[defaults]
latency = 0.5
mix = { ok = 9, "stall;after=2" = 1 }

[[phases]]
name = "one"
duration = 10

[[phases]]
name = "two"
duration = 20
latency = { kind = "lognormal", median = 1, p99 = 4 }
output_tokens = { kind = "bimodal", low = 10, high = 500, high_share = 0.5 }
tokens_per_event = 2
refuse = true
drift = 2
"""

_YAML = """
summary: Two phases.
at_end: hold
batch_seconds: 5
models: [claude-mine]
limits: {requests: 7}
defaults:
  latency: 0.5
  mix: {ok: 9, "stall;after=2": 1}
phases:
  - {name: one, duration: 10}
  - name: two
    duration: 20
    latency: {kind: lognormal, median: 1, p99: 4}
    output_tokens: {kind: bimodal, low: 10, high: 500, high_share: 0.5}
    tokens_per_event: 2
    refuse: true
    drift: 2
"""


def test_the_promised_scenarios_are_built_in_and_whole() -> None:
    assert set(builtin_names()) == _NAMES
    for name in _NAMES:
        scenario = load_scenario(name)
        assert scenario.name == name
        assert scenario.summary.endswith(".")


@pytest.mark.parametrize(("suffix", "text"), [(".toml", _TOML), (".yaml", _YAML), (".yml", _YAML)])
def test_a_file_is_read_the_same_in_both_languages(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"mine{suffix}"
    path.write_text(text)
    scenario = load_scenario(path)
    assert (scenario.name, scenario.at_end, scenario.batch_seconds) == ("mine", AtEnd.HOLD, 5)
    assert (scenario.limits, scenario.models, scenario.duration) == (Limits(requests=7), ("claude-mine",), 30)
    one, two = scenario.phases
    assert (one.latency, two.latency) == (Constant(0.5), Lognormal(1, 4))
    assert two.output_tokens == Bimodal(10, 500, 0.5)
    assert [fault.text for fault in two.mix.faults] == ["ok", "stall;after=2"]
    assert (two.mix.weights, two.tokens_per_event, two.refuse, two.drift) == ((9, 1), 2, True, 2)


_PHASE: dict[str, Any] = {"name": "p", "duration": 1}


def _with(**values: object) -> dict[str, object]:
    return {"phases": [{**_PHASE, **values}]}


@pytest.mark.parametrize(
    ("data", "names"),
    [
        pytest.param([], ["the file", "found []", "a table"], id="not a table"),
        pytest.param({"phases": []}, ["phases", "found []", "at least one phase"], id="no phases"),
        pytest.param({}, ["phases", "found None"], id="nothing at all"),
        pytest.param({"phases": [3]}, ["phases[0]", "found 3", "a table"], id="a phase that is a number"),
        pytest.param({"phases": [{}]}, ["phases[0].name: missing", "phases[0].duration: missing"], id="empty phase"),
        pytest.param({**_with(), "speed": 3}, ["speed: unknown key", "at_end"], id="unknown key"),
        pytest.param({**_with(), "at_end": "stop"}, ["at_end: found 'stop'", "loop or hold"], id="at_end"),
        pytest.param({**_with(), "at_end": []}, ["at_end: found []"], id="at_end of another kind"),
        pytest.param({**_with(), "models": "x"}, ["models: found 'x'", "list"], id="models"),
        pytest.param({**_with(), "models": [1]}, ["models[0]: found 1"], id="a model that is a number"),
        pytest.param({**_with(), "batch_seconds": -1}, ["batch_seconds: found -1"], id="batch_seconds"),
        pytest.param({**_with(), "limits": {"requests": 0}}, ["limits.requests: found 0"], id="limits"),
        pytest.param({**_with(), "limits": {"cats": 1}}, ["limits.cats: unknown key"], id="limits' key"),
        pytest.param({**_with(), "name": "a\nb"}, ["name: found 'a\\nb'", "a line of text"], id="name"),
        pytest.param({**_with(), "defaults": {"name": "x"}}, ["defaults.name: unknown key"], id="defaults"),
        pytest.param({**_with(), "defaults": {"latency": "x"}}, ["defaults.latency: found 'x'"], id="defaults' value"),
        pytest.param(_with(duration=0), ["phases[0].duration: found 0"], id="duration"),
        pytest.param(_with(duration=True), ["phases[0].duration: found True"], id="a truth is no number"),
        pytest.param(_with(latency=float("nan")), ["phases[0].latency: found nan"], id="nan"),
        pytest.param(_with(latency={"kind": "cauchy"}), ["latency.kind: found 'cauchy'", "lognormal"], id="kind"),
        pytest.param(_with(latency={}), ["latency.kind: found None"], id="no kind"),
        pytest.param(
            _with(latency={"kind": "uniform", "low": 1, "max": 3}),
            ["latency.max: unknown key", "latency.high: missing"],
            id="parameters",
        ),
        pytest.param(
            _with(latency={"kind": "uniform", "low": 3, "high": 1}), ["high is 1.0, below low (3.0)"], id="order"
        ),
        pytest.param(
            _with(latency={"kind": "lognormal", "median": 0, "p99": 1}), ["median is 0.0", "above 0"], id="median"
        ),
        pytest.param(
            _with(latency={"kind": "bimodal", "low": 0, "high": 1, "high_share": 1.5}),
            ["latency.high_share: found 1.5", "0 to 1"],
            id="share",
        ),
        pytest.param(_with(latency={"kind": "constant", "value": -1}), ["latency.value: found -1"], id="negative"),
        pytest.param(_with(tokens_per_event=1.5), ["tokens_per_event: found 1.5", "whole number"], id="whole"),
        pytest.param(_with(refuse="yes"), ["refuse: found 'yes'", "true or false"], id="refuse"),
        pytest.param(_with(mix={}), ["mix: found {}"], id="empty mix"),
        pytest.param(_with(mix={"foo": 1}), ["mix: unknown fault 'foo'"], id="mix's fault"),
        pytest.param(_with(mix={"refused": 1}), ["refuse = true"], id="refused in a mix"),
        pytest.param(_with(mix={"ok": -1}), ["mix.ok: found -1"], id="mix's weight"),
        pytest.param(_with(mix={"ok": 0}), ["all weights are 0"], id="mix's sum"),
        pytest.param(_with(name="x" * 300), ["phases[0].name", "…"], id="long values are cut"),
    ],
)
def test_what_cannot_be_is_told_with_key_found_and_allowed(data: object, names: list[str]) -> None:
    with pytest.raises(ScenarioError) as raised:
        parse_scenario(data, "mine")
    assert [name for name in names if name not in str(raised.value)] == []


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('at_end = "x"\ncolour = 1\n[[phases]]\nname = "p"\nduration = -1\nlatency = "z"\n')
    with pytest.raises(ScenarioError) as raised:
        load_scenario(path)
    assert len(raised.value.problems) == 4
    assert raised.value.source == str(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.toml", b"a = = 1", "cannot be read as TOML"),
        ("x.yaml", b"a: [", "cannot be read as YAML"),
        ("x.yaml", b"!!python/object/apply:os.system ['true']", "cannot be read as YAML"),
        ("x.toml", b"\xff\xfe", "cannot be read as TOML"),
        ("x.yaml", b"[" * 1_000, "cannot be read as YAML"),
        ("x.json", b"{}", "suffix '.json'"),
        ("x.toml", b"#" * 1_000_001, "1000001 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ScenarioError, match=message):
        load_scenario(path)


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(ScenarioError, match="no built-in scenario and no file of this name: allowed are calm, "):
        load_scenario("calmer")


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["phases", "kind", "ok", "low"]), inner)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["name", "summary", "at_end", "models", "limits", "defaults", "phases", "batch_seconds"]), _JSON
    )
    | _JSON
)
@settings(deadline=None, max_examples=150)
def test_any_data_is_either_a_scenario_or_refused(data: object) -> None:
    try:
        scenario = parse_scenario(data, "any")
    except ScenarioError:
        return
    assert isinstance(scenario, Scenario)
