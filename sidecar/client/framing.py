"""Looks at the frames of a body in Amazon's framing before they are handed on: one that is damaged breaks it off.

Whoever reads such a body finds the damage, too, and says so in botocore's words. Knows httpx2.
"""

from collections.abc import AsyncIterator, Iterator

import httpx2

from sidecar.wire.frames import EventFrames

__all__ = ["AsyncIntact", "intact"]


class _Frames:
    """The frames so far."""

    __slots__ = ("_frames", "_passed", "_request")

    def __init__(self, request: httpx2.Request) -> None:
        self._request = request
        self._frames = EventFrames()
        self._passed = 0

    def before_damage(self, chunk: bytes) -> bytes:
        """Give as much of a chunk as comes before a frame that is damaged. One that is cut is not known to be."""
        for _ in self._frames.feed(chunk):
            pass
        if self._frames.failed:
            return chunk[: max(0, self._frames.intact - self._passed)]
        self._passed += len(chunk)
        return chunk

    def stop_if_damaged(self) -> None:
        """Raise what tells of a body that cannot be decoded."""
        if self._frames.failed:
            raise httpx2.DecodingError("a frame of the stream is damaged", request=self._request)


def intact(chunks: Iterator[bytes], request: httpx2.Request) -> Iterator[bytes]:
    """Hand on what comes before a frame that is damaged."""
    frames = _Frames(request)
    for chunk in chunks:
        good = frames.before_damage(chunk)
        if good:
            yield good
        frames.stop_if_damaged()


class AsyncIntact(AsyncIterator[bytes]):
    """Does the same; no generator, for the same reason as where a body is observed."""

    __slots__ = ("_chunks", "_frames")

    def __init__(self, chunks: AsyncIterator[bytes], request: httpx2.Request) -> None:
        self._chunks = chunks
        self._frames = _Frames(request)

    async def __anext__(self) -> bytes:
        while True:
            self._frames.stop_if_damaged()
            good = self._frames.before_damage(await self._chunks.__anext__())
            if good:
                return good
