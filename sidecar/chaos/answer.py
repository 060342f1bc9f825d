"""What an answer says: its blocks, stop reason and usage, composed from what the request asks for. Pure.

The words are a fixed text that goes round: nothing of a prompt ever comes back.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, cycle, islice
from math import ceil
from typing import Any, Final

from sidecar.chaos.dice import Plan
from sidecar.chaos.faults import Fault
from sidecar.model import Usage

__all__ = ["Answer", "Block", "BlockKind", "compose", "sample_of"]

_SENTENCES: Final = (
    "Waiting is what a user feels first, and longest. A slow answer and a lost one look the same until something "
    "says otherwise: a header, a token, an error with a name. So measure from the question, not from the reply; "
    "count the silences as well as the words; and when a stream stops half-way, keep the half that came."
)
_WORDS: Final = _SENTENCES.split()
_PIECES: Final = tuple(" ".join(_WORDS[i : i + 3]) + " " for i in range(0, len(_WORDS), 3))
_ROUND: Final = "".join(_PIECES)
_ENDS: Final = tuple(accumulate(map(len, _PIECES), initial=0))
_THINKING_SHARE: Final = 3
_TOOL_PIECE: Final = 12
_MEGABYTE: Final = 1_000_000
_MAX_DEPTH: Final = 8
_SIMPLE: Final = {"string": "chaos", "integer": 1, "number": 1.5, "boolean": True, "null": None}
SIGNATURE: Final = "Y2hhb3MtZG9lcy1ub3QtdGhpbms="


class BlockKind(StrEnum):
    """The kinds of content block this API can answer with."""

    TEXT = "text"
    THINKING = "thinking"
    TOOL_USE = "tool_use"


@dataclass(frozen=True, slots=True)
class Block:
    """One content block, cut into the pieces it streams in."""

    kind: BlockKind
    pieces: tuple[str, ...]
    name: str = ""
    """A tool's name."""
    id: str = ""
    """A tool use's id."""

    @property
    def content(self) -> dict[str, Any]:
        """The block as a JSON answer holds it."""
        whole = "".join(self.pieces)
        if self.kind is BlockKind.THINKING:
            return {"type": "thinking", "thinking": whole, "signature": SIGNATURE}
        if self.kind is BlockKind.TOOL_USE:
            return {"type": "tool_use", "id": self.id, "name": self.name, "input": json.loads(whole)}
        return {"type": "text", "text": whole}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole message."""

    id: str
    model: str
    blocks: tuple[Block, ...]
    stop_reason: str
    stop_sequence: str | None
    usage: Usage

    @property
    def message(self) -> dict[str, Any]:
        """The message as a JSON answer holds it."""
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [block.content for block in self.blocks],
            "stop_reason": self.stop_reason,
            "stop_sequence": self.stop_sequence,
            "usage": usage_of(self.usage, self.usage.output),
        }


def usage_of(usage: Usage, output: int) -> dict[str, Any]:
    """Spell a usage as the API does, with this many output tokens so far."""
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": output,
        "service_tier": "standard",
    }


def compose(body: Mapping[str, Any], plan: Plan, *, unique: str, prompt_tokens: int, cached: bool) -> Answer:
    """Compose the answer to a valid request; ``unique`` makes its ids."""
    ceiling: int = body["max_tokens"]
    said = _pieces_said(body) if plan.fault.continues else 0
    wanted = max(1, plan.output_tokens - said * plan.tokens_per_event)
    tokens = min(wanted, ceiling)
    stop = "max_tokens" if wanted > ceiling else "end_turn"
    blocks: list[Block] = []
    if _thinks(body):
        blocks.append(Block(BlockKind.THINKING, _text(tokens // _THINKING_SHARE, plan.tokens_per_event)))
        tokens_left = max(1, tokens - tokens // _THINKING_SHARE)
    else:
        tokens_left = tokens
    tool = _tool(body)
    schema = _output_schema(body)
    if plan.fault.fault is Fault.HUGE:
        blocks.append(Block(BlockKind.TEXT, ("x" * (plan.fault.megabytes * _MEGABYTE),)))
    elif tool is not None:
        text = json.dumps(sample_of(tool.get("input_schema")))
        blocks.append(Block(BlockKind.TOOL_USE, _cut(text), str(tool.get("name", "")), f"toolu_{unique}"))
        stop = "tool_use"
    elif schema is not None:
        blocks.append(Block(BlockKind.TEXT, _cut(json.dumps(sample_of(schema)))))
    else:
        blocks.append(Block(BlockKind.TEXT, _text(tokens_left, plan.tokens_per_event, after=said)))
    stop = plan.fault.stop or stop
    sequences = body.get("stop_sequences")
    return Answer(
        id=f"msg_{unique}",
        model=body["model"],
        blocks=tuple(blocks),
        stop_reason=stop,
        stop_sequence=str(sequences[0])
        if stop == "stop_sequence" and isinstance(sequences, list) and sequences
        else None,
        usage=_usage(prompt_tokens, tokens, cached=cached),
    )


def _usage(prompt: int, output: int, *, cached: bool) -> Usage:
    if not cached:
        return Usage(input=prompt, output=output)
    read, write = prompt // 2, prompt // 4
    return Usage(input=prompt - read - write, output=output, cache_read=read, cache_write=write)


def _thinks(body: Mapping[str, Any]) -> bool:
    thinking = body.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive", "between_tools")


def _tool(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Choose the tool to use: a forced one always; a free one unless a tool's result was just sent, so loops end."""
    tools = [tool for tool in body.get("tools") or () if isinstance(tool, dict) and tool.get("name")]
    choice = body.get("tool_choice")
    kind = choice.get("type", "auto") if isinstance(choice, dict) else "auto"
    if not tools or kind == "none":
        return None
    if kind == "tool":
        return next((tool for tool in tools if tool["name"] == choice.get("name")), tools[0])  # type: ignore[union-attr]
    if kind == "auto" and _ends_with_tool_result(body):
        return None
    return tools[0]


