"""`configure`: sets, once for the process, where records go and what calls are for."""

from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sidecar.client.observer import Defaults
from sidecar.client.policies import configured
from sidecar.config import CLIENT, ConfigError, load
from sidecar.model import Profile

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from sidecar.telemetry import Telemetry

_LOCK: Final = RLock()
_Read = TypeVar("_Read")


def configure(
    *,
    file: str | Path | None = None,
    profile: Profile | str | None = None,
    policies: bool | None = None,
    registry: "CollectorRegistry | None" = None,
    metrics_port: int | None = None,
    metrics_address: str | None = None,
    socket: str | Path | bool | None = None,
    traces: bool | None = None,
) -> None:
    """Set where records go and what calls are for. What is not given comes from ``SIDECAR_*``, else from the file.

    ``policies``: keep the calls of every observed client alive as their profile's policy says, which the file changes;
    clients that are given a ``policy`` go by that.

    ``traces``: False makes no spans at all, True also the span of a call where the SDK makes none; by default there are
    those of attempts, below the SDK's own.

    The file is ``file``, else ``$SIDECAR_CONFIG``, else ``sidecar.toml`` where there is one. ``registry``: show the
    metrics on a registry of the application's too. Doing so again replaces what was set before. Every fault of the
    configuration is told at once, in a `ConfigError`, and then nothing has changed.
    """
    given = {
        "profile": profile,
        "policies": policies,
        "metrics_port": metrics_port,
        "metrics_address": metrics_address,
        "socket": str(socket) if isinstance(socket, Path) else socket,
        "traces": traces,
    }
    faults: list[str] = []
    table = _or_faults(lambda: configured(file), faults)
    settings = _or_faults(lambda: load("client", CLIENT, given, file=file), faults)
    if settings is None or table is None:
        raise ConfigError(list(dict.fromkeys(faults)))
    with _LOCK:
        _OUTLETS.open(settings, registry)
        Defaults.table = table
        Defaults.policies = table if settings["policies"] else None
        Defaults.profile = None if settings["profile"] is None else Profile(settings["profile"])


def _or_faults(read: Callable[[], _Read], faults: list[str]) -> _Read | None:
    try:
        return read()
    except ConfigError as error:
        faults.extend(error.faults)
        return None


class _Outlets:
    """The ways out that were opened for the process, so that opening others closes them."""

    def __init__(self) -> None:
        self._server: Any = None
        self._served: tuple[Any, ...] = ()
        self._sender: Any = None
        self._sent: str | bool | None = None
        self._registries: list[CollectorRegistry] = []

    def open(self, settings: dict[str, Any], registry: "CollectorRegistry | None") -> None:
        from sidecar.telemetry import default_telemetry  # noqa: PLC0415  # loads when it is used

        telemetry = default_telemetry()
        self._serve(settings["metrics_port"], settings["metrics_address"])
        self._send(telemetry, settings["socket"])
        Defaults.traces = settings["traces"]
        if registry is not None and registry not in self._registries:
            telemetry.register(registry)
            self._registries.append(registry)

    def _serve(self, port: int | None, address: str) -> None:
        wanted = (port, address)
        if wanted == self._served:
            return
        if self._server is not None:
            self._server.close()
            self._server, self._served = None, ()
        if port is not None:
            from sidecar.admin.threaded import serve_metrics  # noqa: PLC0415  # loads when it is used

            self._server = serve_metrics(port, address)
            self._served = wanted

    def _send(self, telemetry: "Telemetry", socket: str | bool | None) -> None:  # noqa: FBT001  # a path, or whether
        if socket == self._sent:
            return
        if self._sender is not None:
            telemetry.remove_sink(self._sender)
            self._sender.close()
            self._sender, self._sent = None, None
        if socket:
            from sidecar.telemetry.socket import SocketSender  # noqa: PLC0415  # loads when it is used

            self._sender = SocketSender(telemetry, None if socket is True else socket)
            telemetry.add_sink(self._sender)
            self._sent = socket


_OUTLETS: Final = _Outlets()
