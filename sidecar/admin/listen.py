"""Where the admin server listens, and for whom: other machines only when asked for, and never a rebound name."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

_ADDRESS: Final = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})", re.ASCII)
PORTS: Final = range(65_536)


class AdminError(Exception):
    """The admin server cannot be had as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host == "localhost" or bool((ip := _literal(self.host)) and ip.is_loopback)


def parse_address(text: str, *, allow_remote: bool = False) -> Address:
    """Read ``HOST:PORT`` or ``[IPV6]:PORT``; refuse what other machines can reach unless that is allowed."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) not in PORTS:
        raise AdminError(f"{text!r} is not an address to listen on: write HOST:PORT, such as 127.0.0.1:9464")
    address = Address(match["six"] or match["host"] or "0.0.0.0", int(match["port"]))  # noqa: S104  # checked next
    if not allow_remote and not address.is_loopback:
        raise AdminError(
            f"{text!r} can be reached from other machines, and the pages there have no password: "
            "listen on 127.0.0.1, or allow it with --allow-remote"
        )
    return address


def host_is_ours(header: str, listening: Address, names: Collection[str] = ()) -> bool:
    """Whether a ``Host`` header may be answered.

    A web page can make a browser believe that its own name means 127.0.0.1, and then read what only this machine can.
    Its name betrays it. Numeric addresses cannot be rebound. What listens for other machines cannot know all of its
    names, and is checked only if ``names`` says them.
    """
    host = header.strip().lower()
    host = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    if host in names:
        return True
    if not listening.is_loopback and not names:
        return True
    return host == "localhost" or host.endswith(".localhost") or _literal(host) is not None


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
