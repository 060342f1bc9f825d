"""The long answers of sync clients."""

from types import TracebackType
from typing import TYPE_CHECKING, Any

import httpx2
from anthropic import NOT_GIVEN
from anthropic.lib.streaming import MessageStream

from sidecar.client.long.course import Course, Next
from sidecar.client.long.results import Completed, Turn
from sidecar.client.long.sdk import completed, follow, interrupted, parameters, refused, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropic import Stream
    from anthropic.types import RawMessageStreamEvent

__all__ = ["ResumableStream", "complete"]


def complete(client: Any, course: Course) -> Completed:
    """Read an answer to its end, in as many turns as it takes."""
    events = Events(client, course)
    events.open()
    for _ in events:
        pass
    return completed(course)


class Events:
    """The events of an answer as one stream, whatever calls they come from; in place of the SDK's ``Stream``."""

    def __init__(self, client: Any, course: Course) -> None:
        self._client = client
        self._course = course
        self._stream: Stream[RawMessageStreamEvent] | None = None

    @property
    def response(self) -> httpx2.Response:
        """The response of the newest call."""
        return self._opened.response

    @property
    def _opened(self) -> "Stream[RawMessageStreamEvent]":
        assert self._stream is not None  # noqa: S101  # opened before it is handed out
        return self._stream

    def open(self) -> None:
        """Make the next call."""
        try:
            with self._course.scope():
                self._stream = self._client.messages.create(**parameters(self._course, self._client), stream=True)
        except Exception as error:
            instead = refused(self._course, error, self._client)
            if instead is None:
                raise
            raise instead from error

    def __iter__(self) -> "Iterator[RawMessageStreamEvent]":
        course = self._course
        while True:
            stream, response = self._opened, self._opened.response
            request_id = response.headers.get("request-id")
            try:
                with stream:
                    for event in stream:
                        yield from follow(event, course)
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
            self.open()
        yield from map(told, course.joined.finish())

    def close(self) -> None:
        """Stop reading."""
        if self._stream is not None:
            self._stream.close()


class ResumableStream:
    """Makes the stream of an answer when it is entered, as ``client.messages.stream()`` does."""

    def __init__(self, client: Any, course: Course) -> None:
        self._course = course
        self._events = Events(client, course)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The calls so far that have ended; more than one where it was resumed."""
        return self._course.turns

    def __enter__(self) -> "MessageStream[None]":
        self._events.open()
        stream: Any = self._events
        return MessageStream(stream, output_format=NOT_GIVEN)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._events.close()
