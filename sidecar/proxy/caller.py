"""Who asks, and what for, as far as a request's head says: read once for all requests that share the head."""

from dataclasses import dataclass
from typing import Final

from sidecar.model import Profile, Source, TraceRef
from sidecar.proxy.headers import RequestHead
from sidecar.proxy.shapes import Shape, Told, read_path
from sidecar.telemetry.traces import parse_traceparent

_PROFILES: Final = {profile.value.encode(): profile for profile in Profile}
_CLAUDE_CODE: Final = b"claude-cli/"
_COUNT_DIGITS: Final = 3  # no sensible number of retries is longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a request's head says."""

    told: Told
    """What its path says."""
    method: str
    agent: str
    profile: Profile | None
    """The use it names."""
    number: int | None
    """How many attempts came before it, if it says so and can be believed."""
    source: Source
    trace: TraceRef | None
    key: tuple[bytes, bytes, bytes]
    """What a retry's head has in common with it."""


def read_caller(head: RequestHead, shape: Shape) -> Caller:
    """Read a head."""
    watched = head.watched
    agent = watched.get(b"user-agent", b"")
    said = watched.get(b"x-stainless-retry-count", b"")
    # Claude Code says 0 each time.
    counts = said.isdigit() and len(said) <= _COUNT_DIGITS and not agent.startswith(_CLAUDE_CODE)
    trace = watched.get(b"traceparent", b"")
    return Caller(
        told=read_path(shape, head.target),
        method=head.method.decode("ascii"),
        agent=agent.decode("latin-1"),
        profile=_PROFILES.get(watched.get(b"x-sidecar-profile", b"")),
        number=int(said) if counts else None,
        source=Source.PROXY if counts else Source.INFERRED,
        trace=parse_traceparent(trace.decode("latin-1").lower()),
        key=(head.method, head.target, trace[:35]),
    )
