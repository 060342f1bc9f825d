"""What undoes the packing of a stream is chosen by its headers."""

import gzip

import pytest

from sidecar.wire.frames import FRAMED, EventFrames
from sidecar.wire.unpack import unpacker

EVENTS = "text/event-stream; charset=utf-8"


@pytest.mark.parametrize("encoding", ["", "identity"])
def test_what_is_not_packed_is_given_as_it_is(encoding: str) -> None:
    plain = unpacker(EVENTS, encoding)
    assert plain is not None
    assert list(plain.feed(b"data: {}\n\n")) == [b"data: {}\n\n"]
    assert not plain.failed


def test_what_is_compressed_is_decompressed_and_damage_is_told() -> None:
    packed = unpacker(EVENTS, "gzip")
    assert packed is not None
    assert b"".join(packed.feed(gzip.compress(b"data: {}\n\n"))) == b"data: {}\n\n"
    assert list(packed.feed(b"no gzip")) == []
    assert packed.failed


def test_bedrocks_frames_are_undone() -> None:
    assert isinstance(unpacker(FRAMED, ""), EventFrames)


@pytest.mark.parametrize(("kind", "encoding"), [(EVENTS, "unheard-of"), (FRAMED, "gzip"), (FRAMED, "unheard-of")])
def test_what_nobody_here_can_undo_has_none(kind: str, encoding: str) -> None:
    assert unpacker(kind, encoding) is None
