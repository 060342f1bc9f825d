"""The long answers of async clients."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
from anthropic import AsyncStream

from sidecar.client.long.asking import taken_off
from sidecar.client.long.course import Course
from sidecar.client.long.results import Completed
from sidecar.client.long.sdk import completed, follow, goes_on, options_for, parameters, refused, told

__all__ = ["complete", "resumed"]


async def complete(client: Any, course: Course) -> Completed:
    """Read an answer to its end, in as many turns as it takes."""
    turns = _Turns(client, course, lambda: client.messages.create(**parameters(course, client), stream=True))
    await turns.begin()
    async for _ in turns.events():
        pass
    return completed(course)


async def resumed(
    client: Any, request: Callable[..., Any], cast_to: Any, options: Any, *, stream: bool, **more: Any
) -> Any:
    """Make a request that asks to be resumed; ``request`` makes one that does not."""
    options, bounds = taken_off(options)
    if bounds is None or not stream:
        return await request(client, cast_to, options, stream=stream, **more)
    options = await client._copy_and_prepare(options)  # noqa: SLF001  # what can be read only once is needed again
    course = Course(options.json_data, bounds, shown=True)
    turns = _Turns(
        client, course, lambda: request(client, cast_to, options_for(course, client, options), stream=True, **more)
    )
    await turns.begin()
    return Resumed(turns)


class _Turns:
    """The calls that an answer takes, one after another."""

    def __init__(self, client: Any, course: Course, call: Callable[[], Awaitable[Any]]) -> None:
        self._client = client
        self._course = course
        self._call = call
        self._closed = False
        self.stream: Any = None
        """The SDK's own stream of the newest call."""

    async def begin(self) -> None:
        """Make the next call."""
        try:
            with self._course.scope():
                self.stream = await self._call()
        except Exception as error:
            instead = refused(self._course, error, self._client)
            if instead is None:
                raise
            raise instead from error
        if self._closed:  # in the meantime
            await self.stream.close()

    async def events(self) -> AsyncIterator[Any]:
        """Read them as one stream."""
        course = self._course
        while True:
            stream, again = self.stream, False
            try:
                async with stream:
                    async for event in stream:
                        for out in follow(event, course, stream):
                            yield out
            except Exception as error:
                if self._closed:
                    raise
                again = goes_on(course, stream, error)
            else:
                again = not self._closed and goes_on(course, stream, None)
            if not again:
                break
            await self.begin()
        if self._closed:
            return
        for end in course.joined.finish():
            yield told(end, self.stream)

    async def close(self) -> None:
        """Stop reading: what breaks off by that is not gone on with."""
        self._closed = True
        await self.stream.close()


class Resumed(AsyncStream[Any]):
    """Several streams of the SDK's as one."""

    def __init__(self, turns: _Turns) -> None:  # it has no response of its own, nor anything to decode
        self._turns = turns

    @property
    def response(self) -> httpx2.Response:  # type: ignore[override]  # the SDK only reads it
        """The response of the newest call."""
        return self._turns.stream.response  # type: ignore[no-any-return]

    @property
    def _observer(self) -> None:
        """Those who look on for the SDK's spans look at each call's own stream."""
        return

    def __stream__(self) -> AsyncIterator[Any]:
        return self._turns.events()

    async def close(self) -> None:
        """Stop reading."""
        await self._turns.close()
