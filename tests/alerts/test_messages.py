"""What a spike's message says: it tells the API's side from one's own."""

from pathlib import Path

import pytest

from sidecar.alerts.message import PHASES
from sidecar.model import Phase
from tests.alerts.promtool import APP, MODEL, SERIES, Line, counter, gauge, rules_for, run

OK = f'claude_calls_total{{{SERIES},stream="true",outcome="ok"}}'
TIMEOUT = f'claude_calls_total{{{SERIES},stream="true",outcome="timeout"}}'


def timeouts(phase: str) -> str:
    return f'claude_timeouts_total{{{SERIES},phase="{phase}"}}'


def other(name: str) -> str:
    return name.replace("claude-a", "claude-b")


def says(series: dict[str, Line], description: str, folder: Path, alert: str = "ClaudeTimeoutSpike") -> None:
    whole = {OK: counter(("10m", 240)), TIMEOUT: counter(("10m", 60)), **series}
    labels = {"severity": "page", "job": "app", "source": "client", "model": "claude-a"}
    test = {
        "interval": "15s",
        "input_series": [{"series": name, "values": line.written("15s")} for name, line in whole.items()],
        "alert_rule_test": [
            {
                "eval_time": "8m",
                "alertname": alert,
                "exp_alerts": [
                    {
                        "exp_labels": labels,
                        "exp_annotations": {
                            "summary": "20% of the calls of app to claude-a time out",
                            "description": description,
                            "runbook_url": f"runbooks/{alert}.md",
                            "dashboard_url": "http://localhost:3000/d/claude-timeouts-retries?var-job=app",
                        },
                    }
                ],
            }
        ],
    }
    passed, said = run(folder, rules_for(alert, whole, ()), test, "15s")
    assert passed, said


def test_every_phase_has_a_meaning() -> None:
    assert set(PHASES) == set(Phase)


NUMBERS = "120 of 600 calls timed out in 2m; usual over 1d is 0."


@pytest.mark.parametrize("phase", PHASES)
def test_each_phase_is_named_with_what_it_points_to(phase: str, tmp_path: Path) -> None:
    says(
        {timeouts(phase): counter(("10m", 54)), timeouts("stall" if phase != "stall" else "pool"): counter(("10m", 6))},
        f"{NUMBERS} 90% of the timeouts were in the phase {phase}: {PHASES[phase]}. Affected: 1 of the 1 models this"
        " job calls. No 429 or 529 came along: limits are not part of it. Prompts are not longer than usual.",
        tmp_path,
    )


def test_one_model_of_two_is_told_from_all(tmp_path: Path) -> None:
    says(
        {other(OK): counter(("10m", 300)), other(TIMEOUT): counter(("10m", 0))},
        f"{NUMBERS} Affected: 1 of the 2 models this job calls. No 429 or 529 came along: limits are not part of it."
        " Prompts are not longer than usual.",
        tmp_path,
    )


def test_load_and_longer_prompts_are_told(tmp_path: Path) -> None:
    says(
        {
            f'claude_attempts_total{{{SERIES},outcome="overloaded",status="529"}}': counter(("10m", 24)),
            f"claude:prompt_tokens:mean_1h{{{MODEL}}}": gauge(("10m", 3000)),
            f"claude:prompt_tokens:mean_7d{{{MODEL}}}": gauge(("10m", 1500)),
        },
        f"{NUMBERS} Affected: 1 of the 1 models this job calls. Meanwhile 48 attempts were answered 429 or 529: load,"
        " yours or the API's, is part of it. Prompts are 2.0 times as long as the mean of the last seven days, which"
        " alone makes answers slower.",
        tmp_path,
    )


def test_another_jobs_series_are_not_counted_in(tmp_path: Path) -> None:
    says(
        {name.replace('job="app"', 'job="batch"'): counter(("10m", 900)) for name in (OK, timeouts("pool"))},
        f"{NUMBERS} Affected: 1 of the 1 models this job calls. No 429 or 529 came along: limits are not part of it."
        " Prompts are not longer than usual.",
        tmp_path,
    )


def test_a_hostile_model_name_stays_a_name(tmp_path: Path) -> None:
    """A name that tries to end the matcher, or to be a template, only is one."""
    hostile = 'x\\"} or vector(1) or {a=\\"{{ . }}%s`'
    series = {
        f'claude_breaker_state{{{APP},breaker="{hostile}",state="open"}}': gauge(("10m", 1)),
    }
    test = {
        "interval": "15s",
        "input_series": [{"series": name, "values": line.written("15s")} for name, line in series.items()],
        "alert_rule_test": [
            {
                "eval_time": "8m",
                "alertname": "ClaudeBreakerOpen",
                "exp_alerts": [
                    {
                        "exp_labels": {
                            "severity": "page",
                            "job": "app",
                            "source": "client",
                            "breaker": 'x"} or vector(1) or {a="{{ . }}%s`',
                        },
                        "exp_annotations": {
                            "summary": 'The breaker x"} or vector(1) or {a="{{ . }}%s` of app is open',
                            "description": "It is not closed in 100% of 1 processes; the failure ratio is 0, and"
                            " 0 calls were refused in 5m without being sent. It opened because most attempts failed; it"
                            " closes by itself once its probes succeed, so look for what fails.",
                            "runbook_url": "runbooks/ClaudeBreakerOpen.md",
                            "dashboard_url": "http://localhost:3000/d/claude-breakers-limits?var-job=app",
                        },
                    }
                ],
            }
        ],
    }
    passed, said = run(tmp_path, rules_for("ClaudeBreakerOpen", series, ()), test, "15s")
    assert passed, said
