"""The event sequence of a streamed message, encoded as the API does it. Pure."""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from sidecar.chaos.answer import SIGNATURE, Answer, Block, BlockKind, usage_of
from sidecar.chaos.steps import Act, Step

__all__ = ["encode", "frames"]

PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_CACHED_PIECE: Final = 64


def encode(kind: str, data: dict[str, Any]) -> bytes:
    """Encode one event."""
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def frames(answer: Answer) -> Iterator[Step]:
    """Yield the events of a whole answer, in order and without delays."""
    start = answer.message | {
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage_of(answer.usage, 1),
    }
    yield Step(0.0, Act.SEND, encode("message_start", {"type": "message_start", "message": start}))
    for index, block in enumerate(answer.blocks):
        yield Step(0.0, Act.SEND, _block_start(index, block))
        if not index:
            yield Step(0.0, Act.SEND, PING)
        if block.kind is BlockKind.TOOL_USE:
            yield _delta(index, block.kind, "")
        for piece in block.pieces:
            yield _delta(index, block.kind, piece)
        if block.kind is BlockKind.THINKING:
            signature = {"type": "signature_delta", "signature": SIGNATURE}
            data = {"type": "content_block_delta", "index": index, "delta": signature}
            yield Step(0.0, Act.CONTENT, encode("content_block_delta", data))
        yield Step(0.0, Act.SEND, encode("content_block_stop", {"type": "content_block_stop", "index": index}))
    delta: dict[str, Any] = {"stop_reason": answer.stop_reason, "stop_sequence": answer.stop_sequence}
    usage = usage_of(answer.usage, answer.usage.output)
    yield Step(0.0, Act.TAIL, encode("message_delta", {"type": "message_delta", "delta": delta, "usage": usage}))
    yield Step(0.0, Act.SEND, _STOP)


def _block_start(index: int, block: Block) -> bytes:
    content: dict[str, Any] = {"type": block.kind.value}
    if block.kind is BlockKind.THINKING:
        content |= {"thinking": "", "signature": ""}
    elif block.kind is BlockKind.TOOL_USE:
        content |= {"id": block.id, "name": block.name, "input": {}}
    else:
        content["text"] = ""
    return encode("content_block_start", {"type": "content_block_start", "index": index, "content_block": content})


def _delta(index: int, kind: BlockKind, piece: str) -> Step:
    # Answers repeat a few pieces for ever: encoded once, they cost a look-up.
    return (_cached_delta if len(piece) <= _CACHED_PIECE else _encoded_delta)(index, kind, piece)


def _encoded_delta(index: int, kind: BlockKind, piece: str) -> Step:
    delta = {
        BlockKind.TEXT: {"type": "text_delta", "text": piece},
        BlockKind.THINKING: {"type": "thinking_delta", "thinking": piece},
        BlockKind.TOOL_USE: {"type": "input_json_delta", "partial_json": piece},
    }[kind]
    data = {"type": "content_block_delta", "index": index, "delta": delta}
    return Step(0.0, Act.CONTENT, encode("content_block_delta", data))


_cached_delta = lru_cache(maxsize=1024)(_encoded_delta)
