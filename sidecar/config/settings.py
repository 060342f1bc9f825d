"""The tables of settings: name, how it is read, what is allowed. The loader and the documentation's test read them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecar.model import Profile

_PORTS: Final = 65_535


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a section. ``read`` takes a TOML value or an environment variable's text, or raises ValueError."""

    read: Callable[[Any], Any]
    allowed: str
    help: str
    default: Any = None


def _port(value: Any) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if type(number) is not int or not 0 <= number <= _PORTS:
        raise ValueError(value)
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(value)
    return value


_SWITCH: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


def _switch(value: Any) -> bool:
    if isinstance(value, str):
        return _SWITCH[value.lower()]
    if not isinstance(value, bool):
        raise ValueError(value)  # noqa: TRY004  # every refusal of a value is the same kind
    return value


def _socket(value: Any) -> str | bool:
    """Read a path, or whether to use the usual one. A text is always a path: the variable names it for others too."""
    if isinstance(value, str) and value.lower() in _SWITCH:
        raise ValueError(value)
    return _text(value) if isinstance(value, str) else _switch(value)


CLIENT: Final[Mapping[str, Setting]] = {
    "profile": Setting(
        lambda value: Profile(value).value, ", ".join(Profile), "what calls are for, unless they say so themselves"
    ),
    "metrics_port": Setting(
        _port, f"a port, 0 (any free one) to {_PORTS}", "serve `/metrics` on this port of the process's own"
    ),
    "metrics_address": Setting(
        _text, "an address of this machine", "the address to serve `/metrics` on", default="127.0.0.1"
    ),
    "socket": Setting(
        _socket,
        "a path, or (not in the variable) true for the usual one",
        "send records to the sidecar that listens on this socket",
    ),
    "traces": Setting(_switch, "true or false", "make spans of attempts when a tracer provider is set", default=True),
}
"""The section ``[client]``."""
