"""Where requests are sent: an upstream's URL taken apart, and whether a forward proxy lies on the way."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Origin:
    """One upstream."""

    scheme: str
    host: str
    port: int
    prefix: str = ""
    """A path put in front of each request's own."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority.decode('ascii')}{self.prefix}"

    @property
    def tls(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.scheme == "https"

    @property
    def authority(self) -> bytes:
        """What the host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}").encode("ascii")


@dataclass(frozen=True, slots=True)
class ForwardProxy:
    """A proxy that tunnels to the upstream (``CONNECT``)."""

    host: str
    port: int
    authorization: bytes | None = None
    """The value of ``proxy-authorization``, from the URL's user and password."""


def parse_origin(url: str) -> Origin:
    """Take an upstream's URL apart; a query, fragment or user in it is refused."""
    parts, port = _split(url, "upstream")
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"the upstream is {_shown(url)!r}, but must look like https://api.anthropic.com")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"the upstream {_shown(url)!r} must be only scheme, host, port and path")
    host = parts.hostname.encode("idna").decode("ascii") if not parts.hostname.isascii() else parts.hostname
    return Origin(parts.scheme, host, port or _PORTS[parts.scheme], parts.path.rstrip("/"))


def forward_proxy(origin: Origin, environ: Mapping[str, str]) -> ForwardProxy | None:
    """Find the forward proxy for an upstream in ``HTTPS_PROXY`` and ``NO_PROXY`` (in either case, lower first)."""
    url = environ.get("https_proxy") or environ.get("HTTPS_PROXY")
    if not origin.tls or not url or _excepted(origin, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    return parse_forward_proxy(url, "HTTPS_PROXY")


def parse_forward_proxy(url: str, name: str) -> ForwardProxy:
    """Take a forward proxy's URL apart; ``name`` is what the setting is called."""
    parts, port = _split(url if "://" in url else f"http://{url}", name)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{name} is {_shown(url)!r}, but must look like http://proxy.example:3128")
    authorization = None
    if parts.username is not None:
        from base64 import b64encode  # noqa: PLC0415  # rarely needed
        from urllib.parse import unquote  # noqa: PLC0415

        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + b64encode(user.encode())
    return ForwardProxy(parts.hostname, port or 80, authorization)


def _split(url: str, name: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"{name} is {_shown(url)!r}, which is no URL: check its host and port") from None
    return parts, port


def _shown(url: str) -> str:
    """Hide a password in what an error shows."""
    before, at, after = url.rpartition("@")
    return f"{before.partition('://')[0]}://...@{after}" if at and "://" in before else (after if at else url)


def _excepted(origin: Origin, no_proxy: str) -> bool:
    for rule in no_proxy.replace(",", " ").split():
        name, _, port = rule.rpartition(":") if rule.rpartition(":")[2].isdecimal() else (rule, "", "")
        if port and int(port) != origin.port:
            continue
        if name == "*" or _within(origin.host, name):
            return True
    return False


def _within(host: str, rule: str) -> bool:
    try:
        return ip_address(host) in ip_network(rule.strip("[]"), strict=False)
    except ValueError:
        domain = rule.lower().removeprefix("*").lstrip(".")
        return bool(domain) and (host == domain or host.endswith("." + domain))
