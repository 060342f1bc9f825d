"""The rate-limit headers: what is left of each minute's allowance. Tells only; a scenario's faults do the limiting."""

from datetime import UTC, datetime
from typing import Final

from sidecar.chaos.scenario import Limits

__all__ = ["LimitCounter"]

_WINDOW: Final = 60


class LimitCounter:
    """Counts what a minute has used."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._window = -1
        self._reset = ""
        self._used = [0, 0, 0]

    def headers(self, now: float, *, input_tokens: int, output_tokens: int, exhausted: bool = False) -> dict[str, str]:
        """Count one request at ``now`` (Unix seconds) and build its answer's headers."""
        window = int(now // _WINDOW)
        if window != self._window:
            self._window = window
            self._used = [0, 0, 0]
            self._reset = datetime.fromtimestamp((window + 1) * _WINDOW, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        used = self._used
        used[0] += 1
        used[1] += input_tokens
        used[2] += output_tokens
        limits = self._limits
        rows = (
            ("requests", limits.requests, used[0]),
            ("input-tokens", limits.input_tokens, used[1]),
            ("output-tokens", limits.output_tokens, used[2]),
            ("tokens", limits.input_tokens + limits.output_tokens, used[1] + used[2]),
        )
        headers = {}
        for kind, limit, taken in rows:
            prefix = f"anthropic-ratelimit-{kind}"
            headers[f"{prefix}-limit"] = str(limit)
            headers[f"{prefix}-remaining"] = "0" if exhausted else str(max(0, limit - taken))
            headers[f"{prefix}-reset"] = self._reset
        return headers
