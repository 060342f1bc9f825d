"""Objectives read from files: three formats, and every fault with its line."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.rules.histograms import Buckets
from sidecar.slo import Calls, Events, Kind, Ratio, errors, load, validate
from sidecar.slo.buckets import CLASSIC_OCTAVES, NATIVE_PER_OCTAVE
from sidecar.telemetry.families import LATENCY
from sidecar.telemetry.histogram import MAX_SCHEMA

OWN = """\
version: sidecar/v1
service: shop
labels: {team: ai}
slos:
  - name: chat
    description: People wait.
    kind: first_token
    objective: 99
    window: 28d
    threshold: 4s
    selector: {profile: interactive, model: [claude-a, claude-b]}
    page: critical
    ticket: false
    minimum_calls: 10
    minimum_failures: 2
    labels: {tier: "1"}
"""

SLOTH = """\
version: "prometheus/v1"
service: "shop"
labels: {owner: us}
slos:
  - name: "requests"
    objective: 99.9
    description: Requests.
    labels: {tier: "2"}
    sli:
      events:
        error_query: sum(rate(http_requests_total{code=~"5.."}[{{.window}}]))
        total_query: sum(rate(http_requests_total[{{.window}}]))
    alerting:
      name: ShopErrors
      labels: {category: availability}
      annotations: {summary: Too many errors}
      page_alert: {for: 5m, labels: {severity: critical}}
      ticket_alert: {disable: true}
  - name: ready-made
    objective: 99
    sli: {raw: {error_ratio_query: "my_ratio{w='{{ .window }}'}"}}
    alerting: {name: ShopRatio}
