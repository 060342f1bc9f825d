"""Ordinary records, to change in what a test is about."""

from typing import Any

from sidecar.model import AttemptRecord, CallRecord, Outcome, Profile, Source, Usage

_COMMON: dict[str, Any] = {
    "source": Source.CLIENT,
    "endpoint": "messages",
    "model": "claude-sonnet-4-5",
    "profile": Profile.INTERACTIVE,
    "stream": True,
    "started_at": 1_790_000_000.0,
    "duration": 3.2,
    "outcome": Outcome.OK,
    "first_token": 0.5,
}


def attempt(**changes: Any) -> AttemptRecord:
    """Make an attempt that went well."""
    return AttemptRecord(
        **{**_COMMON, "number": 0, "status": 200, "max_gap": 0.7, "host": "api.anthropic.com", **changes}
    )


def call(**changes: Any) -> CallRecord:
    """Make a call that went well."""
    usage = Usage(input=3000, output=400, cache_read=200)
    return CallRecord(**{**_COMMON, "output_seconds": 2.0, "usage": usage, "stop_reason": "end_turn", **changes})
