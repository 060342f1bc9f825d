"""What an attempt was, now that it has ended: the verdict on it, and its record."""

from typing import Final

from sidecar.model import CANCELLED, AttemptRecord, Outcome, Phase, RateLimit, StreamEnd, Verdict
from sidecar.proxy.ending import Ending
from sidecar.proxy.errors import Fault
from sidecar.proxy.hangup import due_timeouts, why
from sidecar.proxy.origin import Origin
from sidecar.proxy.seen import Seen

FAULTS: Final = {
    "upstream_unreachable": Verdict(Outcome.CONNECTION_ERROR),
    "upstream_closed": Verdict(Outcome.CONNECTION_ERROR),
    "upstream_protocol": Verdict(Outcome.SERVER_ERROR),
    "connect_timeout": Verdict(Outcome.TIMEOUT, Phase.CONNECT),
    "no_connection": Verdict(Outcome.TIMEOUT, Phase.POOL),
    "upstream_silent": Verdict(Outcome.TIMEOUT, Phase.FIRST_BYTE),
}
"""What a fault of the upstream means for the attempt that met it before its answer had begun."""
_BROKEN: Final = Verdict(Outcome.CONNECTION_ERROR)
_STALLED: Final = Verdict(Outcome.TIMEOUT, Phase.STALL)
_LONGEST_ID: Final = 128


def verdict_on(seen: Seen, ending: Ending, fault: Fault | None, now: float) -> Verdict:
    """Say what an attempt was. Ask once: the answer's body is let go of."""
    reading = seen.reading
    if ending is Ending.COMPLETE and reading is not None:
        return reading.verdict(StreamEnd.EOF)
    if ending is Ending.LEFT:
        due = due_timeouts(seen.head.watched, answering=reading is not None)
        hung_up = why(due, silence=now - seen.last, elapsed=now - seen.began)
        return hung_up if reading is None else reading.verdict(StreamEnd.CLOSED, hung_up)
    broken = _BROKEN if fault is None else FAULTS.get(fault.code, CANCELLED)
    if reading is None:
        return broken
    return reading.verdict(StreamEnd.EOF, _STALLED if broken.outcome is Outcome.TIMEOUT else broken)


def attempt_of(
    seen: Seen, verdict: Verdict, now: float, *, origin: Origin, number: int, limits: tuple[RateLimit, ...]
) -> AttemptRecord:
    """Make an attempt's record."""
    caller, reply = seen.caller, seen.reply
    streamed = seen.streamed
    return AttemptRecord(  # by position: keywords cost more than all the rest
        caller.source,
        caller.told.endpoint,
        seen.asked.model,
        seen.profile,
        seen.asked.stream,
        number,
        seen.started_at,
        now - seen.began,  # duration
        verdict.outcome,
        verdict.phase,
        None if reply is None else reply.status,
        verdict.error_type,
        caller.method,
        origin.host,
        origin.port,
        None if reply is None else word_of(reply.watched.get(b"request-id")),
        seen.first_byte,
        seen.first_token,
        seen.max_gap if streamed else None,
        seen.max_gap_at if streamed else None,
        limits,
        seen.trace,
    )


def word_of(value: bytes | None) -> str | None:
    """Take a header's value if it is an id, not a text."""
    return value.decode("latin-1") if value and len(value) <= _LONGEST_ID else None
