"""Attempts of one call that came to different workers, put together: workers send notes, one process joins them.

Only what may belong to a call of several attempts is noted: that one began which may be a retry, and that one ended
which may be tried again. A retry can overtake the note of what it retries, so notes wait a moment and are taken in the
order of their times, which all processes read from one clock.
"""

import itertools
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from heapq import heappop, heappush
from typing import Final

from sidecar.model import CallRecord
from sidecar.proxy.correlate import Calls, Key, Past, whole
from sidecar.proxy.wheel import Wheel
from sidecar.telemetry.socket.decoder import Batch, MalformedError, decode
from sidecar.telemetry.socket.encoder import encode_records

IN_ORDER_SECONDS: Final = 0.5
"""How long a note waits for an earlier one that is still on its way."""

_BEGAN: Final = 0
_ENDED: Final = 1
_NO_NUMBER: Final = -1
_NOT_AGAIN: Final = -1.0
_ALONE: Final = 0
"""The token of an attempt whose beginning was not noted."""
# Kind, the worker's pid, its token for the attempt, key, when the client knew (monotonic), when it was, when it began,
# started (wall), what the client says of its number, within how many seconds another may come.
_HEAD: Final = struct.Struct("!BIQ16sddddid")


@dataclass(slots=True, kw_only=True)
class _Noted(Past):
    """What came before an attempt is not known here; whoever joins the notes knows it under this token."""

    token: int


class SharedCalls:
    """A worker's view: takes what `Calls` takes, and passes on what others may have to do with.

    ``send`` says whether a note could be sent. What could not is told as it is, and its call is then two.
    """

    def __init__(self, send: Callable[[bytes], bool], tell: Callable[[CallRecord], None]) -> None:
        self._send = send
        self._tell = tell
        self._tokens = itertools.count(1)
        self._pid = os.getpid()

    def past(self, key: Key, now: float, started_at: float, *, number: int | None) -> Past:
        """Note that an attempt began which may be a retry; how many came before is what the client says."""
        before = number or 0
        if number == 0:
            return Past(first=now, started_at=started_at)
        token = next(self._tokens)
        said = _NO_NUMBER if number is None else number
        head = _HEAD.pack(_BEGAN, self._pid, token, _digest(key), now, now, now, started_at, said, _NOT_AGAIN)
        if not self._send(head):
            return Past(first=now, started_at=started_at, attempts=before)
        return _Noted(first=now, started_at=started_at, attempts=before, token=token)

    def ended(
        self,
        key: Key,
        past: Past,
        record: CallRecord,
        *,
        began: float,
        now: float,
        again_within: float | None,
        known: float | None = None,
    ) -> None:
        """Note the end of an attempt; if that is all there is to its call, tell it at once."""
        token = past.token if isinstance(past, _Noted) else _ALONE
        if token or again_within is not None:
            again = _NOT_AGAIN if again_within is None else again_within
            encoded, _ = encode_records([record])
            known = now if known is None else known
            told = (_digest(key), known, now, began, past.started_at, past.attempts, again)
            head = _HEAD.pack(_ENDED, self._pid, token, *told)
            if encoded.items and self._send(head + encoded.data):
                return
        self._tell(whole(past, record, began=began, now=now))

    def close(self) -> None:
        """Do nothing: whoever joins the notes tells of what might have gone on."""


class Joiner:
    """The other end: takes the notes of all workers, and tells the calls.

    ``catch_up`` has it take every note that has arrived: a busy process comes to its timers before its sockets.
    """

    def __init__(
        self, wheel: Wheel, calls: Calls, dropped: Callable[[str], None], *, catch_up: Callable[[], None]
    ) -> None:
        self._wheel = wheel
        self._calls = calls
        self._dropped = dropped
        self._catch_up = catch_up
        self._waiting: list[tuple[float, int, bytes]] = []
        self._order = itertools.count()
        self._pasts: dict[int, dict[int, Past]] = {}
        self._timer = wheel.timer(self._due)

    def take(self, note: bytes) -> None:
        """Take one note."""
        if len(note) < _HEAD.size:
            self._dropped("note_malformed")
            return
        heappush(self._waiting, (_HEAD.unpack_from(note)[4], next(self._order), note))
        if len(self._waiting) == 1:
            self._timer.after(IN_ORDER_SECONDS)

    def forget(self, pid: int) -> None:
        """Let go of what a worker that is gone had under way."""

        def let_go() -> None:
            self._pasts.pop(pid, None)

        self._wheel.timer(let_go).after(4 * IN_ORDER_SECONDS)  # its last notes may not have been looked at

    def close(self) -> None:
        """Join what has arrived, and tell of every call that might have gone on."""
        self._timer.close()
        self._join(until=float("inf"))
        self._calls.close()

    def _due(self) -> None:
        until = self._wheel.now() - IN_ORDER_SECONDS
        self._catch_up()
        self._join(until)
        if self._waiting:
            self._timer.after(IN_ORDER_SECONDS)

    def _join(self, until: float) -> None:
        while self._waiting and self._waiting[0][0] <= until:
            _, _, note = heappop(self._waiting)
            kind, pid, token, key, known, now, began, started_at, number, again = _HEAD.unpack_from(note)
            pasts = self._pasts.setdefault(pid, {})
            if kind == _BEGAN:
                said = None if number == _NO_NUMBER else number
                pasts[token] = self._calls.past((key,), now, started_at, number=said)
                continue
            record = _call(note)
            if record is None:
                self._dropped("note_malformed")
                continue
            past = pasts.pop(token, None) or Past(first=began, started_at=started_at, attempts=number)
            again_within = None if again < 0 else again
            self._calls.ended((key,), past, record, began=began, now=now, again_within=again_within, known=known)


def _call(note: bytes) -> CallRecord | None:
    try:
        batch = decode(note[_HEAD.size :])
    except MalformedError:
        return None
    return batch.calls[0] if isinstance(batch, Batch) and len(batch.calls) == 1 else None


def _digest(key: Key) -> bytes:
    return blake2b(repr(key).encode(), digest_size=16).digest()
