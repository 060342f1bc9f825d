"""Puts the seam in place and takes it out: for every client of the process, or for one."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from sidecar.client.begin import MARK, Installed
from sidecar.client.long.asking import taking_resume
from sidecar.client.observer import Observer, Reporter, Tracing
from sidecar.client.patches import OnImport, Patches
from sidecar.client.policies import PolicyLike, chosen, in_force, profile_for
from sidecar.client.profile import parse_profile
from sidecar.client.timeout_settings import in_force_for
from sidecar.model import Profile

if TYPE_CHECKING:
    import anthropic

    _Client = TypeVar("_Client", bound=anthropic.Anthropic | anthropic.AsyncAnthropic | Any)

_BASE: Final = "anthropic._base_client"
_LOCK: Final = RLock()
_PATCHES: Final = Patches()
_TRACINGS: "Final[WeakKeyDictionary[Reporter, Tracing]]" = WeakKeyDictionary()
_INSTRUMENTED: "Final[WeakSet[Any]]" = WeakSet()


def install(
    *,
    telemetry: Reporter | None = None,
    profile: Profile | str | None = None,
    policy: PolicyLike | None = None,
) -> None:
    """Observe every client of this process, those that exist and those to come; also before anthropic is imported.

    ``telemetry``: where records go, by default the one `serve_metrics` shows. ``profile``: what calls are for, unless
    they say so themselves. ``policy``: what keeps them alive; by default nothing but what `configure` says. Doing so
    again replaces all three.
    """
    observer = _observer(telemetry, profile, policy)
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
    client: "_Client",
    *,
    telemetry: Reporter | None = None,
    profile: Profile | str | None = None,
    policy: PolicyLike | None = None,
) -> "_Client":
    """Observe one client, in place, and the copies that are made of it. Returns the client.

    ``policy``: what keeps its calls alive: a `Policy` for all of them, or a profile's name (or True) for the policy of
    each call's own profile; False: nothing. Doing so again changes what is given and leaves the rest.
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
        policy,
    )
    if policy is None and before is not None:
        observer = replace(observer, policies=before.policies)
    with _LOCK:
        _put_in_place()
        client.__dict__[MARK] = observer
        _INSTRUMENTED.add(client)
    return client


def _observer(telemetry: Reporter | None, profile: Profile | str | None, policy: PolicyLike | None = None) -> Observer:
    if telemetry is None:
        from sidecar.telemetry import default_telemetry  # noqa: PLC0415  # loads when it is used

        telemetry = default_telemetry()
    return Observer(
        telemetry=telemetry,
        profile=profile_for(policy) if profile is None else parse_profile(profile),
        policies=chosen(policy, telemetry),
        tracing=_tracing(telemetry),
        in_force=in_force_for(telemetry),
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
        import anthropic._resource as resource  # noqa: PLC0415
        import httpx2  # noqa: PLC0415

        from sidecar.client import drive_async, drive_sync, seam_async, seam_sync  # noqa: PLC0415  # they need httpx2
        from sidecar.client.driving import inner_method  # noqa: PLC0415
        from sidecar.client.long.underneath import GUARD, lift_guard  # noqa: PLC0415

        # What drives stands within what observes, so that the records say what the application gets.
        _PATCHES.replace(base.SyncAPIClient, inner_method(base.SyncAPIClient), drive_sync.drive_request)
        _PATCHES.replace(base.AsyncAPIClient, inner_method(base.AsyncAPIClient), drive_async.drive_request)
        _PATCHES.replace(httpx2.Client, "send", drive_sync.limit_send)
        _PATCHES.replace(httpx2.AsyncClient, "send", drive_async.limit_send)
        _PATCHES.replace(base.SyncAPIClient, "request", seam_sync.observe_request)
        _PATCHES.replace(base.AsyncAPIClient, "request", seam_async.observe_request)
        if GUARD in base.BaseClient.__dict__:
            _PATCHES.replace(base.BaseClient, GUARD, lift_guard)
        _PATCHES.replace(httpx2.Client, "send", seam_sync.observe_send)
        _PATCHES.replace(httpx2.AsyncClient, "send", seam_async.observe_send)

        for client in (base.SyncAPIClient, base.AsyncAPIClient):
            _follow(client, _follow_copies)
        for kind in (resource.SyncAPIResource, resource.AsyncAPIResource):
            _follow(kind, _take_resume)


def _follow(base: Any, each: Callable[[type], None]) -> None:
    """Do something with each class derived from another, also with those that are yet to be defined.

    Ours may be in place before anthropic has been imported.
    """

    def follow(cls: Any, /, **options: Any) -> None:
        super(base, cls).__init_subclass__(**options)
        each(cls)

    _with_all(base, each)
    _PATCHES.add(base, "__init_subclass__", classmethod(follow))


def _with_all(base: Any, each: Callable[[type], None]) -> None:
    for subclass in base.__subclasses__():
        each(subclass)
        _with_all(subclass, each)


def _take_resume(resource: type) -> None:
    """Have the methods that stream messages take ``resume``."""
    if resource.__name__ in {"Messages", "AsyncMessages"} and resource.__module__.startswith("anthropic"):
        for name in ("create", "stream"):
            if name in resource.__dict__ and not _PATCHES.has(resource, name):
                _PATCHES.replace(resource, name, taking_resume)


def _follow_copies(client: type) -> None:
    """Have ``copy`` and ``with_options`` hand on what we know of a client: both make a new one."""
    for name in ("copy", "with_options"):
        if name in client.__dict__ and client.__module__.startswith("anthropic") and not _PATCHES.has(client, name):
            _PATCHES.replace(client, name, _hand_on)


def _hand_on(copy: Callable[..., Any]) -> Callable[..., Any]:
    from sidecar.client.driving import GIVEN, given_to_copy  # noqa: PLC0415  # they need httpx2
    from sidecar.client.limits import converted  # noqa: PLC0415

    @wraps(copy)
    def handing_on(self: Any, *args: Any, **kwargs: Any) -> Any:
        own = self.__dict__.get(MARK)
        observer = own or Installed.observer
        if observer is None:
            return copy(self, *args, **kwargs)
        if "timeout" in kwargs and in_force(observer) is not None:
            kwargs["timeout"] = converted(kwargs["timeout"])
        made = copy(self, *args, **kwargs)
        if own is not None:
            made.__dict__.setdefault(MARK, own)
            _INSTRUMENTED.add(made)
        given = given_to_copy(self, kwargs)
        if given:  # a copy that was given nothing is to have all that its original has, and no more
            made.__dict__.setdefault(GIVEN, {}).update(given)
        return made

    return handing_on


_ON_IMPORT: Final = OnImport(_BASE, _put_in_place)
