"""Proves that addresses are read strictly, and that nothing is opened to other machines by accident."""

import pytest

from sidecar.admin import Address, AdminError, parse_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:9464", Address("127.0.0.1", 9464)),
        ("localhost:0", Address("localhost", 0)),
        ("127.9.9.9:1", Address("127.9.9.9", 1)),
        ("[::1]:65535", Address("::1", 65535)),
    ],
)
def test_loopback_addresses_are_taken(text: str, expected: Address) -> None:
    assert parse_address(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text", ["", "9464", "localhost", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "::1:80", "a b"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AdminError, match="is not an address to listen on: write HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize(
    "text", ["0.0.0.0:9464", ":9464", "[::]:9464", "192.0.2.1:80", "example.com:80", "localhost.evil:80"]
)
def test_what_other_machines_reach_must_be_allowed(text: str) -> None:
    with pytest.raises(AdminError, match=r"reached from other machines.*--allow-remote"):
        parse_address(text)
    assert parse_address(text, allow_remote=True).port in {80, 9464}
