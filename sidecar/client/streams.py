"""Wraps the body of a response so that its reading is told to the attempt, chunk by chunk and at its end.

The wrapper is of the body's own kind (sync, async or both: the HTTP client asks), hands every chunk on as it is, and
holds nothing but the attempt. It is dropped with the response; its finalizer tells of bodies that nobody read.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Final

import httpx2

from sidecar.client.attempt import Attempt
from sidecar.client.bodies import Feed
from sidecar.model import StreamEnd
from sidecar.wire.sse import CONTENT, EVENT, LF, NAME_AT

_JSON_MODULES: Final = frozenset({"json", "json.decoder", "json.scanner"})
_DECODING: Final = (
    "anthropic._streaming",
    "anthropic._models",
    "anthropic.lib.bedrock.",
    "anthropic.lib.streaming.",
    "sidecar.client.long.",
)
"""Where those who decode events live. The rest of the SDK has errors of its own, of other calls that are made while a
stream is read."""


_SINGLE: Final = 1024
"""After a longer chunk, which holds several events, the next is hardly a single one: nobody need ask."""


class _Observed:
    """What both kinds share: whose body it is, and its end."""

    def __init__(self, body: httpx2.SyncByteStream | httpx2.AsyncByteStream, attempt: Attempt) -> None:
        self._body = body
        self._attempt = attempt
        self._feed = attempt.reading()
        self._handled = id(sys.exception())  # of an exception that is no news of this body

    @property
    def elapsed(self) -> timedelta | None:
        """What the body measured: ``Response.elapsed`` reads it from here."""
        return getattr(self._body, "elapsed", None)

    def _closed(self) -> None:
        if self._attempt.verdict is None:  # of a body that was read to its end, the end is told already
            self._attempt.end(StreamEnd.CLOSED, _parse_failure(self._handled))

    def __del__(self) -> None:
        if self._attempt.verdict is None:
            self._attempt.end(StreamEnd.CLOSED)


class _ObservedSync(_Observed, httpx2.SyncByteStream):
    _body: httpx2.SyncByteStream

    def __iter__(self) -> Iterator[bytes]:
        attempt, feed = self._attempt, self._feed
        clock, flight = attempt.observer.clock, attempt.call.ticket.flight
        gap, flows = attempt.gap, False
        before = flight.silent_since = clock()
        try:
            for chunk in self._body:  # once a chunk: what is done in here must be cheap
                now = clock()
                flight.silent_since = None
                if now - before > gap:
                    gap = now - before
                    attempt.waited(before, now)
                try:
                    if (
                        flows
                        and len(chunk) > NAME_AT
                        and chunk[-1] == LF
                        and chunk[NAME_AT] == CONTENT
                        and chunk.rfind(EVENT) == 0
                    ):
                        pass  # the usual, told apart here, as a call would cost as much again: see `SseScanner.flows`
                    else:
                        if feed(chunk):
                            attempt.learnt(now)
                        flows = len(chunk) < _SINGLE and attempt.flows(feed)
                except Exception as error:  # noqa: BLE001  # whatever it is, the call must not suffer
                    feed, flows = attempt.blind(error), False
                yield chunk
                before = flight.silent_since = clock()
        except GeneratorExit:
            flight.silent_since = None
            raise
        except BaseException as error:
            attempt.waited(before, clock())
            attempt.end(StreamEnd.EOF, error)
            raise
        attempt.end(StreamEnd.EOF)

    def close(self) -> None:
        self._closed()
        self._body.close()


class _ObservedAsync(_Observed, httpx2.AsyncByteStream):
    _body: httpx2.AsyncByteStream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _AsyncReading(self._body, self._attempt, self._feed)

    async def aclose(self) -> None:
        self._closed()
        await self._body.aclose()


class _AsyncReading:
    """The reading of an async body.

    Not a generator: one that is dropped half-way would have to be finished by the event loop in a task of its own.
    """

    __slots__ = ("_attempt", "_chunks", "_clock", "_feed", "_flight")

    def __init__(self, body: httpx2.AsyncByteStream, attempt: Attempt, feed: Feed) -> None:
        self._chunks = body.__aiter__()
        self._feed = feed
        self._attempt = attempt
        self._clock = attempt.observer.clock
        self._flight = attempt.call.ticket.flight

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        attempt, clock, flight = self._attempt, self._clock, self._flight
        before = flight.silent_since = clock()
        try:
            chunk = await self._chunks.__anext__()
        except StopAsyncIteration:
            attempt.end(StreamEnd.EOF)
            raise
        except BaseException as error:
            attempt.waited(before, clock())
            attempt.end(StreamEnd.EOF, error)
            raise
        now = clock()
        flight.silent_since = None
        if now - before > attempt.gap:
            attempt.waited(before, now)
        try:
            if self._feed(chunk):
                attempt.learnt(now)
        except Exception as error:  # noqa: BLE001  # whatever it is, the call must not suffer
            self._feed = attempt.blind(error)
        return chunk


class _ObservedBoth(_ObservedSync, _ObservedAsync):
    """A body that can be read either way, as one that is in memory."""

    _body: httpx2.ByteStream


def observed(
    body: httpx2.SyncByteStream | httpx2.AsyncByteStream, attempt: Attempt
) -> httpx2.SyncByteStream | httpx2.AsyncByteStream:
    """Wrap a response's body in its own kind."""
    if not isinstance(body, httpx2.SyncByteStream):
        return _ObservedAsync(body, attempt)
    return _ObservedBoth(body, attempt) if isinstance(body, httpx2.AsyncByteStream) else _ObservedSync(body, attempt)


def _parse_failure(handled: int) -> BaseException | None:
    """Give the exception that makes the SDK close a body it cannot parse, if that is what is happening.

    The SDK decodes events outside of the body and closes it while its own ``ValueError`` passes; to the body this
    looks like an application that stops reading. It is told apart by who raised it.
    """
    error = sys.exception()
    if not isinstance(error, ValueError) or id(error) == handled:
        return None
    traceback, module = error.__traceback__, ""
    while traceback is not None:
        name = traceback.tb_frame.f_globals.get("__name__", "")
        if name not in _JSON_MODULES:
            module = name
        traceback = traceback.tb_next
    return error if module.startswith(_DECODING) else None
