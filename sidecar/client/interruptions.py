"""Watches the body of a response under a policy: keeps its limits, and what had come of it in case it breaks off.

Sits below the wrapper that observes, which so sees the errors the application gets. Of a stream of a message the bytes
are held, undecoded, until it is complete; nothing is held of any other body.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from itertools import chain
from typing import Any, Final

import anyio
import httpx2

from sidecar.client.attempt import Attempt
from sidecar.client.decoding import tell_of_damage
from sidecar.client.errors import NOTHING, DeadlineExceeded, PartialMessage, interrupted
from sidecar.client.framing import AsyncIntact, intact
from sidecar.client.limits import Limits, bound_reads
from sidecar.client.survival import Survival
from sidecar.model import Outcome, Phase, Stage, StreamEnd, classify_exception
from sidecar.wire.events import EventTooLong, SseEvents
from sidecar.wire.message import MalformedStream, MessageBuilder
from sidecar.wire.unpack import unpacker

_BROKEN: Final = (httpx2.TransportError, httpx2.DecodingError)
"""What breaks a body off."""
_RAW: Final = "x-stainless-raw-response"
_CHUNKS: Final = 512
_BYTES: Final = 1024 * 1024
"""So many chunks are held as they came, and so many bytes before they are put together into the message."""


def out_of_time(request: httpx2.Request) -> DeadlineExceeded:
    """Make the error of a call whose time ran out before the application had any of its answer."""
    return DeadlineExceeded(
        "the call's time ran out before its answer came: give it more by its policy's `total` or its deadline",
        request=request,
    )


class Kept:
    """What has come of a message that is streamed. Nothing is looked at before somebody asks."""

    __slots__ = ("_headers", "_packed", "_reading", "held")

    def __init__(self, headers: httpx2.Headers) -> None:
        self._headers = headers
        self._packed = bytearray()
        self._reading: _Reading | None = None
        self.held: list[bytes] = []
        """The newest chunks. Appending here is all that holding costs, until there are too many."""

    def pack(self) -> None:
        """Make room."""
        if "content-encoding" in self._headers:
            self.read()  # chunk by chunk, as the SDK does: of one that is damaged nothing can be read
            return
        self._packed += b"".join(self.held)
        self.held.clear()
        if len(self._packed) > _BYTES:
            self.read()

    def read(self) -> "_Reading":
        """Put all that is held together into the message, which is shorter."""
        reading = self._reading
        if reading is None:
            reading = self._reading = _Reading(self._headers)
        reading.take([bytes(self._packed), *self.held])
        self._packed.clear()
        self.held.clear()
        return reading


class _Reading:
    """The reading of what was held."""

    __slots__ = ("_events", "_lost", "_unpack", "builder")

    def __init__(self, headers: httpx2.Headers) -> None:
        self.builder = MessageBuilder()
        self._events = SseEvents()
        self._unpack = unpacker(headers.get("content-type", ""), headers.get("content-encoding", ""))
        self._lost = False

    def take(self, chunks: list[bytes]) -> None:
        """Take what came next."""
        unpack = self._unpack
        if unpack is None or self._lost:
            return
        try:
            for piece in chain.from_iterable(map(unpack.feed, chunks)):
                for event in self._events.feed(piece):
                    self._lost |= event.name == "error"  # it says itself what went wrong
                    decoded = event.decoded()
                    if decoded is not None:
                        self.builder.add(decoded)
        except (MalformedStream, EventTooLong):
            self._lost = True

    @property
    def is_cut(self) -> bool:
        """Whether the message is known not to be whole."""
        unpack = self._unpack
        return not (self._lost or unpack is None or unpack.failed or self.builder.complete)


class _Watched:
    """What both kinds share."""

    def __init__(self, response: httpx2.Response, attempt: Attempt, survival: Survival, limits: Limits) -> None:
        self._body: Any = response.stream
        self._request = response.request
        self._attempt = attempt
        self._survival = survival
        self.limits = limits
        self.kept = _kept(response, attempt)
        self._undo = bound_reads(response, limits) if limits.end is not None else None
        self.loose = self._undo is None and (limits.end is not None or "network_stream" not in response.extensions)
        """Nobody but us looks at the clock between two chunks; and other transports than httpx2's own do not ask again
        how long a body may be silent."""

    @property
    def elapsed(self) -> timedelta | None:
        """What the body measured: ``Response.elapsed`` reads it from here."""
        return getattr(self._body, "elapsed", None)

    @property
    def _is_framed(self) -> bool:
        """Whether frames are decoded above. Who reads the bytes as they are makes of them what they will."""
        return self._attempt.framed and self._request.headers.get(_RAW) != "stream"

    def _release(self) -> None:
        if self._undo is not None:
            self._undo()

    def failed(self, error: Exception) -> bool:
        """Raise what the application is to get when the body breaks off, unless that is the error itself: then True.

        False: the answer was whole, and nothing is lost. (Raised in here, as a frame that held what passes through it
        would make a cycle.)
        """
        deadline = self.limits.is_deadline(error)
        if not self._survival.handed_over:
            if deadline:
                raise out_of_time(self._request) from error
            return True
        if self._attempt.complete:
            return False
        verdict = classify_exception(error, Stage.STREAMING)
        raise self._interrupted(verdict.outcome, Phase.DEADLINE if deadline else verdict.phase) from error

    def undecodable(self, error: Exception) -> bool:
        """Do the same where what came cannot be decompressed, which shows above the body and not in here."""
        if self._survival.handed_over:
            self._attempt.end(StreamEnd.EOF, error)
        return self.failed(error)

    def ended(self) -> None:
        """Raise what the application is to get at the end of a body, where that is no end of its message."""
        kept = self.kept
        if kept is None or not self._survival.handed_over or self._attempt.complete or not kept.read().is_cut:
            return
        raise self._interrupted(Outcome.TRUNCATED, None) from None

    def _interrupted(self, outcome: Outcome, phase: Phase | None) -> Exception:
        return interrupted(
            request=self._request,
            partial=NOTHING if self.kept is None else PartialMessage.of(self.kept.read().builder),
            outcome=outcome,
            phase=phase,
            request_id=self._attempt.request_id,
        )

    def spent(self) -> httpx2.TimeoutException:
        return httpx2.TimeoutException("the call's time ran out", request=self._request)

    def silent(self) -> httpx2.TimeoutException:
        return httpx2.ReadTimeout("nothing came in time", request=self._request)


class _WatchedSync(_Watched, httpx2.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        kept, end, clock = self.kept, self.limits.end if self.loose else None, self.limits.clock
        held = None if kept is None else kept.held
        body = intact(iter(self._body), self._request) if self._is_framed else self._body
        try:
            for chunk in body:  # once a chunk: what is done in here must be cheap
                if held is not None:
                    held.append(chunk)
                    if kept is not None and len(held) > _CHUNKS:
                        kept.pack()
                yield chunk
                if end is not None and clock() >= end:
                    raise self.spent()
        except _BROKEN as error:
            if self.failed(error):
                raise
        else:
            self.ended()

    def close(self) -> None:
        self._release()
        self._body.close()


class _WatchedAsync(_Watched, httpx2.AsyncByteStream):
    def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._body.__aiter__()
        return _AsyncReading(self, AsyncIntact(chunks, self._request) if self._is_framed else chunks)

    async def aclose(self) -> None:
        self._release()
        await self._body.aclose()


class _AsyncReading:
    """The reading of an async body; no generator, for the same reason as where it is observed."""

    __slots__ = ("_chunks", "_held", "_watched")

    def __init__(self, watched: _WatchedAsync, chunks: AsyncIterator[bytes]) -> None:
        self._watched = watched
        self._chunks = chunks
        self._held = None if watched.kept is None else watched.kept.held

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        held = self._held
        try:
            chunk = await (self._patient() if self._watched.loose else self._chunks.__anext__())
        except StopAsyncIteration:
            self._watched.ended()
            raise
        except _BROKEN as error:
            if self._watched.failed(error):
                raise
            raise StopAsyncIteration from None
        if held is not None:
            held.append(chunk)
            if len(held) > _CHUNKS and self._watched.kept is not None:
                self._watched.kept.pack()
        return chunk

    async def _patient(self) -> bytes:
        limits = self._watched.limits
        if limits.is_spent():
            raise self._watched.spent()
        try:
            with anyio.fail_after(limits.get("read")):
                return await self._chunks.__anext__()
        except TimeoutError:
            raise self._watched.silent() from None


class _WatchedBoth(_WatchedSync, _WatchedAsync):
    """A body that can be read either way, as one that is in memory."""


def watch(response: httpx2.Response, attempt: Attempt, survival: Survival) -> httpx2.Response:
    """Watch the body of a response, unless it was read already."""
    limits = survival.limits
    if limits is None or response.is_closed:
        return response
    body = response.stream
    kind = (
        _WatchedAsync
        if not isinstance(body, httpx2.SyncByteStream)
        else _WatchedBoth
        if isinstance(body, httpx2.AsyncByteStream)
        else _WatchedSync
    )
    response.stream = watched = kind(response, attempt, survival, limits)
    if "content-encoding" in response.headers:
        tell_of_damage(response, watched.undecodable)
    return response


def _kept(response: httpx2.Response, attempt: Attempt) -> Kept | None:
    call = attempt.call
    held = call.stream and call.endpoint == "messages" and response.is_success
    return Kept(response.headers) if held else None
