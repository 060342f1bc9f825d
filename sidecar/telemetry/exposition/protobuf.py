"""The protobuf format: delimited ``io.prometheus.client.MetricFamily`` messages, written by hand.

It carries native and classic buckets at once, exemplars on the classic ones, so that a scraper without the feature
still gets all. The field numbers are those of Prometheus' ``metrics.proto``.
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

from sidecar.telemetry.exposition.classic import bounds, place_exemplars
from sidecar.telemetry.exposition.native import UNSIGNED, Memo, native_buckets, signed_varint, varint
from sidecar.telemetry.families import Family, Kind
from sidecar.telemetry.histogram import ZERO_THRESHOLD, Exemplar
from sidecar.telemetry.view import FamilyView, Labels

_TYPES: Final = {Kind.COUNTER: 0, Kind.GAUGE: 1, Kind.HISTOGRAM: 4}
# Of Metric: which field holds the value, as a message whose field 1 is a double.
_VALUES: Final = {Kind.COUNTER: b"\x1a\x09\x09", Kind.GAUGE: b"\x12\x09\x09"}
_double: Final = Struct("<d").pack
_INFINITY: Final = _double(float("inf"))
_AT_ONCE: Final = 32
"""So many series are put together at once: copying a family of thousands takes a millisecond."""


def _bucket_head(count: int) -> bytes:
    """Encode a Bucket up to its bound: the length, the count, and the tag of the bound."""
    encoded = varint(count)
    return b"\x1a%c\x08%b\x11" % (len(encoded) + 10, encoded)


_BUCKET_HEADS: Final = Memo(_bucket_head)


class ProtobufRenderer:
    """Renders views as protobuf. It keeps the labels it has seen, encoded; the label guard bounds those."""

    def __init__(self) -> None:
        self._bounds: Final[dict[str, list[bytes]]] = {}
        self._labels: Final[dict[str, dict[Labels, bytes]]] = {}

    def pieces(self, views: Iterable[FamilyView]) -> Iterator[bytes]:
        """Render the page piece by piece; most are empty, as a family's length stands before its series."""
        for view in views:
            metrics: list[bytes] = []
            about = _about(view.family)
            size = len(about)
            for metric in self._histograms(view) if view.family.kind is Kind.HISTOGRAM else self._values(view):
                metrics.append(metric)
                size += len(metric)
                yield b""
            if metrics:
                yield varint(size) + about
                for start in range(0, len(metrics), _AT_ONCE):
                    yield b"".join(metrics[start : start + _AT_ONCE])
            yield b""

    def _values(self, view: FamilyView) -> Iterator[bytes]:
        field = _VALUES[view.family.kind]
        known = self._labels.setdefault(view.family.name, {})
        for labels, value in view.values:
            head = known.get(labels)
            if head is None:
                pairs = _labels(view.family.labels, labels)
                head = known[labels] = b"\x22%b%b%b" % (varint(len(pairs) + 11), pairs, field)
            yield head + _double(value)

    def _histograms(self, view: FamilyView) -> Iterator[bytes]:
        octaves = view.family.buckets
        assert octaves is not None  # noqa: S101  # every histogram of the table has them
        encoded_bounds = self._bounds.get(view.family.name)
        if encoded_bounds is None:
            encoded_bounds = [*map(_double, bounds(octaves)), _INFINITY]
            self._bounds[view.family.name] = encoded_bounds
        known = self._labels.setdefault(view.family.name, {})
        buckets: list[bytes] = [b""] * (2 * len(encoded_bounds))
        for labels, snapshot in view.histograms:
            pairs = known.get(labels)
            if pairs is None:
                pairs = known[labels] = _labels(view.family.labels, labels)
            counts = snapshot.cumulative(octaves.low * 2, octaves.high * 2)
            buckets[::2] = map(_BUCKET_HEADS.__getitem__, counts)
            buckets[1::2] = encoded_bounds
            if snapshot.exemplars:
                for position, exemplar in place_exemplars(snapshot.exemplars, octaves).items():
                    buckets[position * 2] = b""
                    buckets[position * 2 + 1] = _with_exemplar(counts[position], encoded_bounds[position], exemplar)
            histogram = b"".join(
                (
                    b"\x08",
                    UNSIGNED[counts[-1]],
                    b"\x11",
                    _double(snapshot.sum),
                    *buckets,
                    _SCHEMAS[snapshot.schema],
                    _ZERO_THRESHOLD,
                    UNSIGNED[snapshot.zeros],
                    native_buckets(snapshot),
                )
            )
            size = UNSIGNED[len(histogram)]
            yield b"".join(
                (b"\x22", UNSIGNED[len(pairs) + 1 + len(size) + len(histogram)], pairs, b"\x3a", size, histogram)
            )


_SCHEMAS: Final = Memo(lambda schema: b"\x28" + signed_varint(schema))
_ZERO_THRESHOLD: Final = b"\x31" + _double(ZERO_THRESHOLD) + b"\x38"
"""With the tag of ``zero_count``, which follows it."""


def _with_exemplar(count: int, bound: bytes, exemplar: Exemplar) -> bytes:
    seconds, fraction = divmod(exemplar.at, 1.0)
    timestamp = b"\x08%b\x10%b" % (varint(int(seconds)), varint(int(fraction * 1e9)))
    label = _pair(b"\x0a", "trace_id", exemplar.trace_id)
    body = b"%b\x11%b\x1a%c%b" % (label, _double(exemplar.value), len(timestamp), timestamp)
    bucket = b"\x08%b\x11%b\x1a%b%b" % (varint(count), bound, varint(len(body)), body)
    return b"\x1a%b%b" % (varint(len(bucket)), bucket)


def _about(family: Family) -> bytes:
    return b"".join([_text(b"\x0a", family.name), _text(b"\x12", family.help), b"\x18%c" % _TYPES[family.kind]])


def _labels(names: Iterable[str], values: Iterable[str]) -> bytes:
    return b"".join([_pair(b"\x0a", name, value) for name, value in zip(names, values, strict=True)])


def _pair(tag: bytes, name: str, value: str) -> bytes:
    pair = _text(b"\x0a", name) + _text(b"\x12", value)
    return b"%b%b%b" % (tag, varint(len(pair)), pair)


def _text(tag: bytes, text: str) -> bytes:
    encoded = text.encode()
    return b"%b%b%b" % (tag, varint(len(encoded)), encoded)
