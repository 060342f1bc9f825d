"""Proves that nothing a sender meets (a busy, absent or restarted sidecar, forks, threads) blocks, raises or loses."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sidecar.model import AttemptRecord, BreakerState, CallRecord
from sidecar.telemetry import Telemetry
from sidecar.telemetry.snapshot import GaugeSnapshot
from sidecar.telemetry.socket import Receiver, SocketError, SocketSender, layout
from tests.outlets import samples
from tests.outlets.conftest import take_until


def feed(telemetry: Telemetry, records: list[AttemptRecord | CallRecord]) -> None:
    for record in records:
        if isinstance(record, AttemptRecord):
            telemetry.attempt(record)
        else:
            telemetry.call(record)


def drain(receiver: Receiver) -> None:
    while not receiver.drain():
        pass


def test_what_an_application_counts_the_sidecar_counts_too(
    app: Telemetry, sender: SocketSender, receiver: Receiver, metrics: Telemetry
) -> None:
    feed(app, samples.pairs(20))
    assert sender.flush()
    drain(receiver)
    assert metrics.value("claude_calls_total") == metrics.value("claude_attempts_total") == 20
    assert metrics.histogram("claude_call_duration_seconds").sum == app.histogram("claude_call_duration_seconds").sum


def test_records_are_sent_in_the_background(
    app: Telemetry, sender: SocketSender, receiver: Receiver, metrics: Telemetry
) -> None:
    feed(app, samples.pairs(3))
    take_until(receiver, lambda: metrics.value("claude_calls_total") == 3)
    assert sender.flush()


def test_a_busy_sidecar_loses_nothing_of_what_came_meanwhile(
    app: Telemetry, sender: SocketSender, receiver: Receiver, metrics: Telemetry
) -> None:
    feed(app, samples.pairs(5_000))  # 2 s of 5,000 records a second, and nobody reads
    take_until(receiver, lambda: receiver.records == 10_000)
    assert metrics.value("claude_calls_total") == 5_000
    assert app.value("sidecar_dropped_records_total") == 0
    assert sender.flush()


def test_records_wait_for_a_sidecar_that_is_not_there_yet(
    app: Telemetry, sender: SocketSender, path: Path, metrics: Telemetry
) -> None:
    feed(app, samples.pairs(10))
    assert not sender.flush(0)
    receiver = Receiver(metrics, path)
    receiver.open()
    assert sender.flush()
    drain(receiver)
    receiver.close()
    assert receiver.records == 20


def test_a_restarted_sidecar_gets_what_came_in_between(app: Telemetry, sender: SocketSender, path: Path) -> None:
    counted: list[float] = []
    for _ in range(3):
        metrics = Telemetry()
        receiver = Receiver(metrics, path)
        receiver.open()
        assert sender.flush()
        drain(receiver)
        counted.append(metrics.value("claude_calls_total"))
        receiver.close()
        feed(app, samples.pairs(7))
        assert not sender.flush(0)
    assert counted == [0, 7, 7]


def test_an_absent_sidecar_is_told_once_in_the_log(
    sender: SocketSender, path: Path, metrics: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        sender.attempt(samples.attempt())
        assert not sender.flush(0)
    told = f"no sidecar takes records at {path} (No such file or directory); they wait"
    assert [record.getMessage() for record in caplog.records] == [told]
    receiver = Receiver(metrics, path)
    receiver.open()
    assert sender.flush()
    receiver.close()
    sender.attempt(samples.attempt())
    assert not sender.flush(0)
    assert [record.getMessage() for record in caplog.records] == [told, told]


def test_a_killed_sidecar_is_survived_as_well(app: Telemetry, sender: SocketSender, path: Path) -> None:
    killed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    killed.bind(str(path))
    killed.close()  # which leaves the file behind, as a kill does
    feed(app, samples.pairs(1))
    assert not sender.flush(0)
    assert app.value("sidecar_internal_errors_total") == 0


def test_only_what_falls_out_of_the_ring_is_dropped_and_the_newest_stay(
    app: Telemetry, path: Path, metrics: Telemetry
) -> None:
    sender = SocketSender(app, path, capacity=50)
    for number in range(120):
        sender.attempt(samples.attempt(number=number))
        assert not sender.flush(0)
    assert app.value("sidecar_dropped_records_total", reason="socket_ring_full") == 70
    taken: list[int] = []
    receiver = Receiver(metrics, path)
    receiver.open()
    metrics.attempt = lambda record: taken.append(record.number)  # type: ignore[method-assign]
    take_until(receiver, lambda: len(taken) >= 50)
    assert sender.flush()
    receiver.close()
    sender.close()
    assert taken == list(range(70, 120))


def test_more_than_fits_between_two_turns_of_the_thread_is_dropped_and_counted(app: Telemetry, path: Path) -> None:
    sender = SocketSender(app, path, capacity=10)
    with sender._sending:  # the thread is held up
        for _ in range(200):
            sender.attempt(samples.attempt())
        assert len(sender._gathered) <= 10
    assert not sender.flush(0)
    assert app.value("sidecar_dropped_records_total", reason="socket_ring_full") == 190
    sender.close(0)


def test_a_record_that_cannot_be_packed_is_counted_and_the_rest_goes_on(
    app: Telemetry, sender: SocketSender, receiver: Receiver
) -> None:
    sender.attempt(samples.attempt(number=10**9))
    sender.attempt(samples.attempt())
    assert sender.flush()
    drain(receiver)
    assert receiver.records == 1
    assert app.value("sidecar_dropped_records_total", reason="socket_unencodable") == 1


def test_many_threads_lose_nothing(
    app: Telemetry, sender: SocketSender, receiver: Receiver, metrics: Telemetry
) -> None:
    threads = [threading.Thread(target=feed, args=(app, samples.pairs(250, seed))) for seed in range(8)]
    for thread in threads:
        thread.start()
    take_until(receiver, lambda: receiver.records == 4_000)
    for thread in threads:
        thread.join()
    assert metrics.value("claude_calls_total") == 2_000
    assert sender.flush()


async def test_an_event_loop_is_not_held_up_while_nobody_reads(
    app: Telemetry, sender: SocketSender, receiver: Receiver
) -> None:
    async def calls() -> None:
        for record in samples.pairs(1_000):
            feed(app, [record])
            await asyncio.sleep(0)

    await asyncio.gather(calls(), calls())
    await asyncio.to_thread(take_until, receiver, lambda: receiver.records == 4_000)
    assert sender.flush()


def snapshots_of(receiver: Receiver, telemetry: Telemetry) -> list[GaugeSnapshot]:
    seen: list[GaugeSnapshot] = []
    absorb = telemetry.absorb

    def spy(snapshot: GaugeSnapshot) -> None:
        seen.append(snapshot)
        absorb(snapshot)

    telemetry.absorb = spy  # type: ignore[method-assign]
    return seen


def test_gauges_of_processes_add_up_and_leave_with_their_process(path: Path) -> None:
    now = [1_000.0]
    metrics = Telemetry(clock=lambda: now[0])
    receiver = Receiver(metrics, path)
    receiver.open()
    apps = [Telemetry() for _ in range(3)]
    senders = [SocketSender(app, path) for app in apps]
    tickets = [app.in_flight.begin("messages", "claude-sonnet-5-5") for app in apps]
    for app in apps:
        app.breaker("api.anthropic.com/claude-sonnet-5-5").state(BreakerState.OPEN)
    for sender in senders:
        sender.start()
    take_until(receiver, lambda: metrics.value("claude_in_flight") == 3)
    assert metrics.value("claude_breaker_state") == 3
    assert metrics.value("claude_breaker_state", state="open") == 3
    senders[0].close()
    take_until(receiver, lambda: metrics.value("claude_in_flight") == 2)  # at once, without waiting for silence
    for sender in senders[1:]:
        sender._closed = True  # killed: nothing is said any more
        sender._wake.put(None)
    for sender in senders[1:]:
        assert sender._thread is not None
        sender._thread.join()
    drain(receiver)
    now[0] += 6.0
    assert metrics.value("claude_in_flight") == 0
    assert tickets
    receiver.close()


def test_drops_of_a_process_are_told_by_the_sidecar(
    app: Telemetry, sender: SocketSender, receiver: Receiver, metrics: Telemetry
) -> None:
    app.dropped("socket_ring_full", 4)
    sender.start()
    take_until(receiver, lambda: metrics.value("sidecar_dropped_records_total", reason="socket_ring_full") == 4)


def test_the_thread_sends_snapshots_again_and_again(
    app: Telemetry, sender: SocketSender, receiver: Receiver, metrics: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.telemetry.socket.sender._SNAPSHOT_EVERY", 0.01)
    seen = snapshots_of(receiver, metrics)
    sender.start()
    sender.start()  # once is enough
    take_until(receiver, lambda: len(seen) >= 3)
    assert {snapshot.process for snapshot in seen} == {app.snapshot().process}


def test_a_broken_telemetry_does_not_end_the_thread(
    app: Telemetry, sender: SocketSender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> GaugeSnapshot:
        raise RuntimeError("no snapshot today")

    monkeypatch.setattr(app, "snapshot", broken)
    sender.start()
    feed(app, samples.pairs(1))
    take_until(receiver, lambda: receiver.records == 2)
    sender.flush()
    sender.close()
    assert app.value("sidecar_internal_errors_total", where="socket_snapshot") >= 1


def test_a_fault_while_packing_is_counted_and_goes_no_further(
    app: Telemetry, sender: SocketSender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise RuntimeError("out of order")

    with monkeypatch.context() as patched:
        patched.setattr("sidecar.telemetry.socket.sender.encode_records", broken)
        sender.call(samples.call())
        sender.flush(0)
    assert app.value("sidecar_internal_errors_total", where="socket") >= 1
    sender.call(samples.call())
    assert sender.flush()
    drain(receiver)
    assert receiver.records == 1


def test_where_threads_cannot_start_records_are_sent_all_the_same(
    app: Telemetry, sender: SocketSender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    feed(app, samples.pairs(2))
    drain(receiver)
    assert receiver.records == 4
    assert app.value("sidecar_internal_errors_total", where="socket_thread") >= 1


def test_what_ends_after_the_sender_was_closed_is_still_sent(
    app: Telemetry, sender: SocketSender, receiver: Receiver
) -> None:
    sender.close()
    sender.close()  # again changes nothing
    feed(app, samples.pairs(2))
    drain(receiver)
    assert receiver.records == 4


@pytest.mark.parametrize("lock", ["_state", "_sending"])
def test_a_call_that_ends_in_the_garbage_collector_does_not_wait_for_its_own_thread(
    sender: SocketSender, receiver: Receiver, lock: str
) -> None:
    for _ in range(2):
        with getattr(sender, lock):  # where the collector found this thread
            for _ in range(600):
                sender.attempt(samples.attempt())
        sender.close()
    take_until(receiver, lambda: sender.flush(0) and receiver.records == 1_200)


def test_a_signal_handler_may_end_calls(sender: SocketSender, receiver: Receiver) -> None:
    sent = 0

    def handler(_signal: int, _frame: object) -> None:
        nonlocal sent
        sent += 1
        sender.attempt(samples.attempt())

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        for _ in range(500):
            sender.attempt(samples.attempt())
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    take_until(receiver, lambda: receiver.records == 500 + sent)
    assert sent > 0


def test_a_descriptor_that_someone_closed_is_replaced_and_its_number_left_alone(
    app: Telemetry, sender: SocketSender, receiver: Receiver
) -> None:
    feed(app, samples.pairs(1))
    assert sender.flush()
    assert sender._socket is not None
    number = sender._socket.fileno()
    with Path(os.devnull).open("rb") as other:
        os.dup2(other.fileno(), number)  # as after a daemon closed all and opened its own
        sender.attempt(samples.attempt())
        assert sender.flush()
        assert os.fstat(number)
        os.close(number)
    drain(receiver)
    assert receiver.records == 3


def test_a_datagram_the_system_does_not_take_is_dropped_not_kept_for_ever(
    app: Telemetry, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = SocketSender(app, path)
    monkeypatch.setattr(sender, "_transmit", lambda _data: errno.EMSGSIZE)
    sender.attempt(samples.attempt())
    assert sender.flush()
    assert app.value("sidecar_dropped_records_total", reason="socket_too_large") == 1
    sender.close()


def test_a_sender_that_could_keep_nothing_is_refused(app: Telemetry, path: Path) -> None:
    with pytest.raises(ValueError, match="capacity is 0"):
        SocketSender(app, path, capacity=0)


def test_a_path_the_system_would_not_take_is_refused(app: Telemetry) -> None:
    with pytest.raises(SocketError, match="has 200 bytes, and the system takes 107"):
        SocketSender(app, "/" + "x" * 199)


PRELUDE = """
import os, sys
from sidecar.telemetry import Telemetry
from sidecar.telemetry.socket import SocketSender
from tests.outlets import samples
app = Telemetry()
sender = SocketSender(app, sys.argv[1])
app.add_sink(sender)
def call(model):
    app.attempt(samples.attempt(model=model))
    app.call(samples.call(model=model))
