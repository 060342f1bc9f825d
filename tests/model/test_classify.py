"""The error taxonomy, row by row: what the API, the transport or the application did -> what we call it."""

import asyncio
import json
import socket
from typing import Any

import anthropic
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model import (
    ERROR_STATUS,
    ApiError,
    Outcome,
    Phase,
    Stage,
    StreamEnd,
    classify_exception,
    classify_status,
    classify_stream_end,
    classify_stream_error,
    parse_api_error,
)

REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/messages")


def body_of(error_type: str, **details: str) -> dict[str, Any]:
    error: dict[str, Any] = {"type": error_type, "message": "words"}
    if details:
        error["details"] = details
    return {"type": "error", "error": error, "request_id": "req_1"}


@pytest.mark.parametrize(
    ("status", "error_type", "outcome", "phase"),
    [
        (400, "invalid_request_error", Outcome.CLIENT_ERROR, None),
        (401, "authentication_error", Outcome.CLIENT_ERROR, None),
        (402, "billing_error", Outcome.CLIENT_ERROR, None),
        (403, "permission_error", Outcome.CLIENT_ERROR, None),
        (404, "not_found_error", Outcome.CLIENT_ERROR, None),
        (408, None, Outcome.TIMEOUT, Phase.GATEWAY),
        (409, "conflict_error", Outcome.CLIENT_ERROR, None),
        (413, "request_too_large", Outcome.CLIENT_ERROR, None),
        (429, "rate_limit_error", Outcome.RATE_LIMITED, None),
        (499, None, Outcome.CLIENT_ERROR, None),
        (500, "api_error", Outcome.SERVER_ERROR, None),
        (502, None, Outcome.SERVER_ERROR, None),
        (503, None, Outcome.SERVER_ERROR, None),
        (504, "timeout_error", Outcome.TIMEOUT, Phase.GATEWAY),
        (524, None, Outcome.TIMEOUT, Phase.GATEWAY),
        (529, "overloaded_error", Outcome.OVERLOADED, None),
        (200, None, Outcome.OK, None),
        (204, None, Outcome.OK, None),
        (304, None, Outcome.OK, None),
    ],
)
def test_a_status_says_the_outcome_and_the_phase(
    status: int, error_type: str | None, outcome: Outcome, phase: Phase | None
) -> None:
    verdict = classify_status(status, ApiError(error_type))
    assert (verdict.outcome, verdict.phase) == (outcome, phase)
    assert verdict.error_type == (error_type if status >= 400 else None)


@pytest.mark.parametrize("status", [400, 408, 429, 500, 529])
def test_a_status_without_a_readable_body_is_classified_all_the_same(status: int) -> None:
    assert classify_status(status).outcome is classify_status(status, ApiError("x")).outcome
    assert classify_status(status).error_type is None


@pytest.mark.parametrize(("error_type", "status"), ERROR_STATUS.items())
def test_an_error_event_inside_a_stream_follows_the_status_its_type_stands_for(error_type: str, status: int) -> None:
    error = ApiError(error_type)
    assert classify_stream_error(error) == classify_status(status, error)


def test_an_error_event_of_a_type_nobody_knows_is_a_server_error() -> None:
    assert classify_stream_error(ApiError("brand_new_error")).outcome is Outcome.SERVER_ERROR
    assert classify_stream_error(ApiError(None)).outcome is Outcome.SERVER_ERROR


def test_a_429_for_load_is_told_from_a_429_for_spend() -> None:
    load = parse_api_error(body_of("rate_limit_error"))
    spend = parse_api_error(body_of("rate_limit_error", error_code="enforced_spend_limit_reached"))
    assert classify_status(429, load).outcome is Outcome.RATE_LIMITED
    assert classify_status(429, spend).outcome is Outcome.CLIENT_ERROR
    assert classify_stream_error(spend).outcome is Outcome.CLIENT_ERROR


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (StreamEnd.COMPLETE, Outcome.OK),
        (StreamEnd.EOF, Outcome.TRUNCATED),
        (StreamEnd.CLOSED, Outcome.CANCELLED),
    ],
)
def test_the_end_of_a_stream_says_the_outcome(end: StreamEnd, outcome: Outcome) -> None:
    assert classify_stream_end(end).outcome is outcome


