"""Puts a ``Message`` together from the events of its stream, as plain JSON data.

Whatever part of it has come can be asked for at any time, so that a broken stream leaves what it had. Events of
unknown types are passed over, as the API asks of its clients; events that contradict one another are refused.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from sidecar.model.records import Usage
from sidecar.wire.usage import merge_usage, word

MAX_BLOCKS: Final = 10_000

CUT_SHORT: Final = frozenset({"max_tokens", "model_context_window_exceeded", "refusal"})
"""Stop reasons that may come in the middle of a block."""


class MalformedStream(ValueError):  # noqa: N818  # it names what is wrong
    """The events cannot be put together; the message says which rule they break, never what they hold."""


class MessageBuilder:
    """One message being put together from decoded events."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: list[dict[str, Any]] = []
        self._json: dict[int, list[str]] = {}  # of tool inputs: they make sense only when whole
        self._texts: dict[tuple[int, str], list[str]] = {}  # joined when asked for, so that n deltas cost n
        self._open: set[int] = set()
        self._torn: set[int] = set()
        """Tool uses whose input is not JSON: right only where the answer was cut short."""
        self.complete = False
        """``message_stop`` has come."""

    @property
    def started(self) -> bool:
        """``message_start`` has come."""
        return bool(self._message)

    @property
    def text(self) -> str:
        """All text blocks so far, joined."""
        return "".join(
            self._joined(index, "text") for index, block in enumerate(self._blocks) if block.get("type") == "text"
        )

    @property
    def usage(self) -> Usage | None:
        """Tokens as far as they have been told."""
        return merge_usage(self._message.get("usage"))

    @property
    def stop_reason(self) -> str | None:
        """Why the model stopped, once it has said so."""
        return word(self._message.get("stop_reason"))

    @property
    def open(self) -> frozenset[int]:
        """Which blocks have begun and not ended."""
        return frozenset(self._open)

    def message(self) -> dict[str, Any]:
        """Give the message so far. The input of a tool use that is not whole is an empty object."""
        return {**self._message, "content": [self._block(index) for index in range(len(self._blocks))]}

    def add(self, event: Mapping[str, Any]) -> None:
        """Take the next event."""
        handle = _HANDLERS.get(str(event.get("type")))
        if handle is not None:
            handle(self, event)

    def _start(self, event: Mapping[str, Any]) -> None:
        message = event.get("message")
        if self._message or not isinstance(message, dict):
            raise MalformedStream("message_start must come once and hold a message")
        self._message = {**message}
        content = message.get("content")
        self._blocks = [{**block} for block in content if isinstance(block, dict)] if isinstance(content, list) else []

    def _start_block(self, event: Mapping[str, Any]) -> None:
        block, index = event.get("content_block"), event.get("index")
        if not self._message or not isinstance(block, dict) or index != len(self._blocks):
            raise MalformedStream("content_block_start must come after message_start, with the next index and a block")
        if len(self._blocks) >= MAX_BLOCKS:
            raise MalformedStream(f"a message has more than {MAX_BLOCKS} content blocks")
        self._blocks.append({**block})
        if block.get("type") == "fallback" and isinstance(block.get("to"), dict):
            self._message["model"] = block["to"].get("model")  # who goes on with the answer
        self._open.add(len(self._blocks) - 1)

    def _delta(self, event: Mapping[str, Any]) -> None:
        delta, index = event.get("delta"), event.get("index")
        if not isinstance(delta, dict) or type(index) is not int or index not in self._open:
            raise MalformedStream("content_block_delta must hold a delta for a block that is open")
        kind = delta.get("type")
        if kind == "input_json_delta":
            self._json.setdefault(index, []).append(_string(delta, "partial_json"))
        elif kind == "citations_delta":
            citations = self._blocks[index].get("citations")
            self._blocks[index]["citations"] = [*(citations or []), delta.get("citation")]
        elif kind == "compaction_delta":
            self._blocks[index].update({key: value for key, value in delta.items() if key != "type"})
        elif kind in _TEXTS:
            field = _TEXTS[kind]
            self._texts.setdefault((index, field), []).append(_string(delta, field))

    def _stop_block(self, event: Mapping[str, Any]) -> None:
        index = event.get("index")
        if type(index) is not int or index not in self._open:
            raise MalformedStream("content_block_stop must name a block that is open")
        self._open.discard(index)
        if index in self._json:
            parts = "".join(self._json.pop(index))
            try:
                self._blocks[index]["input"] = json.loads(parts) if parts else {}
            except (ValueError, RecursionError):
                self._torn.add(index)

    def _finish(self, event: Mapping[str, Any]) -> None:
        if not self._message:
            raise MalformedStream("message_delta must come after message_start")
        delta, usage = event.get("delta"), event.get("usage")
        beside = {key: value for key, value in event.items() if key not in _OF_FINISH}
        if isinstance(delta, dict):
            for key in delta:
                self._message.setdefault(key, None)  # what is null is told to be so
        for told in (beside, delta):
            if isinstance(told, dict):
                self._message.update({key: value for key, value in told.items() if value is not None})
        if isinstance(usage, dict):
            known = self._message.get("usage")
            later = {key: value for key, value in usage.items() if value is not None}
            self._message["usage"] = {**(known if isinstance(known, dict) else {}), **later}

    def _stop(self, _: Mapping[str, Any]) -> None:
        if not self._message:
            raise MalformedStream("message_stop must come after message_start")
        if self._torn and self.stop_reason not in CUT_SHORT:
            raise MalformedStream("the input of a tool use is not JSON, in an answer that was not cut short")
        self.complete = True

    def _joined(self, index: int, field: str) -> str:
        begun = self._blocks[index].get(field)
        return (begun if isinstance(begun, str) else "") + "".join(self._texts.get((index, field), ()))

    def _block(self, index: int) -> dict[str, Any]:
        block = {**self._blocks[index]}
        for field in _TEXTS.values():
            if (index, field) in self._texts:
                block[field] = self._joined(index, field)
        return block


_OF_FINISH: Final = frozenset({"type", "delta", "usage"})

# Kind of delta -> the field of the block that it goes on with.
_TEXTS: Final = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}

DELTAS: Final = frozenset({"input_json_delta", "citations_delta", "compaction_delta", *_TEXTS})
"""The kinds of delta that become part of the message; others are passed over."""


def _string(delta: Mapping[str, Any], field: str) -> str:
    value = delta.get(field)
    if not isinstance(value, str):
        raise MalformedStream(f"a delta's {field} must be a string")
    return value


_HANDLERS: Final[dict[str, Callable[[MessageBuilder, Mapping[str, Any]], None]]] = {
    "message_start": MessageBuilder._start,  # noqa: SLF001  # the class's own table
    "content_block_start": MessageBuilder._start_block,  # noqa: SLF001
    "content_block_delta": MessageBuilder._delta,  # noqa: SLF001
    "content_block_stop": MessageBuilder._stop_block,  # noqa: SLF001
    "message_delta": MessageBuilder._finish,  # noqa: SLF001
    "message_stop": MessageBuilder._stop,  # noqa: SLF001
}
