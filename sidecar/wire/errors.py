"""The API's error shape: the JSON body of an error answer, and the same inside an event stream. Pure."""

import json
from typing import Any, Final

from sidecar.model import ERROR_STATUS

__all__ = ["ERROR_MESSAGES", "error_body", "error_event", "error_json", "error_type_of"]

_TYPE_OF: Final = {status: error_type for error_type, status in ERROR_STATUS.items()}
ERROR_MESSAGES: Final = {
    "invalid_request_error": "Invalid request",
    "authentication_error": "invalid x-api-key",
    "billing_error": "Your credit balance is too low to access the API",
    "permission_error": "Your API key does not have permission to use the specified resource",
    "not_found_error": "Not found",
    "conflict_error": "The request conflicts with the resource's current state",
    "request_too_large": "Request exceeds the maximum size",
    "rate_limit_error": "This request would exceed your organization's rate limit",
    "api_error": "Internal server error",
    "timeout_error": "The request timed out",
    "overloaded_error": "Overloaded",
}
"""What the API says with each type when there is nothing more to say."""

_GATEWAY_TIMEOUTS: Final = frozenset({408, 524})
_FIRST_SERVER_ERROR: Final = 500


def error_type_of(status: int) -> str:
    """Name the error type an answer with this status carries."""
    if status in _TYPE_OF:
        return _TYPE_OF[status]
    if status in _GATEWAY_TIMEOUTS:
        return "timeout_error"
    return "api_error" if status >= _FIRST_SERVER_ERROR else "invalid_request_error"


def error_body(
    error_type: str, message: str, *, request_id: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Build the decoded body; ``code`` becomes ``error.details.error_code``."""
    error: dict[str, Any] = {"type": error_type, "message": message}
    if code is not None:
        error["details"] = {"error_code": code}
    body: dict[str, Any] = {"type": "error", "error": error}
    if request_id is not None:
        body["request_id"] = request_id
    return body


def error_json(error_type: str, message: str, *, request_id: str | None = None, code: str | None = None) -> bytes:
    """Build the body of an error answer."""
    return json.dumps(error_body(error_type, message, request_id=request_id, code=code)).encode()


def error_event(error_type: str, message: str, *, request_id: str | None = None, code: str | None = None) -> bytes:
    """Build the event that ends a stream with an error after its 200."""
    return b"event: error\ndata: %b\n\n" % error_json(error_type, message, request_id=request_id, code=code)