"""

OPENSLO = """\
apiVersion: openslo/v1
kind: Service
metadata: {name: shop}
spec: {description: The shop}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: good-requests}
spec:
  ratioMetric:
    counter: true
    good: {metricSource: {type: Prometheus, spec: {query: 'http_requests_total{code="200"}'}}}
    total: {metricSource: {type: Prometheus, spec: {query: 'sum(http_requests_total)'}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: requests, displayName: Requests}
spec:
  service: shop
  description: Requests.
  indicatorRef: good-requests
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives:
    - {displayName: fine, target: 0.995}
    - {displayName: finer, targetPercent: 99}
"""


def faults_of(text: str, buckets: Buckets = Buckets.NATIVE) -> list[str]:
    slos, faults = load(text)
    return [str(fault) for fault in sorted([*faults, *validate(slos, buckets)])]


def test_the_short_form_says_everything_in_a_few_lines() -> None:
    (slo,), faults = load(OWN)
    assert faults == []
    assert isinstance(slo.indicator, Calls)
    assert (slo.id, slo.objective, slo.period, slo.description) == ("shop-chat", 99, "28d", "People wait.")
    assert (slo.indicator.kind, slo.indicator.threshold) == (Kind.FIRST_TOKEN, 4)
    assert slo.indicator.selector == {"profile": ("interactive",), "model": ("claude-a", "claude-b")}
    assert slo.page is not None
    assert (slo.page.severity, slo.ticket) == ("critical", None)
    assert (slo.minimum_calls, slo.minimum_failures) == (10, 2)
    assert slo.labels == {"team": "ai", "tier": "1"}


def test_sloths_documents_are_read_as_sloth_reads_them() -> None:
    (events, raw), faults = load(SLOTH)
    assert faults == []
    assert isinstance(events.indicator, Events)
    assert (events.alert, events.labels, events.ticket) == ("ShopErrors", {"owner": "us", "tier": "2"}, None)
    assert events.page is not None
    assert events.page.hold == "5m"
    assert events.page.labels == {"category": "availability", "severity": "critical"}
    assert events.page.annotations == {"summary": "Too many errors"}
    assert (events.minimum_calls, events.minimum_failures) == (0, 0)
    assert isinstance(raw.indicator, Ratio)


def test_openslo_documents_are_read_with_the_indicator_they_refer_to() -> None:
    (fine, finer), faults = load(OPENSLO)
    assert faults == []
    assert isinstance(fine.indicator, Events)
    assert fine.indicator.good
    assert fine.indicator.error == 'sum(increase(http_requests_total{code="200"}[{{.window}}]))'
    assert fine.indicator.total == "sum(increase(http_requests_total[{{.window}}]))"
    assert [(slo.name, slo.objective, slo.period) for slo in (fine, finer)] == [
        ("requests-0", 99.5, "28d"),
        ("requests-1", 99, "28d"),
    ]


def test_openslo_takes_bad_events_and_ready_made_ratios_too() -> None:
    source = "{metricSource: {type: Prometheus, spec: {query: 'sum(rate(x[{{.window}}]))'}}}"
    bad = OPENSLO.replace("good: {metricSource", "bad: {metricSource")
    ((slo, _), faults) = load(bad)
    assert faults == []
    assert isinstance(slo.indicator, Events)
    assert not slo.indicator.good
    for kind, query in (("failure", "sum(rate(x[{{.window}}]))"), ("success", "1 - (sum(rate(x[{{.window}}])))")):
        inner = f"  indicator: {{spec: {{ratioMetric: {{rawType: {kind}, raw: {source}}}}}}}"
        (slo, _), faults = load(OPENSLO.replace("  indicatorRef: good-requests", inner))
        assert faults == []
        assert slo.indicator == Ratio(query=query)


# What stands on which line of OWN, changed, and what is said of it.
@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("version: sidecar/v1", "version: sidecar/v9", "line 1: error: version must be sidecar/v1, prometheus/v1"),
        ("service: shop", "service: My Shop", "line 2: error: service must be lower-case"),
        ("labels: {team: ai}", "labels: {sloth_id: x}", "line 3: error: 'sloth_id' cannot be a label's name"),
        ("labels: {team: ai}", "labels: [a]", "line 3: error: label must be a mapping, not a list"),
        ("labels: {team: ai}", "labels: {team: [a]}", "line 3: error: label 'team' must be a text, not a list"),
        ("name: chat", "nam: chat", "line 5: error: name is missing"),
        ("name: chat", "nam: chat", "line 5: error: an objective has no key 'nam'; did you mean 'name'?"),
        ("kind: first_token", "kind: speed", "line 7: error: kind must be one of availability, latency"),
        ("kind: first_token", "kind:", "line 7: error: kind must be a text, not empty"),
        ("    kind: first_token\n", "", "line 5: error: kind is missing"),
        ("kind: first_token", "kind: availability", "line 10: error: kind availability has no threshold"),
        ("objective: 99", "objective: 100", "line 8: error: objective must lie between 0 and 100 percent"),
        ("objective: 99", "objective: high", "line 8: error: objective must be a number, not 'high'"),
        ("objective: 99", "objective: .nan", "line 8: error: objective must be a number, not nan"),
        ("objective: 99", "objective: 0.99", "line 8: warning: objective 0.99 is in percent: did you mean 99?"),
        ("    objective: 99\n", "", "line 5: error: objective is missing"),
        ("window: 28d", "window: 1h", "line 9: error: window must be whole days from 7d to 90d, not 1h"),
        ("window: 28d", "window: month", "line 9: error: window: 'month' is not a duration"),
        ("threshold: 4s", "threshold: 3s", "line 10: warning: 3s is no bound of a native histogram; 2.95365 s"),
        ("threshold: 4s", "threshold: fast", "line 10: error: threshold: 'fast' is not a duration"),
        ("threshold: 4s", "threshold: 0s", "line 10: error: threshold must be longer than 0s"),
        ("    threshold: 4s\n", "", "line 7: error: kind first_token needs a threshold"),
        ("profile: interactive", "profile: chatty", "line 11: error: there is no profile 'chatty'"),
        ("profile: interactive", "stream: yes", "line 11: error: selector has no key 'stream'"),
        ("page: critical", "page: 3", "line 12: error: page (true, false, or a severity) must be a text, not 3"),
        ("minimum_calls: 10", "minimum_calls: -1", "line 14: error: minimum_calls must be 0 or more"),
        ("objective: 99", "objective: 50", "line 8: error: a page is impossible: with 50 % it would need 50"),
        ("objective: 99", "objective: 92", "line 8: warning: the page over 1h is left out: with 92 %"),
        ("slos:\n", "slos: 3\nother:\n", "line 4: error: slos must be a list, not 3"),
        ("slos:\n", "slos: []\nother:\n", "line 1: error: slos is missing or empty"),
        ("team: ai", "team: &x ai, copy: *x", "line 3: error: this is not YAML: aliases"),
        ("service: shop", "service: !!python/name:os.system x", "line 2: error: the tag 'tag:yaml.org,2002:python"),
        ("service: shop", "service: shop\nservice: shop", "line 3: error: key 'service' stands here a second time"),
        ("service: shop", "service: {[}", "line 2: error: this is not YAML"),
    ],
)
def test_every_fault_is_told_with_its_line(was: str, becomes: str, said: str) -> None:
    assert OWN.count(was) >= 1
    assert any(fault.startswith(said) for fault in faults_of(OWN.replace(was, becomes, 1))), faults_of(
        OWN.replace(was, becomes, 1)
    )


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("    description: Requests.", "    slo_plugins: {}", "line 7: error: an objective has no key 'slo_plugins'"),
        (
            "[{{.window}}]))\n    alerting",
            "[5m]))\n    alerting",
            "line 12: error: total_query must contain {{.window}}",
        ),
        ("        error_query", "        errors", "line 10: error: error_query is missing"),
        ("      events:", "      event:", "line 10: error: sli has no key 'event'; did you mean 'events'?"),
        ("      name: ShopErrors\n", "", "line 5: error: alerting.name is missing"),
        ("for: 5m", "for: soon", "line 17: error: page_alert.for: 'soon' is not a duration"),
        (
            "http_requests_total[",
            'http_requests_total{code=~"5.."}[',
            "line 9: error: both queries are the same, so every",
        ),
        (
            "http_requests_total[",
            'http_requests_total{code=~"5..",env="prod"}[',
            "line 9: error: the total counts fewer events than the error query: it alone has env='prod'",
        ),
        ("  - name: ready-made", "  - name: requests", "line 19: error: shop-requests is already defined at line 5"),
    ],
)
def test_every_fault_of_a_sloth_document_is_told_with_its_line(was: str, becomes: str, said: str) -> None:
    assert SLOTH.count(was) >= 1
    faults = faults_of(SLOTH.replace(was, becomes, 1))
    assert any(fault.startswith(said) for fault in faults), faults


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("kind: SLO", "kind: Slow", "line 16: error: kind must be SLO, not 'Slow'"),
        ("kind: Service", "kind: AlertPolicy", "line 2: warning: AlertPolicy is left aside"),
        ("indicatorRef: good-requests", "indicatorRef: nobody", "line 21: error: no SLI named 'nobody'"),
        ("  indicatorRef: good-requests\n", "", "line 15: error: spec needs either indicator or indicatorRef"),
        ("isRolling: true", "isRolling: false", "line 22: error: only rolling windows are supported"),
        (
            "[{duration: 28d, isRolling: true}]",
            "[{duration: 28d}, {duration: 7d}]",
            "line 22: error: timeWindow must have",
        ),
        ("[{duration: 28d, isRolling: true}]", "[{duration: long}]", "line 22: error: duration: 'long' is not"),
        ("Occurrences", "Timeslices", "line 23: error: budgetingMethod must be Occurrences"),
        ("target: 0.995", "target: 99.5", "line 25: error: target must lie between 0 and 1"),
        ("target: 0.995", "target: x", "line 25: error: target must be a number"),
        ("target: 0.995", "op: lte", "line 25: error: an objective needs either target or targetPercent"),
        ("type: Prometheus", "type: Datadog", "line 12: error: good must come from Prometheus, not 'Datadog'"),
        ("sum(http_requests_total)", "max(x) by (y)", "line 13: error: query must contain {{.window}}"),
        ("ratioMetric", "thresholdMetric", "line 9: error: the indicator must be a ratioMetric"),
        ("    good:", "    nice:", "line 10: error: ratioMetric needs total, and either good or bad"),
        ("  service: shop", "  alertPolicies: []", "line 19: warning: alertPolicies are left aside"),
        ("  objectives:", "  aims:", "line 15: error: objectives is missing or empty"),
        ("    counter: true", "    rawType: x\n    raw: {}", "line 10: error: rawType must be success or failure"),
    ],
)
def test_every_fault_of_an_openslo_document_is_told_with_its_line(was: str, becomes: str, said: str) -> None:
    assert OPENSLO.count(was) >= 1
    faults = faults_of(OPENSLO.replace(was, becomes, 1))
    assert any(fault.startswith(said) for fault in faults), faults


def test_good_and_total_swapped_is_told() -> None:
    swapped = OPENSLO.replace("good:", "x:", 1).replace("total:", "good:", 1).replace("x:", "total:", 1)
    assert any("the total counts fewer events than the good query" in fault for fault in faults_of(swapped))


def test_all_faults_are_told_at_once() -> None:
    broken = OWN.replace("99", "200").replace("28d", "x").replace("4s", "y").replace("chat", "C")
    assert len(errors(load(broken)[1])) == 4


def test_the_bounds_thresholds_are_held_to_are_those_that_are_exposed() -> None:
    assert (LATENCY.low, LATENCY.high) == CLASSIC_OCTAVES
    assert math.log2(NATIVE_PER_OCTAVE) == MAX_SCHEMA


def test_a_classic_threshold_is_lowered_to_its_bucket_or_refused() -> None:
    (fault,) = faults_of(OWN.replace("4s", "5s"), Buckets.CLASSIC)
    assert fault.startswith("line 10: warning: 5s is no bound of a classic histogram; 4 s is taken, the next one below")
    for far in ("5ms", "2h"):
        (fault,) = faults_of(OWN.replace("4s", far), Buckets.CLASSIC)
        assert "no classic bucket can tell" in fault


@pytest.mark.parametrize("text", ["", "---\n", "- a\n", "null", "42", "{}", "[" * 100, "a: " * 100, "x" * 1_000_001])
def test_what_is_no_objective_is_refused(text: str) -> None:
    slos, faults = load(text)
    assert slos == []
    assert errors(faults)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_text_however_mangled_breaks_the_reader(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([OWN, SLOTH, OPENSLO]))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    mangled = text[:start] + data.draw(st.text(max_size=20)) + text[end:]
    slos, faults = load(mangled)
    for buckets in Buckets:
        faults += validate(slos, buckets)
    assert all(fault.line >= 1 for fault in faults)


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("service: shop", "service: ''", "line 2: error: service must be a text, not empty"),
        ("service: shop", "? [a]\n: b", "line 2: error: a key must be a text"),
        ("service: shop", "service: 010:x\nversion2: 1_0", "line 3: error: the document has no key 'version2'"),
        ('labels: {tier: "1"}', "labels: {tier: 1.5, ~: x}", "line 16: error: '~' cannot be a label's name"),
        ("minimum_calls: 10", "minimum_calls: " + "9" * 400, "line 14: error: minimum_calls must be a number"),
    ],
)
def test_odd_yaml_is_told_with_its_line(was: str, becomes: str, said: str) -> None:
    faults = faults_of(OWN.replace(was, becomes, 1))
    assert any(fault.startswith(said) for fault in faults), faults


def test_a_fault_of_a_sloth_raw_query_is_told() -> None:
    faults = faults_of(SLOTH.replace("error_ratio_query", "ratio_query"))
    assert any("raw has no key 'ratio_query'" in fault for fault in faults), faults
    assert any("error_ratio_query is missing" in fault for fault in faults), faults


def test_a_sloth_document_without_objectives_is_refused() -> None:
    assert any("slos is missing or empty" in fault for fault in faults_of(SLOTH.split("slos:", maxsplit=1)[0]))


def test_one_objective_of_openslo_keeps_its_name() -> None:
    (slo,), _ = load(OPENSLO.replace("    - {displayName: finer, targetPercent: 99}\n", ""))
    assert slo.name == "requests"
