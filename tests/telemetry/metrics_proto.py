"""Prometheus' ``metrics.proto`` as its own project defines it, for reading back with Google's library what we wrote.

Only the fields in use are listed; anything else would show up as an unknown field, and fails.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_T = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _T.TYPE_STRING,
    "double": _T.TYPE_DOUBLE,
    "uint64": _T.TYPE_UINT64,
    "uint32": _T.TYPE_UINT32,
    "sint32": _T.TYPE_SINT32,
    "sint64": _T.TYPE_SINT64,
    "int64": _T.TYPE_INT64,
    "int32": _T.TYPE_INT32,
}
_MESSAGES = {
    "LabelPair": "name:string=1 value:string=2",
    "Gauge": "value:double=1",
    "Counter": "value:double=1",
    "Timestamp": "seconds:int64=1 nanos:int32=2",
    "Exemplar": "label:*LabelPair=1 value:double=2 timestamp:Timestamp=3",
    "Bucket": "cumulative_count:uint64=1 upper_bound:double=2 exemplar:Exemplar=3",
    "BucketSpan": "offset:sint32=1 length:uint32=2",
    "Histogram": "sample_count:uint64=1 sample_sum:double=2 bucket:*Bucket=3 schema:sint32=5 zero_threshold:double=6 "
    "zero_count:uint64=7 positive_span:*BucketSpan=12 positive_delta:*sint64=13",
    "Metric": "label:*LabelPair=1 gauge:Gauge=2 counter:Counter=3 histogram:Histogram=7",
    "MetricFamily": "name:string=1 help:string=2 type:int32=3 metric:*Metric=4",
}


def _family_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package="io.prometheus.client", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split():
            title, _, rest = field.partition(":")
            kind, _, number = rest.partition("=")
            label = _T.LABEL_REPEATED if kind.startswith("*") else _T.LABEL_OPTIONAL
            added = message.field.add(name=title, number=int(number), label=label)
            if (kind := kind.removeprefix("*")) in _SCALARS:
                added.type = _SCALARS[kind]
            else:
                added.type, added.type_name = _T.TYPE_MESSAGE, f".io.prometheus.client.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("io.prometheus.client.MetricFamily"))


_FAMILY = _family_class()


def parse(page: bytes) -> dict[str, Any]:
    """Read a page of delimited MetricFamily messages, by name."""
    families = {}
    while page:
        length = shift = position = 0
        while True:
            byte = page[position]
            length |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if byte < 0x80:
                break
        family = _FAMILY.FromString(page[position : position + length])
        # What we wrote is what the library would write: no field unknown, none forgotten in a length.
        assert len(family.SerializeToString()) <= length
        known = _FAMILY.FromString(family.SerializeToString())
        known.DiscardUnknownFields()
        assert known == family
        families[family.name] = family
        page = page[position + length :]
    return families


def labels_of(message: Any) -> dict[str, str]:
    """Give a message's label pairs."""
    return {pair.name: pair.value for pair in message.label}


def native_counts(histogram: Any) -> dict[int, int]:
    """Undo spans and differences: the count of each bucket by the index Prometheus gives it."""
    counts, index, count = {}, 0, 0
    deltas = iter(histogram.positive_delta)
    for span in histogram.positive_span:
        index += span.offset
        for _ in range(span.length):
            count += next(deltas)
            counts[index] = count
            index += 1
    assert next(deltas, None) is None
    return {index: count for index, count in counts.items() if count}
