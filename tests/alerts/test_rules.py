"""The rules as a whole: lint, names, labels, and that both ways of storing histograms say the same."""

import re
import subprocess
from pathlib import Path

import pytest

from sidecar.alerts import ALERT_NAMES, alert_groups, load_values, recording_groups
from sidecar.rules import Alert, Group, Recording, as_prometheus, seconds
from sidecar.rules.histograms import Buckets
from tests.alerts.contract import METRICS, WORKING, labels_of, metrics_in, recorded_in

VALUES = load_values()
DASHBOARDS = {
    *("claude-overview", "claude-latency", "claude-timeouts-retries", "claude-breakers-limits"),
    *("claude-slo", "claude-tokens", "claude-sidecar-health"),
}


def recordings(buckets: Buckets) -> list[Recording]:
    return [rule for group in recording_groups(buckets, VALUES) for rule in group.rules if isinstance(rule, Recording)]


def alerts() -> list[Alert]:
    return [rule for group in alert_groups(VALUES) for rule in group.rules if isinstance(rule, Alert)]


def shared() -> list[Recording]:
    return [rule for group in alert_groups(VALUES) for rule in group.rules if isinstance(rule, Recording)]


RECORDED = {rule.record for buckets in Buckets for rule in recordings(buckets)} | {rule.record for rule in shared()}


def files() -> dict[str, tuple[Group, ...]]:
    return {
        "native": recording_groups(Buckets.NATIVE, VALUES),
        "classic": recording_groups(Buckets.CLASSIC, VALUES),
        "alerts": alert_groups(VALUES),
    }


