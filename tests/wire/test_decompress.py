"""Bodies are decompressed piece by piece as they pass, and neither damage nor bombs do harm."""

import gzip
import sys
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.wire.decompress import PIECE, decompressor

TEXT = b"event: ping\ndata: {}\n\n" * 5_000


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACK = {
    "gzip": gzip.compress,
    "X-GZIP ": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("encoding", PACK)
@pytest.mark.parametrize("size", [1, 100, 1_000_000])
def test_every_encoding_is_read_in_chunks_of_any_size(encoding: str, size: int) -> None:
    packed = PACK[encoding](TEXT)
    unpack = decompressor(encoding)
    assert unpack is not None
    pieces = [piece for at in range(0, len(packed), size) for piece in unpack.feed(packed[at : at + size])]
    assert b"".join(pieces) == TEXT
    assert max(map(len, pieces)) <= PIECE
    assert not unpack.failed


def test_deflate_without_zlibs_wrapping_is_read_too() -> None:
    unpack = decompressor("deflate")
    assert unpack is not None
    assert b"".join(unpack.feed(_raw_deflate(TEXT))) == TEXT


def test_gzip_may_come_in_several_members() -> None:
    unpack = decompressor("gzip")
    assert unpack is not None
    assert b"".join(unpack.feed(gzip.compress(b"one ") + gzip.compress(b"two"))) == b"one two"


@pytest.mark.parametrize("size", [1, 1_000])
def test_zstandard_may_come_in_several_frames(size: int) -> None:
    packed = b"".join(map(zstandard.compress, (b"one ", b"", b"two")))
    unpack = decompressor("zstd")
    assert unpack is not None
    pieces = [piece for at in range(0, len(packed), size) for piece in unpack.feed(packed[at : at + size])]
    assert b"".join(pieces) == b"one two"
    assert not unpack.failed


@pytest.mark.parametrize("encoding", PACK)
def test_a_bomb_ends_the_looking(encoding: str) -> None:
    packed = PACK[encoding](bytes(20_000_000))
    unpack = decompressor(encoding, total=1_000_000)
    assert unpack is not None
    sizes = [len(piece) for piece in unpack.feed(packed)]
    assert sum(sizes) <= 1_000_000
    assert max(sizes) <= PIECE
    assert unpack.failed
    assert list(unpack.feed(packed)) == []


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(sorted(PACK)), st.binary(min_size=1, max_size=200))
def test_garbage_never_raises(encoding: str, data: bytes) -> None:
    unpack = decompressor(encoding)
    assert unpack is not None
    list(unpack.feed(data))
    list(unpack.feed(data))


def test_damage_is_told() -> None:
    unpack = decompressor("gzip")
    assert unpack is not None
    assert list(unpack.feed(b"this is no gzip")) == []
    assert unpack.failed


@pytest.mark.parametrize("encoding", ["identity", "", "compress", "gzip, br"])
def test_an_encoding_that_is_not_known_has_no_decompressor(encoding: str) -> None:
    assert decompressor(encoding) is None


@pytest.mark.parametrize(("encoding", "package"), [("br", "brotli"), ("zstd", "zstandard")])
def test_without_its_package_an_encoding_is_not_known(
    encoding: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert decompressor(encoding) is None
