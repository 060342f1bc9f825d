"""Assert on what your code did with the Claude API: no port, no scrape, no sleeping.

>>> with recording() as seen:
...     my_application()
>>> assert seen.calls.timeouts == 1
>>> assert seen.attempts.overloaded == 2

pytest users get the same as the fixture ``sidecar_recorder``.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar, overload

from sidecar.model import AttemptRecord, CallRecord, Outcome
from sidecar.telemetry import Telemetry, default_telemetry

__all__ = ["Recorder", "Records", "recording"]

_Record = TypeVar("_Record", AttemptRecord, CallRecord)


class Records(Sequence[_Record], Generic[_Record]):
    """Records in the order they ended, and how many there are of each outcome."""

    def __init__(self, records: Sequence[_Record] = ()) -> None:
        self._records: Final[tuple[_Record, ...]] = tuple(records)

    @overload
    def __getitem__(self, index: int) -> _Record: ...
    @overload
    def __getitem__(self, index: slice) -> "Records[_Record]": ...
    def __getitem__(self, index: int | slice) -> "_Record | Records[_Record]":
        return Records(self._records[index]) if isinstance(index, slice) else self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        told = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.items())
        return f"<{len(self)} records: {told or 'none'}>"

    def where(self, **fields: Any) -> "Records[_Record]":
        """Return those whose fields have these values: ``calls.where(model="claude-x", stream=True)``."""
        return Records([each for each in self if all(getattr(each, name) == value for name, value in fields.items())])

    @property
    def outcomes(self) -> dict[str, int]:
        """How many there are of each outcome that occurred."""
        return dict(Counter(record.outcome.value for record in self))

    def count_of(self, outcome: Outcome) -> int:
        """How many ended so."""
        return sum(record.outcome is outcome for record in self)

    @property
    def ok(self) -> int:
        """How many succeeded."""
        return self.count_of(Outcome.OK)

    @property
    def timeouts(self) -> int:
        """How many timed out, in whatever phase."""
        return self.count_of(Outcome.TIMEOUT)

    @property
    def rate_limited(self) -> int:
        """How many ended with 429."""
        return self.count_of(Outcome.RATE_LIMITED)

    @property
    def overloaded(self) -> int:
        """How many ended with 529."""
        return self.count_of(Outcome.OVERLOADED)

    @property
    def server_errors(self) -> int:
        """How many ended with another 5xx, or an answer that could not be parsed."""
        return self.count_of(Outcome.SERVER_ERROR)

    @property
    def connection_errors(self) -> int:
        """How many found no connection, or lost it."""
        return self.count_of(Outcome.CONNECTION_ERROR)

    @property
    def client_errors(self) -> int:
        """How many were the caller's own fault."""
        return self.count_of(Outcome.CLIENT_ERROR)

    @property
    def truncated(self) -> int:
        """How many streams ended before their end."""
        return self.count_of(Outcome.TRUNCATED)

    @property
    def cancelled(self) -> int:
        """How many the application gave up."""
        return self.count_of(Outcome.CANCELLED)

    @property
    def rejected(self) -> int:
        """How many calls were not sent at all."""
        return self.count_of(Outcome.REJECTED)

    @property
    def failed(self) -> int:
        """How many did not succeed."""
        return len(self) - self.ok


class Recorder:
    """Keeps every record it is told, as a sink of a `Telemetry`.

    It comes with a ``telemetry`` of its own: give that to the client under test, or feed it records yourself.
    """

    def __init__(self) -> None:
        self._attempts: Final[list[AttemptRecord]] = []
        self._calls: Final[list[CallRecord]] = []
        self.telemetry: Final = Telemetry()
        self.telemetry.add_sink(self)

    @property
    def calls(self) -> Records[CallRecord]:
        """The calls that have ended so far."""
        return Records(self._calls)

    @property
    def attempts(self) -> Records[AttemptRecord]:
        """The attempts that have ended so far."""
        return Records(self._attempts)

    def attempt(self, record: AttemptRecord, /) -> None:
        """Keep an attempt."""
        self._attempts.append(record)

    def call(self, record: CallRecord, /) -> None:
        """Keep a call."""
        self._calls.append(record)

    def clear(self) -> None:
        """Forget what was recorded."""
        self._attempts.clear()
        self._calls.clear()


@contextmanager
def recording(telemetry: Telemetry | None = None) -> Iterator[Recorder]:
    """Record what ``telemetry`` is told within the block: by default what every instrumented client reports."""
    recorder = Recorder()
    watched = telemetry or default_telemetry()
    watched.add_sink(recorder)
    try:
        yield recorder
    finally:
        watched.remove_sink(recorder)
