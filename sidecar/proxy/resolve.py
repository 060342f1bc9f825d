"""Names to addresses: asked again after a while, and the last answer kept for when asking fails."""

import socket
from asyncio import AbstractEventLoop
from itertools import zip_longest
from typing import Final, NamedTuple

FRESH_SECONDS: Final = 30.0
"""How long an answer is used before the name is looked up again: a moved upstream is found within this."""


class Address(NamedTuple):
    """Somewhere to connect to."""

    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


class Resolver:
    """The addresses of one host, IPv6 and IPv4 taking turns."""

    def __init__(self, loop: AbstractEventLoop, host: str, port: int, *, fresh: float = FRESH_SECONDS) -> None:
        self._loop = loop
        self._host = host
        self._port = port
        self._fresh = fresh
        self._known: list[Address] = []
        self._until = 0.0

    async def addresses(self) -> list[Address]:
        """Look the host up, or use what is known; raises OSError where nothing is."""
        if self._loop.time() < self._until:
            return self._known
        try:
            found = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError:
            if not self._known:
                raise
        else:
            self._known = interleave([Address(family, sockaddr) for family, _, _, _, sockaddr in found])
            self._until = self._loop.time() + self._fresh
        return self._known

    def doubt(self) -> None:
        """Look up again next time: none of the addresses could be reached."""
        self._until = 0.0


def interleave(addresses: list[Address]) -> list[Address]:
    """Let the families take turns, the first answer's family first, so that one broken family costs one try."""
    first = [address for address in addresses if address.family == addresses[0].family]
    others = [address for address in addresses if address.family != addresses[0].family]
    return [address for pair in zip_longest(first, others) for address in pair if address is not None]
