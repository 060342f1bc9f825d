"""The section ``[proxy]``: its table of settings, and what they make together, checked as a whole.

Every value in the table is plain (text, number, list, table), so that it can be handed to another process as it is.
"""

import os
import re
import ssl
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sidecar.admin import Address, AdminError, parse_address
from sidecar.config import ConfigError, Setting, load, policy_tables
from sidecar.config.readers import choice, named, number, shown, switch, table, tables, text, whole
from sidecar.model import Profile
from sidecar.proxy.headers import DEFAULT
from sidecar.proxy.limits import MAY_BE_ZERO, Limits
from sidecar.proxy.listening import ListenError, Place, is_remote, parse_place
from sidecar.proxy.logs import LogFormat, LogLevel
from sidecar.proxy.observe import ProfileRule
from sidecar.proxy.origin import Origin, forward_proxy, parse_forward_proxy, parse_origin
from sidecar.proxy.routes import Target
from sidecar.proxy.server import Settings
from sidecar.proxy.shapes import Shape
from sidecar.proxy.tls import client_context

if TYPE_CHECKING:
    from sidecar.proxy.protect.settings import Protection

_PROFILES: Final = ", ".join(Profile)
_ADDRESS: Final = "HOST:PORT, such as 127.0.0.1:8788, or unix:/path (107 bytes at most)"
_MODES: Final = 0o777
_ROUTE: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NAMES: Final = "lower-case letters, digits, dots, dashes and underscores"


def _url(value: Any) -> str:
    parse_origin(text(value))
    return str(value)


def _via(value: Any) -> str:
    parse_forward_proxy(text(value), "via")
    return str(value)


def _place(value: Any) -> str:
    try:
        parse_place(text(value))
    except ListenError as error:
        raise ValueError(value) from error
    return str(value)


def _places(value: Any) -> list[str]:
    return [_place(each) for each in (value if isinstance(value, list) else [value])]


def _admin(value: Any) -> str:
    try:
        parse_address(text(value), allow_remote=True)
    except AdminError as error:
        raise ValueError(value) from error
    return str(value)


def _mode(value: Any) -> str:
    if not 0 <= int(text(value), 8) <= _MODES:
        raise ValueError(value)
    return str(value)


def _route(value: Any) -> str:
    if not _ROUTE.fullmatch(text(value)):
        raise ValueError(value)
    return str(value)


def _name(value: Any) -> str:
    if not _NAME.fullmatch(text(value)) or value == DEFAULT:
        raise ConfigError([f"{shown(value)} is no name for an upstream; it must be {_NAMES}, and not {DEFAULT!r}"])
    return str(value)


