"""`History`: a way out for records that keeps the last hour of them, added up, in bounded memory.

A record only lands in an inbox, which costs a call next to nothing; who reads, or fills the inbox, sorts it.
"""

import time
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Final, TypeVar

from sidecar.console.tally import Key
from sidecar.console.view import MINUTE, View
from sidecar.model import AttemptRecord, CallRecord, Outcome, Profile, Source
from sidecar.telemetry.guard import LabelGuard

T = TypeVar("T")

BATCH: Final = 64
"""With so many records waiting, the next one to come sorts them."""
MAX_WAITING: Final = 16_384
"""While somebody reads, records wait; beyond so many, they are missed."""
MAX_NAMES: Final = 50

_VIEWS: Final = {Source.CLIENT: Source.CLIENT, Source.PROXY: Source.PROXY, Source.INFERRED: Source.PROXY}
"""An application whose client also goes through the proxy is seen twice: the two are never added up."""


def sources_of(view: Source) -> frozenset[Source]:
    """Return the sources that a view puts together."""
    return frozenset(source for source, seen_by in _VIEWS.items() if seen_by is view)


class History:
    """The last hour, by who saw it."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall: Final = wall
        self._inbox: Final[deque[tuple[float, AttemptRecord | CallRecord]]] = deque()
        self._lock: Final = Lock()
        self._guard: Final = LabelGuard(MAX_NAMES, lambda _label: None)
        # What the guard takes as it comes, and would not have to learn more about; that bounds it.
        self._keys: Final[dict[tuple[str, str, Profile, bool], Key]] = {}
        self._views: dict[Source, View] = {}
        self._latest = 0.0
        self.missed = 0
        """Records there was no room for."""
        self.since = wall()

    def call(self, record: AttemptRecord | CallRecord, /) -> None:
        """Take what has finished."""
        inbox = self._inbox
        waiting = len(inbox)
        if waiting >= MAX_WAITING:
            self.missed += 1
            return
        inbox.append((self._wall(), record))
        # Never waiting: the lock's holder may be this very thread, in which the garbage collector just ended a stream.
        if waiting + 1 >= BATCH and self._lock.acquire(blocking=False):
            try:
                self._sort()
            finally:
                self._lock.release()

    attempt = call

    def read(self, reading: Callable[[dict[Source, View], float], T]) -> T:
        """Let ``reading`` look at the views, and at the time, while nothing changes."""
        with self._lock:
            self._sort()
            return reading(self._views, self._advance(self._wall()))

    def _sort(self) -> None:
        inbox, known, views = self._inbox, self._keys, self._views
        for _ in range(len(inbox)):
            at, record = inbox.popleft()
            if at < self._latest:
                at = self._advance(at)
                views = self._views
            self._latest = at
            key = known.get((record.endpoint, record.model, record.profile, record.stream)) or self._key(record)
            seen_by = _VIEWS[record.source]
            view = views.get(seen_by) or views.setdefault(seen_by, View())
            if isinstance(record, CallRecord):
                view.call(at, key, record)
            else:
                view.tally(at, key).attempt(record)

    def _advance(self, at: float) -> float:
        """Keep time from stepping back: a little is waited out, after more everything begins anew."""
        if at < self._latest:
            if at >= self._latest - MINUTE:
                return self._latest
            self._views = {}
            self.since = at
        self._latest = at
        return at

    def _key(self, record: AttemptRecord | CallRecord) -> Key:
        names = (record.endpoint, record.model, record.profile, record.stream)
        proven = record.outcome == Outcome.OK
        endpoint, model = (
            self._guard.admit(label, name, proven=proven)
            for label, name in (("endpoint", names[0]), ("model", names[1]))
        )
        key = Key(endpoint.value, model.value, record.profile, record.stream)
        if proven and endpoint.stable and model.stable:
            self._keys[names] = key
        return key
