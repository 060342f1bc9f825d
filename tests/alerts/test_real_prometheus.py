"""Native and classic rules over our own exposition in real servers: what promtool cannot play."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sidecar import serve_metrics
from sidecar.alerts import alert_groups, load_values, recording_groups
from sidecar.alerts.export import links
from sidecar.model import Outcome
from sidecar.rules import as_prometheus
from sidecar.rules.histograms import Buckets
from sidecar.slo import generate, load
from sidecar.telemetry import Telemetry
from tests.alerts.contract import WORKING
from tests.support.prometheus import Prometheus, prometheus, until
from tests.telemetry.records import attempt, call

VALUES = load_values("intervals: {fast: 1s, slow: 2s, samples: 2s}")
SLOS = """\
version: sidecar/v1
service: s
slos:
  - {name: whole, kind: latency, objective: 99, threshold: 4s}
  - {name: start, kind: first_token, objective: 99, threshold: 500ms}
"""
CALLS = 2000
FAILED = 200
CHANCE = random.Random(5)
DURATIONS = sorted(CHANCE.lognormvariate(1.0, 0.5) for _ in range(CALLS))
FIRST_TOKENS = sorted(CHANCE.lognormvariate(-1.0, 0.5) for _ in range(CALLS))


def rules(buckets: Buckets) -> str:
    slos, _ = load(SLOS)
    return as_prometheus(
        (*recording_groups(buckets, VALUES), *alert_groups(VALUES), *generate(slos, buckets, links(VALUES)))
    )


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Buckets, Prometheus]]:
    telemetry = Telemetry()

    def made(duration: float, first_token: float | None, outcome: Outcome = Outcome.OK) -> None:
        telemetry.attempt(attempt(duration=duration, outcome=outcome))
        telemetry.call(call(duration=duration, first_token=first_token, outcome=outcome))

    home = tmp_path_factory.mktemp("rules")
    for buckets in Buckets:
        (home / f"{buckets}.yaml").write_text(rules(buckets))

    def settings(buckets: Buckets) -> dict[str, Any]:
        return {"rule_files": [str(home / f"{buckets}.yaml")]}

    # A histogram's first observation makes its series; only what comes later is a rise.
    made(1.0, 0.1)
    made(60.0, None, Outcome.SERVER_ERROR)
    with serve_metrics(0, telemetry=telemetry) as served:
        target = [f"127.0.0.1:{served.port}"]
        with (
            prometheus(home / "native", target, settings=settings(Buckets.NATIVE)) as native,
            prometheus(
                home / "classic", target, features=["exemplar-storage"], settings=settings(Buckets.CLASSIC)
            ) as classic,
        ):
            running = {Buckets.NATIVE: native, Buckets.CLASSIC: classic}
            for each in running.values():
                each.wait_for_scrapes()
            until(lambda: counting(native), "the rules to count what the native histograms hold")
            for duration, first_token in zip(DURATIONS, FIRST_TOKENS, strict=True):
                made(duration, first_token)
            for _ in range(FAILED):
                made(60.0, None, Outcome.SERVER_ERROR)
            for each in running.values():
                each.wait_for_scrapes()
                until(lambda each=each: settled(each), "every rule to be evaluated on what was scraped")  # type: ignore[misc]  # a default argument binds the loop's value
            yield running


def counting(server: Prometheus) -> bool:
    """Whether there are counters to rise: one of the first tokens, and for each objective two."""
    return len(server.query('{__name__=~".+:counted"} > 0')) == 5


def settled(server: Prometheus) -> bool:
    found = [rule for group in server.api("rules")["groups"] for rule in group["rules"]]
    assert [rule["lastError"] for rule in found if rule["health"] == "err"] == []
    counted = server.query(
        "claude:first_tokens:rate_5m > 1 and on () slo:sli_error:ratio_rate6h and on () claude:errors:ratio_3d"
        " and on () slo:period_error_budget_remaining:ratio and on () slo:six_hour_burn_rate:ratio"  # from the above
    )
    return all(rule["health"] == "ok" for rule in found) and bool(counted)


def recorded(server: Prometheus) -> set[str]:
    return {labels["__name__"] for labels, _ in server.query('{__name__=~"(claude|slo):.+"}')}


def test_both_ways_of_storing_record_the_same_series(servers: dict[Buckets, Prometheus]) -> None:
    native, classic = ({name for name in recorded(servers[buckets]) if not WORKING.search(name)} for buckets in Buckets)
    assert native == classic
    assert len(native) > 60


@pytest.mark.parametrize(("stat", "q"), [("p50", 0.5), ("p95", 0.95)])
@pytest.mark.parametrize(("buckets", "off"), [(Buckets.NATIVE, 0.03), (Buckets.CLASSIC, 0.42)])
def test_percentiles_are_read_back(
    stat: str, q: float, buckets: Buckets, off: float, servers: dict[Buckets, Prometheus]
) -> None:
    value = servers[buckets].value(f"claude:first_token_seconds:{stat}_5m")
    assert value == pytest.approx(FIRST_TOKENS[int(q * CALLS)], rel=off)


@pytest.mark.parametrize("buckets", Buckets)
def test_objectives_count_exactly_at_a_bucket_bound(buckets: Buckets, servers: dict[Buckets, Prometheus]) -> None:
    slow = sum(duration > 4 for duration in DURATIONS)
    late = sum(first_token > 0.5 for first_token in FIRST_TOKENS)
    for name, bad in (("whole", slow), ("start", late)):
        value = servers[buckets].value(f'slo:sli_error:ratio_rate5m{{sloth_slo="{name}"}}')
        assert value == pytest.approx((bad + FAILED) / (CALLS + FAILED), rel=0.005)


@pytest.mark.parametrize("buckets", Buckets)
def test_the_mean_prompt_is_exact(buckets: Buckets, servers: dict[Buckets, Prometheus]) -> None:
    assert servers[buckets].value("claude:prompt_tokens:mean_1h") == pytest.approx(3200)


@pytest.mark.parametrize("buckets", Buckets)
def test_nothing_recorded_is_nan(buckets: Buckets, servers: dict[Buckets, Prometheus]) -> None:
    everything = servers[buckets].query('{__name__=~"(claude|slo):.+"}')
    assert [labels for labels, value in everything if value != value] == []  # noqa: PLR0124  # NaN alone differs from itself


def test_alerts_that_need_minutes_are_still_quiet(servers: dict[Buckets, Prometheus]) -> None:
    for server in servers.values():
        names = {labels["alertname"] for labels, _ in server.query('ALERTS{alertstate="firing"}')}
        assert names <= {"ClaudeErrorBudgetBurn"}


def test_native_percentiles_and_objectives_survive_a_restart(tmp_path: Path) -> None:
    """601 quick calls, a restart, 300 slow ones: percentiles are the new process's, objectives lose no call."""
    (tmp_path / "rules.yaml").write_text(rules(Buckets.NATIVE))
    before, after = Telemetry(), Telemetry()

    def make(telemetry: Telemetry, calls: int, duration: float) -> None:
        for _ in range(calls):
            telemetry.attempt(attempt(duration=duration))
            telemetry.call(call(duration=duration, first_token=duration / 8))

    with ExitStack() as process:
        make(before, 1, 1.0)
        port = process.enter_context(serve_metrics(0, telemetry=before)).port
        settings = {"rule_files": [str(tmp_path / "rules.yaml")]}
        with prometheus(tmp_path / "native", [f"127.0.0.1:{port}"], settings=settings) as native:
            until(lambda: counting(native), "the rules to count what the native histograms hold")
            make(before, 600, 1.0)
            until(lambda: native.query("min(slo:sli_observed:counted) == 601"), "all of the calls to be counted")
            process.close()
            make(after, 300, 8.0)
            with serve_metrics(port, telemetry=after):
                until(lambda: native.query("min(slo:sli_observed:counted) == 300"), "the new process to be counted")
                until(lambda: native.query("claude:processes:restarted_5m"), "the restart to be seen")
                for name, value in (("call_duration", 8.0), ("attempt_duration", 8.0), ("first_token", 1.0)):
                    recorded = native.value(f"claude:{name}_seconds:p50_5m > {value / 2}")
                    assert recorded == pytest.approx(value, rel=0.03)
                for objective in ("whole", "start"):
                    ratio = native.value(f'slo:sli_error:ratio_rate5m{{sloth_slo="{objective}"}} > 0')
                    assert ratio == pytest.approx(300 / 900, rel=0.01)
