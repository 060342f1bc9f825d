"""Chooses what undoes the packing of a stream of events: Bedrock's framing, a compression, or nothing."""

from collections.abc import Iterator
from typing import Final, Protocol

from sidecar.wire.decompress import decompressor
from sidecar.wire.frames import FRAMED, EventFrames


class Unpacker(Protocol):
    """Takes chunks as they come, and gives what they hold. What a peer sends raises nothing."""

    @property
    def failed(self) -> bool:
        """True once nothing more comes out."""

    def feed(self, data: bytes, /) -> Iterator[bytes]:
        """Unpack the next chunk into pieces."""


class Plain:
    """Nothing to undo."""

    failed: Final = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give the chunk as it is."""
        yield data


def unpacker(kind: str, encoding: str) -> Unpacker | None:
    """Make one for a ``content-type`` and a ``content-encoding``; None where nobody here can undo it."""
    packed = encoding not in {"", "identity"}
    if kind.startswith(FRAMED):
        return None if packed else EventFrames()  # nobody is known to send both
    return decompressor(encoding) if packed else Plain()
