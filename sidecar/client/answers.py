"""Reads off what the SDK hands to the application."""

from typing import Any

import httpx2

from sidecar.model import Usage
from sidecar.wire.usage import NO_ANSWER, Answer, word


def told_by(answer: Any) -> Answer | None:
    """Give what an answer says that the SDK has parsed; None for one that it has not, such as a raw response.

    The numbers cost nothing here, while decoding the body again would cost as much as all the rest.
    """
    if not _is_model(answer):
        return None
    told = answer.__dict__
    usage = told.get("usage")
    if not _is_model(usage):
        return NO_ANSWER
    counts = usage.__dict__
    return Answer(
        Usage(
            input=_count(counts.get("input_tokens")),
            output=_count(counts.get("output_tokens")),
            cache_read=_count(counts.get("cache_read_input_tokens")),
            cache_write=_count(counts.get("cache_creation_input_tokens")),
        ),
        word(told.get("stop_reason")),
    )


def content_of(response: httpx2.Response) -> bytes:
    """Give the content of a response that came closed: a transport may have read it, or replayed it from memory."""
    try:
        return response.content
    except httpx2.ResponseNotRead:
        return b""


def _is_model(value: Any) -> bool:
    # What the SDK makes its models of. Asking `isinstance` costs ten times as much: pydantic's classes are abstract.
    return hasattr(type(value), "__pydantic_fields__")


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
