"""What a call was, as far as one attempt tells, and how long its client may take to try again."""

from typing import Final

from sidecar.model import AttemptRecord, CallRecord, Outcome, Source, Verdict
from sidecar.proxy.correlate import BACKOFF_SECONDS, PATIENT_SECONDS, SLACK_SECONDS
from sidecar.proxy.errors import Fault
from sidecar.proxy.origin import Origin
from sidecar.proxy.reading import FIRST_ERROR
from sidecar.proxy.seen import Seen

TRIED_AGAIN: Final = frozenset(
    {Outcome.TIMEOUT, Outcome.RATE_LIMITED, Outcome.OVERLOADED, Outcome.SERVER_ERROR, Outcome.CONNECTION_ERROR}
)
_ASKED_AGAIN: Final = frozenset({409, 429})
"""A conflict may have gone, and a spend limit looks like any other to them."""
LONGEST_RETRY_AFTER: Final = 300.0
"""The SDKs wait as long as they are told. A failure is told of no later than this, though: none may follow at all."""
_OVERLOAD: Final = 503
_NUMBER: Final = 12  # no sensible number of seconds is longer


def call_of(seen: Seen, attempt: AttemptRecord, now: float) -> CallRecord:
    """Make the record of a call that had this attempt alone."""
    reading = seen.reading
    first_token = seen.first_token
    return CallRecord(  # by position: keywords cost more than all the rest
        attempt.source,
        attempt.endpoint,
        attempt.model,
        attempt.profile,
        attempt.stream,
        attempt.started_at,
        attempt.duration,
        attempt.outcome,
        attempt.phase,
        1,  # attempts
        (),  # waits
        None,  # retry_result
        attempt.error_type,
        attempt.host,
        attempt.request_id,
        first_token,
        None if first_token is None else now - seen.began - first_token,  # output_seconds
        None if reading is None else reading.usage,
        None if reading is None else reading.stop_reason,
        attempt.trace,
    )


def refusal_of(seen: Seen, fault: Fault | None, now: float, *, origin: Origin) -> CallRecord:
    """Make the record of a request that was never sent on: by a limit of ours, or for what was wrong with it."""
    overload = fault is not None and fault.status == _OVERLOAD
    caller = seen.caller
    return CallRecord(
        source=caller.source,
        endpoint=caller.told.endpoint,
        model=seen.asked.model,
        profile=seen.profile,
        stream=seen.asked.stream,
        started_at=seen.started_at,
        duration=now - seen.began,
        outcome=Outcome.REJECTED if overload else Outcome.CLIENT_ERROR,
        attempts=0,
        error_type=None if fault is None else fault.code,
        host=origin.host,
        trace=seen.trace,
    )


def again_within(seen: Seen, verdict: Verdict) -> float | None:
    """Say how long the client may take to try again; None when it will not."""
    reply = seen.reply
    told = {} if reply is None else reply.watched
    asked = reply is not None and is_asked_again(reply.status, told.get(b"x-should-retry"))
    if not (asked or verdict.outcome in TRIED_AGAIN):
        return None
    # An answer that began well is asked for again when it broke before the application had any of it.
    began_well = reply is not None and reply.status < FIRST_ERROR
    if began_well and (seen.streamed or verdict.outcome is Outcome.SERVER_ERROR):
        return None
    if told.get(b"x-should-retry") == b"false":
        return None
    wait = _number(told.get(b"retry-after-ms"), 1000.0)
    if wait is None:
        wait = _number(told.get(b"retry-after"), 1.0)
    if wait is None and b"retry-after" in told:
        from sidecar.policy import parse_hints  # noqa: PLC0415  # hardly any answer names a date

        date = {"retry-after": told[b"retry-after"].decode("latin-1")}
        wait = parse_hints(date, unix_now=seen.started_at + seen.last - seen.began).after
    patience = PATIENT_SECONDS if seen.caller.source is Source.INFERRED else BACKOFF_SECONDS
    return max(patience, wait if wait is not None and wait <= LONGEST_RETRY_AFTER else 0.0) + SLACK_SECONDS


def is_asked_again(status: int, should_retry: bytes | None) -> bool:
    """Say whether the SDKs try again after an answer, though its outcome alone would not say so."""
    return status in _ASKED_AGAIN or (should_retry == b"true" and status >= FIRST_ERROR)


def _number(value: bytes | None, divisor: float) -> float | None:
    try:
        return None if value is None or len(value) > _NUMBER else float(value) / divisor
    except ValueError:
        return None
