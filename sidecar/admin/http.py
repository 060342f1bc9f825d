"""What a handler gets and gives: a request without a body, and a response whose body may be a stream."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One GET or HEAD."""

    method: str
    path: str
    """As sent, without the query."""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name; a repeated header's values are joined by commas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer. A ``body`` that is an iterator is sent as it comes, until it ends or the client leaves."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def text(cls, text: str, status: int = 200, *headers: tuple[str, str]) -> "Response":
        """Answer with plain text."""
        return cls(status=status, body=text.encode(), headers=(("Content-Type", PLAIN), *headers))

    @classmethod
    def json(cls, value: Any, status: int = 200) -> "Response":
        """Answer with JSON."""
        body = json.dumps(value, separators=(",", ":")).encode()
        return cls(status=status, body=body, headers=(("Content-Type", "application/json"),))


Handler = Callable[[Request], Awaitable[Response]]
"""Answers the requests for one path."""
