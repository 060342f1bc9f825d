"""Reads off the SDK's own objects what a call is: its route, model, profile. The only place that knows their shape."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from sidecar.client.attempt import Attempt
from sidecar.client.call import Call
from sidecar.client.observer import CURRENT, Defaults, Observer
from sidecar.client.profile import profile_of
from sidecar.model import endpoint_of

MARK: Final = "_sidecar"
"""The attribute of a client that is observed on its own; it holds its ``Observer``."""

_RETRY_COUNT: Final = "x-stainless-retry-count"


class Installed:
    """The observer of every client that has none of its own; None while nothing is installed."""

    observer: Observer | None = None


def begin_call(client: Any, options: Any, *, stream: bool) -> tuple[Call | None, Any]:
    """Begin to observe a call, when the client is observed. Gives the options to go on with. Never raises."""
    observer = client.__dict__.get(MARK) or Installed.observer
    if observer is None:
        return None, options
    try:
        headers = options.headers
        given = headers if isinstance(headers, _MAPPINGS) else {}
        profile, kept = profile_of(given, observer.profile or Defaults.profile)
        if kept is not given:
            options = options.model_copy()
            options.headers = kept
        path, endpoint = _route(options.url)
        call = Call(
            observer,
            endpoint=endpoint,
            path=path,
            model=_model(options),
            profile=profile,
            stream=stream,
            http=getattr(client, "_client", None),
        )
    except Exception as error:  # noqa: BLE001  # whatever it is, the call must not suffer
        observer.fault("client.begin", error)
        return None, options
    return call, options


def begin_attempt(http: object, request: Any) -> Attempt | None:
    """Begin to observe a request, when it is an attempt of the call under way. Never raises."""
    call = CURRENT.get()
    if call is None or call.http is not http:
        return None
    try:
        url = request.url
        if not url.path.endswith(call.path) and _RETRY_COUNT not in request.headers:
            return None  # sent on the way, such as an exchange of tokens
        attempt = call.attempt(request.method, url)
        if call.span is not None:
            request.headers.update(call.span.headers())
        timeout = request.extensions.get("timeout")
        observer = call.observer
        if timeout != observer.in_force.told.get(call.profile) and call.survival is None:  # a policy tells of its own
            observer.in_force.tell(observer.telemetry, call.profile, timeout, now=attempt.began)
    except Exception as error:  # noqa: BLE001  # whatever it is, the call must not suffer
        call.observer.fault("client.attempt", error)
        return None
    return attempt


_MAPPINGS: Final = (dict, Mapping)
"""Asked in this order: asking whether a dictionary is a ``Mapping`` takes ten times as long."""


@lru_cache(maxsize=256)
def _route(url: str) -> tuple[str, str]:
    path = urlsplit(url).path
    return path, endpoint_of(path)


def _model(options: Any) -> str:
    for body in (options.extra_json, options.json_data):
        if body is not None and isinstance(body, _MAPPINGS):
            model = body.get("model")
            if isinstance(model, str):
                return model[:_MAX_MODEL]
    return ""


_MAX_MODEL: Final = 128
