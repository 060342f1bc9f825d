"""One answer out of the events of several turns: one beginning, blocks counted through, one end, usage summed. Pure.

Events go in as they come, as plain data; what comes out are the events of one continuous stream. It knows nothing of
requests, limits or errors.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sidecar.client.long.joint import Continuation, continuation, joint
from sidecar.model import Usage
from sidecar.wire.message import MalformedStream, MessageBuilder
from sidecar.wire.usage import merge_usage, word

__all__ = ["Event", "Joined", "summed"]

Event = Mapping[str, Any]

_MAX_NESTING: Final = 8


class Joined:
    """The answer so far, and the turn that is being read."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._builder = MessageBuilder()
        self._before: Mapping[str, Any] = {}
        self._usage: Mapping[str, Any] = {}
        self._finish: Event | None = None
        self._offset = 0
        self._held: int | None = None
        """The block whose end has not been told, for the next turn may go on with it."""
        self._space: str | None = None
        """The whitespace the last turn ended in, until this one's text has met it."""
        self._lead = ""
        self.complete = False
        """The turn's ``message_stop`` has come."""

    @property
    def started(self) -> bool:
        """The first ``message_start`` has come."""
        return self._builder.started

    @property
    def text(self) -> str:
        """All text so far."""
        return self._builder.text

    @property
    def stop_reason(self) -> str | None:
        """Why the turn ended, once it has said so."""
        delta = None if self._finish is None else self._finish.get("delta")
        return word(delta.get("stop_reason")) if isinstance(delta, Mapping) else None

    @property
    def turn_usage(self) -> Usage | None:
        """What the turn has used, as far as it has told."""
        return merge_usage(self._usage)

    def message(self) -> dict[str, Any]:
        """Give the message so far, with the usage of all turns."""
        return {**self._builder.message(), "usage": summed(self._before, self._usage)}

    def take(self, event: Event) -> Iterator[Event]:
        """Take the next event of the turn; give what follows of it for the one stream."""
        match event.get("type"):
            case "message_start":
                yield from self._start(event)
            case "content_block_start":
                yield from self._begin_block(event)
            case "content_block_delta":
                yield from self._delta(event)
            case "content_block_stop":
                yield from self._end_block(self._moved(event))
            case "message_delta":
                self._finish = event
                told = event.get("usage")
                if isinstance(told, Mapping):
                    self._usage = {**self._usage, **{key: value for key, value in told.items() if value is not None}}
            case "message_stop":
                self.complete = True
            case _:
                yield event

    def finish(self) -> Iterator[Event]:
        """Give the end of the one stream: the last turn was its end."""
        yield from self._release()
        if self._finish is not None:
            joined = {**self._finish, "usage": summed(self._before, self._usage)}
            yield from self._tell(joined if self._before else self._finish)
        yield from self._tell({"type": "message_stop"})

    def continuation(self) -> Continuation | None:
        """Say how to go on, now that the turn is over; None where that is not possible."""
        unfinished = self._builder.open
        return continuation(self._builder.message()["content"], unfinished, shown=self._shown)

    def go_on(self, onward: Continuation) -> None:
        """Begin the next turn."""
        self._before, self._usage = summed(self._before, self._usage), {}
        self._finish, self.complete = None, False
        kept = list(onward.kept)
        last = len(kept) - 1
        self._held = last if kept and kept[last].get("type") == "text" else None
        self._offset = len(kept)
        self._space, self._lead = None, ""
        if self._builder.started:
            self._reopen(kept)

    def _reopen(self, kept: list[Mapping[str, Any]]) -> None:
        message = self._builder.message()
        closed = kept if self._held is None else kept[: self._held]
        self._builder = MessageBuilder()
        self._builder.add({"type": "message_start", "message": {**message, "content": closed}})
        if self._held is not None:
            last = kept[self._held]
            self._space = last["text"][len(last["text"].rstrip()) :]
            self._builder.add({"type": "content_block_start", "index": self._held, "content_block": {**last}})

    def _start(self, event: Event) -> Iterator[Event]:
        message = event.get("message")
        told = message.get("usage") if isinstance(message, Mapping) else None
        self._usage = told if isinstance(told, Mapping) else {}
        if not self._builder.started:
            yield from self._tell(event)

    def _begin_block(self, event: Event) -> Iterator[Event]:
        block = event.get("content_block")
        text = isinstance(block, Mapping) and block.get("type") == "text"
        if self._held is not None and text and event.get("index") == 0 and self._space is not None:
            self._offset = self._held
            begun = block.get("text") if isinstance(block, Mapping) else None
            if begun:
                yield from self._delta({"type": "content_block_delta", "index": 0, "delta": _text_delta(begun)})
            return
        self._space = None
        yield from self._release()
        yield from self._tell(self._moved(event))

    def _delta(self, event: Event) -> Iterator[Event]:
        delta = event.get("delta")
        if self._space is not None and isinstance(delta, Mapping) and delta.get("type") == "text_delta":
            text = delta.get("text")
            self._lead += text if isinstance(text, str) else ""
            begun = self._lead.lstrip()
            if not begun:
                return
            lead = self._lead[: len(self._lead) - len(begun)]
            event = {**event, "delta": {**delta, "text": joint(self._space, lead) + begun}}
            self._space = None
        yield from self._tell(self._moved(event))

    def _end_block(self, event: Event) -> Iterator[Event]:
        index = event["index"]
        content = self._builder.message()["content"] if index in self._builder.open else []
        if content and content[index].get("type") == "text":
            self._held = index
            return
        yield from self._tell(event)

    def _release(self) -> Iterator[Event]:
        if self._held is not None:
            held, self._held = self._held, None
            yield from self._tell({"type": "content_block_stop", "index": held})

    def _moved(self, event: Event) -> Event:
        index = event.get("index")
        if type(index) is not int:
            raise MalformedStream("an event of a content block must say which one it is of")
        return event if not self._offset else {**event, "index": index + self._offset}

    def _tell(self, event: Event) -> Iterator[Event]:
        self._builder.add(event)
        yield event


def summed(one: Mapping[str, Any], other: Mapping[str, Any], *, depth: int = 0) -> dict[str, Any]:
    """Add two usages up, number by number; of what is no number the later counts."""
    total = {**one}
    for key, value in other.items():
        before = one.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping) and depth < _MAX_NESTING:
            total[key] = summed(before, value, depth=depth + 1)
        elif _is_number(value) and _is_number(before):
            total[key] = before + value
        elif value is not None or before is None:
            total[key] = value
    return total


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text_delta(text: str) -> dict[str, Any]:
    return {"type": "text_delta", "text": text}
