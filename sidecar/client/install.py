"""Puts the seam in place and takes it out: for every client of the process, or for one."""

import sys
from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from sidecar.client.begin import MARK, Installed
from sidecar.client.observer import Observer, Reporter, Tracing
from sidecar.client.patches import OnImport, Patches
from sidecar.client.profile import parse_profile
from sidecar.model import Profile

if TYPE_CHECKING:
    import anthropic

    _Client = TypeVar("_Client", bound=anthropic.Anthropic | anthropic.AsyncAnthropic | Any)

_BASE: Final = "anthropic._base_client"
_LOCK: Final = RLock()
_PATCHES: Final = Patches()
_TRACINGS: "Final[WeakKeyDictionary[Reporter, Tracing]]" = WeakKeyDictionary()
_INSTRUMENTED: "Final[WeakSet[Any]]" = WeakSet()


def install(*, telemetry: Reporter | None = None, profile: Profile | str | None = None) -> None:
    """Observe every client of this process, those that exist and those to come; also before anthropic is imported.

    ``telemetry``: where records go, by default the one `serve_metrics` shows. ``profile``: what calls are for, unless
    they say so themselves. Doing so again replaces both.
    """
    observer = _observer(telemetry, profile)
    with _LOCK:
        Installed.observer = observer
        if _BASE in sys.modules and getattr(sys.modules[_BASE], "AsyncAPIClient", None) is not None:
            _put_in_place()
        else:
            _ON_IMPORT.begin()


def uninstall() -> None:
    """Undo `install`. Clients that were instrumented on their own stay so."""
    with _LOCK:
        Installed.observer = None
        _ON_IMPORT.end()
        if not _INSTRUMENTED:
            _PATCHES.undo()


def instrument(
    client: "_Client", *, telemetry: Reporter | None = None, profile: Profile | str | None = None
) -> "_Client":
    """Observe one client, in place, and the copies that are made of it. Returns the client.

    Doing so again changes what is given and leaves the rest.
    """
    from anthropic._base_client import AsyncAPIClient, SyncAPIClient  # noqa: PLC0415  # loads when it is used

    if not isinstance(client, SyncAPIClient | AsyncAPIClient):
        found = f"{type(client).__module__}.{type(client).__qualname__}"
        raise TypeError(
            f"instrument() takes a client of the anthropic package, not {found}: hand it the one that calls"
        )
    before: Observer | None = client.__dict__.get(MARK)
    observer = _observer(
        telemetry or (before.telemetry if before else None),
        profile if profile is not None or before is None else before.profile,
    )
    with _LOCK:
        _put_in_place()
        _follow_copies(type(client))
        client.__dict__[MARK] = observer
        _INSTRUMENTED.add(client)
    return client


def _observer(telemetry: Reporter | None, profile: Profile | str | None) -> Observer:
    if telemetry is None:
        from sidecar.telemetry import default_telemetry  # noqa: PLC0415  # loads when it is used

        telemetry = default_telemetry()
    return Observer(
        telemetry=telemetry,
        profile=None if profile is None else parse_profile(profile),
        tracing=_tracing(telemetry),
    )


def _tracing(telemetry: Reporter) -> Tracing | None:
    """Give the tracing of what goes to this telemetry: one for each, made when first asked for."""
    with _LOCK:
        if not hasattr(telemetry, "add_sink"):
            return None
        tracing = _TRACINGS.get(telemetry)
        if tracing is None:
            from sidecar.telemetry.traces import Tracing as Traces  # noqa: PLC0415  # loads when it is used

            tracing = _TRACINGS[telemetry] = Traces()
        return tracing


def _put_in_place() -> None:
    with _LOCK:
        if _PATCHES:
            return
        import anthropic._base_client as base  # noqa: PLC0415  # loads when it is used
        import httpx2  # noqa: PLC0415

        from sidecar.client import seam_async, seam_sync  # noqa: PLC0415  # they need httpx2

        _PATCHES.replace(base.SyncAPIClient, "request", seam_sync.observe_request)
        _PATCHES.replace(base.AsyncAPIClient, "request", seam_async.observe_request)
        _PATCHES.replace(httpx2.Client, "send", seam_sync.observe_send)
        _PATCHES.replace(httpx2.AsyncClient, "send", seam_async.observe_send)


def _follow_copies(client: type) -> None:
    """Have ``copy`` and ``with_options`` hand the observer on: both make a new client."""
    for owner in client.__mro__:
        for name in ("copy", "with_options"):
            if name in owner.__dict__ and owner.__module__.startswith("anthropic") and not _PATCHES.has(owner, name):
                _PATCHES.replace(owner, name, _hand_on)


def _hand_on(copy: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(copy)
    def handing_on(self: Any, *args: Any, **kwargs: Any) -> Any:
        made = copy(self, *args, **kwargs)
        observer = self.__dict__.get(MARK)
        if observer is not None:
            made.__dict__.setdefault(MARK, observer)
            _INSTRUMENTED.add(made)
        return made

    return handing_on


_ON_IMPORT: Final = OnImport(_BASE, _put_in_place)
