"""The one table of the names we use in OpenTelemetry: its semantic conventions', and our own where those have none.

Written out rather than imported: `opentelemetry.semconv` moves the GenAI names about, and its import costs time.
"""

from typing import Final

SCOPE: Final = "sidecar"
"""The instrumentation scope of our spans and meters."""
SDK_SCOPE: Final = "com.anthropic.sdk.python"
"""The scope of the Anthropic SDK's own spans; a platform's client (Bedrock, Vertex) adds a suffix."""

# HTTP, URL, server, error: stable conventions.
HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_REQUEST_RESEND_COUNT: Final = "http.request.resend_count"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
URL_FULL: Final = "url.full"
URL_TEMPLATE: Final = "url.template"
ERROR_TYPE: Final = "error.type"

# Generative AI.
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  # tokens of a model

METRIC_OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
METRIC_TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105  # tokens of a model
METRIC_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"

# The SDK's own name for it.
ANTHROPIC_REQUEST_ID: Final = "anthropic.request.id"

# Ours.
CLAUDE_OUTCOME: Final = "claude.outcome"
CLAUDE_TIMEOUT_PHASE: Final = "claude.timeout.phase"
CLAUDE_PROFILE: Final = "claude.profile"
CLAUDE_SOURCE: Final = "claude.source"
CLAUDE_ATTEMPTS: Final = "claude.attempts"
CLAUDE_RETRY_RESULT: Final = "claude.retry.result"
CLAUDE_RETRY_REASON: Final = "claude.retry.reason"
CLAUDE_SECONDS: Final = "claude.seconds"
CLAUDE_BREAKER: Final = "claude.breaker"
CLAUDE_RETRY_AFTER: Final = "claude.retry_after"

EVENT_FIRST_TOKEN: Final = "claude.first_token"  # noqa: S105  # tokens of a model
EVENT_STALL: Final = "claude.stall"
EVENT_RETRY_WAIT: Final = "claude.retry.wait"
EVENT_BREAKER_REJECTED: Final = "claude.breaker.rejected"

PROVIDER: Final = "anthropic"
OPERATIONS: Final = {"messages": "chat", "complete": "text_completion"}
"""The endpoints that generate, and what the conventions call what they do."""

URL_TEMPLATES: Final = {
    "messages": "/v1/messages",
    "messages.count_tokens": "/v1/messages/count_tokens",
    "messages.batches": "/v1/messages/batches",
    "messages.batches.results": "/v1/messages/batches/{message_batch_id}/results",
    "complete": "/v1/complete",
    "models": "/v1/models",
    "files": "/v1/files",
    "files.content": "/v1/files/{file_id}/content",
    "skills": "/v1/skills",
}
"""The route of each endpoint. Never the path as sent: it may hold ids."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
OTHER_METHOD: Final = "_OTHER"
"""What the conventions call a method that is not one of these."""
