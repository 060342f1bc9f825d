"""The metric names of the design, and which of their labels rules may ask for."""

import re

_ENDPOINT = "endpoint model profile"
METRICS = {
    "claude_calls_total": f"{_ENDPOINT} stream outcome",
    "claude_call_duration_seconds": f"{_ENDPOINT} stream outcome",
    "claude_attempts_total": f"{_ENDPOINT} outcome status",
    "claude_attempt_duration_seconds": f"{_ENDPOINT} outcome",
    "claude_timeouts_total": f"{_ENDPOINT} phase",
    "claude_first_token_seconds": _ENDPOINT,
    "claude_stream_max_gap_seconds": "endpoint model",
    "claude_retries_total": "endpoint model reason",
    "claude_retried_calls_total": "endpoint model result",
    "claude_retry_wait_seconds": "reason",
    "claude_retry_budget_ratio": "scope",
    "claude_breaker_state": "breaker state",
    "claude_breaker_transitions_total": "breaker from to",
    "claude_breaker_rejections_total": "breaker",
    "claude_breaker_failure_ratio": "breaker",
    "claude_in_flight": "endpoint model",
    "claude_in_flight_oldest_seconds": "endpoint model",
    "claude_in_flight_silent_seconds": "endpoint model",
    "claude_timeout_setting_seconds": "profile phase",
    "claude_tokens_total": "model kind",
    "claude_prompt_tokens": "endpoint model",
    "claude_output_tokens_per_second": "model",
    "claude_stops_total": "model reason",
    "claude_ratelimit_limit": "kind",
    "claude_ratelimit_remaining": "kind",
    "claude_ratelimit_reset_timestamp_seconds": "kind",
    "sidecar_build_info": "version",
    "sidecar_dropped_records_total": "reason",
    "sidecar_label_overflows_total": "label",
    "sidecar_internal_errors_total": "where",
    "sidecar_event_loop_lag_seconds": "",
}
TARGET = {"cluster", "namespace", "job", "instance"}

_METRIC = re.compile(r"\b((?:claude|sidecar)_[a-z0-9_]+?)(_bucket|_count|_sum)?\b(?!\s*=)(?:\{([^}]*)\})?")
_RECORDED = re.compile(r"\b(?:claude|slo):[a-z0-9_:]+")
_MATCHED = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")


def metrics_in(expr: str) -> list[tuple[str, set[str]]]:
    """List metrics and the labels asked of them."""
    found = []
    for name, suffix, matchers in _METRIC.findall(expr):
        full = name if name in METRICS or not suffix else name + suffix
        found.append((full, set(_MATCHED.findall(matchers))))
    return found


def recorded_in(expr: str) -> set[str]:
    """List recorded series."""
    return set(_RECORDED.findall(expr))


def labels_of(metric: str) -> set[str]:
    """Return every label a metric may be asked for."""
    own = set(METRICS[metric].split()) | TARGET | {"le"}
    return own | {"source"} if metric.startswith("claude_") else own
