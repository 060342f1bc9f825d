"""Why a client hung up: because its own timeout was due, or because nobody wanted the answer any more. Pure.

A hang-up looks the same on the wire either way; only its moment tells. The SDKs announce their timeouts in headers, and
some have timeouts nobody announces; the table below is what was measured of them.
"""

from collections.abc import Mapping
from typing import Final

from sidecar.model import CANCELLED, CLIENT_TIMEOUT, Verdict

_EARLY: Final = 0.05
_LATE: Final = 0.5
_SHARE: Final = 0.02
"""How far from its moment a timeout may come: timers fire late, clients are busy, packets travel."""

_JAVASCRIPT_SILENCE: Final = 301.0
"""What Node's fetch waits for headers, and for the next bytes of a body, whatever the SDK's timeout."""
_CLAUDE_CODE: Final = b"claude-cli/"
_CLAUDE_CODE_WAITS: Final = 360.0
_CLAUDE_CODE_STALLS: Final = 300.0


def due_timeouts(headers: Mapping[bytes, bytes], *, answering: bool) -> tuple[float, ...]:
    """List after which silences this client gives up, from the headers of its request."""
    announced = _seconds(headers.get(b"x-stainless-timeout"))
    read = _seconds(headers.get(b"x-stainless-read-timeout"))
    language = headers.get(b"x-stainless-lang", b"").lower()
    if headers.get(b"user-agent", b"").startswith(_CLAUDE_CODE):
        own = _CLAUDE_CODE_STALLS if answering else _CLAUDE_CODE_WAITS
        return (own,) if answering or announced is None else (own, announced)
    if language == b"js":
        return (_JAVASCRIPT_SILENCE,) if answering or announced is None else (announced, _JAVASCRIPT_SILENCE)
    silence = read if read is not None else announced
    return () if silence is None else (silence,)


def why(silence: float, due: tuple[float, ...]) -> Verdict:
    """Say what a hang-up after this silence was."""
    for timeout in due:
        if timeout - max(_EARLY, timeout * 0.005) <= silence <= timeout + max(_LATE, timeout * _SHARE):
            return CLIENT_TIMEOUT
    return CANCELLED


def _seconds(value: bytes | None) -> float | None:
    """Read a header's number of seconds; ``NOT_GIVEN``, ``None``, ``true`` and nonsense are none."""
    try:
        seconds = float(value) if value is not None and len(value) < 20 else 0.0  # noqa: PLR2004  # no sensible number
    except ValueError:
        return None
    return seconds if 0.0 < seconds < float("inf") else None
