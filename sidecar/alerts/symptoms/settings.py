"""Timeouts that are set wrongly: cutting off what would have succeeded, or making users wait in vain.

Two phases can be judged. A wait for the first byte is a whole call where nothing is streamed; a deadline is a whole
call always. How long a stream may stall is not judged: a stalled stream's own silence would be taken for a need.
"""

from sidecar.alerts.message import DURATION, WHOLE, selecting, sentences, value_of
from sidecar.alerts.symptoms.symptom import Pace, Symptom
from sidecar.alerts.values import AlertValues
from sidecar.rules.promql import USE, by, more_than

_CALLS = {"first_byte": '{stream="false"}', "deadline": ""}
"""Phase -> which calls it can cut off."""
_ABOUT = selecting((*USE, "phase"))
_SETTING = value_of("max(claude_timeout_setting_seconds{%s})", DURATION)
_THE_TIMEOUT = "The {{ $labels.phase }} timeout of the profile {{ $labels.profile }} of {{ $labels.job }}"


def _need(stat: str, phase: str) -> str:
    return by(USE, f"claude:ok_call_duration_seconds:{stat}_1h{_CALLS[phase]}", "max")


def _setting(phase: str) -> str:
    return by(USE, f'claude_timeout_setting_seconds{{phase="{phase}"}}', "max")


def _timeouts(phase: str, window: str, seconds: int) -> str:
    timeouts = f'claude:timeouts_by_phase:rate_{window}{{phase="{phase}"}}'
    return f"{by(USE, timeouts)} * {seconds}"


def _enough_calls(t: AlertValues) -> str:
    return f"{by(USE, 'claude:calls:rate_1h')} * 3600 > {t['calls']}"


def _either(parts: dict[str, str]) -> str:
    branches = (
        "label_replace(\n" + "".join(f"  {line}\n" for line in expr.splitlines()) + f'  , "phase", "{phase}", "", ""\n)'
        for phase, expr in parts.items()
    )
    return "\nor\n".join(branches)


def too_tight(t: AlertValues) -> Symptom:
    """Look above ``near`` but within the setting: a p95 beyond it comes from retried calls, not from a timeout."""
    return Symptom(
        expr=_either(
            {
                phase: f"{_need('p95', phase)} / {_setting(phase)} > {t['near']} <= 1\n"
                f"and\n{more_than(_timeouts(phase, '1h', 3600), t['count'])}\n"
                f"and\n{_enough_calls(t)}"
                for phase in _CALLS
            }
        ),
        summary=f"{_THE_TIMEOUT} cuts off calls that would have succeeded",
        description=sentences(
            _ABOUT,
            "Of the calls that succeed, 5 % need more than {{ $value | humanizePercentage }} of the timeout of"
            f" {_SETTING}, and timeouts of this kind do occur.",
            " Most likely it is set too tight for what is asked now; raise it, or ask for shorter answers.",
        ),
        dashboard="claude-latency",
        pace=Pace.SLOW,
    )


def too_loose(t: AlertValues) -> Symptom:
    """Speak only where calls really waited for it: a long timeout that nobody meets costs nothing."""
    waited = value_of("sum(claude:timeouts_by_phase:rate_1d{%s}) * 86400", WHOLE)
    return Symptom(
        expr=_either(
            {
                phase: f"{_setting(phase)} / ({_need('p99', phase)} > 0) > {t['times_p99']}\n"
                f"and\n{more_than(_timeouts(phase, '1d', 86400), t['count'])}\n"
                f"and\n{_enough_calls(t)}"
                for phase in _CALLS
            }
        ),
        summary=f"{_THE_TIMEOUT} makes users wait in vain",
        description=sentences(
            _ABOUT,
            f'The timeout is {_SETTING}, {{{{ $value | printf "%.0f" }}}} times what 99 % of the successes need, and in'
            f" the last day {waited} attempts waited for all of it.",
            " A shorter timeout would have failed, or retried, much sooner.",
        ),
        dashboard="claude-latency",
        pace=Pace.SLOW,
    )
