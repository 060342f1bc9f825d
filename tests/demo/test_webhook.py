"""What Alertmanager sends is handed out as it arrives, and nothing else is believed."""

import http.client
import json
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from sidecar.demo import Webhook, webhook


def message(*alerts: dict[str, Any]) -> bytes:
    return json.dumps({"receiver": "on-call", "status": "firing", "alerts": list(alerts)}).encode()


def alert(name: str, status: str = "firing") -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, "job": "app"},
        "annotations": {"summary": "s"},
        "startsAt": "2026-01-01T00:00:00Z",
    }


def send(receiver: Webhook, body: bytes, **headers: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(receiver.url).netloc, timeout=60)
    try:
        connection.request("POST", "/", body=body, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_each_alert_of_a_message_is_a_notice() -> None:
    with webhook() as receiver:
        assert send(receiver, message(alert("A"), alert("B", "resolved"))) == 200
        first, second = receiver.received
    assert (first.name, first.firing, first.receiver, first.labels["job"]) == ("A", True, "on-call", "app")
    assert (second.name, second.firing, second.annotations) == ("B", False, {"summary": "s"})
    assert first.arrived.tzinfo is not None


def test_following_yields_what_was_and_what_comes() -> None:
    with webhook() as receiver:
        send(receiver, message(alert("A")))
        followed = receiver.follow(60)
        assert next(followed).name == "A"
        later = Thread(target=send, args=(receiver, message(alert("B"), alert("C"))))
        later.start()
        assert [next(followed).name for _ in range(2)] == ["B", "C"]
        later.join()


def test_following_ends_with_patience() -> None:
    with webhook() as receiver:
        send(receiver, message(alert("A")))
        assert [notice.name for notice in receiver.follow(0)] == ["A"]


def test_following_ends_when_the_receiver_does() -> None:
    with webhook() as receiver:
        names: list[str] = []
        follower = Thread(target=lambda: names.extend(notice.name for notice in receiver.follow(600)))
        follower.start()
        send(receiver, message(alert("A")))
    follower.join()
    assert names == ["A"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b'{"alerts": [{}], "receiver": "r"}', b'{"alerts": 1, "receiver": "r"}']
)
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with webhook() as receiver:
        assert send(receiver, body) == 400
        assert receiver.received == ()


@pytest.mark.parametrize("length", ["4194305", "-1", "x"])
def test_what_is_too_long_or_has_no_length_is_refused_unread(length: str) -> None:
    with webhook() as receiver:
        assert send(receiver, b"", **{"content-length": length}) == 413
