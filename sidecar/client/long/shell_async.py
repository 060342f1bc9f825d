"""The long answers of async clients."""

from types import TracebackType
from typing import TYPE_CHECKING, Any

import httpx2
from anthropic import NOT_GIVEN
from anthropic.lib.streaming import AsyncMessageStream

from sidecar.client.long.course import Course, Next
from sidecar.client.long.results import Completed, Turn
from sidecar.client.long.sdk import completed, follow, interrupted, parameters, refused, told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anthropic import AsyncStream
    from anthropic.types import RawMessageStreamEvent

__all__ = ["AsyncResumableStream", "complete"]


async def complete(client: Any, course: Course) -> Completed:
    """Read an answer to its end, in as many turns as it takes."""
    events = Events(client, course)
    await events.open()
    async for _ in events:
        pass
    return completed(course)


class Events:
    """The events of an answer as one stream, whatever calls they come from; in place of the SDK's ``AsyncStream``."""

    def __init__(self, client: Any, course: Course) -> None:
        self._client = client
        self._course = course
        self._stream: AsyncStream[RawMessageStreamEvent] | None = None

    @property
    def response(self) -> httpx2.Response:
        """The response of the newest call."""
        return self._opened.response

    @property
    def _opened(self) -> "AsyncStream[RawMessageStreamEvent]":
        assert self._stream is not None  # noqa: S101  # opened before it is handed out
        return self._stream

    async def open(self) -> None:
        """Make the next call."""
        try:
            with self._course.scope():
                self._stream = await self._client.messages.create(**parameters(self._course, self._client), stream=True)
        except Exception as error:
            instead = refused(self._course, error, self._client)
            if instead is None:
                raise
            raise instead from error

    async def __aiter__(self) -> "AsyncIterator[RawMessageStreamEvent]":
        course = self._course
        while True:
            stream, response = self._opened, self._opened.response
            request_id = response.headers.get("request-id")
            try:
                async with stream:
                    async for event in stream:
                        for out in follow(event, course):
                            yield out
            except Exception as error:
                follows = course.turn_over(error, request_id)
                if follows is Next.FAIL:
                    raise interrupted(course, response.request) from error
            else:
                follows = course.turn_over(None, request_id)
                if follows is Next.FAIL:
                    raise interrupted(course, response.request)
            if follows is Next.END:
                break
            await self.open()
        for end in course.joined.finish():
            yield told(end)

    async def close(self) -> None:
        """Stop reading."""
        if self._stream is not None:
            await self._stream.close()


class AsyncResumableStream:
    """Makes the stream of an answer when it is entered, as ``client.messages.stream()`` does."""

    def __init__(self, client: Any, course: Course) -> None:
        self._course = course
        self._events = Events(client, course)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The calls so far that have ended; more than one where it was resumed."""
        return self._course.turns

    async def __aenter__(self) -> "AsyncMessageStream[None]":
        await self._events.open()
        stream: Any = self._events
        return AsyncMessageStream(stream, output_format=NOT_GIVEN)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._events.close()
