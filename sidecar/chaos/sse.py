"""The event sequence of a streamed message, encoded as the API does it. Pure."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from sidecar.chaos.answer import SIGNATURE, Answer, Block, BlockKind, usage_of
from sidecar.chaos.steps import Act, Step

__all__ = ["encode", "frames"]

PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
_DELTAS: Final = {
    BlockKind.TEXT: ("text_delta", "text"),
    BlockKind.THINKING: ("thinking_delta", "thinking"),
    BlockKind.TOOL_USE: ("input_json_delta", "partial_json"),
}


def encode(kind: str, data: dict[str, Any]) -> bytes:
    """Encode one event."""
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def frames(answer: Answer, pace: float, frame: Callable[[bytes], bytes] = bytes) -> Iterator[Step]:
    """Yield the events of a whole answer, in order, with ``pace`` seconds before each content event.

    ``frame`` is put around each event's bytes. Answers repeat a few pieces, so each is encoded and framed only once.
    """

    def send(kind: str, data: dict[str, Any], act: Act = Act.SEND) -> Step:
        return Step(pace if act is Act.CONTENT else 0.0, act, frame(encode(kind, {"type": kind, **data})))

    def delta(index: int, value: dict[str, str]) -> Step:
        return send("content_block_delta", {"index": index, "delta": value}, Act.CONTENT)

    start = answer.message | {"content": [], "stop_reason": None, "stop_sequence": None}
    yield send("message_start", {"message": start | {"usage": usage_of(answer.usage, 1)}})
    for index, block in enumerate(answer.blocks):
        yield send("content_block_start", {"index": index, "content_block": _opening(block)})
        if not index:
            yield Step(0.0, Act.SEND, frame(PING))
        kind, key = _DELTAS[block.kind]
        if block.kind is BlockKind.TOOL_USE:
            yield delta(index, {"type": kind, key: ""})
        known: dict[str, Step] = {}
        for piece in block.pieces:
            step = known.get(piece)
            if step is None:
                step = known[piece] = delta(index, {"type": kind, key: piece})
            yield step
        if block.kind is BlockKind.THINKING:
            yield delta(index, {"type": "signature_delta", "signature": SIGNATURE})
        yield send("content_block_stop", {"index": index})
    stop = {"stop_reason": answer.stop_reason, "stop_sequence": answer.stop_sequence}
    yield send("message_delta", {"delta": stop, "usage": usage_of(answer.usage, answer.usage.output)}, Act.TAIL)
    yield send("message_stop", {})


def _opening(block: Block) -> dict[str, Any]:
    """Return the block as it is before its first piece."""
    if block.kind is BlockKind.THINKING:
        return {"type": "thinking", "thinking": "", "signature": ""}
    if block.kind is BlockKind.TOOL_USE:
        return {"type": "tool_use", "id": block.id, "name": block.name, "input": {}}
    return {"type": "text", "text": ""}
