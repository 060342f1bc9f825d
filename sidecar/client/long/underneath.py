"""A whole answer streamed underneath: the request asks for a stream, and the SDK gets what it would have got without.

Nothing of the SDK notices: its parsing, raw responses, ``parse`` and retries see a JSON answer, and what breaks a
stream breaks the reading of that answer. Loads anthropic.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any, Final

import httpx2
from anthropic._streaming import SSEDecoder

from sidecar.client.begin import MARK, Installed
from sidecar.client.call import Call
from sidecar.client.long.asking import is_message
from sidecar.client.long.assembly import Assembly, Unreadable
from sidecar.client.policies import Policies, in_force
from sidecar.model import Profile

__all__ = ["GUARD", "asked_for", "lift_guard", "policies_of", "whole", "whole_async"]

GUARD: Final = "_calculate_nonstreaming_timeout"
"""The method of the SDK's clients that refuses whole answers which may take long."""

_USUAL: Final = httpx2.Timeout(600, connect=5.0)
_RAW: Final = "x-stainless-raw-response"
_OF_THE_STREAM: Final = frozenset({"content-type", "content-encoding", "content-length", "transfer-encoding"})


class _Unguarded(httpx2.Timeout):
    """The timeout of a whole answer that may take longer than the SDK allows one to, unless it is streamed."""

    guard: str
    """What the SDK says against it."""


def lift_guard(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what refuses whole answers that may take over ten minutes, for clients that may have them streamed.

    Which policy a call has is not known yet, so the refusal goes along in the timeout, for `as_stream` to make.
    """

    @wraps(original)
    def calculate(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, *args, **kwargs)
        except ValueError as error:
            if not _may_stream(self):
                raise
            timeout = _Unguarded(_USUAL)
            timeout.guard = str(error)
            return timeout

    return calculate


def policies_of(client: Any) -> Policies | None:
    """Give the policies that a client's calls are under."""
    observer = client.__dict__.get(MARK) or Installed.observer
    return None if observer is None else in_force(observer)


def _may_stream(client: Any) -> bool:
    policies = policies_of(client)
    return policies is not None and any(policies.policy(profile).stream_underneath for profile in Profile)


def asked_for(call: Call, client: Any, options: Any) -> Any:
    """Give the options of a call for a whole answer: those that ask for a stream, if its policy says so.

    Left alone is what is no whole answer of the Messages API, what the application reads byte by byte, and clients
    whose streams are not server-sent events (Bedrock's). Raises nothing but the SDK's own guard against long answers.
    """
    try:
        policies = in_force(call.observer)
        if policies is None:
            return options
        if policies.policy(call.profile).stream_underneath and _is_convertible(client, options):
            asking = options.model_copy()
            asking.json_data = {**options.json_data, "stream": True}
            if isinstance(options.timeout, _Unguarded):
                asking.timeout = _USUAL
            call.streams = True
            return asking
    except Exception as error:  # noqa: BLE001  # whatever it is, the call must not suffer
        call.observer.fault("client.underneath", error)
    if isinstance(options.timeout, _Unguarded):
        raise ValueError(options.timeout.guard)  # noqa: TRY004  # the SDK's own error
    return options


def _is_convertible(client: Any, options: Any) -> bool:
    headers = options.headers if isinstance(options.headers, Mapping) else {}
    extra = options.extra_json
    return (
        is_message(options)
        and not (isinstance(extra, Mapping) and "stream" in extra)
        and not any(name.lower() == _RAW and value == "stream" for name, value in headers.items())
        and isinstance(client._make_sse_decoder(), SSEDecoder)  # noqa: SLF001  # nobody else knows
    )


def whole(response: httpx2.Response) -> httpx2.Response:
    """Read an answer; of one that is streamed give the one it would have been."""
    streamed, assembly = _is_stream(response), Assembly()
    try:
        if not streamed:
            response.read()
            return response
        chunks = response.iter_bytes()  # held, so that it does not end before its error is told
        for chunk in chunks:
            assembly.feed(chunk)
    except BaseException as error:
        response.close()  # while its error passes: the body tells by it why it is closed
        if isinstance(error, Unreadable):
            raise _unreadable(response, error) from error
        raise
    return _whole(response, assembly)


async def whole_async(response: httpx2.Response) -> httpx2.Response:
    """Do the same with an async response."""
    streamed, assembly = _is_stream(response), Assembly()
    try:
        if not streamed:
            await response.aread()
            return response
        chunks = response.aiter_bytes()  # held, so that it does not end before its error is told
        async for chunk in chunks:
            assembly.feed(chunk)
    except BaseException as error:
        await response.aclose()  # while its error passes: the body tells by it why it is closed
        if isinstance(error, Unreadable):
            raise _unreadable(response, error) from error
        raise
    return _whole(response, assembly)


def _is_stream(response: httpx2.Response) -> bool:
    return response.is_success and response.headers.get("content-type", "").startswith("text/event-stream")


def _unreadable(response: httpx2.Response, error: Unreadable) -> httpx2.DecodingError:
    return httpx2.DecodingError(str(error), request=response.request)


def _whole(response: httpx2.Response, assembly: Assembly) -> httpx2.Response:
    try:
        answer = assembly.answer()
    except Unreadable as error:
        raise _unreadable(response, error) from error
    if answer is None:
        raise httpx2.RemoteProtocolError("the stream ended before its message was complete", request=response.request)
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _OF_THE_STREAM]
    whole = httpx2.Response(
        answer.status,
        headers=[*headers, ("content-type", "application/json")],
        content=answer.body,
        request=response.request,
        extensions=response.extensions,
        history=response.history,
    )
    with suppress(RuntimeError):  # a transport that answers from memory has not measured it
        whole.elapsed = response.elapsed
    return whole