"""


def launch(script: str, path: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + script, str(path)],
        cwd=Path(__file__).parents[2],
    )


def run(script: str, path: Path, receiver: Receiver) -> None:
    with launch(script, path) as process:
        take_until(receiver, lambda: process.poll() is not None)
    assert process.returncode == 0
    drain(receiver)


def counts(metrics: Telemetry) -> dict[str, float]:
    return {labels["model"]: value for labels, value in metrics.values("claude_calls_total", outcome="ok")}


# As gunicorn does: the application is loaded, and may have made calls, before the workers are forked.
PREFORK = """
call('master')
for n in range(3):
    if os.fork() == 0:
        call(f'worker{n}')
        sys.exit(0)
for n in range(3):
    os.wait()
"""
GRANDCHILD = """
if os.fork() == 0:
    call('child')
    if os.fork() == 0:
        call('grandchild')
        sys.exit(0)
    os.wait()
    sys.exit(0)
os.wait()
"""
MULTIPROCESSING = """
import multiprocessing
worker = multiprocessing.get_context('fork').Process(target=call, args=('worker',))
worker.start()
worker.join()
"""
LATE = """
call('plain')
import atexit
atexit.unregister(sys.modules['sidecar.telemetry.socket.sender']._at_exit)
atexit.register(call, 'late')
atexit.register(sys.modules['sidecar.telemetry.socket.sender']._at_exit)
"""


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("call('plain')", {"plain": 1}),
        ("import threading; threading.Thread(target=call, args=('thread',)).start()", {"thread": 1}),
        (LATE, {"plain": 1, "late": 1}),
        (PREFORK, {"master": 1, "worker0": 1, "worker1": 1, "worker2": 1}),
        (GRANDCHILD, {"child": 1, "grandchild": 1}),
        (MULTIPROCESSING, {"worker": 1}),
    ],
    ids=["short-lived", "thread", "after our own end", "prefork", "grandchild", "multiprocessing"],
)
def test_processes_that_end_or_fork_lose_and_repeat_nothing(
    script: str, expected: dict[str, float], path: Path, receiver: Receiver, metrics: Telemetry
) -> None:
    run(script, path, receiver)
    assert counts(metrics) == expected


def test_a_forked_childs_gauges_are_its_own(path: Path, receiver: Receiver, metrics: Telemetry) -> None:
    seen = snapshots_of(receiver, metrics)
    run("sender.start()\nif os.fork() == 0:\n    sys.exit(0)\nos.wait()\n", path, receiver)
    assert len({snapshot.process for snapshot in seen}) == 2


def test_the_end_of_a_process_waits_only_briefly_for_a_sidecar_that_hangs(path: Path, receiver: Receiver) -> None:
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    probe.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        while True:  # nobody reads: fill what the system keeps
            probe.sendto(bytes(layout.HEADER.size), str(path))
    probe.close()
    with launch("call('never seen')", path) as process:
        assert process.wait(60) == 0
    drain(receiver)
    assert receiver.records == 0
