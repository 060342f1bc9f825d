"""The seam of async clients: ``request()`` of the SDK is the call, ``send()`` of its HTTP client the attempt."""

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

from sidecar.client.answers import content_of, told_by
from sidecar.client.begin import begin_attempt, begin_call
from sidecar.client.long.asking import asks
from sidecar.client.long.underneath import asked_for, whole_async
from sidecar.client.observer import CURRENT
from sidecar.client.openings import opened_async
from sidecar.client.streams import observed
from sidecar.model import Stage


def observe_request(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``AsyncAPIClient.request``."""

    @wraps(original)
    async def request(self: Any, cast_to: Any, options: Any, *, stream: bool = False, **more: Any) -> Any:
        if asks(self, options):
            from sidecar.client.long.shell_async import resumed  # noqa: PLC0415  # `anthropic` has been loaded by now

            return await resumed(self, request, cast_to, options, stream=stream, **more)
        call, options = begin_call(self, options, stream=stream)
        if call is None:
            return await original(self, cast_to, options, stream=stream, **more)
        token = CURRENT.set(call)
        try:
            if not stream:
                options = asked_for(call, self, options)
            answer = await original(self, cast_to, options, stream=stream, **more)
        except BaseException as error:
            call.raised(error)
            raise
        finally:
            with suppress(ValueError):  # a coroutine that is thrown away may be finished in another context
                CURRENT.reset(token)
        call.returned(told_by(answer))
        return answer

    return request


def observe_send(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``httpx2.AsyncClient.send``."""

    @wraps(original)
    async def send(self: Any, request: Any, *, stream: bool = False, **more: Any) -> Any:
        attempt = begin_attempt(self, request)
        if attempt is None:
            return await original(self, request, stream=stream, **more)
        try:
            # The body is read below, as `send` itself would: in between, the response has begun.
            response = await original(self, request, stream=True, **more)
        except BaseException as error:
            attempt.failed(error, stage=Stage.WAITING)
            raise
        streamed = stream or attempt.call.streams
        unread = streamed and not response.is_closed
        attempt.responded(response.status_code, response.headers, decoded=not unread)
        if unread:
            response.stream = observed(response.stream, attempt)
            survival = attempt.call.survival
            if stream and survival is not None:
                return await opened_async(response, attempt, survival)
            return response if stream else await whole_async(response)
        if streamed:
            attempt.whole(content_of(response))
            return response if stream else await whole_async(response)
        try:
            body = await response.aread()
        except BaseException as error:
            attempt.failed(error, stage=Stage.READING)
            await response.aclose()
            raise
        attempt.whole(body)
        return response

    return send
