"""Timers of connections are not moved with every request, and yet each connection rests for as long as it may."""

from collections.abc import Iterator

import pytest

from tests.proxy.memory import Conversation

ASK = b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Passing(Conversation):
    """With its connections' time by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.began = self.proxy.wheel.now()

    def at(self, seconds: float) -> None:
        """Go on to so many seconds after the beginning."""
        now = self.began + seconds
        self.proxy.wheel.now = lambda: now
        self.proxy.wheel._turn()
        self.settle()

    def exchange(self) -> None:
        self.say(ASK)
        self.reply(ANSWER)
        assert self.pipe.written.endswith(ANSWER[-4:])

    def upstream_is_open(self) -> bool:
        return not self.upstreams[-1][1].is_closing()


@pytest.fixture
def talk() -> Iterator[Passing]:
    with Passing() as talk:
        yield talk


def test_a_client_rests_from_its_last_answer_on(talk: Passing) -> None:
    talk.at(200)
    talk.exchange()
    talk.at(301)
    assert not talk.pipe.is_closing()
    talk.at(499)
    assert not talk.pipe.is_closing()
    talk.at(501)
    assert talk.pipe.is_closing()


def test_a_client_that_waits_for_an_answer_does_not_rest(talk: Passing) -> None:
    talk.at(10)
    talk.say(ASK)
    talk.at(301)
    assert not talk.pipe.is_closing()
    talk.reply(ANSWER)
    talk.at(600)
    assert not talk.pipe.is_closing()
    talk.at(602)
    assert talk.pipe.is_closing()


def test_a_connection_to_the_upstream_rests_from_its_last_answer_on(talk: Passing) -> None:
    talk.exchange()
    talk.at(50)
    talk.exchange()
    assert len(talk.upstreams) == 1
    talk.at(61)
    assert talk.upstream_is_open()
    talk.at(109)
    assert talk.upstream_is_open()
    talk.at(111)
    assert not talk.upstream_is_open()


def test_an_upstream_is_silent_from_the_request_on(talk: Passing) -> None:
    talk.exchange()
    talk.at(50)
    talk.say(ASK)
    talk.at(61)
    talk.at(949)
    assert talk.upstream_is_open()
    assert b"504" not in talk.pipe.written
    talk.at(952)
    assert not talk.upstream_is_open()
    assert b"HTTP/1.1 504 " in talk.pipe.written
