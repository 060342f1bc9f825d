"""`Backlog`: records that are yet to be made and counted, until somebody reads or a batch of them has come together.

Counting right after a call costs several times as much as counting in a batch, as all that it needs has to be fetched
into the processor's caches anew. Nothing is counted by a thread of its own: an idle process has nothing to count.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from sidecar.model import AttemptRecord, CallRecord
from sidecar.telemetry.store import Store

Record = AttemptRecord | CallRecord
Maker = Callable[[], Iterable[Record]]
"""Makes the records of something that has ended."""

BATCH: Final = 32
"""Enough for nearly all to find warm caches; few enough to hold up whoever counts them for less than a millisecond."""


class Backlog:
    """Takes makers of records from any thread; ``count`` gets what each makes, alone under the store's lock."""

    def __init__(
        self, store: Store, count: Callable[[Iterable[Record]], object], fault: Callable[[Exception], None]
    ) -> None:
        self._store: Final = store
        self._count: Final = count
        self._fault: Final = fault
        self._makers: Final[deque[Maker]] = deque()

    def add(self, maker: Maker) -> None:
        """Put one off, or count them all when they are enough."""
        makers = self._makers
        makers.append(maker)
        if len(makers) >= BATCH:
            self.settle()

    def settle(self) -> None:
        """Count what was put off: whoever reads after this misses nothing that had ended before it."""
        store, makers = self._store, self._makers
        while makers:
            with store.lock:  # taken out and counted in one go: another thread's scrape waits for it
                if store.busy:  # this very thread is counting already, and has come again: it goes on after that
                    return
                try:
                    maker = makers.popleft()
                except IndexError:  # another thread was quicker
                    return
                self._make(maker)
            store.catch_up()

    def _make(self, maker: Maker) -> None:
        try:
            self._count(maker())
        except Exception as error:  # noqa: BLE001  # whatever it is, neither the reader nor the next one suffers
            self._fault(error)
