"""Looks at how a stream under a policy begins: an error before the first token can still be tried again.

What was looked at is read again from here, and what broke it off is raised where it is read. Stands above what
observes, which so sees the bytes when they come. Loads anthropic.
"""

from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import timedelta
from itertools import chain
from typing import Final

import anthropic._exceptions as sdk  # where we may be loaded, `anthropic` itself is still loading
import httpx2

from sidecar.client.attempt import Attempt
from sidecar.client.survival import Survival
from sidecar.model import StreamEnd
from sidecar.policy import parse_hints
from sidecar.wire.frames import FRAMED
from sidecar.wire.sse import SseScanner
from sidecar.wire.unpack import Plain, Unpacker, unpacker

__all__ = ["BegunWithError", "opened", "opened_async"]

_BEFORE: Final = (b"event: message_start\n", b"event: content_block_start\n", b"event: ping\n")
_DELTA: Final = b"event: content_block_delta\n"
_ERROR: Final = b"event: error"
_END: Final = b"\n\n"
_KINDS: Final = ("text/event-stream", FRAMED)
_LIMIT: Final = 256 * 1024
"""A stream of which so much has come without a token is handed over as it is."""


class BegunWithError(sdk.APIStatusError):
    """A stream began with an error, and is tried again after ``wait`` seconds. Nobody but middleware sees this."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__("the stream began with an error and is tried again", response=response, body=None)
        self.wait = 0.0


class _Opening:
    """The beginning of one stream."""

    __slots__ = ("_attempt", "_response", "_scanner", "_size", "_survival", "_unpack", "broken", "held")

    def __init__(self, response: httpx2.Response, attempt: Attempt, survival: Survival) -> None:
        self._response = response
        self._attempt = attempt
        self._survival = survival
        self._scanner: SseScanner | None = None
        self._unpack: Unpacker = Plain()
        self._size = 0
        self.held: list[bytes] = []
        """What has come."""
        self.broken: Exception | None = None
        """What broke it off."""

    def take(self, chunk: bytes) -> bool:
        """Hold the next chunk; True once enough has come."""
        self.held.append(chunk)
        self._size += len(chunk)
        if self._scanner is None and _ERROR not in chunk and self._size < _LIMIT:  # the usual, told at a glance
            if chunk.startswith(_DELTA):
                return True
            if chunk.startswith(_BEFORE) and chunk.endswith(_END):
                return _DELTA in chunk
        try:
            return self._look(chunk)
        except Exception as error:  # noqa: BLE001  # whatever it is, the call must not suffer
            self._attempt.observer.fault("client.opening", error)
            return True

    def refused(self) -> BegunWithError | None:
        """Ask the plan, where it began with an error. Gives what to raise so that it is tried again."""
        if self._scanner is None or self._scanner.error is None:
            return None
        attempt, survival = self._attempt, self._survival
        attempt.end(StreamEnd.EOF)
        refused = BegunWithError(self._response)
        hints = parse_hints(self._response.headers, unix_now=survival.times.wall())
        wait = survival.failed(attempt.call, refused, hints)
        if wait is None:
            return None
        survival.handed_over = False
        refused.wait = wait
        return refused

    def _look(self, chunk: bytes) -> bool:
        if self._scanner is None:
            # Only now, as to ask a response for its headers costs as much as all the rest.
            told = self._response.headers
            kind = told.get("content-type", "")
            chosen = unpacker(kind, told.get("content-encoding", ""))
            if chosen is None or not kind.startswith(_KINDS):
                return True
            self._unpack = chosen
            self._scanner = SseScanner()
        scanner, unpack = self._scanner, self._unpack
        for piece in unpack.feed(chunk):
            scanner.feed(piece)
        enough = scanner.first_delta or scanner.complete or scanner.error is not None or self._size >= _LIMIT
        return enough or unpack.failed


class _Reopened:
    """What both kinds share: a body of which the beginning was read."""

    def __init__(self, body: httpx2.SyncByteStream | httpx2.AsyncByteStream, opening: _Opening) -> None:
        self._body = body
        self._held = opening.held
        self._broken = [] if opening.broken is None else [opening.broken]

    @property
    def elapsed(self) -> timedelta | None:
        """What the body measured: ``Response.elapsed`` reads it from here."""
        return getattr(self._body, "elapsed", None)


class _ReopenedSync(_Reopened, httpx2.SyncByteStream):
    _body: httpx2.SyncByteStream

    def __init__(self, body: httpx2.SyncByteStream, opening: _Opening, rest: Iterator[bytes]) -> None:
        super().__init__(body, opening)
        self._rest = rest

    def __iter__(self) -> Iterator[bytes]:
        return chain(self._held, _raise(self._broken) if self._broken else self._rest)

    def close(self) -> None:
        self._body.close()


class _ReopenedAsync(_Reopened, httpx2.AsyncByteStream):
    _body: httpx2.AsyncByteStream

    def __init__(self, body: httpx2.AsyncByteStream, opening: _Opening, rest: AsyncIterator[bytes]) -> None:
        super().__init__(body, opening)
        self._rest = rest

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _AsyncReading(self._held, self._broken, self._rest)

    async def aclose(self) -> None:
        await self._body.aclose()


class _AsyncReading:
    """The reading of an async body; no generator, for the same reason as where it is observed."""

    __slots__ = ("_broken", "_held", "_rest")

    def __init__(self, held: list[bytes], broken: list[Exception], rest: AsyncIterator[bytes]) -> None:
        self._held = held[::-1]
        self._broken = broken
        self._rest = rest

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        # Once a chunk: that nothing is awaited here saves a coroutine each time.
        return self._again() if self._held or self._broken else self._rest.__anext__()

    async def _again(self) -> bytes:
        if self._held:
            return self._held.pop()
        raise self._broken.pop()


def _raise(broken: list[Exception]) -> Iterator[bytes]:
    if broken:
        raise broken.pop()  # taken out: it will hold the frames it passes through, so nothing in them may hold it
    yield from ()


def opened(response: httpx2.Response, attempt: Attempt, survival: Survival) -> httpx2.Response:
    """Look at how a response that is to be streamed begins. Raises `BegunWithError` where it is to be tried again."""
    body = response.stream
    if not _is_message(response, attempt) or not isinstance(body, httpx2.SyncByteStream):
        return response
    survival.handed_over = True  # what breaks it off from here on is told where it is read
    opening = _Opening(response, attempt, survival)
    chunks = iter(body)
    try:
        for chunk in chunks:
            if opening.take(chunk):
                break
    except Exception as error:  # noqa: BLE001  # the same
        opening.broken = error.with_traceback(None)  # whose frames hold the response
    except BaseException:
        response.close()
        raise
    refused = opening.refused()
    if refused is not None:
        response.close()
        try:
            raise refused
        finally:
            del refused  # it holds this frame, which would hold it
    response.stream = _ReopenedSync(body, opening, chunks)
    return response


async def opened_async(response: httpx2.Response, attempt: Attempt, survival: Survival) -> httpx2.Response:
    """Do the same with an async response."""
    body = response.stream
    if not _is_message(response, attempt) or not isinstance(body, httpx2.AsyncByteStream):
        return response
    survival.handed_over = True  # what breaks it off from here on is told where it is read
    opening = _Opening(response, attempt, survival)
    chunks = aiter(body)
    try:
        async for chunk in chunks:
            if opening.take(chunk):
                break
    except Exception as error:  # noqa: BLE001  # the same
        opening.broken = error.with_traceback(None)  # whose frames hold the response
    except BaseException:
        await response.aclose()
        raise
    refused = opening.refused()
    if refused is not None:
        await response.aclose()
        try:
            raise refused
        finally:
            del refused  # it holds this frame, which would hold it
    response.stream = _ReopenedAsync(body, opening, chunks)
    return response


def _is_message(response: httpx2.Response, attempt: Attempt) -> bool:
    call = attempt.call
    return call.stream and call.endpoint == "messages" and response.is_success
