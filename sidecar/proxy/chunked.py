"""A chunked body on its way: where its pieces are, and where it ends. llhttp decides, with every leniency off."""

import re
from typing import Final

import httptools

from sidecar.proxy.framing import HOP_BY_HOP

QUIET_BYTES: Final = 16 * 1024
"""This much framing without content (chunk sizes, extensions, trailers) is no sensible body any more."""

_HEAD: Final = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
_EMPTY_LINE: Final = re.compile(rb"\r\n\r\n")
_NOT_TRAILERS: Final = frozenset({*HOP_BY_HOP, b"host"})


class MalformedChunksError(ValueError):
    """The bytes are no chunked body."""


class _Listener:
    """What llhttp calls; that the body's pieces go straight into a list saves a call for each."""

    __slots__ = ("armed", "ended", "on_body", "surplus", "trailers")

    def __init__(self, pieces: list[bytes]) -> None:
        self.on_body = pieces.append
        self.trailers: list[bytes] = []
        self.armed = False
        self.ended = False
        """Whether the body's end has come."""
        self.surplus = False
        """Whether more than the body was fed."""

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.armed and name.lower() in _NOT_TRAILERS:
            raise MalformedChunksError  # llhttp lets some of them pass
        self.trailers.append(b"%b: %b\r\n" % (name, value))

    def on_message_begin(self) -> None:
        self.surplus = self.ended

    def on_message_complete(self) -> None:
        self.ended = True


class ChunkedBody:
    """One body. Feed it the bytes after the head."""

    __slots__ = ("_parser", "_pieces", "_quiet", "listener")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.listener = _Listener(self._pieces)
        """Knows the same as ``over`` and ``surplus``, for those who ask for each chunk."""
        self._parser = httptools.HttpResponseParser(self.listener)
        self._parser.feed_data(_HEAD)
        self.listener.trailers.clear()
        self.listener.armed = True
        self._quiet = 0

    @property
    def over(self) -> bool:
        """Whether its end has come."""
        return self.listener.ended

    @property
    def surplus(self) -> bool:
        """Whether more than the body was fed."""
        return self.listener.surplus

    @property
    def trailers(self) -> list[bytes]:
        """The header lines after the last chunk."""
        return self.listener.trailers

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; returns the content in them. Raises MalformedChunksError."""
        pieces = self._pieces
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if not self.listener.ended:
                raise MalformedChunksError from None
            self.listener.surplus = True
        if pieces:
            self._quiet = 0
            found = pieces[:]
            pieces.clear()
            return found
        self._quiet += len(data)
        if self._quiet > QUIET_BYTES:
            raise MalformedChunksError
        return []

    def feed_up_to_end(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Do the same, but stop where the body ends; returns also what came after it."""
        found: list[bytes] = []
        start = 0
        # A body ends with an empty line, which may have begun in what was fed before.
        begun = len(data) - len(data[:4].lstrip(b"\r\n") + data[4:])
        ends = (cut.end() for cut in _EMPTY_LINE.finditer(data, begun))
        for end in (*range(1, begun + 1), *ends, len(data)):
            if end > start:
                found += self.feed(data[start:end])
                start = end
            if self.over:
                break
        return found, data[start:]
