"""Plain answers before they are scripted: a page, a refusal, a status fault. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.chaos.api import Refusal
from sidecar.chaos.faults import FaultSpec
from sidecar.model import SPEND_LIMIT_CODE
from sidecar.wire.errors import ERROR_MESSAGES, error_json, error_type_of

__all__ = ["Reply", "failed", "json_reply", "refused"]

_OTHER_SHARE: Final = 0.1
"""What other answers than messages take of the drawn latency."""
_LATE_STATUSES: Final = frozenset({408, 504, 524})
"""Gateways give up late: these take the whole of it."""
_RETRIED_ON_SIGHT: Final = frozenset({429, 529})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with a plain body."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    share: float = _OTHER_SHARE
    """How much of the drawn latency it takes."""
    seconds: float = 0.0
    """What making it takes on top of that."""
    error: Refusal | None = None
    """What it refuses; the body is made of it."""
    code: str | None = None
    """The error's code, where it has one."""

    def whole(self, request_id: str | None = None) -> bytes:
        """Return the body, an error's with its request id."""
        if self.error is None:
            return self.body
        return error_json(self.error.error_type, self.error.message, request_id=request_id, code=self.code)


def json_reply(value: dict[str, Any] | Refusal) -> Reply:
    """Answer with JSON, or with the refusal that came of making it."""
    return refused(value) if isinstance(value, Refusal) else Reply(json.dumps(value).encode())


def refused(refusal: Refusal) -> Reply:
    """Refuse a request."""
    return Reply(status=refusal.status, headers=dict(refusal.headers), error=refusal)


def failed(fault: FaultSpec) -> Reply:
    """Build the answer a status fault asks for."""
    headers = {}
    should_retry = fault.should_retry
    if should_retry is None and fault.status in _RETRIED_ON_SIGHT:
        should_retry = not fault.spend
    if should_retry is not None:
        headers["x-should-retry"] = str(should_retry).lower()
    if fault.retry_after is not None:
        headers["retry-after"] = f"{fault.retry_after:g}"
    if fault.retry_after_ms is not None:
        headers["retry-after-ms"] = f"{fault.retry_after_ms:g}"
    message = ERROR_MESSAGES[error_type_of(fault.status)]
    return Reply(
        status=fault.status,
        headers=headers,
        share=1.0 if fault.status in _LATE_STATUSES else _OTHER_SHARE,
        error=Refusal(fault.status, "You have reached your specified spend limit" if fault.spend else message),
        code=SPEND_LIMIT_CODE if fault.spend else None,
    )
