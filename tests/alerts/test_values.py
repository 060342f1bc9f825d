"""The thresholds table and how a team overrides it."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.alerts import ValuesError, alert_groups, load_values, recording_groups
from sidecar.alerts.values import default_text
from sidecar.rules import Alert, as_prometheus
from sidecar.rules.histograms import Buckets


def alerts(text: str | None = None, *sets: str) -> dict[str, Alert]:
    groups = alert_groups(load_values(text, sets))
    return {rule.name: rule for group in groups for rule in group.rules if isinstance(rule, Alert)}


def test_a_file_overrides_only_what_it_names() -> None:
    spike = alerts("alerts: {ClaudeTimeoutSpike: {ratio: 0.25, window: 1m}}")["ClaudeTimeoutSpike"]
    assert "> 0.25" in spike.expr
    assert "claude:calls_by_outcome:count_1m" in spike.expr
    assert ">= 8.5" in spike.expr


def test_the_command_line_overrides_the_file() -> None:
    found = alerts("alerts: {ClaudeTimeoutSpike: {ratio: 0.25}}", "ClaudeTimeoutSpike.ratio=0.3")
    assert "> 0.3" in found["ClaudeTimeoutSpike"].expr


@pytest.mark.parametrize(
    ("count", "reached"), [("8", 8.5), ("8.2", 8.5), ("8.9", 8.5), ("0", 0.5), ("2000000", 2000000.5)]
)
def test_a_count_means_whole_events_and_half_of_one_tells_more_from_at(count: str, reached: float) -> None:
    found = alerts(None, f"ClaudeTimeoutSpike.count={count}")
    assert f">= {reached:.1f})\n/" in found["ClaudeTimeoutSpike"].expr


def test_a_profile_has_a_threshold_of_its_own() -> None:
    found = alerts(None, "ClaudeLatencyP95High.seconds.realtime=5")
    assert 'p95_5m{profile="realtime"} > 5' in found["ClaudeLatencyP95High"].expr
    assert 'p95_5m{profile="interactive"} > 60' in found["ClaudeLatencyP95High"].expr


def test_an_alert_can_be_left_out_and_routed_otherwise() -> None:
    found = alerts(None, "ClaudeNoTraffic.enabled=false", "ClaudeOverloaded.severity=page", "severities.page=critical")
    assert "ClaudeNoTraffic" not in found
    assert found["ClaudeOverloaded"].labels["severity"] == "critical"
    assert found["ClaudeTimeoutSpike"].labels["severity"] == "critical"


def test_labels_are_texts_whatever_they_look_like() -> None:
    found = alerts("labels: {team: ai}", "labels.tier=1", "labels.odd=#a: {b}")
    assert found["ClaudeTimeoutSpike"].labels == {"severity": "page", "team": "ai", "tier": "1", "odd": "#a: {b}"}


def test_links_lead_where_a_team_says() -> None:
    found = alerts(None, "links.runbooks=https://wiki/rb/", "links.dashboards=https://graf/")
    notes = found["ClaudeTimeoutSpike"].annotations
    assert notes["runbook_url"] == "https://wiki/rb/ClaudeTimeoutSpike.md"
    assert notes["dashboard_url"].startswith("https://graf/d/claude-timeouts-retries?var-job=")


def test_the_pace_of_the_rules_follows_the_values() -> None:
    values = load_values(None, ("intervals.fast=1s", "intervals.slow=5s", "intervals.samples=7s"))
    assert {group.interval for group in alert_groups(values)} == {"1s", "5s"}
    groups = recording_groups(Buckets.NATIVE, values)
    assert {group.interval for group in groups} == {"1s", "5s", "7s"}
    assert "* (7 / 86400)" in as_prometheus(groups)
    assert "(300 /" not in as_prometheus(groups)


def test_the_default_file_is_itself_a_valid_override() -> None:
    assert load_values(default_text()) == load_values()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alert: {}", "line 1: error: the file has no key 'alert'; did you mean 'alerts'?"),
        ("alerts:\n  ClaudeTimeoutSpike:\n    ratioo: 1", "line 3: error: ClaudeTimeoutSpike has no key 'ratioo'"),
        (
            "alerts:\n  ClaudeTimeoutSpike:\n    ratio: 5",
            "line 3: error: ratio must be a share from 0 to below 1, not 5",
        ),
        ("alerts:\n  ClaudeTimeoutSpike:\n    count: -1", "line 3: error: count must be 0 or more, not -1"),
        ("alerts:\n  ClaudeTimeoutSpike:\n    count: many", "line 3: error: count must be a number, not 'many'"),
        ("alerts:\n  ClaudeTimeoutSpike:\n    window: 5", "line 3: error: window must be a text, not 5"),
        ("alerts:\n  ClaudeTimeoutSpike:\n    window: 5 min", "line 3: error: window: '5 min' is not a duration"),
        ("alerts:\n  ClaudeTimeoutSpike:\n    window: 0s", "line 3: error: window must be longer than 0s"),
        ("alerts:\n  ClaudeTimeoutSpike:\n    enabled: 1", "line 3: error: enabled must be true or false, not 1"),
        (
            "alerts:\n  ClaudeTimeoutSpike:\n    severity: loud",
            "line 3: error: severity must be one of page, ticket, info",
        ),
        ("alerts: 5", "line 1: error: alerts must be a mapping, not 5"),
        ("intervals: {samples: 6m}", "line 1: error: samples must be above 0 and at most 5m, not 6m"),
        ("intervals: {slow: 10m}", "line 1: error: slow must be above 0 and below 5m, not 10m"),
        ("labels: {a: [1]}", "line 1: error: labels 'a' must be a text, not a list"),
        ("labels: {te-am: ai}", "line 1: error: 'te-am' cannot be a label's name"),
        ("labels: {__name__: ai}", "line 1: error: '__name__' cannot be a label's name"),
        ("labels: {severity: x}", "line 1: error: 'severity' is set by each alert: change severities, or the alert's"),
        ("links: {runbooks: wiki/rb}", "line 1: error: runbooks must be a URL, as https://host/path, not 'wiki/rb'"),
        ("links: {dashboards: graf}", "line 1: error: dashboards must be a URL, as https://host/path, not 'graf'"),
        ("links: {runbooks: ''}", "line 1: error: runbooks must be a text, not empty"),
        ("a: [", "line 1: error: this is not YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValuesError) as caught:
        load_values(text, where="mine.yaml")
    assert f"mine.yaml: {said}" in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ValuesError) as caught:
        load_values("alert: {}\nlabel: {}\nalerts: {ClaudeTimeoutSpike: {ratio: x}}")
    assert [fault.line for fault in caught.value.faults] == [1, 2, 3]


@pytest.mark.parametrize("setting", ["", "x", "=1", ".=1", "a..b=1", "ClaudeTimeoutSpike=1", "ClaudeTimeoutSpike.x=1"])
def test_a_setting_that_names_nothing_is_refused(setting: str) -> None:
    with pytest.raises(ValuesError):
        load_values(None, (setting,))


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=40), st.sampled_from(["", "alerts.ClaudeTimeoutSpike.", "labels."]))
def test_no_setting_however_mangled_does_more_than_be_refused(text: str, before: str) -> None:
    values = None
    with contextlib.suppress(ValuesError):
        values = load_values(None, (before + text,))
    assert values is None or alert_groups(values)
