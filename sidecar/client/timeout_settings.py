"""Tells the metrics which timeouts are in force: for each profile those of its newest request.

Requests of one profile may differ in them, by client or by call. Then the newest stands, and a profile is told of at
most ten times a second. Loads neither the SDK nor an HTTP library.
"""

from collections.abc import Mapping
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from sidecar.model import Phase, Profile
from sidecar.policy import Timeouts

if TYPE_CHECKING:
    from sidecar.client.observer import Reporter

__all__ = ["InForce", "in_force_for"]

_PAUSE: Final = 0.1


class InForce:
    """What a telemetry was last told."""

    __slots__ = ("_due", "told")

    def __init__(self) -> None:
        self.told: dict[Profile, Any] = {}
        """As it was found: whoever finds the same again need not tell it."""
        self._due: dict[Profile, float] = {}

    def tell(
        self,
        telemetry: "Reporter",
        profile: Profile,
        found: Timeouts | Mapping[str, float | None] | None,
        *,
        now: float,
    ) -> None:
        """Tell of a policy's timeouts, or of those that the HTTP client's transport is given. Never raises."""
        tell = getattr(telemetry, "timeouts", None)
        if tell is None or found is None or now < self._due.get(profile, now):
            return
        self._due[profile] = now + _PAUSE
        try:
            self.told[profile] = found if isinstance(found, Timeouts) else dict(found)
            tell(profile, found.by_phase() if isinstance(found, Timeouts) else _by_transport(found))
        except Exception as error:  # noqa: BLE001  # whatever it is, the call must not suffer
            with suppress(Exception):  # nobody is left to tell
                telemetry.internal_error("client.timeouts", error)


def _by_transport(timeouts: Mapping[str, float | None]) -> dict[Phase, float | None]:
    """One and the same read timeout is waited for before the response and within it; there is no total."""
    read = timeouts.get("read")
    return {
        Phase.POOL: timeouts.get("pool"),
        Phase.CONNECT: timeouts.get("connect"),
        Phase.WRITE: timeouts.get("write"),
        Phase.FIRST_BYTE: read,
        Phase.STALL: read,
        Phase.DEADLINE: None,
    }


_SHARED: "Final[WeakKeyDictionary[Reporter, InForce]]" = WeakKeyDictionary()
_LOCK: Final = Lock()


def in_force_for(telemetry: "Reporter") -> InForce:
    """Give what this telemetry was told, by whomever."""
    with _LOCK:
        try:
            return _SHARED.setdefault(telemetry, InForce())
        except TypeError:  # a reporter of the application's own that cannot be told apart
            return InForce()
