"""What one attempt is told of time: how long each phase may last, whoever asks, and whenever.

Transports ask for the timeout of a phase when it begins. So the mapping they ask can answer with what is left of the
call by then, and with another limit for the body than for the headers. Knows httpx2, not the SDK.
"""

import weakref
from collections.abc import Callable
from typing import Any, Final

import httpx2

from sidecar.policy import Timeouts

_LEAST: Final = 0.001
"""A timeout of 0 means "at once" or "none", depending on who is asked."""

KEY_OF: Final = {
    httpx2.PoolTimeout: "pool",
    httpx2.ConnectTimeout: "connect",
    httpx2.WriteTimeout: "write",
    httpx2.ReadTimeout: "read",
}


class Limits(dict[str, float | None]):
    """The timeouts of one attempt, in the shape of ``request.extensions["timeout"]``."""

    __slots__ = ("_by_deadline", "_stall", "clock", "end", "responding")

    def __init__(self, timeouts: Timeouts, clock: Callable[[], float]) -> None:
        super().__init__(connect=timeouts.connect, read=timeouts.first_byte, write=timeouts.write, pool=timeouts.pool)
        self.clock = clock
        self._stall = timeouts.stall
        self.end = None if timeouts.total is None else clock() + timeouts.total
        """When the call's own time runs out, by ``clock``; None: never."""
        self._by_deadline: set[str] = set()
        self.responding = False
        """The response has begun: from now on a read may last as long as a stall."""

    def get(self, key: str, default: Any = None) -> Any:
        """Give the seconds this phase may take if it begins now."""
        limit = self._stall if self.responding and key == "read" else super().get(key, default)
        if self.end is None:
            return limit
        left = max(self.end - self.clock(), _LEAST)
        if limit is None or left <= limit:
            self._by_deadline.add(key)
            return left
        self._by_deadline.discard(key)
        return limit

    def __getitem__(self, key: str) -> Any:
        return self.get(key)

    def is_spent(self) -> bool:
        """Whether nothing is left of the call's own time."""
        return self.end is not None and self.clock() >= self.end

    def is_deadline(self, error: BaseException) -> bool:
        """Whether a timeout came when it did because the call's own time ran out."""
        if not isinstance(error, httpx2.TimeoutException):
            return False
        key = KEY_OF.get(type(error))
        return key in self._by_deadline if key else self.is_spent()


def bound_reads(response: httpx2.Response, limits: Limits) -> Callable[[], None] | None:
    """Have every read of the body ask anew what is left. Gives what undoes it; None where it cannot be done.

    A transport asks once for the whole body, so that each read could last a full stall beyond the call's end. Only of
    HTTP/1.1: there the connection is this response's alone.
    """
    network = response.extensions.get("network_stream")
    if network is None or response.extensions.get("http_version") != b"HTTP/1.1" or "read" in vars(network):
        return None
    read = type(network).read
    owner = weakref.ref(network)  # the connection is not to keep itself alive

    def bounded(max_bytes: int, timeout: float | None = None) -> Any:  # noqa: ARG001  # the transport's is from before
        return read(owner(), max_bytes, limits.get("read"))

    network.read = bounded

    def undo() -> None:
        vars(network).pop("read", None)

    return undo


def timeouts_of(given: Any) -> Timeouts:
    """Read a timeout as applications write them for the SDK: seconds, None, or a ``Timeout`` of httpx2 or httpx.

    It replaces a profile's limits altogether. As with the SDK each read may take that long, and there is no total.
    """
    if given is None or isinstance(given, int | float):
        connect = read = write = pool = given
    else:
        connect, read, write, pool = given.connect, given.read, given.write, given.pool
    limits = {"connect": connect, "write": write, "pool": pool, "first_byte": read, "stall": read}
    return Timeouts(
        total=None, **{name: None if value is None else max(float(value), _LEAST) for name, value in limits.items()}
    )


def converted(timeout: Any) -> Any:
    """Turn a ``Timeout`` of httpx, which the SDK refuses, into one of httpx2; leave everything else as it is."""
    kind = type(timeout)
    if kind.__module__.partition(".")[0] != "httpx" or not hasattr(timeout, "pool"):
        return timeout
    return httpx2.Timeout(connect=timeout.connect, read=timeout.read, write=timeout.write, pool=timeout.pool)
