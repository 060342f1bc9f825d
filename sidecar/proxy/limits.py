"""What the proxy puts up with, and for how long: one frozen table, checked whole. It enforces nothing itself."""

from dataclasses import dataclass, fields
from math import isfinite
from typing import Final

MAY_BE_ZERO: Final = frozenset({"per_client", "replay_bytes", "idle_connections"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds. None undercuts the SDKs' own timeouts: those are for the apps to set."""

    head_bytes: int = 64 * 1024
    """Request line and headers, of requests (then 431) and of answers (then 502)."""
    headers: int = 256
    """How many headers a message may have."""
    body_bytes: int = 512 * 1024 * 1024
    """A request's body; beyond it 413. The API itself takes 32 MB, batches 256 MB, files 500 MB."""
    head_seconds: float = 15.0
    """From a request's first byte to the end of its headers (then 408); also for a TLS handshake upstream."""
    body_seconds: float = 60.0
    """Silence of a client in the middle of its request's body (then 408)."""
    idle_seconds: float = 300.0
    """A client's connection without a request."""
    write_seconds: float = 900.0
    """A client that reads nothing of an answer that is ready for it."""
    linger_seconds: float = 5.0
    """How long the rest of a refused request is still read, so that the client gets to see the answer."""
    connections: int = 10_000
    """Clients' connections (then 503)."""
    in_flight: int = 5_000
    """Requests under way (then 503 with ``retry-after``)."""
    per_client: int = 0
    """Requests under way for one client address; 0 is no limit, as behind a loopback address all look the same."""
    pipelined: int = 32
    """Requests a client may send ahead of their answers."""
    connect_seconds: float = 10.0
    """Reaching the upstream, name look-up and TLS handshake included (then 504)."""
    pool_seconds: float = 10.0
    """Waiting for one of the upstream's connections when ``upstream_connections`` are in use (then 503)."""
    silence_seconds: float = 900.0
    """An upstream that sends nothing (504 before the answer has begun; after it, the answer is broken off)."""
    upstream_connections: int = 5_000
    """Connections to one upstream: as many as requests may be under way."""
    idle_connections: int = 256
    """Of those, how many are kept for later."""
    upstream_idle_seconds: float = 60.0
    """How long one is kept for later."""
    replay_bytes: int = 64 * 1024
    """A request up to this size that met an upstream's idle connection just as that was being closed is sent again."""

    def __post_init__(self) -> None:
        faults = [
            f"{field.name} is {value!r}, but must be {'0 or more' if field.name in MAY_BE_ZERO else 'more than 0'}"
            for field in fields(self)
            for value in (getattr(self, field.name),)
            if not isfinite(value) or value < 0 or (value == 0 and field.name not in MAY_BE_ZERO)
        ]
        if faults:
            raise ValueError("limits: " + "; ".join(faults))
