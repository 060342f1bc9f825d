"""Streaming decompression for looking at bodies that pass by, in pieces of bounded size.

It never raises for what a peer sends: damaged data, an unknown encoding or a bomb ends the looking, and the caller
sees ``failed``. Brotli and Zstandard are read where their packages are installed.
"""

import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final, Protocol

PIECE: Final = 64 * 1024
"""No piece of output is longer than this."""
TOTAL: Final = 256 * 1024 * 1024
"""Looking ends after this much output."""

_ZSTD_SLICE: Final = 64  # a Zstandard block of 4 bytes can stand for 128 KB, and its object takes no output limit


class _Codec(Protocol):
    def __call__(self, data: bytes) -> Iterator[bytes]: ...


class Decompressor:
    """One body's decompression: feed it chunks as they come, read the pieces it gives."""

    __slots__ = ("_codec", "_left", "failed")

    def __init__(self, codec: _Codec, total: int = TOTAL) -> None:
        self._codec = codec
        self._left = total
        self.failed = False
        """True once the data could not be read, or was too much; nothing more comes out."""

    @property
    def damaged(self) -> bool:
        """True once the data could not be read, so that nobody else can read it either."""
        return self.failed and self._left >= 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decompress the next chunk into pieces."""
        if self.failed or not data:
            return
        try:
            for piece in self._codec(data):
                self._left -= len(piece)
                if self._left < 0:
                    self.failed = True
                    return
                yield piece
        except Exception:  # noqa: BLE001  # each package has its own error class; whatever it is, the looking is over
            self.failed = True


def decompressor(encoding: str, total: int = TOTAL) -> Decompressor | None:
    """Make the decompressor for a ``content-encoding``; None when it is not known or its package is missing."""
    make = _CODECS.get(encoding.strip().lower())
    codec = make() if make else None
    return Decompressor(codec, total) if codec else None


def _zlib(wbits: int) -> _Codec:
    state = zlib.decompressobj(wbits)

    def run(data: bytes) -> Iterator[bytes]:
        nonlocal state
        while data:
            if state.eof:  # gzip allows one member after another
                state = zlib.decompressobj(wbits)
            piece = state.decompress(data, PIECE)
            data = state.unused_data if state.eof else state.unconsumed_tail
            if piece:
                yield piece

    return run


def _deflate() -> _Codec:
    """Zlib's wrapping, or none: both are sent under this name."""
    chosen: _Codec | None = None

    def run(data: bytes) -> Iterator[bytes]:
        nonlocal chosen
        if chosen is None:
            chosen = _zlib(zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS)  # noqa: PLR2004  # CM = deflate
        return chosen(data)

    return run


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


def _brotli() -> _Codec | None:
    brotli = _package("brotli")
    if brotli is None:
        return None
    state = brotli.Decompressor()

    def run(data: bytes) -> Iterator[bytes]:
        piece = state.process(data, output_buffer_limit=PIECE)
        while piece:
            for start in range(0, len(piece), PIECE):  # the limit is not strict
                yield piece[start : start + PIECE]
            # It says that it can accept more while output is left; only an empty answer means that nothing is.
            piece = b"" if state.is_finished() else state.process(b"", output_buffer_limit=PIECE)

    return run


def _zstd() -> _Codec | None:
    zstandard = _package("zstandard")
    if zstandard is None:
        return None
    whole = zstandard.ZstdDecompressor(max_window_size=8 << 20)
    state = whole.decompressobj()

    def run(data: bytes) -> Iterator[bytes]:
        nonlocal state
        for at in range(0, len(data), _ZSTD_SLICE):
            packed = data[at : at + _ZSTD_SLICE]
            while packed:
                if state.eof:  # one frame may follow another
                    state = whole.decompressobj()
                piece = state.decompress(packed)
                packed = state.unused_data if state.eof else b""
                for start in range(0, len(piece), PIECE):
                    yield piece[start : start + PIECE]

    return run


_CODECS: Final[dict[str, Callable[[], _Codec | None]]] = {
    "gzip": lambda: _zlib(zlib.MAX_WBITS | 16),
    "x-gzip": lambda: _zlib(zlib.MAX_WBITS | 16),
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
