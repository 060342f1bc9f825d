"""Observability and SLO sidecar for the Claude API.

Public names load when they are first used: ``import sidecar`` alone loads neither anthropic nor OpenTelemetry.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from sidecar._version import __version__

__all__ = [
    "Anthropic",
    "AsyncAnthropic",
    "BreakerOpen",
    "BreakerRegistry",
    "CircuitBreaker",
    "Completed",
    "DeadlineExceeded",
    "Policy",
    "Resume",
    "Retry",
    "RetryBudget",
    "StreamInterrupted",
    "Telemetry",
    "Timeouts",
    "__version__",
    "complete",
    "configure",
    "deadline",
    "default_telemetry",
    "install",
    "instrument",
    "metrics_asgi_app",
    "metrics_wsgi_app",
    "profile",
    "serve_metrics",
    "uninstall",
]

# Public name -> the module that defines it. Type checkers read the same names from the block below it.
_HOMES: Final[dict[str, str]] = {
    "Anthropic": "sidecar.client.factory",
    "AsyncAnthropic": "sidecar.client.factory",
    "BreakerOpen": "sidecar.policy",
    "BreakerRegistry": "sidecar.policy",
    "CircuitBreaker": "sidecar.policy",
    "Completed": "sidecar.client.long.results",
    "DeadlineExceeded": "sidecar.policy",
    "Policy": "sidecar.policy",
    "Resume": "sidecar.client.long.resume",
    "Retry": "sidecar.policy",
    "RetryBudget": "sidecar.policy",
    "StreamInterrupted": "sidecar.client.errors",
    "Telemetry": "sidecar.telemetry.telemetry",
    "Timeouts": "sidecar.policy",
    "complete": "sidecar.client.long.calls",
    "configure": "sidecar.client.configure",
    "deadline": "sidecar.policy",
    "default_telemetry": "sidecar.telemetry.telemetry",
    "install": "sidecar.client.install",
    "instrument": "sidecar.client.install",
    "metrics_asgi_app": "sidecar.telemetry.apps",
    "metrics_wsgi_app": "sidecar.telemetry.apps",
    "profile": "sidecar.client.profile",
    "serve_metrics": "sidecar.admin.threaded",
    "uninstall": "sidecar.client.install",
}

if TYPE_CHECKING:
    from sidecar.admin.threaded import serve_metrics
    from sidecar.client.configure import configure
    from sidecar.client.errors import StreamInterrupted
    from sidecar.client.factory import Anthropic, AsyncAnthropic
    from sidecar.client.install import install, instrument, uninstall
    from sidecar.client.long.calls import complete
    from sidecar.client.long.results import Completed
    from sidecar.client.long.resume import Resume
    from sidecar.client.profile import profile
    from sidecar.policy import (
        BreakerOpen,
        BreakerRegistry,
        CircuitBreaker,
        DeadlineExceeded,
        Policy,
        Retry,
        RetryBudget,
        Timeouts,
        deadline,
    )
    from sidecar.telemetry.apps import metrics_asgi_app, metrics_wsgi_app
    from sidecar.telemetry.telemetry import Telemetry, default_telemetry
else:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'sidecar' has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
