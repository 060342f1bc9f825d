"""What is put off is done in order, soon, and before anybody reads."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread

from sidecar.proxy.later import BATCH, SECONDS, Later
from sidecar.proxy.wheel import Wheel
from sidecar.telemetry import Telemetry
from tests.proxy.clock import ClockLoop
from tests.proxy.kit import becomes
from tests.proxy.memory import Conversation, Records


class Loop(ClockLoop):
    """With callbacks for the next turn."""

    def __init__(self) -> None:
        super().__init__()
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)


@dataclass
class Work:
    done: list[int]
    number: int

    def settle(self) -> None:
        self.done.append(self.number)


class Bench:
    def __init__(self) -> None:
        self.loop = Loop()
        self.telemetry = Telemetry()
        self.later = Later(self.loop, Wheel(self.loop), self.telemetry)  # type: ignore[arg-type]  # all it needs
        self.done: list[int] = []

    def add(self, count: int) -> None:
        for number in range(count):
            self.later.add(Work(self.done, number))


def test_a_few_are_done_together_a_moment_later() -> None:
    bench = Bench()
    bench.add(3)
    assert bench.done == []
    bench.loop.advance(bench.loop.now + SECONDS + 0.1)
    assert bench.done == [0, 1, 2]
    assert not bench.loop.soon
    assert not bench.loop.armed


def test_many_are_done_in_the_next_turn_of_the_loop_and_asked_for_once() -> None:
    bench = Bench()
    bench.add(BATCH + 3)
    assert bench.done == []
    (turn,) = bench.loop.soon
    turn()
    assert bench.done == list(range(BATCH + 3))


def test_whoever_reads_misses_nothing() -> None:
    bench = Bench()
    bench.add(2)
    bench.telemetry.value("claude_calls_total")
    assert bench.done == [0, 1]


def test_what_another_thread_reads_is_left_to_the_loop() -> None:
    bench = Bench()
    bench.add(2)
    thread = Thread(target=bench.telemetry.snapshot)
    thread.start()
    thread.join()
    assert bench.done == []
    bench.later.settle()
    assert bench.done == [0, 1]


def test_a_request_is_seen_before_it_is_counted_and_counted_without_being_asked_for() -> None:
    with Conversation() as talk:
        records = Records()
        talk.telemetry.add_sink(records)
        talk.say(b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
        talk.reply(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        assert talk.pipe.written.endswith(b"\r\n\r\n{}")
        assert records.calls == []

        talk.loop.run_until_complete(becomes(lambda: bool(records.calls)))
        assert [record.attempts for record in records.calls] == [1]
