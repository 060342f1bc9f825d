"""What protection does, as data, and how it is read from ``[proxy.protection]``. It enforces nothing itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, get_args

from sidecar.model import Profile
from sidecar.policy import BreakerConfig, Policy, SettingsError, policies
from sidecar.policy.check import Faults

BREAKER_STATUSES: Final = (503, 529)
LANES: Final = ("upstream", "model")
_GIB: Final = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """How requests to ``messages`` and ``messages/count_tokens`` are protected. Sizes in bytes, times in seconds."""

    policies: Mapping[Profile, Policy] = field(default_factory=lambda: policies({}))
    """Timeouts, retries, retry budget and breaker of each profile."""
    breaker_status: int = 529
    """What an open breaker answers with: 529 (``overloaded_error``) or 503 (``api_error``)."""
    clients_retry: bool = False
    """Whether clients may try again what was given up here; if not, they are told ``x-should-retry: false``."""
    spool_bytes: int = 4 * 1024 * 1024
    """A request's body up to this size is kept, so that it can be sent again or upgraded."""
    spool_total_bytes: int = 256 * 1024 * 1024
    """The same for all requests under way together."""
    concurrency: int = 0
    """Requests under way upstream; 0 is no limit."""
    concurrency_per: str = "upstream"
    """What that limit is counted by: ``upstream`` or ``model``."""
    queue: int = 100
    """How many requests wait for their turn when the limit is reached (then 503)."""
    queue_seconds: float = 5.0
    """How long they wait (then 503)."""
    upgrade: bool = False
    """Whether a request that asks for no stream is sent upstream as one, and answered with the one message."""
    upgrade_bytes: int = 32 * 1024 * 1024
    """How long the stream of an upgraded request may be (then 502)."""
    keep_alive_seconds: float | None = None
    """Send white space ahead of an upgraded answer this often; None: never. It commits the status to 200."""

    def __post_init__(self) -> None:
        faults = Faults("protection")
        if self.breaker_status not in BREAKER_STATUSES:
            faults.add("breaker_status", self.breaker_status, " or ".join(map(str, BREAKER_STATUSES)))
        for name in ("clients_retry", "upgrade"):
            if not isinstance(getattr(self, name), bool):
                faults.add(name, getattr(self, name), "true or false")
        faults.whole("spool_bytes", self.spool_bytes, least=0, most=_GIB)
        faults.whole("spool_total_bytes", self.spool_total_bytes, least=0, most=64 * _GIB)
        faults.whole("concurrency", self.concurrency, least=0, most=1_000_000)
        faults.choice("concurrency_per", self.concurrency_per, LANES)
        faults.whole("queue", self.queue, least=0, most=1_000_000)
        faults.number("queue_seconds", self.queue_seconds, above=0)
        faults.whole("upgrade_bytes", self.upgrade_bytes, least=1, most=_GIB)
        faults.number("keep_alive_seconds", self.keep_alive_seconds, least=0.1, optional=True)
        missing = [profile.value for profile in Profile if profile not in self.policies]
        if missing:
            faults.note("policies", f"must have one for every profile; missing: {', '.join(missing)}")
        if len(self._breakers()) > 1:
            faults.note(
                "policies",
                "must not have breakers that differ by profile: all profiles share the breaker of a host and model;"
                " a profile may only switch it off",
            )
        faults.stop_if_any()

    @property
    def breaker(self) -> BreakerConfig | None:
        """The breaker that profiles share; None when none has one."""
        return next(iter(self._breakers()), None)

    def _breakers(self) -> list[BreakerConfig]:
        found: list[BreakerConfig] = []
        for policy in self.policies.values():
            if policy.breaker is not None and policy.breaker not in found:
                found.append(policy.breaker)
        return found


def read_protection(table: Mapping[str, Any], of_profiles: Mapping[Profile, Policy]) -> Protection:
    """Read ``[proxy.protection]``; ``false`` switches off what can be. One ``ValueError`` lists every fault.

    The policies are no part of that table: they stand beside it, as the client has them too (``policies()``).
    """
    known = {field.name: field for field in fields(Protection) if field.name != "policies"}
    faults = Faults("proxy.protection")
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            faults.note(name, f"is not known; known are {', '.join(known)}")
            continue
        optional = type(None) in get_args(known[name].type)
        values[name] = None if value is False and optional else value
    made = None
    try:
        made = Protection(policies=of_profiles, **values)
    except SettingsError as error:
        faults.take(error)
    if made is None or faults.found:
        raise SettingsError("proxy.protection", faults.found)
    return made
