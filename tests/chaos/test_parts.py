"""The small pure parts: samples of schemas, remembered requests, rate-limit windows, the loop there is."""

import asyncio
import sys
from typing import Any

import pytest

from sidecar.chaos.answer import sample_of
from sidecar.chaos.batches import Batches
from sidecar.chaos.faults import parse_sequence
from sidecar.chaos.forced import Forced
from sidecar.chaos.http import Request
from sidecar.chaos.limits import LimitCounter
from sidecar.chaos.loop import new_event_loop
from sidecar.chaos.scenario import Limits
from sidecar.chaos.script import body_script
from sidecar.chaos.steps import Act


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (None, {}),
        ({"const": 3}, 3),
        ({"enum": ["a", "b"]}, "a"),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        ({"type": ["integer", "null"]}, 1),
        ({"type": "integer", "minimum": 18}, 18),
        ({"type": "number"}, 1.5),
        ({"type": "array", "items": {"type": "boolean"}}, [True]),
        ({"properties": {"a": {"type": "string"}}}, {"a": "chaos"}),
        ({"type": "object", "properties": 3}, {}),
    ],
)
def test_a_sample_fits_its_schema(schema: object, value: object) -> None:
    assert sample_of(schema) == value


def test_a_schema_without_end_has_a_sample_with_one() -> None:
    schema: dict[str, Any] = {"type": "array"}
    schema["items"] = schema
    assert str(sample_of(schema)).count("[") < 12


def _request(number: int) -> Request:
    headers = {"x-chaos": "529 x1"}
    return Request("POST", "/v1/messages", "", headers, b"%d" % number, True, True, 0.0, 0.0)  # noqa: FBT003


def test_uncounted_requests_are_remembered_up_to_a_bound() -> None:
    forced = Forced()
    for number in range(10_050):
        assert forced.of(_request(number)) == parse_sequence("529")[0]
    assert len(forced._seen) == 10_000


def test_batches_are_remembered_up_to_a_bound() -> None:
    batches = Batches(1.0)
    item = {"custom_id": "a", "params": {}}
    for number in range(1_005):
        batches.create({"requests": [item]}, unique=str(number), now=0.0, models=(), base="")
    assert len(batches.listed(0.0, "")["data"]) == 1_000


def test_a_rate_limits_window_is_a_minute_and_never_below_nothing() -> None:
    counter = LimitCounter(Limits(requests=2, input_tokens=100, output_tokens=100))
    told = [counter.headers(now, input_tokens=60, output_tokens=1) for now in (0.0, 10.0, 59.0, 60.0)]
    prefix = "anthropic-ratelimit"
    assert [headers[f"{prefix}-requests-remaining"] for headers in told] == ["1", "0", "0", "1"]
    assert [headers[f"{prefix}-input-tokens-remaining"] for headers in told] == ["40", "0", "0", "40"]
    assert told[-1][f"{prefix}-requests-reset"] == "1970-01-01T00:02:00Z"


def test_a_body_of_one_byte_is_cut_too() -> None:
    steps = list(body_script(b"head", b"x", delay=1.0, fault=parse_sequence("truncate")[0], chunked=False))
    assert [(step.delay, step.act, step.data) for step in steps] == [
        (1.0, Act.HEAD, b"head"),
        (0.0, Act.CONTENT, b"x"),
        (0.0, Act.CUT, b""),
    ]


def test_without_uvloop_asyncios_own_loop_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_event_loop()
    assert isinstance(loop, asyncio.AbstractEventLoop)
    assert type(loop).__module__.startswith("asyncio")
    loop.close()
