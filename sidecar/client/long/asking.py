"""How a stream is asked to be resumed: by ``resume=`` of the SDK's own methods, or by a header of ours.

The keyword becomes the header, which the SDK hands on to where its streams are made, whichever helper they are for;
there it is taken off. Neither is taken of clients that nobody observes. Loads neither the SDK nor an HTTP library.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final

from sidecar.client.begin import MARK, Installed
from sidecar.client.long.resume import Resume

__all__ = ["HEADER", "asks", "is_message", "taken_off", "taking_resume"]

HEADER: Final = "x-sidecar-resume"
"""Asks for one stream to be resumed, with ``true`` or with what `Resume` takes as JSON; it is never sent."""

_KEYWORD: Final = "resume"
_PATHS: Final = frozenset({"/v1/messages", "/v1/messages?beta=true"})
_RAW: Final = "x-stainless-raw-response"
_NO_LINE: Final = "<sidecar, importlib._bootstrap>"
"""The interpreter does not count frames of the import machinery, which it tells by such names, as a warning's."""


def taking_resume(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``create`` or ``stream`` of messages so that they take ``resume``."""
    if getattr(getattr(method, "__code__", None), "co_filename", None) == _NO_LINE:
        return method  # one class took it over from another, which has been wrapped

    @wraps(method)
    def taking(self: Any, /, *args: Any, **given: Any) -> Any:  # pragma: no cover  # it has no line, see below
        return method(self, *args, **(_asking(self, method.__name__, given) if _KEYWORD in given else given))

    # The SDK's warnings, of models that are to be retired above all, name the line so many calls up.
    made: Any = taking
    made.__code__ = made.__code__.replace(co_filename=_NO_LINE)
    return taking


def _asking(messages: Any, method: str, given: dict[str, Any]) -> dict[str, Any]:
    """Give the keywords to go on with. Of a client that nobody observes they stay, for the SDK to refuse."""
    if not _is_observed(messages._client):  # noqa: SLF001  # nobody else knows
        return given
    resume = given.pop(_KEYWORD)
    if not resume:
        return given
    if resume is not True and not isinstance(resume, Resume):
        raise TypeError(f"resume= takes True, False or a sidecar.Resume, not {type(resume).__qualname__}")
    if method == "create" and not given.get("stream"):
        raise TypeError("resume= is for streams: give stream=True too, or have sidecar.complete() get a whole answer")
    headers = given.get("extra_headers") or {}
    if _names(headers, _RAW):
        raise TypeError("resume= joins several answers, and a raw response is one of them: leave out one of the two")
    bounds = Resume() if resume is True else resume
    return {**given, "extra_headers": {**_without(headers), HEADER: bounds.written()}}


def asks(client: Any, options: Any) -> bool:
    """Whether a request has the header, in which case `taken_off` takes it off. Asked for every call."""
    headers = options.headers
    return bool(headers) and _names(headers, HEADER) and _is_observed(client)


def taken_off(options: Any) -> tuple[Any, Resume | None]:
    """Give a request's options without the header, and what it asks for; None where that cannot be done.

    What it asks in vain must not fail a call: of a whole answer, of another endpoint, or in words nobody knows.
    """
    value = next(value for name, value in options.headers.items() if name.lower() == HEADER)
    options = options.model_copy()
    options.headers = _without(options.headers)
    resumable = is_message(options) and not _names(options.headers, _RAW)
    return options, Resume.read(value) if resumable else None


def is_message(options: Any) -> bool:
    """Whether a request asks for an answer of the Messages API."""
    return options.url in _PATHS and options.method.lower() == "post" and isinstance(options.json_data, Mapping)


def _is_observed(client: Any) -> bool:
    return (client.__dict__.get(MARK) or Installed.observer) is not None


def _names(headers: Any, name: str) -> bool:
    return isinstance(headers, dict | Mapping) and name in map(str.lower, headers)


def _without(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in headers.items() if name.lower() != HEADER}
