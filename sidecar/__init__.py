"""Observability and SLO sidecar for the Claude API.

Public names load when they are first used: ``import sidecar`` alone loads neither anthropic nor OpenTelemetry.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from sidecar._version import __version__

__all__ = ["__version__"]

# Public name -> the module that defines it. Type checkers read the same names from the block below it.
_HOMES: Final[dict[str, str]] = {}

if TYPE_CHECKING:
    pass
else:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'sidecar' has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
