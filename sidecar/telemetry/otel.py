"""Meets the application's OpenTelemetry: finds its provider without importing it, and lets no fault of it through."""

import logging
import sys
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Any, Final

_LOGGER: Final = logging.getLogger("sidecar.telemetry")

# By name, for some are private: what stands in while the application has set no provider, or switched it off.
_INERT: Final = frozenset({"ProxyTracerProvider", "NoOpTracerProvider", "_ProxyMeterProvider", "NoOpMeterProvider"})
"""By name, for some are private: what stands in while the application has set no provider, or switched it off."""


@dataclass(frozen=True, slots=True, eq=False)
class Api:
    """Where a part of OpenTelemetry's API keeps the provider that was set, and how to ask for it."""

    module: str
    getter: str
    home: str
    """The module, and below it the variable, that the getter looks at first."""
    slot: str


TRACES: Final = Api("opentelemetry.trace", "get_tracer_provider", "opentelemetry.trace", "_TRACER_PROVIDER")
METRICS: Final = Api(
    "opentelemetry.metrics", "get_meter_provider", "opentelemetry.metrics._internal", "_METER_PROVIDER"
)
_asked: Final[dict[Api, ModuleType]] = {}
"""The homes of those that were asked once."""


def active_provider(api: Api) -> Any:
    """Return the provider that the application set, or None; two look-ups when None."""
    # While none is set, the getter looks into the environment, which takes several microseconds: each time. So it is
    # asked once, as it may load a provider that the environment names, and then its variable is looked at.
    home = _asked.get(api)
    if home is not None and getattr(home, api.slot, home) is None:
        return None
    module = sys.modules.get(api.module)
    if module is None:  # nobody can have set one before the API was imported
        return None
    try:
        provider = getattr(module, api.getter)()
    except Exception:  # noqa: BLE001  # a provider that cannot be loaded, or a module that is still being imported
        return None
    if api.home in sys.modules:
        _asked[api] = sys.modules[api.home]
    return None if type(provider).__name__ in _INERT else provider


class _Guarded:
    """Not a generator with ``@contextmanager``: those cost more than most of what they would guard."""

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        _LOGGER.debug("tracing a call failed: %s", type(error).__name__)  # its text may quote content
        return True


_GUARDED: Final = _Guarded()


def guarded() -> _Guarded:
    """Swallow what samplers, processors and propagators of the application raise: no call may suffer from them."""
    return _GUARDED
