"""Reads off what the SDK hands to the application."""

from typing import Any

import httpx2

from sidecar.model import Usage
from sidecar.wire.usage import word


class Parsed:
    """What an answer says that the SDK has parsed. Holds its numbers and nothing else of it.

    Like a call, it only keeps what it is told: what that means is worked out when somebody asks.
    """

    __slots__ = ("_stop_reason", "_usage", "request_id")

    def __init__(self, usage: Any, stop_reason: Any, request_id: Any) -> None:
        self._usage = usage
        self._stop_reason = stop_reason
        self.request_id = request_id
        """The API's id of the request, unless it is something else."""

    @property
    def usage(self) -> Usage | None:
        """Tokens, where it counts them."""
        if not _is_model(self._usage):
            return None
        get = self._usage.__dict__.get
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
    told = answer.__dict__.get
    return Parsed(told("usage"), told("stop_reason"), told("_request_id"))


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
