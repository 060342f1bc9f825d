"""Streams of Bedrock, which come in a framing of Amazon's own, are seen and kept alive like all others."""

import asyncio
from typing import Any

import anthropic
import httpx2
import pytest

import sidecar
from sidecar.client.errors import StreamInterrupted
from sidecar.model import Outcome, RetryResult, Usage
from sidecar.wire.frames import FRAMED
from tests.client.survive import policy
from tests.client.test_platforms import EVENTS, amazon_frame
from tests.client.test_survive_openings import Answers
from tests.wire.test_frames import frame, headers_of

WHOLE = [amazon_frame(event) for event in EVENTS]
THROTTLED = frame(
    b'{"message":"slow down"}', headers_of({":message-type": "exception", ":exception-type": "throttlingException"})
)
KINDS = ("sync", "async")


def read(kind: str, seen: Any, answers: Answers, ask: Any, chosen: Any = None) -> list[Any]:
    given: dict[str, Any] = {"api_key": "k", "aws_region": "r", "max_retries": 0}
    transport = httpx2.MockTransport(answers)
    if kind == "sync":
        with anthropic.AnthropicBedrock(**given, http_client=httpx2.Client(transport=transport)) as client:
            return list(_observed(client, seen, chosen).messages.create(**ask, stream=True))

    async def run() -> list[Any]:
        http = httpx2.AsyncClient(transport=transport)
        async with anthropic.AsyncAnthropicBedrock(**given, http_client=http) as client:
            stream = await _observed(client, seen, chosen).messages.create(**ask, stream=True)
            return [event async for event in stream]

    return asyncio.run(run())


def _observed(client: Any, seen: Any, chosen: Any) -> Any:
    return sidecar.instrument(client, telemetry=seen, policy=chosen)


def answering(*bodies: list[bytes]) -> Answers:
    return Answers(*bodies, **{"content-type": FRAMED})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chosen", [None, policy()], ids=["observed", "policy"])
@pytest.mark.parametrize("size", [1, 100, 100_000])
def test_all_is_told_however_it_is_cut(kind: str, chosen: Any, size: int, seen: Any, ask: Any) -> None:
    data = b"".join(WHOLE)
    answers = answering([data[at : at + size] for at in range(0, len(data), size)])
    assert [event.type for event in read(kind, seen, answers, ask, chosen)] == [event["type"] for event in EVENTS]
    assert seen.faults == []
    assert (seen.one.outcome, seen.one.usage) == (Outcome.OK, Usage(input=3, output=4))
    assert (seen.one.stop_reason, seen.one.first_token is not None) == ("end_turn", True)


@pytest.mark.parametrize("kind", KINDS)
def test_an_early_end_is_told(kind: str, seen: Any, ask: Any) -> None:
    """The SDK takes it for success; the records do not, nor does a policy."""
    assert read(kind, seen, answering(WHOLE[:3]), ask)
    assert seen.one.outcome is Outcome.TRUNCATED
    with pytest.raises(StreamInterrupted) as caught:
        read(kind, seen, answering(WHOLE[:3]), ask, policy())
    assert caught.value.partial.text == "Hi"
    assert [call.outcome for call in seen.calls] == [Outcome.TRUNCATED] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_is_what_it_says(kind: str, seen: Any, ask: Any) -> None:
    with pytest.raises(anthropic.APIStatusError):
        read(kind, seen, answering([*WHOLE[:3], THROTTLED]), ask)
    assert (seen.one.outcome, seen.one.error_type) == (Outcome.RATE_LIMITED, "rate_limit_error")


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_before_the_first_token_is_tried_again(kind: str, seen: Any, ask: Any) -> None:
    answers = answering([THROTTLED], WHOLE)
    assert len(read(kind, seen, answers, ask, policy())) == len(EVENTS)
    assert (seen.one.attempts, seen.one.retry_result) == (2, RetryResult.RECOVERED)
    assert [attempt.outcome for attempt in seen.attempts] == [Outcome.RATE_LIMITED, Outcome.OK]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_frame_is_no_leaving(kind: str, seen: Any, ask: Any) -> None:
    """What the SDK raises is botocore's own; the records say what it was."""
    with pytest.raises(Exception, match="Checksum"):
        read(kind, seen, answering([*WHOLE[:3], WHOLE[3][:-1] + b"x"]), ask)
    assert (seen.one.outcome, seen.one.error_type) == (Outcome.SERVER_ERROR, "DecodingError")