def _ends_with_tool_result(body: Mapping[str, Any]) -> bool:
    content = body["messages"][-1].get("content")
    return isinstance(content, list) and any(
        isinstance(block, dict) and block.get("type") == "tool_result" for block in content
    )


def _output_schema(body: Mapping[str, Any]) -> object | None:
    config = body.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else body.get("output_format")
    return wanted.get("schema") if isinstance(wanted, dict) else None


def sample_of(schema: object, depth: int = 0) -> Any:
    """Make a small value that fits a JSON schema, as far as the common keywords go."""
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return {}
    if "const" in schema:
        return schema["const"]
    for keyword in ("enum", "examples", "anyOf", "oneOf", "allOf"):
        choices = schema.get(keyword)
        if isinstance(choices, list) and choices:
            return choices[0] if keyword in {"enum", "examples"} else sample_of(choices[0], depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list) and kind:
        kind = kind[0]
    if kind == "array":
        return [sample_of(schema.get("items"), depth + 1)]
    if isinstance(kind, str) and kind in _SIMPLE:
        return schema.get("minimum", _SIMPLE[kind]) if kind in {"integer", "number"} else _SIMPLE[kind]
    properties = schema.get("properties")
    members = properties.items() if isinstance(properties, dict) else ()
    return {name: sample_of(item, depth + 1) for name, item in members}


def _text(tokens: int, per_event: int, *, after: int = 0) -> tuple[str, ...]:
    return tuple(islice(cycle(_PIECES), after, after + max(1, ceil(tokens / per_event))))


def _pieces_said(body: Mapping[str, Any]) -> int:
    """Count the pieces of the answer that its newest assistant turn already holds, when a user turn follows it."""
    match body["messages"]:
        case [*_, {"role": "assistant", "content": said}, {"role": "user"}]:
            text = said if isinstance(said, str) else "".join(_texts(said))
        case _:
            return 0
    length = len(text.rstrip()) + 1  # with the space that ends every piece
    rounds, rest = divmod(length, _ENDS[-1])
    if rest not in _ENDS or (_ROUND * (rounds + 1))[: length - 1] != text.rstrip():
        return 0
    return rounds * len(_PIECES) + _ENDS.index(rest)


def _texts(content: Iterable[object]) -> Iterator[str]:
    for block in content:
        if isinstance(block, dict) and block.get("type") == "text":
            yield str(block.get("text", ""))


def _cut(text: str) -> tuple[str, ...]:
    return tuple(text[i : i + _TOOL_PIECE] for i in range(0, len(text), _TOOL_PIECE))
