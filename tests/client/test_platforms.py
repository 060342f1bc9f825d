"""The SDK's clients for other platforms are seen too, with the names of the API's own routes."""

import base64
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import pytest

import sidecar
from sidecar.model import Outcome, Usage

TOKEN = "t"  # noqa: S105  # of nobody
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 4},
}
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**MESSAGE, "content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
    {"type": "message_stop"},
]


def sse() -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in EVENTS)


def amazon_frame(event: dict[str, Any]) -> bytes:
    """Put an event into the framing that Bedrock streams with."""
    headers = b"".join(
        bytes([len(name)]) + name + b"\x07" + struct.pack(">H", len(value)) + value
        for name, value in (
            (b":event-type", b"chunk"),
            (b":content-type", b"application/json"),
            (b":message-type", b"event"),
        )
    )
    payload = json.dumps({"bytes": base64.b64encode(json.dumps(event).encode()).decode()}).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    head = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return head + struct.pack(">I", zlib.crc32(head))


def answer(request: httpx2.Request) -> httpx2.Response:
    body = json.loads(request.content)
    if "invoke-with-response-stream" in request.url.path:
        frames = b"".join(map(amazon_frame, EVENTS))
        kind = {"content-type": "application/vnd.amazon.eventstream"}
        return httpx2.Response(200, headers=kind, stream=httpx2.ByteStream(frames))
    if body.get("stream") or "streamRawPredict" in request.url.path:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=httpx2.ByteStream(sse()))
    return httpx2.Response(200, json=MESSAGE)


def http() -> Any:
    return httpx2.Client(transport=httpx2.MockTransport(answer))


def async_http() -> Any:
    return httpx2.AsyncClient(transport=httpx2.MockTransport(answer))


CLIENTS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "Bedrock": (
        lambda: anthropic.AnthropicBedrock(api_key="k", aws_region="r", http_client=http()),
        lambda: anthropic.AsyncAnthropicBedrock(api_key="k", aws_region="r", http_client=async_http()),
    ),
    "BedrockMantle": (
        lambda: anthropic.AnthropicBedrockMantle(api_key="k", aws_region="r", http_client=http()),
        lambda: anthropic.AsyncAnthropicBedrockMantle(api_key="k", aws_region="r", http_client=async_http()),
    ),
    "Vertex": (
        lambda: anthropic.AnthropicVertex(access_token=TOKEN, region="r", project_id="p", http_client=http()),
        lambda: anthropic.AsyncAnthropicVertex(
            access_token=TOKEN, region="r", project_id="p", http_client=async_http()
        ),
    ),
    "AWS": (
        lambda: anthropic.AnthropicAWS(api_key="k", aws_region="r", workspace_id="w", http_client=http()),
        lambda: anthropic.AsyncAnthropicAWS(api_key="k", aws_region="r", workspace_id="w", http_client=async_http()),
    ),
    "Foundry": (
        lambda: anthropic.AnthropicFoundry(api_key="k", resource="r", http_client=http()),
        lambda: anthropic.AsyncAnthropicFoundry(api_key="k", resource="r", http_client=async_http()),
    ),
}


def check(seen: Any) -> None:
    assert seen.faults == []
    assert [call.outcome for call in seen.calls] == [Outcome.OK] * 3
    assert [(call.endpoint, call.model, call.stream) for call in seen.calls] == [
        ("messages", "claude-x", False),
        ("messages", "claude-x", True),
        ("messages", "claude-x", False),
    ]
    assert [record.number for record in seen.attempts] == [0, 0, 0]
    assert seen.calls[0].usage == Usage(input=3, output=4)
    assert seen.calls[1].usage == Usage(input=3, output=4)
    assert seen.calls[1].first_token is not None
    assert seen.calls[1].stop_reason == "end_turn"


@pytest.mark.parametrize("platform", CLIENTS)
@pytest.mark.parametrize("alone", [False, True])
def test_a_platforms_client_is_seen(platform: str, seen: Any, ask: Any, *, alone: bool) -> None:
    ask["model"] = "claude-x"
    client = CLIENTS[platform][0]()
    if alone:
        sidecar.instrument(client, telemetry=seen)
    else:
        sidecar.install(telemetry=seen)
    client.messages.create(**ask)
    assert [event.type for event in client.messages.create(**ask, stream=True)][-1] == "message_stop"
    client.with_options(timeout=3, http_client=client._client).messages.create(**ask)
    sidecar.uninstall()
    check(seen)


@pytest.mark.parametrize("platform", CLIENTS)
async def test_a_platforms_async_client_is_seen(platform: str, installed: Any, ask: Any) -> None:
    ask["model"] = "claude-x"
    client = CLIENTS[platform][1]()
    await client.messages.create(**ask)
    assert [event.type async for event in await client.messages.create(**ask, stream=True)][-1] == "message_stop"
    await client.with_options(timeout=3, http_client=client._client).messages.create(**ask)
    check(installed)
