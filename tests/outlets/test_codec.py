"""Proves that datagrams say exactly what was put in, and that no bytes whatever can harm the receiver."""

import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.model import AttemptRecord, CallRecord, LimitKind, Outcome, RateLimit, TraceRef, Usage, Wait
from sidecar.telemetry.snapshot import GaugeSnapshot, Sample
from sidecar.telemetry.socket import layout
from sidecar.telemetry.socket.decoder import Batch, MalformedError, decode
from sidecar.telemetry.socket.encoder import Encoded, encode_records, encode_snapshot
from tests.outlets import samples

SNAPSHOT = GaugeSnapshot(
    process="4711-a1b2",
    gauges=(Sample("claude_in_flight", ("messages", "claude-sonnet-5-5", "client"), 3.0, 1_800_000_000.0),),
    counters=(Sample("sidecar_dropped_records_total", ("nan",), 2.0),),
)


def read(datagram: bytes) -> Batch:
    content = decode(datagram)
    assert isinstance(content, Batch)
    return content


def packed(*records: AttemptRecord | CallRecord) -> Encoded:
    encoded, end = encode_records(records)
    assert end == len(records)
    return encoded


@settings(deadline=None, max_examples=150)
@given(st.lists(samples.attempts | samples.calls, max_size=6))
def test_records_arrive_as_they_were_sent(records: list[AttemptRecord | CallRecord]) -> None:
    encoded, end = encode_records(records)
    batch = read(encoded.data)
    assert batch.attempts == [record for record in records if isinstance(record, AttemptRecord)]
    assert batch.calls == [record for record in records if isinstance(record, CallRecord)]
    assert (end, encoded.items, encoded.refused, batch.invalid) == (len(records), len(records), 0, 0)


def test_what_arrives_is_as_frozen_as_what_was_sent() -> None:
    batch = read(packed(*samples.pairs(1)).data)
    for record in (batch.attempts[0], batch.calls[0]):
        with pytest.raises(FrozenInstanceError):
            record.duration = 1.0  # type: ignore[misc]
    assert hash(batch.attempts[0]) == hash(samples.pairs(1)[0])
    assert replace(batch.calls[0], attempts=3).attempts == 3


def test_a_snapshot_arrives_as_it_was_sent() -> None:
    encoded = encode_snapshot(SNAPSHOT)
    assert decode(encoded.data) == SNAPSHOT
    assert (encoded.items, encoded.refused) == (2, 0)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300))
