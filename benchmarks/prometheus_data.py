"""Puts a past into a Prometheus: old samples as blocks, the newest as remote writes, native histograms too.

Blocks are made by promtool; what a scrape would have left in memory is written over the network, in a few large
messages whose samples are encoded once for all series that have the same.
"""

import itertools
import re
import struct
import subprocess
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sidecar.demo import Server, find

BLOCK = 18 * 3600
"""Seconds: the largest blocks Prometheus makes with 15 days of retention."""
BUCKETS = 100
"""Populated buckets of a native histogram: three octaves at schema 5."""
FIRST_BUCKET = -48
CHUNK = 1800

Series = tuple[str, str]
"""Name and labels, as a page has them."""


def write_blocks(data: Path, series: Mapping[Series, float], begin: int, end: int, step: int) -> None:
    """Write constant series; promtool reads a text once for every block in it, so each block gets its own."""
    ordered = sorted(series.items())
    for block in range(begin // BLOCK * BLOCK, end, BLOCK):
        file = data.with_suffix(".txt")
        moments = range(max(begin, block), min(end, block + BLOCK), step)
        with file.open("w") as out:
            for (name, labels), value in ordered:
                head = f"{name}{{{labels}}} {value:g} "
                out.writelines(f"{head}{at}\n" for at in moments)
            out.write("# EOF\n")
        command = [str(find("promtool")), "tsdb", "create-blocks-from", "openmetrics", "--quiet"]
        subprocess.run(  # noqa: S603  # our own words
            [*command, f"--max-block-duration={BLOCK}s", str(file), str(data)], check=True, capture_output=True
        )
        file.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class LastHours:
    """What is sent, each kind with its step in seconds."""

    begin: int
    now: int
    """Where constant series end: rules will add to them."""
    end: int
    rising: Mapping[Series, int]
    """Counters, and how much they rise each step."""
    native: Iterable[Series]
    """Native histograms, which all look alike."""
    step: int
    constant: Mapping[Series, float]
    constant_step: int


def send(server: Server, hours: LastHours) -> None:
    """Send it half an hour at a time: what is an hour behind the newest sample is refused."""
    for start in range(hours.begin, hours.end, CHUNK):
        stop = min(start + CHUNK, hours.end)
        moments, few = range(start, stop, hours.step), range(start, min(stop, hours.now), hours.constant_step)
        rising = {pace: _samples(pace, hours.begin, moments) for pace in set(hours.rising.values())}
        constant = {value: b"".join(_sample(value, at) for at in few) for value in set(hours.constant.values())}
        histograms = _histograms(hours.begin, moments)
        _post(server, (_labels(each) + rising[pace] for each, pace in hours.rising.items()))
        _post(server, (_labels(each) + histograms for each in hours.native))
        _post(server, (_labels(each) + constant[value] for each, value in hours.constant.items()))


def _post(server: Server, series: Iterable[bytes]) -> None:
    body = _snappy(b"".join(_field(1, each) for each in series))
    request = urllib.request.Request(  # noqa: S310  # our own server on loopback
        f"{server.url}/api/v1/write", data=body, headers={"Content-Type": "application/x-protobuf"}
    )
    with urllib.request.urlopen(request):  # noqa: S310  # the same
        pass


def _labels(series: Series) -> bytes:
    name, labels = series
    pairs = sorted([("__name__", name), *re.findall(r'(\w+)="([^"]*)"', labels)])
    return b"".join(_field(1, _field(1, key.encode()) + _field(2, value.encode())) for key, value in pairs)


def _samples(pace: int, start: int, moments: range) -> bytes:
    return b"".join(_sample(pace * (at - start) / moments.step, at) for at in moments)


def _sample(value: float, at: int) -> bytes:
    return _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(at * 1000))


def _histograms(start: int, moments: range) -> bytes:
    span = _field(11, b"\x08" + _varint(_zigzag(FIRST_BUCKET)) + b"\x10" + _varint(BUCKETS))
    weights = [1 + index % 3 for index in range(BUCKETS)]
    deltas = [weights[0], *(after - before for before, after in itertools.pairwise(weights))]
    out = bytearray()
    for at in moments:
        number = (at - start) // moments.step
        count = number * sum(weights)
        out += _field(
            4,
            b"\x08"
            + _varint(count)
            + b"\x19"
            + struct.pack("<d", float(count))
            + b"\x20"
            + _varint(_zigzag(5))
            + b"\x29"
            + struct.pack("<d", 1e-9)
            + b"\x30\x00"
            + span
            + _field(12, b"".join(_varint(_zigzag(delta * number)) for delta in deltas))
            + b"\x78"
            + _varint(at * 1000),
        )
    return bytes(out)


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004  # seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _snappy(body: bytes) -> bytes:
    """Frame bytes as snappy does what it cannot compress: one length, then literals."""
    literals = (body[start : start + 65536] for start in range(0, len(body), 65536))
    return _varint(len(body)) + b"".join(b"\xf4" + struct.pack("<H", len(part) - 1) + part for part in literals)
