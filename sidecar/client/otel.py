"""What ``opentelemetry-instrument`` finds: the entry point through which it turns the observation on.

It has the methods that OpenTelemetry's instrumentors have, without needing their package.
"""

from collections.abc import Collection
from typing import Any

from sidecar.client.configure import configure
from sidecar.client.install import install, uninstall


class SidecarInstrumentor:
    """Observes every client of the process."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Name what is instrumented."""
        return ("anthropic >= 2",)

    def instrument(self, **_: Any) -> None:
        """Begin. Options meant for other instrumentors are left alone."""
        configure()
        install()

    def uninstrument(self, **_: Any) -> None:
        """Stop."""
        uninstall()