def test_garbage_is_refused_with_a_reason(garbage: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        decode(garbage)
    assert caught.value.reason in {"malformed", "version"}


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_flipped_bytes_never_do_more_than_change_or_lose_records(data: st.DataObject) -> None:
    encoded = data.draw(st.sampled_from([packed(*samples.pairs(3)).data, encode_snapshot(SNAPSHOT).data]))
    damaged = bytearray(encoded)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        content = decode(bytes(damaged))
    except MalformedError:
        return
    if isinstance(content, Batch):
        assert len(content.attempts) + len(content.calls) + content.invalid <= 6
        records: list[AttemptRecord | CallRecord] = [*content.attempts, *content.calls]
        for record in records:
            assert 0 <= record.duration <= 30 * 86_400
            assert math.isfinite(record.started_at)
    else:
        assert all(math.isfinite(sample.value) for sample in content.gauges + content.counters)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_a_datagram_cut_short_is_refused(data: st.DataObject) -> None:
    encoded = packed(*samples.pairs(2), samples.call(waits=(Wait(reason=Outcome.OVERLOADED, at=1, seconds=2),))).data
    with pytest.raises(MalformedError):
        decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


def test_what_follows_the_last_section_is_refused() -> None:
    with pytest.raises(MalformedError, match="by its header"):
        decode(packed(samples.attempt()).data + b"\0")


def test_another_version_is_refused_by_that_name() -> None:
    datagram = bytearray(packed(samples.attempt()).data)
    datagram[2] = layout.VERSION + 1
    with pytest.raises(
        MalformedError, match=f"version {layout.VERSION + 1}; this is version {layout.VERSION}"
    ) as caught:
        decode(bytes(datagram))
    assert caught.value.reason == "version"


def test_an_unknown_kind_is_refused() -> None:
    datagram = bytearray(packed(samples.attempt()).data)
    datagram[3] = 9
    with pytest.raises(MalformedError, match="unknown kind 9"):
        decode(bytes(datagram))


def test_more_than_the_largest_datagram_is_refused_unread() -> None:
    with pytest.raises(MalformedError) as caught:
        decode(bytes(layout.MAX_DATAGRAM + 1))
    assert caught.value.reason == "oversized"


@pytest.mark.parametrize(
    "row",
    [
        samples.attempt(duration=math.inf),
        samples.attempt(duration=math.nan),
        samples.attempt(duration=-0.1),
        samples.attempt(duration=40 * 86_400.0),
        samples.attempt(started_at=math.nan),
        samples.attempt(started_at=-1.0),
        samples.attempt(status=42),
        samples.attempt(max_gap=-1.0),
        samples.attempt(outcome=Outcome.REJECTED),
        samples.attempt(outcome="fine"),
        samples.attempt(phase="lunch"),
        samples.attempt(profile="boss"),
        samples.attempt(source="moon"),
        samples.attempt(limits=(RateLimit(kind=LimitKind.TOKENS, remaining=-5),)),
        samples.attempt(limits=(RateLimit(kind=LimitKind.TOKENS, reset_at=math.inf),)),
        samples.attempt(trace=TraceRef(trace_id="0" * 32, span_id="1" * 16)),
        samples.attempt(trace=TraceRef(trace_id="1" * 32, span_id="0" * 16)),
        samples.call(outcome="fine"),
        samples.call(duration=-1.0),
        samples.call(usage=Usage(input=2**41)),
        samples.call(waits=(Wait(reason=Outcome.OVERLOADED, at=0.0, seconds=math.inf),)),
    ],
    ids=repr,
)
def test_a_senseless_row_is_left_out_and_counted_while_its_neighbours_live(row: AttemptRecord | CallRecord) -> None:
    good = samples.attempt(limits=(RateLimit(kind=LimitKind.REQUESTS, remaining=1),))
    waited = samples.call(waits=(Wait(reason=Outcome.TIMEOUT, at=1.0, seconds=0.5),))
    batch = read(packed(row, good, waited).data)
    assert (batch.attempts, batch.calls, batch.invalid) == ([good], [waited], 1)


@pytest.mark.parametrize(
    "record",
    [
        samples.attempt(number=70_000),
        samples.attempt(number=-1),
        samples.attempt(duration="long"),
        samples.attempt(duration=None),
        samples.attempt(model=7),
        samples.attempt(port=99_999),
        samples.attempt(trace=TraceRef(trace_id="xyz", span_id="")),
        samples.attempt(trace=TraceRef(trace_id="ab", span_id="cd")),
        samples.call(usage=Usage(output=-3)),
        samples.call(waits=(None,)),
    ],
    ids=repr,
)
def test_what_does_not_fit_is_refused_by_the_encoder_alone(record: AttemptRecord | CallRecord) -> None:
    good = samples.attempt()
    encoded = packed(record, good)
    assert (encoded.items, encoded.refused) == (1, 1)
    assert read(encoded.data).attempts == [good]


def test_a_newer_senders_route_counts_as_other() -> None:
    batch = read(packed(samples.attempt(endpoint="dreams"), samples.call(endpoint="dreams")).data)
    assert (batch.attempts[0].endpoint, batch.calls[0].endpoint) == ("other", "other")


def test_long_and_unprintable_names_are_cut_and_masked() -> None:
    batch = read(packed(samples.attempt(model="é" * 400, host="a\nb\x1b[0m\ud800")).data)
    assert batch.attempts[0].model == "é" * 127
    assert batch.attempts[0].host == "a?b?[0m?"


@pytest.mark.parametrize("text", [b"\xff\xfe\xfd", b"a\nb", b"\xc3", b"a\x00b"])
def test_text_that_is_no_clean_utf8_is_refused(text: bytes) -> None:
    encoded = packed(samples.attempt(model="xyz"[: len(text)])).data
    with pytest.raises(MalformedError):
        decode(encoded.replace(b"xyz"[: len(text)], text, 1))


def test_a_character_split_between_two_strings_is_refused() -> None:
    encoded = packed(samples.attempt(model="aé", host="bc")).data
    split = bytearray(encoded)
    lengths = split[layout.HEADER.size :]
    at = list(lengths).index(3)  # "aé" has three bytes; "bc" follows it somewhere with two
    split[layout.HEADER.size + at] = 2
    split[layout.HEADER.size + list(lengths).index(2)] = 3
    with pytest.raises(MalformedError):
        decode(bytes(split))


def test_records_that_do_not_fit_into_one_datagram_go_into_the_next() -> None:
    records = [
        samples.call(model=f"{n:05d}" * 50, host=f"{n:06d}" * 40, request_id=f"{n:07d}" * 36) for n in range(400)
    ]
    told: list[CallRecord] = []
    position = datagrams = 0
    while position < len(records):
        encoded, position = encode_records(records, position)
        assert len(encoded.data) <= layout.MAX_DATAGRAM
        told += read(encoded.data).calls
        datagrams += 1
    assert told == records
    assert datagrams >= 3


def test_no_record_can_be_too_large_for_a_datagram() -> None:
    wait = Wait(reason=Outcome.OVERLOADED, at=1.0, seconds=1.0)
    record = samples.call(
        **{name: name * 100 for name in ("model", "host", "request_id", "stop_reason")}, waits=(wait,) * 500
    )
    encoded = packed(record)
    assert encoded.items == 1
    assert read(encoded.data).calls[0].waits == (wait,) * layout.MAX_PARTS


def test_series_that_do_not_fit_into_a_snapshot_are_refused_and_counted() -> None:
    many = tuple(Sample("claude_in_flight", ("messages", f"{n:06d}" * 40, "client"), 1.0) for n in range(1_000))
    encoded = encode_snapshot(replace(SNAPSHOT, gauges=many))
    content = decode(encoded.data)
    assert isinstance(content, GaugeSnapshot)
    assert len(encoded.data) <= layout.MAX_DATAGRAM
    assert content.gauges == many[: len(content.gauges)]
    assert encoded.refused == 1_001 - encoded.items > 0


@pytest.mark.parametrize("sample", [Sample("f", (1,), 1.0), Sample("f", (), "x")])  # type: ignore[arg-type]
def test_a_series_that_is_no_series_is_refused_by_the_encoder(sample: Sample) -> None:
    encoded = encode_snapshot(GaugeSnapshot(process="p", gauges=(sample,)))
    assert (encoded.items, encoded.refused) == (0, 1)


@pytest.mark.parametrize(
    "snapshot",
    [
        GaugeSnapshot(process=""),
        GaugeSnapshot(process="p", gauges=(Sample("f", (), math.nan),)),
        GaugeSnapshot(process="p", gauges=(Sample("f", (), math.inf),)),
        GaugeSnapshot(process="p", gauges=(Sample("f", (), 1.0, -1.0),)),
    ],
    ids=repr,
)
def test_a_snapshot_that_makes_no_sense_is_refused(snapshot: GaugeSnapshot) -> None:
    with pytest.raises(MalformedError):
        decode(encode_snapshot(snapshot).data)


def rebuilt(datagram: bytes, **counts: int) -> bytes:
    """Return the datagram with other numbers in its header, by the header's fields."""
    names = ("magic", "version", "kind", "strings", "a", "b", "c", "d", "limits", "waits", "length")
    fields: dict[str, Any] = dict(zip(names, layout.HEADER.unpack_from(datagram), strict=True)) | counts
    return layout.HEADER.pack(*fields.values()) + datagram[layout.HEADER.size :]


def test_parts_that_no_row_claims_are_refused() -> None:
    datagram = packed(samples.attempt()).data
    extra = layout.LIMIT.pack(1, 1, 1, 1.0)
    with pytest.raises(MalformedError, match="no row claims"):
        decode(rebuilt(datagram, limits=1) + extra)


def test_a_row_that_claims_more_parts_than_there_are_is_refused() -> None:
    datagram = packed(samples.attempt(limits=(RateLimit(kind=LimitKind.TOKENS),))).data
    with pytest.raises(MalformedError, match="more parts"):
        decode(rebuilt(datagram, limits=0)[: -layout.LIMIT.size])


def test_a_row_whose_head_is_missing_is_left_out() -> None:
    datagram = packed(samples.attempt()).data
    head = layout.ATTEMPT_HEAD.pack(1, 2, 3, 4, 5, 0, 0, 6, 7, 1, 200, 443)
    assert head in datagram
    assert read(rebuilt(datagram, a=0).replace(head, b"")) == Batch([], [], 1)
