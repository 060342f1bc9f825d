"""The symptom alerts, one module a kind of symptom, each from one entry of the thresholds table."""

from collections.abc import Callable
from typing import Final

from sidecar.alerts.symptoms import content, errors, health, latency, limits, retries, settings, timeouts
from sidecar.alerts.symptoms.symptom import Pace, Symptom
from sidecar.alerts.values import AlertValues

__all__ = ["SYMPTOMS", "Pace", "Symptom"]

SYMPTOMS: Final[dict[str, Callable[[AlertValues], Symptom]]] = {
    "ClaudeTimeoutSpike": timeouts.spike,
    "ClaudeTimeoutRateHigh": timeouts.rate_high,
    "ClaudeCallsHanging": timeouts.calls_hanging,
    "ClaudeTimeoutTooTight": settings.too_tight,
    "ClaudeTimeoutTooLoose": settings.too_loose,
    "ClaudeConnectFailures": timeouts.connect_failures,
    "ClaudeLatencyP95High": latency.p95_high,
    "ClaudeFirstTokenSlow": latency.first_token_slow,
    "ClaudeCallsRefused": errors.calls_refused,
    "ClaudeServerErrors": errors.server_errors,
    "ClaudeStreamsStalling": errors.streams_stalling,
    "ClaudeTruncatedStreams": errors.truncated_streams,
    "ClaudeRetriesFailing": retries.retries_failing,
    "ClaudeRetryStorm": retries.retry_storm,
    "ClaudeBreakerOpen": retries.breaker_open,
    "ClaudeBreakerFlapping": retries.breaker_flapping,
    "ClaudeOverloaded": limits.overloaded,
    "ClaudeRateLimited": limits.rate_limited,
    "ClaudeRateLimitRunningOut": limits.running_out,
    "ClaudePromptsGrowing": content.prompts_growing,
    "ClaudeAnswersCutShort": content.answers_cut_short,
    "ClaudeCacheCollapse": content.cache_collapse,
    "ClaudeTelemetryDropping": health.telemetry_dropping,
    "ClaudeLabelOverflow": health.label_overflow,
    "ClaudeSidecarDown": health.sidecar_down,
    "ClaudeNoTraffic": health.no_traffic,
}
"""Alert name -> what builds it, in the order of the thresholds table."""