@pytest.mark.parametrize(
    ("error", "stage", "outcome", "phase"),
    [
        (httpx2.PoolTimeout("x"), Stage.PREPARING, Outcome.TIMEOUT, Phase.POOL),
        (httpx2.ConnectTimeout("x"), Stage.PREPARING, Outcome.TIMEOUT, Phase.CONNECT),
        (httpx2.WriteTimeout("x"), Stage.WAITING, Outcome.TIMEOUT, Phase.WRITE),
        (httpx2.ReadTimeout("x"), Stage.WAITING, Outcome.TIMEOUT, Phase.FIRST_BYTE),
        (httpx2.ReadTimeout("x"), Stage.READING, Outcome.TIMEOUT, Phase.STALL),
        (httpx2.ReadTimeout("x"), Stage.STREAMING, Outcome.TIMEOUT, Phase.STALL),
        (TimeoutError("x"), Stage.PREPARING, Outcome.TIMEOUT, Phase.CONNECT),
        (TimeoutError("x"), Stage.WAITING, Outcome.TIMEOUT, Phase.FIRST_BYTE),
        (TimeoutError("x"), Stage.STREAMING, Outcome.TIMEOUT, Phase.STALL),
        (httpx2.ConnectError("x"), Stage.PREPARING, Outcome.CONNECTION_ERROR, None),
        (httpx2.ProxyError("x"), Stage.PREPARING, Outcome.CONNECTION_ERROR, None),
        (httpx2.WriteError("x"), Stage.WAITING, Outcome.CONNECTION_ERROR, None),
        (httpx2.ReadError("x"), Stage.WAITING, Outcome.CONNECTION_ERROR, None),
        (httpx2.ReadError("x"), Stage.READING, Outcome.CONNECTION_ERROR, None),
        (httpx2.ReadError("x"), Stage.STREAMING, Outcome.TRUNCATED, None),
        (httpx2.RemoteProtocolError("x"), Stage.WAITING, Outcome.CONNECTION_ERROR, None),
        (httpx2.RemoteProtocolError("x"), Stage.STREAMING, Outcome.TRUNCATED, None),
        (httpx2.LocalProtocolError("x"), Stage.PREPARING, Outcome.CLIENT_ERROR, None),
        (httpx2.UnsupportedProtocol("x"), Stage.PREPARING, Outcome.CLIENT_ERROR, None),
        (httpx2.InvalidURL("x"), Stage.PREPARING, Outcome.CLIENT_ERROR, None),
        (httpx2.DecodingError("x"), Stage.READING, Outcome.SERVER_ERROR, None),
        (json.JSONDecodeError("x", "", 0), Stage.READING, Outcome.SERVER_ERROR, None),
        (ConnectionResetError("x"), Stage.WAITING, Outcome.CONNECTION_ERROR, None),
        (ConnectionRefusedError("x"), Stage.PREPARING, Outcome.CONNECTION_ERROR, None),
        (socket.gaierror("x"), Stage.PREPARING, Outcome.CONNECTION_ERROR, None),
        (OSError(113, "No route to host"), Stage.PREPARING, Outcome.CONNECTION_ERROR, None),
        (FileNotFoundError("x"), Stage.PREPARING, Outcome.CLIENT_ERROR, None),
        (TypeError("x"), Stage.PREPARING, Outcome.CLIENT_ERROR, None),
        (ValueError("x"), Stage.STREAMING, Outcome.CLIENT_ERROR, None),
        (asyncio.CancelledError(), Stage.WAITING, Outcome.CANCELLED, None),
        (GeneratorExit(), Stage.STREAMING, Outcome.CANCELLED, None),
        (KeyboardInterrupt(), Stage.WAITING, Outcome.CANCELLED, None),
        (SystemExit(), Stage.WAITING, Outcome.CANCELLED, None),
        (anthropic.APIConnectionError(request=REQUEST), Stage.WAITING, Outcome.CONNECTION_ERROR, None),
        (anthropic.APITimeoutError(REQUEST), Stage.WAITING, Outcome.TIMEOUT, Phase.FIRST_BYTE),
    ],
    ids=lambda value: value.name if isinstance(value, Stage) else type(value).__name__,
)
def test_an_exception_says_the_outcome_and_the_phase(
    error: BaseException, stage: Stage, outcome: Outcome, phase: Phase | None
) -> None:
    verdict = classify_exception(error, stage)
    assert (verdict.outcome, verdict.phase) == (outcome, phase)
    assert verdict.error_type == type(error).__name__


