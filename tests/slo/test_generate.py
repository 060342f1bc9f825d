"""Rules made of objectives: the same for promtool as Sloth's, and right where Sloth has nothing to say."""

import re
import subprocess
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from sidecar.rules import Alert, Group, Recording, as_operator, as_prometheus, seconds
from sidecar.rules.histograms import Buckets
from sidecar.slo import Links, errors, generate, load, validate
from sidecar.slo.burn import PAGE, TICKET
from tests.alerts.promtool import Line, counter, gauge, run

GOLDEN = Path(__file__).parent / "golden"
SHOP = """\
version: prometheus/v1
service: ours
slos:
  - name: requests
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(http_requests_total{code=~"(5..|429)"}[{{.window}}]))
        total_query: sum(rate(http_requests_total[{{.window}}]))
    alerting: {name: OurErrors}
"""


def rules_of(text: str, buckets: Buckets = Buckets.NATIVE, links: Links | None = None) -> tuple[Group, ...]:
    slos, faults = load(text)
    assert not errors([*faults, *validate(slos, buckets)])
    return generate(slos, buckets, links)


def recordings(groups: tuple[Group, ...]) -> dict[str, Recording]:
    return {rule.record: rule for group in groups for rule in group.rules if isinstance(rule, Recording)}


def alerts(groups: tuple[Group, ...]) -> list[Alert]:
    return [rule for group in groups for rule in group.rules if isinstance(rule, Alert)]


def thresholds(alert: Alert) -> list[tuple[str, Decimal]]:
    """Read windows and factors back from an alert."""
    return [
        (window, Decimal(factor))
        for window, factor in re.findall(r"ratio_rate(\w+)\{[^}]*\} > \(([0-9.]+) \*", alert.expr)
    ]


def test_windows_and_factors_are_the_ones_sloth_publishes() -> None:
    page, ticket = alerts(rules_of(SHOP))
    assert thresholds(page) == [
        ("5m", Decimal("14.4")),
        ("1h", Decimal("14.4")),
        ("30m", Decimal(6)),
        ("6h", Decimal(6)),
    ]
    assert thresholds(ticket) == [("2h", Decimal(3)), ("1d", Decimal(3)), ("6h", Decimal(1)), ("3d", Decimal(1))]
    assert [alert.labels["sloth_severity"] for alert in (page, ticket)] == ["page", "ticket"]
    assert "(14.4 * 0.001)" in page.expr


@pytest.mark.parametrize(
    ("period", "factors"),
    [
        ("30d", ["14.4", "6", "3", "1"]),
        ("28d", ["13.44", "5.6", "2.8", "1"]),  # as Sloth's; below 1 a burn is on target
        ("7d", ["3.36", "1.4", "1", "1"]),
        ("90d", ["43.2", "18", "9", "3"]),
    ],
)
def test_factors_scale_with_the_period(period: str, factors: list[str]) -> None:
    assert [pair.factor(period) for pair in (*PAGE, *TICKET)] == [Decimal(factor) for factor in factors]


