"""Where one turn of an answer ends and the next begins: what is sent back to go on from, and how the texts meet. Pure.

No prefill: newer models refuse a conversation that ends with the assistant, so the text that came goes back as a whole
turn of the assistant, and a turn of the user asks for the rest.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["CONTINUE", "Continuation", "continuation", "joint", "messages_after"]

CONTINUE: Final = (
    "Your answer was cut off there. Continue from where you left off: begin with the very next character, repeat "
    "nothing of it, and say nothing about the interruption."
)
"""What the user's turn says."""

_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})
_LONGEST_JOINT: Final = 64
"""So much whitespace at most is compared; no answer means more than that."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """How to go on from a part of an answer."""

    kept: Sequence[Mapping[str, Any]]
    """The blocks of the answer so far that stay; a last one of text is gone on with."""
    sent: Sequence[Mapping[str, Any]]
    """The assistant's turn; empty where nothing of the answer came, and the request is simply made again."""


def continuation(
    content: Sequence[Mapping[str, Any]], unfinished: Collection[int], *, shown: bool
) -> Continuation | None:
    """Say how to go on from these blocks; None where that is not possible.

    Only text can be gone on with, after thinking that is whole and signed: a tool use is not made twice or in halves.
    ``unfinished``: the blocks that have not ended. ``shown``: somebody has seen them, so that none can be taken back.
    """
    kept = list(content)
    if not shown:
        while kept and kept[-1].get("type") in _THOUGHTS and not _whole(kept[-1], len(kept) - 1 in unfinished):
            kept.pop()  # without its signature nobody takes it back
    if not all(_whole(block, index in unfinished) for index, block in enumerate(kept)):
        return None
    sent = [_as_sent(block) for block in kept]
    while sent and not _says_something(sent[-1]):
        sent.pop()  # a turn may not end with thinking, nor in whitespace
    if sent:
        sent[-1] = {"type": "text", "text": sent[-1]["text"].rstrip()}
        return Continuation(kept, [block for block in sent if _worth_sending(block)])
    if not shown:
        return Continuation([], [])
    nothing_but_space = all(block.get("type") == "text" for block in kept) and len(kept) <= 1
    return Continuation(kept, []) if nothing_but_space else None


def messages_after(messages: Sequence[Any], sent: Sequence[Mapping[str, Any]], prompt: str) -> list[Any]:
    """Give the conversation that asks for the rest."""
    if not sent:
        return list(messages)
    return [*messages, {"role": "assistant", "content": list(sent)}, {"role": "user", "content": prompt}]


def joint(kept: str, begun: str) -> str:
    """Give what is missing, after whitespace that is there already, of the whitespace a continuation begins with.

    The whitespace that a part ended in was not sent back, so the model may say it again, more of it, or none.
    """
    kept = kept[-_LONGEST_JOINT:]
    overlap = next(size for size in range(min(len(kept), len(begun)), -1, -1) if kept.endswith(begun[:size]))
    return begun[overlap:]


def _whole(block: Mapping[str, Any], unfinished: bool) -> bool:  # noqa: FBT001  # private, and named at its calls
    match block.get("type"):
        case "text":
            return isinstance(block.get("text"), str)
        case "thinking":
            return not unfinished and bool(block.get("signature"))
        case "redacted_thinking":
            return not unfinished
    return False


def _as_sent(block: Mapping[str, Any]) -> dict[str, Any]:
    fields = {"text": ("text",), "thinking": ("thinking", "signature"), "redacted_thinking": ("data",)}
    kind = block["type"]
    return {"type": kind} | {name: block.get(name) for name in fields[kind]}


def _says_something(block: Mapping[str, Any]) -> bool:
    return block["type"] == "text" and bool(block["text"].strip())


def _worth_sending(block: Mapping[str, Any]) -> bool:
    return block["type"] != "text" or _says_something(block)
