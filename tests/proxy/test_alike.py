"""What is understood by its likeness to an earlier head is what reading it says, and nothing else is."""

from collections.abc import Callable
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.proxy.alike import LESSONS, MISSES, SHAPES, Alike
from sidecar.proxy.errors import Fault
from sidecar.proxy.headers import ResponseHead

ASKED = ("body", "fields", "keep_alive", "length", "start_line", "status", "watched")

LINES = (
    b"Date: Sat, 21 Nov 2026 12:00:0%d GMT",
    b"Content-Type: application/json",
    b"content-type: text/event-stream",
    b"Content-Encoding: gzip",
    b"request-id: req_%d",
    b"Request-Id:\t req_%d \t",
    b"retry-after:%d",
    b"Connection: keep-alive",
    b"connection: close",
    b"Connection: close, x-odd",
    b"Keep-Alive: timeout=%d",
    b"Content-Length: %d",
    b"content-length:\t0%d ",
    b"Transfer-Encoding: chunked",
    b"X-Odd: (%d) [a-z]+ .*",
    b"anthropic-ratelimit-requests-remaining: %d",
    b"x-should-retry: true",
    b"empty:",
    b"Content_Length: %d",
)
STARTS = (b"HTTP/1.1 200 OK", b"HTTP/1.0 200 Fine", b"HTTP/1.1 529 Over", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304")


def written(start: bytes, lines: list[bytes], number: int) -> bytes:
    return b"\r\n".join([start, *(line.replace(b"%d", b"%d" % number) for line in lines), b"", b""])


def asked(head: ResponseHead) -> dict[str, object]:
    return {name: getattr(head, name) for name in ASKED}


def what_comes_of(reading: Callable[[], ResponseHead | None]) -> str | None:
    try:
        head = reading()
    except Fault as fault:
        return fault.code
    return None if head is None else repr(asked(head))


def learnt_from(*heads: bytes) -> Alike:
    alike = Alike()
    for raw in heads:
        if alike.find(raw) is None:
            alike.learn(raw, ResponseHead(raw, to_head=False))
    return alike


USUAL = [LINES[0], LINES[1], LINES[11], LINES[7], LINES[4]]


def test_a_head_seen_twice_is_known_from_then_on() -> None:
    alike = learnt_from(written(STARTS[0], USUAL, 1))
    assert alike.find(written(STARTS[0], USUAL, 2)) is None

    alike = learnt_from(written(STARTS[0], USUAL, 1), written(STARTS[0], USUAL, 2))
    raw = written(STARTS[0], USUAL, 3)
    head = alike.find(raw)
    assert head is not None
    assert asked(head) == asked(ResponseHead(raw, to_head=False))
    assert (head.length, head.watched[b"request-id"]) == (3, b"req_3")


@settings(deadline=None, max_examples=150)
@given(
    start=st.sampled_from(STARTS),
    lines=st.lists(st.sampled_from(LINES), max_size=8),
    other=st.lists(st.sampled_from(LINES), max_size=8),
    numbers=st.lists(st.integers(0, 9), min_size=3, max_size=3),
)
def test_by_its_likeness_a_head_is_what_it_is_when_it_is_read(
    start: bytes, lines: list[bytes], other: list[bytes], numbers: list[int]
) -> None:
    alike = Alike()
    for number in numbers[:2]:
        raw = written(start, lines, number)
        try:
            head = ResponseHead(raw, to_head=False)
        except Fault:
            return
        alike.learn(raw, head)
    for raw in (written(start, lines, numbers[2]), written(start, other, numbers[2])):
        found = alike.find(raw)
        if found is not None:
            assert asked(found) == asked(ResponseHead(raw, to_head=False))


@settings(deadline=None, max_examples=150)
@given(at=st.integers(0, 200), put=st.binary(max_size=3), cut=st.integers(0, 3))
def test_what_is_not_well_formed_is_like_nothing(at: int, put: bytes, cut: int) -> None:
    """A few bytes of a known head are replaced: it is refused, not known, or understood as reading understands it."""
    whole = written(STARTS[0], USUAL, 7)
    alike = learnt_from(whole, whole)
    raw = whole[:at] + put + whole[at + cut :]
    if raw.find(b"\r\n\r\n") != len(raw) - 4:
        return
    assert what_comes_of(lambda: alike.find(raw)) in {None, what_comes_of(lambda: ResponseHead(raw, to_head=False))}


def test_a_value_that_no_header_may_have_is_refused_though_all_else_is_known() -> None:
    whole = written(STARTS[0], USUAL, 7)
    alike = learnt_from(whole, whole)
    for bad in (b"\n", b"\0", b"\x7f"):
        raw = whole.replace(b"req_7", b"req" + bad + b"7")
        assert what_comes_of(partial(alike.find, raw)) in {None, "upstream_protocol"}


def test_heads_that_name_further_headers_as_hop_by_hop_are_read_each_time() -> None:
    for odd in ([*USUAL, b"Connection: close"], [b"Connection: x-odd", b"X-Odd: 1"]):
        raw = written(STARTS[0], odd, 1)
        assert learnt_from(raw, raw, raw).find(raw) is None


def test_only_so_many_are_known_and_the_least_used_are_forgotten() -> None:
    heads = [written(STARTS[0], [*USUAL, b"x-%d: 1" % n], 1) for n in range(SHAPES + 1)]
    alike = Alike()
    for raw in heads:
        for _ in range(2):
            alike.learn(raw, ResponseHead(raw, to_head=False))
        assert alike.find(heads[0]) is not None or raw is heads[-1]
    assert sum(alike.find(raw) is not None for raw in heads) == SHAPES
    assert alike.find(heads[0]) is not None


def test_of_an_upstream_that_never_settles_down_nothing_is_learnt_for_ever() -> None:
    alike = Alike()
    heads = [written(STARTS[0], [b"x-%d: 1" % n], 1) for n in range(LESSONS + 1)]
    for raw in heads:
        for _ in range(2):
            alike.learn(raw, ResponseHead(raw, to_head=False))
    assert alike.find(heads[-2]) is not None
    assert alike.find(heads[-1]) is None

    alike = Alike()
    head = ResponseHead(heads[0], to_head=False)
    for n in range(MISSES):
        alike.learn(written(STARTS[0], [b"y-%d: 1" % n], 1), head)
    for _ in range(2):
        alike.learn(heads[0], head)
    assert alike.find(heads[0]) is None


def test_a_huge_head_is_not_learnt() -> None:
    raw = written(STARTS[0], [b"x: " + b"y" * 9000], 1)
    assert learnt_from(raw, raw, raw).find(raw) is None
