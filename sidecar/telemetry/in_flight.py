"""Calls under way: how many, how old the oldest is, how long the longest current silence.

The gauges are worked out when they are asked for; a call only leaves its marks, each a single assignment.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from sidecar.model import Profile, Source

Key = tuple[str, ...]
"""Label values: endpoint, model, source."""


class Flight:
    """What is shown of a call under way."""

    __slots__ = ("began", "key", "silent_since")

    def __init__(self, key: Key, began: float) -> None:
        self.key: Final = key
        self.began: Final = began
        self.silent_since: float | None = None
        """Since when the next byte is waited for, by the clock of its `InFlight`; None while nobody waits."""


class Ticket:
    """One call under way. Marks may come from any thread; a ticket that is lost counts as ended."""

    __slots__ = ("_clock", "_live", "flight")

    def __init__(self, flight: Flight, live: set[Flight], clock: Callable[[], float]) -> None:
        self.flight: Final = flight
        """For loops that mark each chunk, and have read the clock for it already."""
        self._live = live
        self._clock = clock
        live.add(flight)

    def waiting(self) -> None:
        """Mark that the wait for the next byte begins now: call it before each read."""
        self.flight.silent_since = self._clock()

    def idle(self) -> None:
        """Mark that nobody waits for a byte: it came, or the application pauses between two reads."""
        self.flight.silent_since = None

    @property
    def live(self) -> bool:
        """Whether the call is under way here; not once it has ended, nor after a fork, in the child."""
        return self.flight in self._live

    def end(self) -> bool:
        """Mark the end of the call, if it was ``live``, and say so; doing so again changes nothing."""
        live = self.live
        self._live.discard(self.flight)
        return live

    def __del__(self) -> None:
        self._live.discard(self.flight)


@dataclass(frozen=True, slots=True)
class Load:
    """The calls under way with one set of labels."""

    count: int = 0
    oldest: float = 0.0
    silent: float = 0.0


class Start(NamedTuple):
    """What is known of a call when it begins."""

    endpoint: str
    model: str
    source: Source | None
    profile: Profile | None
    stream: bool | None


Like = tuple[str, str, Source | None, Profile | None, bool | None]
"""The same as a plain tuple, which costs a call less to make."""


class InFlight:
    """Hands out a ticket per call, and reads them all when asked."""

    def __init__(self, admit: Callable[[Start], tuple[Key, bool]], clock: Callable[[], float]) -> None:
        self._admit: Final = admit
        self._clock: Final = clock
        self._live: Final[set[Flight]] = set()
        self._known: Final[dict[Like, Key]] = {}
        # What was once under way stays visible as 0. The label guard bounds it.
        self._seen: Final[dict[Key, None]] = {}

    def begin(
        self,
        endpoint: str,
        model: str,
        *,
        profile: Profile | None = None,
        stream: bool | None = None,
        source: Source | None = None,
    ) -> Ticket:
        """Begin a call. With ``profile`` and ``stream`` its counters, too, exist from now on, at 0.

        That lets a scrape see them before the call fails, and ``rate()`` see the failure. ``source`` is by default
        the telemetry's own.
        """
        return self.take_up((endpoint, model, source, profile, stream), self._clock())

    def take_up(self, start: Like, began: float) -> Ticket:
        """Begin a call that ``began`` before now, by the same clock."""
        return Ticket(Flight(self.show(start), began), self._live, self._clock)

    def show(self, start: Like) -> Key:
        """Make visible whatever `begin` makes visible, for a call that is over already; returns its labels."""
        try:
            key = self._known.get(start)
        except TypeError:  # something unhashable: the guard says what becomes of it
            key = None
        if key is None:
            key, stable = self._admit(Start(*start))
            self._seen[key] = None
            if stable:
                self._known[start] = key
        return key

    def loads(self) -> dict[Key, Load]:
        """Work out the gauges as of now."""
        loads = dict.fromkeys(list(self._seen), Load())
        now = self._clock()
        for flight in list(self._live):
            load, since = loads.get(flight.key, Load()), flight.silent_since
            loads[flight.key] = Load(
                load.count + 1,
                max(load.oldest, now - flight.began),
                max(load.silent, 0.0 if since is None else now - since),
            )
        return loads

    def clear(self) -> None:
        """Forget every call under way: after a fork they are the parent's."""
        self._live.clear()
