"""What the recording rules record, judged by promtool over classic buckets."""

from pathlib import Path

from sidecar.alerts import load_values, recording_groups
from sidecar.rules import Group, as_prometheus
from sidecar.rules.histograms import Buckets
from tests.alerts.promtool import Line, counter, gauge, run

BASE = 'job="app",source="client",endpoint="messages",model="m"'
SERIES = f'{BASE},profile="default"'


def groups(*only: str) -> list[Group]:
    return [group for group in recording_groups(Buckets.CLASSIC, load_values()) if group.name in only]


def expect(
    folder: Path,
    series: dict[str, Line],
    expected: dict[str, float | None],
    *only: str,
    at: str,
    every: str = "15s",
    scrape: str | None = None,
) -> None:
    scrape = scrape or every
    test = {
        "interval": scrape,
        "input_series": [{"series": name, "values": line.written(scrape)} for name, line in series.items()],
        "promql_expr_test": [
            {
                "expr": f"round(sum({expr}), 0.001)",
                "eval_time": at,
                "exp_samples": [] if value is None else [{"labels": "{}", "value": value}],
            }
            for expr, value in expected.items()
        ],
    }
    passed, said = run(folder, as_prometheus(groups(*only)), test, every)
    assert passed, said


def calls(outcome: str) -> str:
    return f'claude_calls_total{{{SERIES},stream="true",outcome="{outcome}"}}'


def test_ratios_count_what_the_design_says(tmp_path: Path) -> None:
    series = {
        calls("ok"): counter(("10m", 60)),
        calls("timeout"): counter(("10m", 10)),
        calls("overloaded"): counter(("10m", 10)),
        calls("rejected"): counter(("10m", 10)),
        calls("cancelled"): counter(("10m", 5)),
        calls("client_error"): counter(("10m", 5)),
        f'claude_attempts_total{{{SERIES},outcome="ok",status="200"}}': counter(("10m", 180)),
        f'claude_timeouts_total{{{SERIES},phase="connect"}}': counter(("10m", 3)),
        f'claude_timeouts_total{{{SERIES},phase="stall"}}': counter(("10m", 9)),
        f'claude_retried_calls_total{{{BASE},result="recovered"}}': counter(("10m", 6)),
        f'claude_retried_calls_total{{{BASE},result="exhausted"}}': counter(("10m", 2)),
        f'claude_retried_calls_total{{{BASE},result="abandoned"}}': counter(("10m", 50)),
        'claude_breaker_rejections_total{job="app",source="client",breaker="b"}': counter(("10m", 60)),
    }
    expected = {
        "claude:calls:rate_5m * 60": 100,
        "claude:timeouts:ratio_5m": 0.1,  # of all calls
        "claude:errors:ratio_5m": 0.333,  # 30 of the 90 that count
        "claude:attempts_per_call:ratio_5m": 2,  # of the 90 that were sent
        'claude:timeouts_by_phase:share_5m{phase="stall"}': 0.75,
        "claude:retry_success:ratio_30m": 0.75,
        "claude:breaker_rejections:rate_5m": 1,
    }
    expect(tmp_path, series, dict(expected), "claude-rates", at="10m")


def test_a_quiet_service_records_no_ratio_and_never_nan(tmp_path: Path) -> None:
    series = {calls("ok"): counter(("10m", 0)), calls("timeout"): counter(("10m", 0))}
    expected: dict[str, float | None] = {
        "claude:calls:rate_5m": 0,
        "claude:timeouts:ratio_5m": None,
        "claude:errors:ratio_5m": None,
        "claude:attempts_per_call:ratio_5m": None,
        "claude:retry_success:ratio_5m": None,
        '{__name__=~"claude:.+"}': 0,  # one NaN would make the sum NaN
    }
    expect(tmp_path, series, expected, "claude-rates", at="10m")


def test_an_outcome_without_series_counts_as_none_of_it(tmp_path: Path) -> None:
    series = {calls("ok"): counter(("10m", 60))}
    expected: dict[str, float | None] = {"claude:timeouts:ratio_5m": 0, "claude:errors:ratio_5m": 0}
    expect(tmp_path, series, expected, "claude-rates", at="10m")


def test_a_restart_of_one_of_two_processes_is_no_dip_and_no_peak(tmp_path: Path) -> None:
    one, other = (calls("ok").replace("job=", f'instance="{name}",job=') for name in "ab")
    series = {one: counter(("20m", 60)), other: counter(("10m", 60), start=90000).restarts().rises("10m", 60)}
    # One sample of the restart is lost: half of a scrape's 15 calls in five minutes.
    expect(tmp_path, series, {"claude:calls:rate_5m * 60 > bool 116": 1}, "claude-rates", at="12m")
    expect(tmp_path, series, {"claude:calls:rate_5m * 60 <= bool 120.1": 1}, "claude-rates", at="12m")