def _plain(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(value)  # noqa: TRY004  # every refusal of a value is the same kind
    return value


def _limit(name: str, default: float) -> Setting:
    above = name not in MAY_BE_ZERO
    least = "more than 0" if above else "0 or more"
    if isinstance(default, int):
        return Setting(whole(least=int(above)), f"a whole number, {least}", "", default)
    return Setting(number(above=above), f"a number, {least}", "", default)


LIMITS: Final[Mapping[str, Setting]] = {
    field.name: _limit(field.name, field.default) for field in fields(Limits) if field.default is not MISSING
}
"""The section ``[proxy.limits]``."""

_VIA: Final = Setting(
    _via, "a URL such as http://proxy.example:3128", "the forward proxy on the way; else what `HTTPS_PROXY` says"
)
_CA_FILE: Final = Setting(text, "the path of a PEM file", "certificates to trust in place of the system's")

UPSTREAMS: Final[Mapping[str, Setting]] = {
    "url": Setting(_url, "a URL such as https://gateway.example", "where its requests go"),
    "route": Setting(_route, "a path such as /bedrock", "the path that is for it, and all below"),
    "keep_route": Setting(switch, "true or false", "send the path on with the route, not without it", default=False),
    "shape": Setting(choice(Shape), ", ".join(Shape), "how its paths are built", default=Shape.ANTHROPIC.value),
    "preserve_host": Setting(switch, "true or false", "send the `host` header as the client wrote it", default=False),
    "via": _VIA,
    "ca_file": _CA_FILE,
}
"""Each ``[proxy.upstreams.NAME]``."""

LISTENERS: Final[Mapping[str, Setting]] = {
    "listen": Setting(_place, _ADDRESS, "where to take clients"),
    "profile": Setting(choice(Profile), _PROFILES, "what requests that come here are for"),
}
"""Each ``[[proxy.listeners]]``."""

RULES: Final[Mapping[str, Setting]] = {
    "profile": Setting(choice(Profile), _PROFILES, "what requests that fit are for"),
    "user_agent": Setting(text, "a text", "how the user agent begins", default=""),
    "model": Setting(text, "a text", "how the model's name begins", default=""),
}
"""Each ``[[proxy.profiles]]``."""

PROXY: Final[Mapping[str, Setting]] = {
    "listen": Setting(_places, f"{_ADDRESS}, or a list of them", "where to take clients", default=["127.0.0.1:8788"]),
    "admin": Setting(
        _admin, "HOST:PORT, such as 127.0.0.1:9464", "where metrics and health are", default="127.0.0.1:9464"
    ),
    "allow_remote": Setting(switch, "true or false", "let other machines reach `listen` and `admin`", default=False),
    "socket_mode": Setting(_mode, "a file mode in octal, such as 0660", "who may use a Unix socket", default="0600"),
    "upstream": Setting(
        _url, "a URL such as https://api.anthropic.com", "where requests go", default="https://api.anthropic.com"
    ),
    "via": _VIA,
    "ca_file": _CA_FILE,
    "profile": Setting(choice(Profile), _PROFILES, "what requests are for, unless they or a rule say otherwise"),
    "workers": Setting(
        whole(least=1), "a whole number, 1 or more", "processes that share the clients; limits hold for each", default=1
    ),
    "drain_seconds": Setting(
        number(), "a number, 0 or more", "how long requests under way may go on after SIGTERM", default=25.0
    ),
    "log_format": Setting(choice(LogFormat), ", ".join(LogFormat), "how log lines look", default="text"),
    "log_level": Setting(choice(LogLevel), ", ".join(LogLevel), "what is worth a log line", default="info"),
    "access_log": Setting(switch, "true or false", "a log line for each request, not only for failures", default=False),
    "upstreams": Setting(
        named(_name, UPSTREAMS, needed=("url",)), "sections: [proxy.upstreams.NAME]", "see below", default={}
    ),
    "limits": Setting(table(LIMITS), "a section: [proxy.limits]", "see below"),
    "listeners": Setting(
        tables(LISTENERS, needed=("listen", "profile")), "sections: [[proxy.listeners]]", "see below", default=[]
    ),
    "profiles": Setting(tables(RULES, needed=("profile",)), "sections: [[proxy.profiles]]", "see below", default=[]),
    "protect": Setting(
        switch, "true or false", "limit, retry, queue and break calls ([protection](protection.md))", default=False
    ),
    "protection": Setting(_plain, "a section: [proxy.protection]", "see below", default={}),
}
"""The section ``[proxy]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One place where clients are taken."""

    place: Place
    profile: Profile | None = None
    """What requests that come here are for, if that is settled by where they come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything about a running proxy that can be chosen."""

    proxy: Settings
    listeners: tuple[Listener, ...]
    admin: Address
    socket_mode: int
    workers: int
    drain_seconds: float
    log_format: LogFormat
    log_level: LogLevel
    access_log: bool
    values: Mapping[str, Any]
    """The settings it was made of: `build` makes it again of them, in another process too."""

    def kept_until_restart(self, new: "Config") -> list[str]:
        """Name the settings that differ in a new configuration, and cannot change while the process runs."""
        return [name for name in _FIXED if getattr(self, name) != getattr(new, name)]

    def changed_to(self, new: "Config") -> "Config":
        """Take from a new configuration what can change while the process runs."""
        values = {**new.values, "log_format": self.values["log_format"]}  # of those that stay, workers read only this
        return replace(new, values=values, **{name: getattr(self, name) for name in _FIXED})


_FIXED: Final = ("listeners", "admin", "socket_mode", "workers", "log_format")


def read_values(
    given: Mapping[str, Any], *, file: str | Path | None = None, environ: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Read the settings from code, environment and file, each checked by itself. Raises ConfigError."""
    values = load("proxy", PROXY, given, file=file, environ=environ)
    _, of_policies = policy_tables(file=file, environ=environ)
    return {**values, "policies": of_policies}


def build(values: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Config:
    """Make a configuration of settings, checked together. Raises ConfigError with every fault."""
    environ = os.environ if environ is None else environ
    faults: list[str] = []
    listeners = tuple(
        [Listener(place=parse_place(each)) for each in values["listen"]]
        + [
            Listener(place=parse_place(each["listen"]), profile=Profile(each["profile"]))
            for each in values["listeners"]
        ]
    )
    admin = parse_address(values["admin"], allow_remote=True)
    if values["workers"] > 1 and sys.platform != "linux":
        faults.append(f"workers is {values['workers']}, but only Linux can share clients out: leave it at 1")
    if not listeners:
        faults.append("listen is empty, and there is no [[proxy.listeners]]: name an address to listen on")
    if not values["allow_remote"]:
        faults += [_remote(str(each.place)) for each in listeners if is_remote(each.place)]
        if not admin.is_loopback:
            faults.append(
                f"admin is {admin}, which other machines can reach, and the pages there have no password: "
                "use 127.0.0.1, or allow it with --allow-remote (allow_remote)"
            )
    default = _target(DEFAULT, {**values, "url": values["upstream"]}, environ, "", faults)
    others = [_target(name, each, environ, f"upstreams.{name}.", faults) for name, each in values["upstreams"].items()]
    faults += [
        f"{name} is {listener.place}, where this proxy itself listens: a request would go round until nothing is left; "
        "name the API, or what stands between"
        for name, target in (("upstream", default), *((f"upstreams.{other.name}.url", other) for other in others))
        for listener in listeners
        if _is_same(target.origin, listener.place)
    ]
    routes = Counter(each["route"] for each in values["upstreams"].values() if each["route"])
    faults += [f"upstreams: the route {route} is given {n} times" for route, n in routes.items() if n > 1]
    protection = _protection(values, faults)
    if faults:
        raise ConfigError(faults)
    return Config(
        proxy=Settings(
            upstream=default.origin,
            via=default.via,
            ca_file=default.ca_file,
            others=tuple(others),
            limits=Limits(**(values["limits"] or {})),
            profile=Profile(values["profile"] or Profile.DEFAULT),
            profile_rules=tuple(
                ProfileRule(profile=Profile(each["profile"]), user_agent=each["user_agent"], model=each["model"])
                for each in values["profiles"]
            ),
            protection=protection,
        ),
        listeners=listeners,
        admin=admin,
        socket_mode=int(values["socket_mode"], 8),
        workers=values["workers"],
        drain_seconds=values["drain_seconds"],
        log_format=LogFormat(values["log_format"]),
        log_level=LogLevel(values["log_level"]),
        access_log=values["access_log"],
        values=values,
    )


def _is_same(origin: Origin, place: Place) -> bool:
    """Tell whether what is sent there surely comes here."""
    if not isinstance(place, Address) or origin.port != place.port:
        return False
    there, here = ("127.0.0.1" if host == "localhost" else host for host in (origin.host, place.host))
    return there == here or (there == "127.0.0.1" and here == "0.0.0.0")  # noqa: S104  # recognised, not bound


def _remote(place: str) -> str:
    return (
        f"listen is {place}, which other machines can reach: API keys would come to it unencrypted, and anyone there "
        "could send requests through this machine; use 127.0.0.1, or allow it with --allow-remote (allow_remote)"
    )


def _protection(values: Mapping[str, Any], faults: list[str]) -> "Protection | None":
    """Read how calls are protected. Where they are not, the policies are the client's affair alone."""
    if not values["protect"] and not values["protection"]:
        return None
    # All that protects loads only where it is asked for: it is a sixth of what a proxy loads.
    from sidecar.policy import SettingsError, policies  # noqa: PLC0415
    from sidecar.proxy.protect.settings import read_protection  # noqa: PLC0415

    of_profiles = policies({})
    try:
        if values["protect"]:
            of_profiles = policies(values.get("policies", {}))
    except SettingsError as error:
        faults += [f"{name} {problem}" for name, problem in error.faults]
    try:
        protection = read_protection(values["protection"], of_profiles)
    except SettingsError as error:
        faults += [f"protection.{name} {problem}" for name, problem in error.faults]
        return None
    return protection if values["protect"] else None


def _target(name: str, values: Mapping[str, Any], environ: Mapping[str, str], place: str, faults: list[str]) -> Target:
    origin = parse_origin(values["url"])
    via = None
    try:
        via = parse_forward_proxy(values["via"], "via") if values["via"] else forward_proxy(origin, environ)
    except ValueError as error:
        faults.append(f"{place}via: {error}")
    if values["ca_file"]:
        try:
            client_context(values["ca_file"])
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else "it is no PEM file"
            faults.append(f"{place}ca_file is {values['ca_file']!r}, which cannot be used: {reason}")
    return Target(
        name=name,
        origin=origin,
        via=via,
        ca_file=values["ca_file"],
        route=values.get("route") or "",
        keep_route=values.get("keep_route", False),
        shape=Shape(values.get("shape", Shape.ANTHROPIC)),
        preserve_host=values.get("preserve_host", False),
    )
