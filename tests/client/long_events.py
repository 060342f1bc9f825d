"""Events as the API streams them, and a model that answers with a given text, however often it is asked to go on."""

from collections.abc import Iterator, Mapping
from typing import Any

Event = Mapping[str, Any]
SIGNED = {"type": "thinking", "thinking": "Hm.", "signature": "sig"}


def text(said: str = "") -> dict[str, Any]:
    return {"type": "text", "text": said}


def start(usage: Mapping[str, Any] | None = None, id_: str = "msg_1") -> dict[str, Any]:
    message: dict[str, Any] = {
        "id": id_,
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
    }
    return {
        "type": "message_start",
        "message": message | {"usage": {"input_tokens": 5, "output_tokens": 1, **(usage or {})}},
    }


def block(index: int, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": dict(content)}


def delta(index: int, kind: str, field: str, value: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, field: value}}


def said(index: int, piece: str) -> dict[str, Any]:
    return delta(index, "text_delta", "text", piece)


def end(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def finish(stop_reason: str, output: int = 9) -> list[dict[str, Any]]:
    delta_ = {"stop_reason": stop_reason, "stop_sequence": None}
    return [{"type": "message_delta", "delta": delta_, "usage": {"output_tokens": output}}, {"type": "message_stop"}]


def thinks(index: int) -> list[dict[str, Any]]:
    return [
        block(index, {"type": "thinking", "thinking": "", "signature": ""}),
        delta(index, "thinking_delta", "thinking", "Hm."),
        delta(index, "signature_delta", "signature", "sig"),
        end(index),
    ]


def turn(*pieces: str, stop: str | None = "end_turn", index: int = 0) -> Iterator[dict[str, Any]]:
    """Answer with one text; ``stop`` None: the stream breaks off after the last piece."""
    yield start()
    yield block(index, text())
    for piece in pieces:
        yield said(index, piece)
    if stop is not None:
        yield end(index)
        yield from finish(stop)