@pytest.mark.parametrize("name", files())
def test_promtool_finds_nothing_to_complain_about(name: str, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(as_prometheus(files()[name]))
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint=all", "--lint-fatal", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_native_and_classic_rules_record_the_same_names_in_the_same_order() -> None:
    native, classic = ([rule.record for rule in recordings(buckets)] for buckets in Buckets)
    assert [name for name in native if not WORKING.search(name)] == [
        name for name in classic if not WORKING.search(name)
    ]
    assert [name for name in native if WORKING.search(name)] == [
        "claude:processes:restarted_5m",
        "claude:first_tokens:counted",
    ]
    assert [name for name in classic if WORKING.search(name)] == [
        f"claude:{what}"
        for what in (
            "call_duration_seconds:buckets_5m",
            "attempt_duration_seconds:buckets_5m",
            "first_token_seconds:buckets_5m",
            "ok_call_duration_seconds:sampled_5m",
        )
    ]


def test_only_rules_read_what_one_of_the_two_files_records_for_itself() -> None:
    working = [name for name in RECORDED if WORKING.search(name)]
    assert len(working) == 6
    for alert in alerts():
        assert not [name for name in working if name in alert.expr + str(alert.annotations)], alert.name
    for file in (Path(__file__).parents[2] / "sidecar").glob("*/data/**/*.*"):
        assert not [name for name in working if name in file.read_text()], file


def test_native_and_classic_rules_differ_only_in_how_histograms_are_read() -> None:
    """What promtool 2.42 cannot play: take the ways of reading away, and nothing else is left to differ."""
    copies = {rule.record: rule.expr for rule in recordings(Buckets.CLASSIC) if WORKING.search(rule.record)}
    working = {rule.record for buckets in Buckets for rule in recordings(buckets) if WORKING.search(rule.record)}
    processes = r"ignoring \([a-z_, ]+\) claude:processes:restarted_(\w+)"

    def neutral(expr: str) -> str:
        for name, copied in copies.items():
            longer = copied.replace("[5m]", "[1h:5m]")
            expr = expr.replace(f"sum_over_time({name}[1h])", longer).replace(name, copied)
        # What rose, or where the process is new, all there is: the rate, but for what was before a restart.
        risen = rf"\(\s+delta\((\S+)\[\w+\]\) unless {processes}\s+or\s+\1 and {processes}\s+\)"
        expr = re.sub(risen, r"(rate(\1[\2]))", expr).replace(
            "claude:first_tokens:counted", "claude_first_token_seconds"
        )
        expr = expr.replace(", le)", ")").replace("_bucket{", "{").replace("_bucket[", "[")
        expr = re.sub(r"histogram_(?:sum|count)\((sum by \([^)]*\) \(rate\([^()]*\)\))\) / 300", r"\1", expr)
        return re.sub(r"(seconds|tokens)_(?:sum|count)([\[{])", r"\1\2", expr)

    both = ([rule for rule in recordings(buckets) if rule.record not in working] for buckets in Buckets)
    pairs = zip(*both, strict=True)
    different = [(native, classic) for native, classic in pairs if native.expr != classic.expr]
    assert len(different) == 14
    for native, classic in different:
        assert neutral(native.expr) == neutral(classic.expr)


@pytest.mark.parametrize("buckets", Buckets)
def test_rules_ask_only_for_metrics_and_labels_of_the_contract(buckets: Buckets) -> None:
    exprs = [rule.expr for rule in (*recordings(buckets), *shared())] + [alert.expr for alert in alerts()]
    asked = [found for expr in exprs for found in metrics_in(expr)]
    assert len(asked) > 60
    for metric, labels in asked:
        assert metric in METRICS
        assert labels <= labels_of(metric)


def test_what_a_rule_reads_is_recorded() -> None:
    for rule in (*recordings(Buckets.NATIVE), *shared()):
        assert recorded_in(rule.expr) <= RECORDED, rule.record
    for alert in alerts():
        assert recorded_in(alert.expr + alert.annotations["description"]) <= RECORDED, alert.name


def test_the_names_dashboards_hang_on_are_there() -> None:
    assert {
        *(
            f"claude:{what}_seconds:{stat}_5m"
            for what in ("call_duration", "attempt_duration", "first_token")
            for stat in ("p50", "p95", "p99")
        ),
        *(
            f"claude:{what}:ratio_{window}"
            for what in ("timeouts", "errors", "retry_success", "attempts_per_call")
            for window in ("5m", "30m", "1h", "6h", "1d", "3d")
        ),
        *("claude:timeouts_by_phase:share_5m", "claude:breaker_rejections:rate_5m", "claude:calls:rate_5m"),
    } <= RECORDED


@pytest.mark.parametrize("rule", [*recordings(Buckets.CLASSIC), *shared()], ids=lambda rule: rule.record)
def test_every_recording_keeps_cluster_namespace_and_job(rule: Recording) -> None:
    for labels in re.findall(r"\bby \(([^)]*)\)", rule.expr):
        assert {"cluster", "namespace", "job"} <= {label.strip() for label in labels.split(",")}


@pytest.mark.parametrize("rule", recordings(Buckets.CLASSIC), ids=lambda rule: rule.record)
def test_no_average_of_averages_is_ever_recorded(rule: Recording) -> None:
    assert "avg" not in rule.expr
    assert not re.search(r"(ratio|mean|p\d\d)_\w+\[", rule.expr), "a ratio over time must come from its parts"


def test_what_alerts_share_is_counted_once_and_right_before_them() -> None:
    """In their own group: from another, they would hear of it up to an interval later."""
    assert len({rule.record for rule in shared()}) == len(shared()) == 3
    for group in alert_groups(VALUES):
        known: set[str] = set()
        for rule in group.rules:
            if isinstance(rule, Recording):
                known.add(rule.record)
            else:
                assert set(re.findall(r"claude:\w+:count_\d+m", rule.expr)) <= known, rule.name


def test_rates_are_taken_before_sums_so_that_resets_are_seen() -> None:
    rules: list[Recording | Alert] = [*recordings(Buckets.CLASSIC), *recordings(Buckets.NATIVE), *shared(), *alerts()]
    assert not [rule for rule in rules if re.search(r"(rate|increase)\(\s*sum", rule.expr)]


def test_every_alert_of_the_table_is_built_and_no_other() -> None:
    assert [alert.name for alert in alerts()] != []
    assert {alert.name for alert in alerts()} == set(ALERT_NAMES) == set(VALUES.alerts)


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_every_alert_says_what_why_and_where_to_look(alert: Alert) -> None:
    assert alert.labels["severity"] in {"page", "ticket", "info"}
    assert alert.annotations["summary"]
    assert len(alert.annotations["description"]) > 100
    assert alert.annotations["runbook_url"].endswith(f"/{alert.name}.md")
    uid = alert.annotations["dashboard_url"].split("/d/")[1].split("?")[0]
    assert uid in DASHBOARDS


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_no_alert_reads_histograms_so_one_file_fits_both(alert: Alert) -> None:
    assert "histogram_" not in alert.expr
    assert "_bucket" not in alert.expr
    assert "histogram_" not in alert.annotations["description"]


def test_only_what_is_added_up_later_is_recorded_so_seldom_that_a_query_may_miss_it() -> None:
    sampled = {
        buckets.value: {rule.record for rule in recordings(buckets) if ":sampled_5m" in rule.record}
        for buckets in Buckets
    }
    assert [len(names) for names in sampled.values()] == [12, 13]
    for name, groups in files().items():
        for group in groups:
            assert group.interval is not None
            if seconds(group.interval) >= 300:
                assert {rule.record for rule in group.rules if isinstance(rule, Recording)} == sampled[name]
    read = [rule.expr for rule in recordings(Buckets.CLASSIC)] + [alert.expr for alert in alerts()]
    for expr in read:
        assert len(re.findall(r":sampled_5m", expr)) == len(re.findall(r":sampled_5m(?:\{[^}]*\})?\[", expr))