@pytest.mark.parametrize(
    ("cause", "outcome", "phase"),
    [
        (httpx2.ConnectTimeout("x"), Outcome.TIMEOUT, Phase.CONNECT),
        (httpx2.PoolTimeout("x"), Outcome.TIMEOUT, Phase.POOL),
        (httpx2.ConnectError("x"), Outcome.CONNECTION_ERROR, None),
        (ValueError("a custom transport's own"), Outcome.CONNECTION_ERROR, None),
    ],
)
def test_the_sdks_wrapper_is_told_by_what_it_wraps(cause: Exception, outcome: Outcome, phase: Phase | None) -> None:
    wrapper = anthropic.APIConnectionError(request=REQUEST)
    wrapper.__cause__ = cause
    verdict = classify_exception(wrapper)
    assert (verdict.outcome, verdict.phase) == (outcome, phase)


@pytest.mark.parametrize(
    ("status", "error_type", "outcome"),
    [
        (429, "rate_limit_error", Outcome.RATE_LIMITED),
        (529, "overloaded_error", Outcome.OVERLOADED),
        (404, "not_found_error", Outcome.CLIENT_ERROR),
        (200, "overloaded_error", Outcome.OVERLOADED),
        (200, "timeout_error", Outcome.TIMEOUT),
    ],
)
def test_the_sdks_status_errors_are_told_by_status_and_body(status: int, error_type: str, outcome: Outcome) -> None:
    response = httpx2.Response(status, request=REQUEST)
    error = anthropic.APIStatusError("words", response=response, body=body_of(error_type))
    verdict = classify_exception(error, Stage.STREAMING)
    assert (verdict.outcome, verdict.error_type) == (outcome, error_type)


def test_a_status_error_without_a_body_is_named_by_its_class() -> None:
    response = httpx2.Response(502, request=REQUEST)
    error = anthropic.InternalServerError("words", response=response, body=None)
    assert classify_exception(error).error_type == "InternalServerError"


def test_an_answer_that_does_not_fit_its_schema_is_a_server_error_though_its_status_was_good() -> None:
    response = httpx2.Response(200, request=REQUEST)
    assert classify_exception(anthropic.APIResponseValidationError(response, None)).outcome is Outcome.SERVER_ERROR


def test_our_own_deadline_and_breaker_errors_keep_their_meaning_under_any_base_class() -> None:
    class DeadlineExceeded(anthropic.APITimeoutError): ...

    class BreakerOpen(anthropic.APIConnectionError): ...

    deadline = classify_exception(DeadlineExceeded(REQUEST))
    assert (deadline.outcome, deadline.phase) == (Outcome.TIMEOUT, Phase.DEADLINE)
    assert classify_exception(BreakerOpen(request=REQUEST)).outcome is Outcome.REJECTED


def test_a_deadline_that_cut_a_read_short_is_told_by_itself_not_by_the_read() -> None:
    class DeadlineExceeded(anthropic.APITimeoutError): ...

    error = DeadlineExceeded(REQUEST)
    error.__cause__ = httpx2.ReadTimeout("x")
    verdict = classify_exception(error, Stage.STREAMING)
    assert (verdict.outcome, verdict.phase, verdict.error_type) == (Outcome.TIMEOUT, Phase.DEADLINE, "DeadlineExceeded")


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_any_decoded_error_body_is_read_without_complaint(body: object) -> None:
    assert isinstance(parse_api_error(body), ApiError)


@given(st.binary() | st.text() | st.integers(1, 3).map(lambda n: b"[" * 10**n * 20))
def test_any_raw_error_body_is_read_without_complaint(body: bytes | str) -> None:
    assert isinstance(parse_api_error(body), ApiError)


def test_a_raw_error_body_yields_type_and_code() -> None:
    raw = json.dumps(body_of("rate_limit_error", error_code="enforced_spend_limit_reached")).encode()
    assert parse_api_error(raw) == ApiError("rate_limit_error", "enforced_spend_limit_reached")


def test_an_error_body_of_the_wrong_types_yields_nothing() -> None:
    assert parse_api_error({"error": {"type": 7, "details": {"error_code": []}}}) == ApiError()
