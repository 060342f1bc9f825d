"""What a request asks for is found wherever it stands, and nowhere else."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.proxy.request_scan import HELD, Asked, RequestScan

DECOY = '{"model": "decoy", "max_tokens": 1, "stream": true}'


def scan(body: bytes, step: int = 1 << 16) -> RequestScan:
    found = RequestScan()
    for at in range(0, len(body), step):
        found.feed(body[at : at + step])
    return found


MEDIUM = "x" * 2000
"""Too much to be decoded without a look."""
LARGE = "x" * (3 * HELD)
BODIES: dict[str, tuple[dict[str, Any], Asked]] = {
    "small": ({"model": "m", "max_tokens": 5, "stream": True}, Asked("m", 5, stream=True)),
    "not streamed": ({"model": "m", "stream": False}, Asked("m")),
    "decoys in content": (
        {"messages": [{"role": "user", "content": DECOY}], "model": "m", "max_tokens": 5},
        Asked("m", 5),
    ),
    "decoys as objects": (
        {"tools": [{"input": json.loads(DECOY)}], "model": "m", "x": {"model": "late"}},
        Asked("m"),
    ),
    "only decoys as objects": ({"tools": [json.loads(DECOY), json.loads(DECOY)]}, Asked()),
    "one decoy": ({"tools": [{"input": {"stream": True}}], "model": "m"}, Asked("m")),
    "brackets in content": ({"messages": ["[[[{"], "model": "m", "max_tokens": 5}, Asked("m", 5)),
    "large, model last": ({"max_tokens": 5, "messages": [LARGE, DECOY], "model": "m"}, Asked("m", 5)),
    "large, model first": ({"model": "m", "messages": [DECOY, LARGE], "stream": True}, Asked("m", None, stream=True)),
    "large, decoys at both ends": (
        {"metadata": json.loads(DECOY), "messages": [LARGE], "model": "m", "tools": [json.loads(DECOY)]},
        Asked("m"),
    ),
    "large, quotes and backslashes": (
        {"a": '"\\"\\\\', "messages": [LARGE, '\\"}]{["', "\\"], "model": "m", "b": '\\\\"'},
        Asked("m"),
    ),
    "an odd model": ({"model": 5, "max_tokens": "7", "stream": "yes"}, Asked()),
}


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("step", [1000, 1 << 16])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("more", [{}, {"system": MEDIUM}], ids=["", "longer"])
def test_what_is_asked_for_is_found_at_the_top_level_only(
    body: dict[str, Any], expected: Asked, step: int, separators: tuple[str, str], more: dict[str, Any]
) -> None:
    body = more | body
    assert scan(json.dumps(body, separators=separators).encode(), step).asked() == expected


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"model"', b'["model", "model"]', b'{"model": "a" "model": "b"}'])
def test_a_body_that_is_no_request_asks_for_nothing_and_raises_nothing(body: bytes) -> None:
    assert scan(body).asked().max_tokens is None


def test_the_fingerprint_is_of_the_bytes_not_of_their_pieces() -> None:
    body = json.dumps({"messages": [LARGE], "model": "m"}).encode()
    assert scan(body, 7000).fingerprint == scan(body).fingerprint
    assert scan(body + b" ").fingerprint != scan(body).fingerprint


def test_the_beginning_of_a_body_tells_what_stands_in_it() -> None:
    scan = RequestScan()
    scan.feed(b'{"model":"m","stream":true,"messages":[{"max_tokens":5,')
    assert scan.asked_so_far() == Asked("m", None, stream=True)
    scan.feed(b'"model":"n"' * 10_000)
    assert scan.asked_so_far() == Asked("m", None, stream=True)


def test_a_large_body_is_not_held() -> None:
    large = scan(b"x" * (40 * HELD))
    assert len(large._first) + len(large._last) + sum(map(len, large._held)) == 2 * HELD


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 99), st.text('"\\{}[]:,model', max_size=12)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["model", "stream", "a", '"model"']), inner, max_size=3),
    ),
    max_leaves=12,
)
lengths = st.sampled_from(["", MEDIUM, LARGE])


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.text("abc", max_size=3), values, max_size=4), lengths, st.integers(0, 2))
def test_no_content_hides_or_fakes_the_model(others: dict[str, Any], more: str, place: int) -> None:
    items = list(others.items())
    items.insert(min(place, len(items)), ("model", "the-model"))
    items.insert(1, ("messages", [more]))
    assert scan(json.dumps(dict(items)).encode()).asked().model == "the-model"


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=400), lengths)
def test_nothing_raises(noise: bytes, more: str) -> None:
    scan(noise + more.encode() + noise).asked()
