"""What the API accepts: a request's headers and body checked in the API's own order and words. Pure."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecar.wire.errors import error_type_of

__all__ = ["MAX_BODY", "MODELS", "Refusal", "check_count", "check_headers", "check_message", "model_info", "read_body"]

MAX_BODY: Final = 32 * 1024 * 1024

MODELS: Final = (
    "claude-opus-5-5",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-fable-5-2",
    "claude-fable-5-1",
    "claude-mythos-5-2",
    "claude-mythos-5-1",
    "claude-opus-5",
    "claude-sonnet-5",
    "claude-fable-5",
    "claude-mythos-5",
    "claude-opus-4-8",
    "claude-opus-4-7",
    "claude-mythos-preview",
    "claude-opus-4-6",
    "claude-sonnet-4-6",
    "claude-haiku-4-5",
    "claude-haiku-4-5-20251001",
    "claude-opus-4-5",
    "claude-opus-4-5-20251101",
    "claude-sonnet-4-5",
    "claude-sonnet-4-5-20250929",
)
"""The models there are, newest first."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served."""

    status: int
    message: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def error_type(self) -> str:
        """The API's name for it."""
        return error_type_of(self.status)


def check_headers(headers: Mapping[str, str]) -> Refusal | None:
    """Check key and version."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if not headers.get("x-api-key") and not (scheme.lower() == "bearer" and token.strip()):
        return Refusal(401, "x-api-key header is required")
    if not headers.get("anthropic-version"):
        return Refusal(400, "anthropic-version: header is required")
    return None


def read_body(body: bytes) -> dict[str, Any] | Refusal:
    """Decode a body that must be a JSON object."""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal(400, "The request body is not valid JSON")
    if not isinstance(decoded, dict):
        return Refusal(400, "The request body must be a JSON object")
    return decoded


def check_message(body: Mapping[str, Any], models: Collection[str]) -> Refusal | None:
    """Check the body of ``/v1/messages``."""
    refusal = _check_common(body, models, ("model", "max_tokens", "messages"))
    if refusal is not None:
        return refusal
    max_tokens = body["max_tokens"]
    if not _is_int(max_tokens):
        return Refusal(400, "max_tokens: Input should be a valid integer")
    if max_tokens < 1:
        return Refusal(400, "max_tokens: Input should be greater than or equal to 1")
    if not isinstance(body.get("stream", False), bool):
        return Refusal(400, "stream: Input should be a valid boolean")
    temperature = body.get("temperature")
    if temperature is not None and not (_is_number(temperature) and 0 <= temperature <= 1):
        return Refusal(400, "temperature: range: 0..1")
    return _check_thinking(body.get("thinking"), max_tokens)


def check_count(body: Mapping[str, Any], models: Collection[str]) -> Refusal | None:
    """Check the body of ``/v1/messages/count_tokens``."""
    return _check_common(body, models, ("model", "messages"))


def model_info(model: str) -> dict[str, Any]:
    """Describe a model as ``/v1/models`` does."""
    words = model.removeprefix("claude-").split("-")
    return {
        "type": "model",
        "id": model,
        "display_name": "Claude " + " ".join(word.capitalize() for word in words),
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "capabilities": None,
        "line": None,
        "deprecated_at": None,
        "retires_at": None,
    }


def _check_common(body: Mapping[str, Any], models: Collection[str], required: tuple[str, ...]) -> Refusal | None:
    for name in required:
        if name not in body:
            return Refusal(400, f"{name}: Field required")
    model = body["model"]
    if not isinstance(model, str) or not model:
        return Refusal(400, "model: Input should be a valid string")
    if model not in models:
        return Refusal(404, f"model: {model[:100]}")
    return _check_messages(body["messages"]) or _check_tools(body)


def _check_messages(messages: object) -> Refusal | None:
    if not isinstance(messages, list):
        return Refusal(400, "messages: Input should be a valid list")
    if not messages:
        return Refusal(400, "messages: at least one message is required")
    last = len(messages) - 1
    faults = (_message_fault(message, last=index == last) for index, message in enumerate(messages))
    return next((Refusal(400, f"messages.{index}{fault}") for index, fault in enumerate(faults) if fault), None)


def _message_fault(message: object, *, last: bool) -> str:
    if not isinstance(message, dict):
        return ": Input should be an object"
    if message.get("role") not in ("user", "assistant", "system"):
        return ".role: Input should be 'user' or 'assistant'"
    content = message.get("content")
    if not isinstance(content, str | list):
        return ".content: Field required"
    return "" if content or last else ": all messages must have non-empty content"


def _check_tools(body: Mapping[str, Any]) -> Refusal | None:
    tools = body.get("tools")
    if tools is None:
        return None
    if not isinstance(tools, list):
        return Refusal(400, "tools: Input should be a valid list")
    names = [tool.get("name") if isinstance(tool, dict) else None for tool in tools]
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict):
            return Refusal(400, f"tools.{index}: Input should be an object")
        if not isinstance(tool.get("name", ""), str):
            return Refusal(400, f"tools.{index}.name: Input should be a valid string")
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "tool" and choice.get("name") not in names:
        return Refusal(400, "tool_choice.name: Tool not found in provided tools")
    return None


def _check_thinking(thinking: object, max_tokens: int) -> Refusal | None:
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return None
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or isinstance(budget, bool):
        return Refusal(400, "thinking.enabled.budget_tokens: Field required")
    if budget < 1024:  # noqa: PLR2004  # the API's own minimum
        return Refusal(400, "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if budget >= max_tokens:
        return Refusal(400, "`max_tokens` must be greater than `thinking.budget_tokens`")
    return None


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
