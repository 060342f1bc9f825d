"""Why a client hung up: because its own timeout was due, or because nobody wanted the answer any more. Pure.

A hang-up looks the same on the wire either way; only its moment tells. The SDKs announce their timeouts in headers, and
some have timeouts nobody announces; the table below is what was measured of them.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from sidecar.model import CANCELLED, CLIENT_TIMEOUT, Verdict

_EARLY: Final = 0.05
_EARLY_SHARE: Final = 0.005
_LATE: Final = 0.5
_LATE_SHARE: Final = 0.02
"""How far from its moment a timeout may come: timers fire late, clients are busy, packets travel."""
_BUSY: Final = 0.5
"""How long after a busy Node has set its timer the request may come; of short timeouts, a quarter at most."""
_WHOLE_SECOND: Final = 1.0
"""The TypeScript SDK announces 2.5 s as 2."""

_JAVASCRIPT_SILENCE: Final = 301.0
"""What Node's fetch waits for headers, and for the next bytes of a body, whatever the SDK's timeout."""
_CLAUDE_CODE: Final = b"claude-cli/"
_CLAUDE_CODE_WAITS: Final = 360.0
_CLAUDE_CODE_STALLS: Final = 300.0


class Due(NamedTuple):
    """When a client gives up, give or take."""

    earliest: float
    latest: float
    in_all: bool = False
    """Counted from the request's beginning, not from the last byte."""


def due_timeouts(headers: Mapping[bytes, bytes], *, answering: bool) -> tuple[Due, ...]:
    """List when this client gives up, from the headers of its request."""
    announced = _seconds(headers.get(b"x-stainless-timeout"))
    read = _seconds(headers.get(b"x-stainless-read-timeout"))
    is_claude_code = headers.get(b"user-agent", b"").startswith(_CLAUDE_CODE)
    if is_claude_code or headers.get(b"x-stainless-lang", b"").lower() == b"js":
        waits, stalls = (_CLAUDE_CODE_WAITS, _CLAUDE_CODE_STALLS) if is_claude_code else (_JAVASCRIPT_SILENCE,) * 2
        if answering or announced is None:
            return (_after_silence(stalls if answering else waits),)
        return _in_all(announced), _after_silence(waits)
    silence = read if read is not None else announced
    return () if silence is None else (_after_silence(silence),)


def why(due: tuple[Due, ...], *, silence: float, elapsed: float) -> Verdict:
    """Say what a hang-up was: so long after the last byte, and after the request's beginning."""
    if any(each.earliest <= (elapsed if each.in_all else silence) <= each.latest for each in due):
        return CLIENT_TIMEOUT
    return CANCELLED


def _after_silence(seconds: float) -> Due:
    """Set when the last byte came: hardly ever early."""
    return Due(seconds - max(_EARLY, seconds * _EARLY_SHARE), seconds + max(_LATE, seconds * _LATE_SHARE))


def _in_all(seconds: float) -> Due:
    """Set before the request was sent, and announced in whole seconds: early by as much as sending it took."""
    early = min(max(_BUSY, seconds * _EARLY_SHARE), seconds / 4)
    late = max(_LATE, seconds * _LATE_SHARE)
    return Due(seconds - early, seconds + _WHOLE_SECOND + late, in_all=True)


def _seconds(value: bytes | None) -> float | None:
    """Read a header's number of seconds; ``NOT_GIVEN``, ``None``, ``true`` and nonsense are none."""
    try:
        seconds = float(value) if value is not None and len(value) < 20 else 0.0  # noqa: PLR2004  # no sensible number
    except ValueError:
        return None
    return seconds if 0.0 < seconds < float("inf") else None
