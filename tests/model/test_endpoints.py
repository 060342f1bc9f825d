"""Route names: bounded, and the same whichever way a client writes the path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model import ENDPOINTS, OTHER, endpoint_of


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/messages", "messages"),
        ("/v1/messages/", "messages"),
        ("/messages", "messages"),
        ("/v1/messages?beta=true", "messages"),
        ("/v1/messages/count_tokens?beta=true", "messages.count_tokens"),
        ("/v1/messages/batches", "messages.batches"),
        ("/v1/messages/batches/msgbatch_01", "messages.batches"),
        ("/v1/messages/batches/msgbatch_01/cancel", "messages.batches"),
        ("/v1/messages/batches/msgbatch_01/results", "messages.batches.results"),
        ("/v1/models", "models"),
        ("/v1/models/claude-x", "models"),
        ("/v1/complete", "complete"),
        ("/v1/files/file_1/content", "files.content"),
        ("/v1/files/file_1/unheard-of", OTHER),
        ("/v1/messagesque", OTHER),
        ("/", OTHER),
        ("", OTHER),
    ],
)
def test_a_path_has_one_route_name(path: str, name: str) -> None:
    assert endpoint_of(path) == name


@given(st.text())
def test_no_path_makes_a_name_outside_the_closed_set(path: str) -> None:
    assert endpoint_of(path) in ENDPOINTS
    assert endpoint_of("/v1/" + path) in ENDPOINTS
