"""A histogram's native buckets as protobuf has them: spans of buckets, and the differences from one to the next.

Hundreds of buckets per series make this the hot part of a scrape, so whole arrays are worked on as bytes and as big
integers wherever that says the same as a loop.
"""

import sys
from array import array
from collections.abc import Callable
from itertools import chain
from operator import sub
from typing import Final

from sidecar.telemetry.histogram import HistogramSnapshot

_MEMO_SIZE: Final = 10_000
_SMALL: Final = 64
"""A difference from -64 to 63 takes one byte."""
# Skipping empty buckets costs a span, which is not worth it for a few of them.
_GAP: Final = bytes(64)
_ONE_BYTE: Final = bytes((n << 1 if n >= 0 else ~(n << 1)) & 0x7F for n in range(-_SMALL, 256 - _SMALL))


def varint(number: int) -> bytes:
    """Encode an unsigned integer."""
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004  # seven bits a byte
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def signed_varint(number: int) -> bytes:
    """Encode a signed integer (zigzag)."""
    return varint(number << 1 if number >= 0 else ~(number << 1))


class Memo(dict[int, bytes]):
    """A function from integers to bytes that remembers its first results; look-ups run at C speed."""

    def __init__(self, encode: Callable[[int], bytes]) -> None:
        super().__init__()
        self._encode: Final = encode

    def __missing__(self, number: int) -> bytes:
        encoded = self._encode(number)
        if len(self) < _MEMO_SIZE:
            self[number] = encoded
        return encoded


_SIGNED: Final = Memo(signed_varint)
UNSIGNED: Final = Memo(varint)
"""`varint`, remembered."""
# The bias for more buckets than a histogram has, in 4 and in 8 bytes each; fewer are a part of it.
_BIAS_SIZE: Final = 8 * 1024 * 8
_BIAS: Final = {
    width: int.from_bytes(_SMALL.to_bytes(width, "little") * (_BIAS_SIZE // 8 // width), "little") for width in (4, 8)
}


def native_buckets(snapshot: HistogramSnapshot) -> bytes:
    """Encode the fields ``positive_span`` and ``positive_delta`` of ``Histogram``."""
    counts = snapshot.counts
    if sys.byteorder == "big":  # pragma: no cover  # the machines we test on are little-endian
        counts = counts[:]
        counts.byteswap()
    width = counts.itemsize
    raw = counts.tobytes()
    used = raw.rstrip(b"\0")
    if not used:
        return b""
    first = (len(used) - len(used.lstrip(b"\0"))) // width
    end = -(-len(used) // width)
    if raw[::width].count(0) > len(counts) // 2:
        pieces = _pieces(raw, width, first, end)
        kept = b"".join([raw[begin * width : stop * width] for begin, stop in pieces])
    else:
        pieces = [(first, end)]
        kept = raw[first * width : end * width]
    deltas = _deltas(kept, width) or _large_deltas(kept, counts.typecode)
    fields: list[bytes] = []
    before = -snapshot.low - 1  # Prometheus counts buckets by their upper bound: ours from 0 are its from 1
    for begin, stop in pieces:
        offset, length = _SIGNED[begin - before], UNSIGNED[stop - begin]
        fields += (b"\x62", UNSIGNED[len(offset) + len(length) + 2], b"\x08", offset, b"\x10", length)
        before = stop
    fields += (b"\x6a", UNSIGNED[len(deltas)], deltas)
    return b"".join(fields)


def _pieces(raw: bytes, width: int, first: int, end: int) -> list[tuple[int, int]]:
    """Find the runs of buckets between long gaps."""
    pieces = []
    stop = end * width
    # The gap's first zero bytes may belong to the bucket before it, its last ones to the bucket after it.
    while (gap := raw.find(_GAP, first * width, stop)) >= 0:
        pieces.append((first, -(-gap // width)))
        first = (stop - len(raw[gap:stop].lstrip(b"\0"))) // width
    return [*pieces, (first, end)]


def _deltas(raw: bytes, width: int) -> bytes:
    """Encode the differences when each takes one byte; otherwise return nothing."""
    # All of them at once: one big number less the same moved on by a bucket. The bias keeps small negative ones from
    # borrowing from their neighbours; what is out of range shows in the other bytes of its lane. A count with its
    # highest bit set could come round to look small.
    if not raw[width - 1 :: width].isascii():
        return b""
    size = len(raw) * 8
    whole = int.from_bytes(raw, "little")
    last = whole >> (size - 8 * width)
    biased = whole - (whole << (8 * width)) + (last << size) + (_BIAS[width] >> (_BIAS_SIZE - size))
    if biased < 0 or biased >> size:
        return b""
    lanes = biased.to_bytes(len(raw), "little")
    low = lanes[::width]
    fits = low.isascii() and lanes.count(0) - low.count(0) == len(raw) - len(low)
    return low.translate(_ONE_BYTE) if fits else b""


def _large_deltas(raw: bytes, typecode: str) -> bytes:
    counts = array(typecode)
    counts.frombytes(raw)
    if sys.byteorder == "big":  # pragma: no cover  # the same
        counts.byteswap()
    return b"".join(map(_SIGNED.__getitem__, chain(counts[:1], map(sub, counts[1:], counts))))