def test_long_ratios_weigh_every_call_the_same(tmp_path: Path) -> None:
    """A quiet night of failures is not half of a busy day: 6 of 1,206, though for half of the time all failed."""
    series = {
        calls("ok"): counter(("2h", 10), ("2h", 0)),
        calls("timeout"): counter(("2h", 0), ("2h", 0.05)),
    }
    expected: dict[str, float | None] = {
        "claude:timeouts:ratio_6h": 0.005,
        "claude:timeouts:ratio_1d": 0.005,
        "claude:errors:ratio_3d": 0.005,
        # Of a day, though only four hours are known.
        "round(claude:calls:rate_1d * 86400 / 20)": 60,
    }
    expect(
        tmp_path, series, expected, "claude-rates", "claude-samples", "claude-history", at="4h", every="5m", scrape="1m"
    )


def test_long_ratios_count_what_the_design_says(tmp_path: Path) -> None:
    """As over short windows, though each outcome was there for some of the time only."""
    series = {
        calls("ok"): counter(("2h", 80), ("4h", 20)),
        calls("overloaded"): counter(("2h", 0), ("2h", 20), ("2h", 0)),
        calls("rejected"): counter(("4h", 0), ("2h", 20)),
        calls("cancelled"): counter(("2h", 40), ("4h", 0)),
        f'claude_attempts_total{{{SERIES},outcome="ok",status="200"}}': counter(("6h", 100)),
    }
    expected: dict[str, float | None] = {
        "round(claude:calls:rate_6h * 21600 / 100)": 240,
        "claude:timeouts:ratio_6h": 0,
        "round(claude:errors:ratio_6h, 0.01)": 0.25,  # 4,800 of the 19,200 that count
        "round(claude:attempts_per_call:ratio_6h, 0.01)": 1.67,  # 36,000 for the 21,600 that were sent
    }
    rooms = ("claude-rates", "claude-samples", "claude-history")
    expect(tmp_path, series, expected, *rooms, at="6h", every="5m", scrape="1m")


def test_percentiles_leave_out_what_was_not_an_answer_and_nan(tmp_path: Path) -> None:
    def bucket(metric: str, bound: str, per_minute: float, more: str = "") -> dict[str, Line]:
        return {f'{metric}_bucket{{{SERIES}{more},le="{bound}"}}': counter(("10m", per_minute))}

    duration, token = "claude_call_duration_seconds", "claude_first_token_seconds"
    ok, no = ',stream="true",outcome="ok"', ',stream="true",outcome="client_error"'
    series = {
        **bucket(duration, "1.0", 0, ok),
        **bucket(duration, "2.0", 60, ok),
        **bucket(duration, "+Inf", 60, ok),
        **bucket(duration, "1.0", 6000, no),
        **bucket(duration, "2.0", 6000, no),
        **bucket(duration, "+Inf", 6000, no),
        **bucket(token, "1.0", 0),
        **bucket(token, "+Inf", 0),
        f"{token}_count{{{SERIES}}}": counter(("10m", 30)),
    }
    expected: dict[str, float | None] = {
        "claude:call_duration_seconds:p50_5m": 1.5,
        "claude:call_duration_seconds:p99_5m": 1.99,
        "claude:first_token_seconds:p95_5m": None,
        "claude:first_tokens:rate_5m": 0.5,
    }
    expect(tmp_path, series, expected, "claude-percentiles", at="10m")


def test_what_successes_need_is_added_up_over_an_hour_weighing_every_call_the_same(tmp_path: Path) -> None:
    """With a restart between: 1,200 quick calls and 100 slow ones, so that the p95 is low among the slow ones."""

    def bucket(bound: str, quick: float, slow: float) -> dict[str, Line]:
        name = f'claude_call_duration_seconds_bucket{{{SERIES},stream="true",outcome="ok",le="{bound}"}}'
        return {name: counter(("30m", quick)).restarts().rises("30m", slow)}

    series = {**bucket("1.0", 0, 0), **bucket("2.0", 40, 0), **bucket("4.0", 40, 3.33), **bucket("+Inf", 40, 3.33)}
    expected: dict[str, float | None] = {
        "claude:ok_call_duration_seconds:p95_1h > bool 2": 1,
        "claude:ok_call_duration_seconds:p95_1h <= bool 3.1": 1,
        "claude:ok_call_duration_seconds:p99_1h > bool 3.6": 1,
    }
    expect(tmp_path, series, expected, "claude-samples", "claude-history", at="1h", every="5m", scrape="1m")


def test_the_usual_silence_leaves_idle_moments_out(tmp_path: Path) -> None:
    silent = f"claude_in_flight_silent_seconds{{{BASE}}}"
    series = {silent: gauge(("30m", 0), ("90m", 10), ("1h", 0))}
    expected: dict[str, float | None] = {"claude:in_flight_silent_seconds:p95_1d": 10}
    expect(tmp_path, series, expected, "claude-rates", "claude-history", at="3h", every="2m")
    young: dict[str, float | None] = {"claude:in_flight_silent_seconds:p95_1d": None}
    expect(tmp_path, series, young, "claude-rates", "claude-history", at="1h", every="2m")
