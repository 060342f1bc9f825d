"""Which upstream a request goes to: the one it names, else the one its path belongs to, else the default."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sidecar.proxy.headers import DEFAULT, RequestHead
from sidecar.proxy.origin import ForwardProxy, Origin
from sidecar.proxy.shapes import Shape

HEADER: Final = b"x-sidecar-upstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One upstream, and which requests are for it."""

    origin: Origin
    name: str = DEFAULT
    via: ForwardProxy | None = None
    """The forward proxy on the way, if any."""
    ca_file: str | None = None
    """Certificates to trust in place of the system's."""
    route: str = ""
    """The path that is for it, such as ``/bedrock``: it, and all below."""
    keep_route: bool = False
    """Send the path on with the route; else it is taken off."""
    shape: Shape = Shape.ANTHROPIC
    preserve_host: bool = False
    """Send the ``host`` header as the client wrote it, not the upstream's own."""


class Router:
    """Chooses."""

    def __init__(self, targets: Iterable[Target]) -> None:
        routes = [(each.route.encode("ascii"), each.keep_route, each.name) for each in targets if each.route]
        self._routes = sorted(routes, key=lambda route: -len(route[0]))  # the most particular first

    def choose(self, head: RequestHead) -> RequestHead:
        """Name the upstream a request is for, and take its route off the path. The name may be one there is not."""
        named = head.watched.get(HEADER)
        if named is not None:
            return head.towards(named.decode("latin-1"), head.target)
        target = head.target
        for route, keep, name in self._routes:
            if target.startswith(route) and target[len(route) : len(route) + 1] in _BOUNDARIES:
                rest = target if keep else target[len(route) :]
                return head.towards(name, rest if rest.startswith(b"/") else b"/" + rest)
        return head


_BOUNDARIES: Final = frozenset({b"/", b"?", b""})
