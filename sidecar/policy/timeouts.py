"""How long each phase of a call may last, as data: the profiles, and whether a call can finish in one."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Final

from sidecar.model import Phase, Profile
from sidecar.policy.check import Faults

SDK_TOKENS_PER_SECOND: Final = 128_000 / 3600
"""What the SDK reckons with when it refuses a long answer that is not streamed."""

_LEAST: Final = 0.001
"""A timeout of 0 means "none" to some HTTP clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A call that cannot finish in time, and why."""

    needed: float
    """Seconds the answer takes at the speed asked about."""
    limit: float
    """Seconds there are."""
    phase: Phase
    """What would run out."""
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds for each phase of a call; None: no limit.

    All but ``total`` hold for one attempt; ``total`` covers the call with its retries and waits.
    """

    connect: float | None = 5.0
    pool: float | None = 600.0
    write: float | None = 600.0
    first_byte: float | None = 600.0
    """From the request sent to the response begun. Only a stream begins early: see ``for_attempt``."""
    stall: float | None = 600.0
    """Silence within a response."""
    total: float | None = None

    def __post_init__(self) -> None:
        faults = Faults("timeouts")
        for field in fields(self):
            faults.number(field.name, getattr(self, field.name), above=0, optional=True)
        faults.stop_if_any()

    def by_phase(self) -> dict[Phase, float | None]:
        """Tell how long each phase may last; ``total`` is the deadline."""
        return {
            Phase.POOL: self.pool,
            Phase.CONNECT: self.connect,
            Phase.WRITE: self.write,
            Phase.FIRST_BYTE: self.first_byte,
            Phase.STALL: self.stall,
            Phase.DEADLINE: self.total,
        }

    def for_attempt(self, remaining: float | None, *, stream: bool) -> "Timeouts":
        """Fit one attempt into what remains of its call (None: it has no end).

        An answer that is not streamed stays silent until it is complete, so it may use all that remains as its
        ``first_byte``.
        """
        if remaining is None:
            return self
        remaining = max(remaining, _LEAST)
        return Timeouts(
            connect=_least(self.connect, remaining),
            pool=_least(self.pool, remaining),
            write=_least(self.write, remaining),
            first_byte=_least(self.first_byte, remaining) if stream else remaining,
            stall=_least(self.stall, remaining),
            total=remaining,
        )

    def advise(
        self,
        max_tokens: int,
        stream: bool,  # noqa: FBT001  # the request's own field
        *,
        tokens_per_second: float = SDK_TOKENS_PER_SECOND,
    ) -> Advice | None:
        """Say why an answer of ``max_tokens`` cannot finish in time at this speed; None when it can."""
        faults = Faults("advise")
        faults.whole("max_tokens", max_tokens, least=0, most=10**9)
        faults.number("tokens_per_second", tokens_per_second, above=0)
        faults.stop_if_any()
        if self.total is not None:
            limit, phase = self.total, Phase.DEADLINE
        elif self.first_byte is not None and not stream:
            limit, phase = self.first_byte, Phase.FIRST_BYTE
        else:
            return None
        needed = max_tokens / tokens_per_second
        if needed <= limit:
            return None
        room = int(limit * tokens_per_second)
        name, way = ("total", "") if phase is Phase.DEADLINE else ("first_byte", " and streams nothing")
        return Advice(
            needed=needed,
            limit=limit,
            phase=phase,
            reason=(
                f"{max_tokens} tokens at {tokens_per_second:.3g} tokens/s take {needed:.0f} s,"
                f" but {name} is {limit:g} s{way}: ask for at most {room} tokens,"
                f" {'raise the timeout' if stream else 'stream the answer with a longer timeout'}"
                " or use a profile with more time"
            ),
        )


def _least(limit: float | None, remaining: float) -> float:
    return remaining if limit is None else min(limit, remaining)


PROFILES: Final[Mapping[Profile, Timeouts]] = MappingProxyType(
    {
        Profile.REALTIME: Timeouts(connect=2.0, pool=1.0, write=5.0, first_byte=10.0, stall=5.0, total=25.0),
        Profile.INTERACTIVE: Timeouts(connect=3.0, pool=2.0, write=10.0, first_byte=30.0, stall=20.0, total=75.0),
        Profile.AGENTIC: Timeouts(connect=5.0, pool=5.0, write=20.0, first_byte=60.0, stall=45.0, total=150.0),
        Profile.BACKGROUND: Timeouts(connect=5.0, pool=30.0, write=30.0, first_byte=120.0, stall=60.0, total=300.0),
        Profile.DEFAULT: Timeouts(),  # the SDK's own: 600 s for each read, 5 s to connect, no total
    }
)
"""The timeouts of each profile. ``total`` is for a call; in ``agentic`` that is one turn of the agent."""
