"""The API's error shape, as it is built here and read back by the one classifier."""

import json

import pytest

from sidecar.model import ERROR_STATUS, SPEND_LIMIT_CODE, ApiError, parse_api_error
from sidecar.wire.errors import ERROR_MESSAGES, error_body, error_event, error_json, error_type_of


@pytest.mark.parametrize(("error_type", "status"), ERROR_STATUS.items())
def test_every_status_of_the_api_has_its_own_type(error_type: str, status: int) -> None:
    assert error_type_of(status) == error_type


@pytest.mark.parametrize(
    ("status", "error_type"),
    [
        (405, "invalid_request_error"),
        (418, "invalid_request_error"),
        (408, "timeout_error"),
        (524, "timeout_error"),
        (502, "api_error"),
        (599, "api_error"),
    ],
)
def test_any_other_status_has_the_nearest_type(status: int, error_type: str) -> None:
    assert error_type_of(status) == error_type


def test_each_type_has_something_to_say() -> None:
    assert ERROR_MESSAGES.keys() == ERROR_STATUS.keys()


def test_a_body_is_shaped_as_the_api_shapes_it() -> None:
    assert error_body("overloaded_error", "Overloaded", request_id="req_1") == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Overloaded"},
        "request_id": "req_1",
    }


def test_a_body_without_a_request_id_says_nothing_of_one() -> None:
    assert "request_id" not in error_body("api_error", "x")


def test_the_classifier_reads_type_and_code_back() -> None:
    body = error_json("rate_limit_error", "spent", code=SPEND_LIMIT_CODE)
    assert parse_api_error(body) == ApiError("rate_limit_error", SPEND_LIMIT_CODE)


def test_an_event_holds_the_same_body_in_one_frame() -> None:
    event = error_event("overloaded_error", "two\nlines", request_id="req_1")
    name, data, *rest = event.split(b"\n")
    assert name == b"event: error"
    assert rest == [b"", b""]
    body = error_body("overloaded_error", "two\nlines", request_id="req_1")
    assert json.loads(data.removeprefix(b"data: ")) == body
