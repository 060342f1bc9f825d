"""Reads off what the SDK hands to the application."""

from collections.abc import Mapping
from typing import Any, Final

import httpx2

from sidecar.client.attempt import request_id
from sidecar.model import Usage
from sidecar.wire.usage import word


class Parsed:
    """What an answer says that the SDK has parsed. Holds its numbers and nothing else of it."""

    __slots__ = ("_counts", "_stop_reason", "request_id")

    def __init__(self, counts: Mapping[str, Any] | None, stop_reason: Any, request: Any) -> None:
        self._counts = counts
        self._stop_reason = stop_reason
        self.request_id: Final = request_id(request)

    @property
    def usage(self) -> Usage | None:
        """Tokens, where it counts them."""
        counts = self._counts
        if counts is None:
            return None
        get = counts.get
        return Usage(
            _count(get("input_tokens")),
            _count(get("output_tokens")),
            _count(get("cache_read_input_tokens")),
            _count(get("cache_creation_input_tokens")),
        )

    @property
    def stop_reason(self) -> str | None:
        """Why the model stopped."""
        return word(self._stop_reason)


def told_by(answer: Any) -> Parsed | None:
    """Give what an answer says that the SDK has parsed; None for one that it has not, such as a raw response.

    The numbers cost nothing here, while decoding the body again would cost as much as all the rest.
    """
    if not _is_model(answer):
        return None
    told = answer.__dict__
    usage = told.get("usage")
    counts = usage.__dict__ if _is_model(usage) else None
    return Parsed(counts, told.get("stop_reason"), told.get("_request_id"))


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
