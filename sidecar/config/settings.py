"""The tables of settings: name, how it is read, what is allowed. The loader and the documentation's test read them."""

from collections.abc import Mapping
from typing import Any, Final

from sidecar.config.readers import PORTS, Setting, choice, is_switch, port, switch, text
from sidecar.model import Profile


def _socket(value: Any) -> str | bool:
    """Read a path, or whether to use the usual one. A text is always a path: the variable names it for others too."""
    if isinstance(value, str) and is_switch(value):
        raise ValueError(value)
    return text(value) if isinstance(value, str) else switch(value)


CLIENT: Final[Mapping[str, Setting]] = {
    "profile": Setting(choice(Profile), ", ".join(Profile), "what calls are for, unless they say so themselves"),
    "policies": Setting(
        switch,
        "true or false",
        "keep calls alive as their profile's policy says ([policies](#policies))",
        default=False,
    ),
    "metrics_port": Setting(
        port, f"a port, 0 (any free one) to {PORTS}", "serve `/metrics` on this port of the process's own"
    ),
    "metrics_address": Setting(
        text, "an address of this machine", "the address to serve `/metrics` on", default="127.0.0.1"
    ),
    "socket": Setting(
        _socket,
        "a path, or (not in the variable) true for the usual one",
        "send records to the sidecar that listens on this socket",
    ),
    "traces": Setting(
        switch,
        "true or false",
        "true: also a call's own span where the SDK makes none; false: no spans; by default those of attempts, below "
        "the SDK's own",
    ),
}
"""The section ``[client]``."""