def test_everything_sloth_records_is_recorded_under_its_name() -> None:
    names = {
        *(f"slo:sli_error:ratio_rate{window}" for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")),
        *("slo:objective:ratio", "slo:error_budget:ratio", "slo:time_period:days", "slo:current_burn_rate:ratio"),
        *("slo:period_burn_rate:ratio", "slo:period_error_budget_remaining:ratio", "sloth_slo_info"),
    }
    found = recordings(rules_of(SHOP))
    assert names <= found.keys()
    for name in names:
        labels = found[name].labels
        assert (labels["sloth_id"], labels["sloth_service"], labels["sloth_slo"]) == (
            "ours-requests",
            "ours",
            "requests",
        )
    assert found["slo:sli_error:ratio_rate6h"].labels["sloth_window"] == "6h"


def as_sloth_writes_them() -> str:
    """Write the rules of SHOP in the shape that Sloth generates them, each window from the raw series."""
    mine = 'sloth_id="sloth-requests", sloth_service="sloth", sloth_slo="requests"'
    rules: list[dict[str, object]] = [
        {
            "record": f"slo:sli_error:ratio_rate{window}",
            "expr": f'(sum(rate(http_requests_total{{code=~"(5..|429)"}}[{window}])))\n/\n'
            f"(sum(rate(http_requests_total[{window}])))",
            "labels": {
                "sloth_id": "sloth-requests",
                "sloth_service": "sloth",
                "sloth_slo": "requests",
                "sloth_window": window,
            },
        }
        for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
    ]
    for severity, pairs in (
        ("page", (("5m", "1h", "14.4"), ("30m", "6h", "6"))),
        ("ticket", (("2h", "1d", "3"), ("6h", "3d", "1"))),
    ):
        expr = "\nor ignoring (sloth_window)\n".join(
            f"((slo:sli_error:ratio_rate{short}{{{mine}}} > ({factor} * 0.001))\nand ignoring (sloth_window)\n"
            f"(slo:sli_error:ratio_rate{long}{{{mine}}} > ({factor} * 0.001)))"
            for short, long, factor in pairs
        )
        rules.append({"alert": "SlothErrors", "expr": expr, "labels": {"sloth_severity": severity}})
    return yaml.safe_dump({"groups": [{"name": "sloth", "rules": rules}]}, width=10_000)


def test_verdicts_are_sloths_on_the_same_series(tmp_path: Path) -> None:
    """Two days: a short outage, a mild one, a slow burn; the two must never disagree for as long as 20 m."""
    story = (("6h", 0.01), ("20m", 50), ("6h", 0.01), ("8h", 0.9), ("6h", 0.01), ("16h", 0.2), ("6h", 0.01))
    ok, bad = Line(start=0.0), Line(start=0.0)
    for span, percent in story:
        ok, bad = ok.rises(span, 600 * (1 - percent / 100)), bad.rises(span, 6 * percent)
    every = "2m"
    times = [f"{minutes}m" for minutes in range(20, 48 * 60, 20)]

    def firing(alert: str, severity: str) -> str:
        return f'(count(ALERTS{{alertname="{alert}",alertstate="firing",sloth_severity="{severity}"}}) or vector(0))'

    test = {
        "interval": every,
        "input_series": [
            {"series": 'http_requests_total{code="200"}', "values": ok.written(every)},
            {"series": 'http_requests_total{code="500"}', "values": bad.written(every)},
        ],
        "promql_expr_test": [
            {
                "expr": f"min_over_time(abs({both})[20m:4m])",
                "eval_time": at,
                "exp_samples": [{"labels": "{}", "value": 0}],
            }
            for severity in ("page", "ticket")
            for both in [f"{firing('OurErrors', severity)} - {firing('SlothErrors', severity)}"]
            for at in times
        ]
        + [
            # And something did happen.
            {
                "expr": f"max_over_time({firing('OurErrors', severity)}[47h:10m])",
                "eval_time": "48h",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
            for severity in ("page", "ticket")
        ],
    }
    whole = yaml.safe_load(as_prometheus(group for group in rules_of(SHOP) if "meta" not in group.name))
    whole["groups"] += yaml.safe_load(as_sloth_writes_them())["groups"]
    passed, said = run(tmp_path, yaml.safe_dump(whole, width=10_000), test, every)
    assert passed, said


CHAT = """\
version: sidecar/v1
service: chat
slos:
  - {name: whole, kind: latency, objective: 99, threshold: 4s}
  - {name: start, kind: first_token, objective: 99, threshold: 4s}
  - {name: up, kind: availability, objective: 99}
  - {name: up-but-limits, kind: availability, objective: 99, count_rate_limited: false}
  - {name: timeouts, kind: timeout, objective: 99}
"""
LABELS = 'job="app",source="client",endpoint="messages",model="m",profile="default",stream="true"'


def calls(outcome: str) -> str:
    return f'claude_calls_total{{{LABELS},outcome="{outcome}"}}'


def shares(groups: tuple[Group, ...], series: dict[str, Line], expected: dict[str, float], folder: Path) -> None:
    test = {
        "interval": "15s",
        "input_series": [{"series": name, "values": line.written("15s")} for name, line in series.items()],
        "promql_expr_test": [
            {
                "expr": f'round(sum by (sloth_slo) (slo:sli_error:ratio_rate5m{{sloth_slo="{slo}"}}), 0.0001)',
                "eval_time": "8m",
                "exp_samples": [{"labels": f'{{sloth_slo="{slo}"}}', "value": share}],
            }
            for slo, share in expected.items()
        ],
    }
    passed, said = run(folder, as_prometheus(counting(groups)), test, "15s")
    assert passed, said


def counting(groups: tuple[Group, ...]) -> list[Group]:
    """Leave out what long windows and alerts need: the tests of the counts are quick then."""
    return [group for group in groups if "sli-recordings" in group.name]


def histogram(name: str, within: float, whole: float, more: str = "") -> dict[str, Line]:
    labels = LABELS.replace(',stream="true"', "") if "first_token" in name else LABELS
    return {
        f'{name}_bucket{{{labels}{more},le="4.0"}}': counter(("8m", within)),
        f'{name}_bucket{{{labels}{more},le="+Inf"}}': counter(("8m", whole)),
        f"{name}_count{{{labels}{more}}}": counter(("8m", whole)),
    }


def test_each_kind_counts_what_it_promises(tmp_path: Path) -> None:
    series = {
        calls("ok"): counter(("8m", 80)),
        calls("timeout"): counter(("8m", 10)),
        calls("rate_limited"): counter(("8m", 6)),
        calls("rejected"): counter(("8m", 4)),
        calls("cancelled"): counter(("8m", 500)),
        calls("client_error"): counter(("8m", 500)),
        **histogram("claude_call_duration_seconds", 60, 80, ',outcome="ok"'),
        **histogram("claude_call_duration_seconds", 0, 10, ',outcome="timeout"'),
        **histogram("claude_first_token_seconds", 70, 80),
    }
    expected = {
        "whole": 0.4,  # 20 slow and 20 failed of 100
        "start": 0.3,  # 10 late and 20 failed
        "up": 0.2,
        "up-but-limits": round(14 / 94, 4),
        "timeouts": 0.1,
    }
    shares(rules_of(CHAT, Buckets.CLASSIC), series, expected, tmp_path)


def test_an_outage_spends_the_budget_of_a_latency_objective_too(tmp_path: Path) -> None:
    series = {
        calls("ok"): counter(("8m", 0)),
        calls("timeout"): counter(("8m", 60)),
        **histogram("claude_call_duration_seconds", 0, 0, ',outcome="ok"'),
    }
    shares(rules_of(CHAT, Buckets.CLASSIC), series, {"whole": 1, "start": 1, "up": 1}, tmp_path)


def test_objectives_count_their_own_calls_of_those_that_are_read_for_all(tmp_path: Path) -> None:
    text = CHAT + (
        "  - {name: chat, kind: availability, objective: 99, selector: {profile: interactive}}\n"
        "  - {name: other, kind: timeout, objective: 99, selector: {model: [m, n], endpoint: messages}}\n"
    )

    def line(outcome: str, profile: str, model: str, per_minute: float) -> dict[str, Line]:
        name = calls(outcome).replace('"default"', f'"{profile}"').replace('"m"', f'"{model}"')
        return {name: counter(("8m", per_minute))}

    series = {
        **line("ok", "interactive", "m", 30),
        **line("timeout", "interactive", "m", 10),
        **line("ok", "default", "n", 50),
        **line("timeout", "default", "other", 10),
    }
    expected = {"up": 0.2, "timeouts": 0.2, "chat": 0.25, "other": round(10 / 90, 4)}
    shares(rules_of(text, Buckets.CLASSIC), series, expected, tmp_path)


def test_calls_are_read_once_for_all_objectives_of_a_file_and_never_those_of_another() -> None:
    """Two files may well be loaded together, each with what it asks for kept apart."""
    groups = rules_of(CHAT, Buckets.CLASSIC)
    read = [rule for group in groups for rule in group.rules if "claude_calls_total" in rule.expr]
    assert [(rule.record, rule.labels) for rule in read if isinstance(rule, Recording)] == [
        (f"slo:sli_calls:events{window}", {"sloth_id": "chat-whole"}) for window in ("5m", "30m", "1h")
    ]
    whole = as_prometheus(groups)
    taken = re.findall(r'slo:sli_calls:\w+\{sloth_id="([^"]+)"', whole)
    assert set(taken) == {"chat-whole"}
    assert len(taken) + len(read) == whole.count("slo:sli_calls:")


def test_no_call_is_no_result_and_never_nan(tmp_path: Path) -> None:
    test = {
        "interval": "15s",
        "input_series": [{"series": calls("ok"), "values": counter(("8m", 0)).written("15s")}],
        "promql_expr_test": [
            {"expr": "slo:sli_error:ratio_rate5m", "eval_time": "8m", "exp_samples": []},
            {"expr": 'ALERTS{alertstate="firing"}', "eval_time": "8m", "exp_samples": []},
        ],
    }
    passed, said = run(tmp_path, as_prometheus(rules_of(CHAT, Buckets.CLASSIC)), test, "15s")
    assert passed, said


@pytest.mark.parametrize(
    ("sentence", "ok", "bad", "fires"),
    [
        ("a total outage of a busy service pages within 5 m", 300.0, 300.0, 1),
        ("three slow calls among a hundred at night page nobody", 1.6, 0.05, 0),
        ("ten failures of the only twenty calls of the hour are too few calls", 0.2, 0.2, 0),
    ],
)
def test_a_page_needs_calls_and_failures(sentence: str, ok: float, bad: float, fires: int, tmp_path: Path) -> None:
    text = CHAT.split("  - {name: whole", maxsplit=1)[0] + "  - {name: up, kind: availability, objective: 99.5}\n"
    test = {
        "interval": "2m",
        "input_series": [
            {"series": calls("ok"), "values": counter(("1h", ok), ("30m", 0)).written("2m")},
            {"series": calls("timeout"), "values": counter(("1h", 0), ("30m", bad)).written("2m")},
        ],
        "promql_expr_test": [
            {
                "expr": 'count(ALERTS{alertstate="firing",severity="page"}) or vector(0)',
                "eval_time": "1h10m",
                "exp_samples": [{"labels": "{}", "value": fires}],
            }
        ],
    }
    passed, said = run(tmp_path, as_prometheus(rules_of(text)), test, "2m")
    assert passed, f"{sentence}\n{said}"


def test_the_budget_tells_what_is_left_and_when_it_ends(tmp_path: Path) -> None:
    text = CHAT.split("  - {name: whole", maxsplit=1)[0] + "  - {name: up, kind: availability, objective: 99}\n"
    test = {
        "interval": "2m",
        "input_series": [
            {"series": calls("ok"), "values": counter(("10h", 100), ("3h", 97)).written("2m")},
            {"series": calls("timeout"), "values": counter(("10h", 0), ("3h", 3)).written("2m")},
        ],
        "promql_expr_test": [
            {"expr": f"round(sum({name}), 0.01)", "eval_time": "13h", "exp_samples": [{"labels": "{}", "value": value}]}
            for name, value in (
                ("slo:current_burn_rate:ratio", 3),
                # 3 h of 13 h at 3 times the pace.
                ("slo:period_burn_rate:ratio", 0.69),
                ("slo:period_error_budget_remaining:ratio", 0.31),
                # 0.31 of 30 d at 1.5 times the pace, which is what six hours show; give or take the smoothing.
                ("(slo:error_budget_exhaustion:timestamp_seconds - time()) / 86400 > bool 5.9", 1),
                ("(slo:error_budget_exhaustion:timestamp_seconds - time()) / 86400 < bool 6.6", 1),
            )
        ]
        + [{"expr": "slo:error_budget_exhaustion:timestamp_seconds", "eval_time": "9h", "exp_samples": []}],
    }
    passed, said = run(tmp_path, as_prometheus(rules_of(text)), test, "2m")
    assert passed, said


def test_an_alerts_numbers_are_those_of_the_job_it_is_about(tmp_path: Path) -> None:
    """Two jobs share an objective. One is down, the other loses one call in ten; both have spent their budgets."""
    text = CHAT.split("  - {name: whole", maxsplit=1)[0] + (
        "  - {name: up, kind: availability, objective: 99, ticket: false}\n"
    )
    series = {
        f'claude_calls_total{{job="{job}",source="client",outcome="{outcome}"}}': counter(("1h", each))
        for job, rates in {"down": (0, 60), "shaky": (54, 6)}.items()
        for outcome, each in zip(("ok", "timeout"), rates, strict=True)
    }
    said = {
        "down": "100% of events fail; the budget allows 1 %. It burns 100.0 times",
        "shaky": "10% of events fail; the budget allows 1 %. It burns 10.0 times",
    }
    (page,) = alerts(rules_of(text))
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": line.written("1m")} for name, line in series.items()],
        "alert_rule_test": [
            {
                "eval_time": "50m",
                "alertname": page.name,
                "exp_alerts": [
                    {
                        "exp_labels": {
                            **page.labels,
                            "job": job,
                            "source": "client",
                            "sloth_service": "chat",
                            "sloth_slo": "up",
                        },
                        "exp_annotations": {
                            **page.annotations,
                            "title": "(page) chat up SLO error budget burn rate is too fast.",
                            "description": f"{beginning} as fast as it may, and 0% of it is left.",
                        },
                    }
                    for job, beginning in said.items()
                ],
            }
        ],
    }
    passed, told = run(tmp_path, as_prometheus(rules_of(text)), test, "1m")
    assert passed, told


def test_a_foreign_error_query_without_series_means_nothing_failed(tmp_path: Path) -> None:
    test = {
        "interval": "1m",
        "input_series": [{"series": 'http_requests_total{code="200"}', "values": counter(("8m", 5)).written("1m")}],
        "promql_expr_test": [
            {
                "expr": "sum(slo:sli_error:ratio_rate5m)",
                "eval_time": "10m",
                "exp_samples": [{"labels": "{}", "value": 0}],
            }
        ],
    }
    passed, said = run(tmp_path, as_prometheus(rules_of(SHOP)), test, "1m")
    assert passed, said


def test_a_ready_made_ratio_is_taken_as_it_is(tmp_path: Path) -> None:
    text = SHOP[: SHOP.index("      events")] + "      raw: {error_ratio_query: 'avg_over_time(bad[{{.window}}])'}\n"
    groups = rules_of(text + "    alerting: {name: X}\n")
    test = {
        "interval": "1m",
        "input_series": [{"series": "bad", "values": gauge(("1h", 0.25)).written("1m")}],
        "promql_expr_test": [
            {
                "expr": f"sum(slo:sli_error:ratio_rate{window})",
                "eval_time": "30m",
                "exp_samples": [{"labels": "{}", "value": 0.25}],
            }
            for window in ("5m", "1d", "30d")
        ],
    }
    passed, said = run(tmp_path, as_prometheus(groups), test, "1m")
    assert passed, said


def test_severities_labels_links_and_switches_reach_the_alerts() -> None:
    text = CHAT.split("  - {name: whole", maxsplit=1)[0] + (
        "  - {name: up, kind: availability, objective: 99, page: critical, ticket: false}\n"
    )
    links = Links(runbooks="https://wiki/rb", dashboards="https://graf", labels={"team": "ai"})
    (page,) = alerts(rules_of(text, links=links))
    assert (page.labels["severity"], page.labels["team"]) == ("critical", "ai")
    assert page.annotations["runbook_url"] == "https://wiki/rb/ClaudeErrorBudgetBurn.md"
    assert page.annotations["dashboard_url"].startswith("https://graf/d/claude-slo")
    off = text.replace("page: critical", "page: false")
    assert alerts(rules_of(off)) == []


def test_selectors_are_quoted_so_that_no_value_can_end_them() -> None:
    text = CHAT.split("  - {name: whole", maxsplit=1)[0] + (
        "  - {name: up, kind: availability, objective: 99, selector: {model: ['a\"b', 'c.d'], job: 'x\\y'}}\n"
    )
    expr = recordings(rules_of(text))["slo:sli_total:events5m"].expr
    assert r'model=~"a\"b|c\\.d"' in expr
    assert r'job="x\\y"' in expr


@pytest.mark.parametrize("name", ["own", "sloth", "openslo"])
@pytest.mark.parametrize("buckets", Buckets)
def test_golden_files_stay_as_they_are(name: str, buckets: Buckets) -> None:
    """On purpose changed? Write them anew with `sidecar slo generate in-X.yaml --native -o out-X-native.yaml`."""
    made = as_prometheus(
        rules_of((GOLDEN / f"in-{name}.yaml").read_text(), buckets),
        "Made by `sidecar slo generate`; change the objectives instead.",
    )
    assert made == (GOLDEN / f"out-{name}-{buckets}.yaml").read_text()


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("out-*.yaml")), ids=lambda file: file.stem)
def test_promtool_accepts_and_lints_every_golden_file(file: Path) -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint=all", "--lint-fatal", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_operator_gets_the_same_groups_in_a_resource() -> None:
    groups = rules_of(SHOP)
    resource = yaml.safe_load(as_operator(groups, name="slo", labels={"release": "p"}))
    assert resource["kind"] == "PrometheusRule"
    assert resource["metadata"] == {"name": "slo", "labels": {"release": "p"}}
    assert resource["spec"]["groups"] == yaml.safe_load(as_prometheus(groups))["groups"]


def test_pairs_go_from_fast_and_short_to_slow_and_long() -> None:
    for one, other in pairwise((*PAGE, *TICKET)):
        assert seconds(one.long) < seconds(other.long)
        assert one.factor("30d") > other.factor("30d")
