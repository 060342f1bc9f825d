"""What goes over the wire in these benchmarks: requests as the SDK sends them, answers as the API gives them."""

import json
from collections.abc import Mapping
from typing import Final

_BODY: Final = {
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "Why is the sky blue? " * 25}],
    "model": "claude-sonnet-5-5",
}
_REQUEST: Final = (
    "POST /v1/messages HTTP/1.1\r\n"
    "Host: 127.0.0.1\r\n"
    "Accept-Encoding: gzip, deflate\r\n"
    "Connection: keep-alive\r\n"
    "Accept: application/json\r\n"
    "Content-Type: application/json\r\n"
    "User-Agent: Anthropic/Python 2.11.0\r\n"
    "X-Stainless-Lang: python\r\n"
    "X-Stainless-Package-Version: 2.11.0\r\n"
    "X-Stainless-OS: Linux\r\n"
    "X-Stainless-Arch: x64\r\n"
    "X-Stainless-Runtime: CPython\r\n"
    "X-Stainless-Runtime-Version: 3.11.7\r\n"
    "X-Stainless-Async: false\r\n"
    "x-stainless-retry-count: 0\r\n"
    "x-stainless-timeout: 600\r\n"
    "anthropic-version: 2023-06-01\r\n"
    "X-Api-Key: none\r\n"
)
_ANSWER: Final = (
    "HTTP/1.1 200 OK\r\n"
    "Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
    "Content-Type: {kind}\r\n"
    "{framing}\r\n"
    "Connection: keep-alive\r\n"
    "anthropic-ratelimit-requests-limit: 4000\r\n"
    "anthropic-ratelimit-requests-remaining: 3999\r\n"
    "anthropic-ratelimit-requests-reset: 2026-11-21T12:00:00Z\r\n"
    "anthropic-ratelimit-input-tokens-limit: 2000000\r\n"
    "anthropic-ratelimit-input-tokens-remaining: 1999000\r\n"
    "anthropic-ratelimit-input-tokens-reset: 2026-11-21T12:00:00Z\r\n"
    "anthropic-ratelimit-output-tokens-limit: 400000\r\n"
    "anthropic-ratelimit-output-tokens-remaining: 399000\r\n"
    "anthropic-ratelimit-output-tokens-reset: 2026-11-21T12:00:00Z\r\n"
    "request-id: req_011CSxxxxxxxxxxxxxxxxxxx\r\n"
    "strict-transport-security: max-age=31536000; includeSubDomains; preload\r\n"
    "anthropic-organization-id: 00000000-0000-0000-0000-000000000000\r\n"
    "Server: cloudflare\r\n"
    "cf-cache-status: DYNAMIC\r\n"
    "CF-RAY: 0000000000000000-FRA\r\n"
    "\r\n"
)
_JSON_BYTES: Final = 2048
_USAGE: Final = {
    "input_tokens": 140,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 420,
    "service_tier": "standard",
}

STAMP: Final = 20
"""Digits of the time a chunk was sent at."""
STAMP_KEY: Final = b'"text":"'


def request(*, chunks: int | None = None, path: str = "/v1/messages") -> bytes:
    """Write a request; with ``chunks`` for a stream of so many, where 0 is a stream that never goes on."""
    body = json.dumps(_BODY if chunks is None else _BODY | {"stream": True}).encode()
    extra = "" if chunks is None else f"x-bench-chunks: {chunks}\r\n"
    return f"{_REQUEST}{extra}Content-Length: {len(body)}\r\n\r\n".replace("/v1/messages", path).encode() + body


def answer() -> bytes:
    """Write an answer of 2 KB."""
    message = {
        "model": "claude-sonnet-5-5",
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": ""}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": _USAGE,
    }
    text = "Sunlight is scattered. " * 200
    room = _JSON_BYTES - len(json.dumps(message))
    message["content"] = [{"type": "text", "text": text[:room]}]
    body = json.dumps(message).encode()
    return _ANSWER.format(kind="application/json", framing=f"Content-Length: {len(body)}").encode() + body


def _event(data: Mapping[str, object]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream_head() -> bytes:
    """Write the beginning of a stream: head and first event."""
    head = _ANSWER.format(kind="text/event-stream; charset=utf-8", framing="Transfer-Encoding: chunked").encode()
    start = _event({"type": "message_start", "message": {"model": "claude-sonnet-5-5", "usage": _USAGE}})
    return head + _chunk(start)


def stream_chunk() -> bytes:
    """Write a chunk of content, whose text begins with a place for the time it was sent at."""
    delta = {"type": "text_delta", "text": "0" * STAMP + " and scattered"}
    return _chunk(_event({"type": "content_block_delta", "index": 0, "delta": delta}))


def stream_end() -> bytes:
    """Write the end of a stream."""
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 420}}
    return _chunk(_event(end)) + _chunk(_event({"type": "message_stop"})) + b"0\r\n\r\n"
