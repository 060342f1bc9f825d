"""`Observer`: to whom calls are reported, and what is said of them beyond what the SDK knows.

Loads neither the SDK nor OpenTelemetry.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.client.timeout_settings import InForce
from sidecar.model import AttemptRecord, CallRecord, Profile, Source

if TYPE_CHECKING:
    from sidecar.client.call import Call
    from sidecar.client.policies import Policies
    from sidecar.policy import Policy
    from sidecar.telemetry import InFlight
    from sidecar.telemetry.traces import CallSpan


Maker = Callable[[], Iterable[AttemptRecord | CallRecord]]
"""Makes the records of something that has ended."""


class Reporter(Protocol):
    """What is needed of a `Telemetry`. One that has its ``ended(Maker)``, too, decides when the records are made."""

    @property
    def in_flight(self) -> "InFlight":
        """Calls under way."""

    def attempt(self, record: AttemptRecord, /) -> None:
        """Take a finished attempt."""

    def call(self, record: CallRecord, /) -> None:
        """Take a finished call."""

    def internal_error(self, where: str, error: BaseException, /) -> None:
        """Count a fault of ours."""


class Tracing(Protocol):
    """What is needed of whoever traces."""

    @property
    def active(self) -> bool:
        """Whether anybody traces; asked before each call, as most often nobody does."""

    def for_call(
        self,
        *,
        source: Source,
        endpoint: str,
        model: str,
        profile: Profile,
        stream: bool,
        started_at: float,
        host: str,
        port: int | None,
        begin: bool,
    ) -> "CallSpan | None":
        """Give the span of the call whose first request is about to be sent; None while nobody traces.

        ``begin``: where the SDK has made none, one of ours; else None there too.
        """


class Pace:
    """Lets one in ten a second through, or all that are rarer."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due = 0.0

    def lets_through(self, now: float) -> bool:
        """Whether it is time again."""
        if now < self._due:
            return False
        self._due = now + _PAUSE
        return True


_PAUSE: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """How the calls of a client, or of a whole process, are observed."""

    telemetry: Reporter
    profile: Profile | None = None
    """What its calls are for, where neither the call nor a ``profile(...)`` block says so."""
    tracing: Tracing | None = None
    policies: "Policies | bool | None" = None
    """What keeps its calls alive; False: nothing; None: what `configure` says."""
    clock: Callable[[], float] = time.monotonic
    """Also the one of the telemetry's ``in_flight``."""
    wall: Callable[[], float] = time.time
    limits: Pace = field(default_factory=Pace)
    """When to read rate limits again: only the newest are ever shown, and reading them costs more than all the rest."""
    in_force: InForce = field(default_factory=InForce)
    """Which timeouts the telemetry was told of."""

    def ended(self, records: Maker) -> None:
        """Report something that has ended; never raises."""
        try:
            later = getattr(self.telemetry, "ended", None)
            if later is not None:
                later(records)
                return
            made = records()
        except Exception as error:  # noqa: BLE001  # a broken way out must not reach the call
            self.fault("client.ended", error)
            return
        for record in made:
            try:
                if isinstance(record, CallRecord):
                    self.telemetry.call(record)
                else:
                    self.telemetry.attempt(record)
            except Exception as error:  # noqa: BLE001  # the same
                self.fault("client.ended", error)

    def fault(self, where: str, error: BaseException) -> None:
        """Report a fault of ours. It must not reach the call, so nothing is let out of here either."""
        with suppress(Exception):  # the reporter of faults is broken itself: nobody is left to tell
            self.telemetry.internal_error(where, error)


class Defaults:
    """What `configure` has set for the process."""

    profile: Profile | None = None
    traces: bool | None = None
    """False: no spans; True: also a call's span where the SDK makes none; None: only of attempts, below the SDK's."""
    policies: "Mapping[Profile, Policy] | None" = None
    """Of all clients that are given none of their own; None: they are observed only."""
    table: "Mapping[Profile, Policy] | None" = None
    """What a profile's name stands for as a policy; None: nothing was configured yet."""


CURRENT: Final[ContextVar["Call | None"]] = ContextVar("sidecar_call", default=None)
"""The call whose ``request()`` runs in this context."""
