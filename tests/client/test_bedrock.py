"""Streams of Bedrock, which come in a framing of Amazon's own, are seen and kept alive like all others."""

import asyncio
import contextlib
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


def read(
    kind: str, seen: Any, answers: Answers, ask: Any, chosen: Any = None, got: list[Any] | None = None
) -> list[Any]:
    """Read a stream to its end. ``got``: where events are put as they come, so that they stay when it breaks off."""
    got = [] if got is None else got
    given: dict[str, Any] = {"api_key": "k", "aws_region": "r", "max_retries": 0}
    transport = httpx2.MockTransport(answers)
    if kind == "sync":
        with anthropic.AnthropicBedrock(**given, http_client=httpx2.Client(transport=transport)) as client:
            got.extend(_observed(client, seen, chosen).messages.create(**ask, stream=True))
        return got

    async def run() -> None:
        http = httpx2.AsyncClient(transport=transport)
        async with anthropic.AsyncAnthropicBedrock(**given, http_client=http) as client:
            stream = await _observed(client, seen, chosen).messages.create(**ask, stream=True)
            async for event in stream:
                got.append(event)  # also what came before it broke

    asyncio.run(run())
    return got


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


def damaged(at: int) -> bytes:
    """Give a stream of which a byte of the fourth frame was changed, after a word has been said."""
    frame = bytearray(WHOLE[3])
    frame[at] ^= 0x40
    return b"".join([*WHOLE[:3], bytes(frame), *WHOLE[4:]])


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [0, 5, 40, -1])
def test_a_damaged_frame_is_no_leaving(kind: str, at: int, seen: Any, ask: Any) -> None:
    """What the SDK raises is botocore's own; the records say what it was."""
    with pytest.raises(Exception, match=r"Checksum|Invalid"):
        read(kind, seen, answering([damaged(at)]), ask)
    assert (seen.one.outcome, seen.one.error_type) == (Outcome.SERVER_ERROR, "DecodingError")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [0, 5, 40, -1])
@pytest.mark.parametrize("size", [1, 97, 100_000])
def test_under_a_policy_a_damaged_frame_breaks_the_stream_off(
    kind: str, at: int, size: int, seen: Any, ask: Any
) -> None:
    """What was whole before it has been handed on, and is in `partial`: no more and no less."""
    got: list[Any] = []
    with pytest.raises(StreamInterrupted, match="damaged") as caught:
        read(kind, seen, answering(pieces(damaged(at), size)), ask, policy(), got)
    assert [event.type for event in got] == [event["type"] for event in EVENTS[:3]]
    assert caught.value.partial.text == "Hi"
    assert (caught.value.outcome, caught.value.phase) == (Outcome.SERVER_ERROR, None)
    assert isinstance(caught.value.__cause__, httpx2.DecodingError)
    assert (seen.one.outcome, seen.one.error_type, seen.one.attempts) == (Outcome.SERVER_ERROR, "DecodingError", 1)
    assert seen.faults == []


@pytest.mark.parametrize("kind", KINDS)
def test_damage_at_the_very_beginning_is_told_too(kind: str, seen: Any, ask: Any) -> None:
    with pytest.raises(StreamInterrupted, match="damaged") as caught:
        read(kind, seen, answering([b"\xff" * 40]), ask, policy())
    assert (caught.value.partial.text, caught.value.partial.content) == ("", ())
    assert seen.one.outcome is Outcome.SERVER_ERROR


@pytest.mark.parametrize("kind", KINDS)
def test_damage_after_the_end_breaks_nothing_under_a_policy(kind: str, seen: Any, ask: Any) -> None:
    assert len(read(kind, seen, answering([b"".join(WHOLE), b"\xff" * 40]), ask, policy())) == len(EVENTS)
    assert seen.one.outcome is Outcome.OK


def test_a_damaged_frame_holds_no_call_in_a_cycle(seen: Any, ask: Any, born: Any) -> None:
    def reading() -> None:
        with contextlib.suppress(StreamInterrupted):
            read("sync", seen, answering([damaged(-1)]), ask, policy())

    reading()
    assert [ref() for ref in born] == [None]
