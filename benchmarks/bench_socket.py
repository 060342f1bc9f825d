"""The socket: what a record costs its sender, how many a second one core takes in and counts, and what gets lost.

CPU time throughout, so that a busy machine changes little. The reference, measured in the same run, is what one would
write first: one pickled record a datagram.
"""

import os
import pickle
import random
import select
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sidecar.model import AttemptRecord, CallRecord, Outcome, Profile, Source, TraceRef, Usage
from sidecar.telemetry import Telemetry
from sidecar.telemetry.socket import Receiver, SocketSender
from sidecar.telemetry.socket.encoder import encode_records

Record = AttemptRecord | CallRecord
RECORDS = 40_000
PACED_SECONDS = 2.0
PACED_RATE = 5_000
BUSY = 0.1


def records(count: int) -> list[Record]:
    """Make attempts and calls as a fleet would send them: three models, real ids, every fifth one overloaded."""
    rng = random.Random(1)
    made: list[Record] = []
    while len(made) < count:
        seconds, failed = rng.lognormvariate(1, 1), len(made) % 10 == 0
        attempt = AttemptRecord(
            source=Source.CLIENT,
            endpoint="messages",
            model=rng.choice(["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"]),
            profile=Profile.INTERACTIVE,
            stream=True,
            number=0,
            started_at=1.8e9 + len(made),
            duration=seconds,
            outcome=Outcome.OVERLOADED if failed else Outcome.OK,
            status=529 if failed else 200,
            host="api.anthropic.com",
            request_id=f"req_{rng.getrandbits(96):024x}",
            first_byte=seconds / 5,
            first_token=seconds / 4,
            max_gap=0.2,
            max_gap_at=1.0,
            trace=TraceRef(trace_id=f"{rng.getrandbits(128) | 1:032x}", span_id=f"{rng.getrandbits(64) | 1:016x}"),
        )
        call = CallRecord(
            source=attempt.source,
            endpoint=attempt.endpoint,
            model=attempt.model,
            profile=attempt.profile,
            stream=True,
            started_at=attempt.started_at,
            duration=seconds,
            outcome=attempt.outcome,
            host=attempt.host,
            request_id=attempt.request_id,
            first_token=attempt.first_token,
            output_seconds=seconds * 3 / 4,
            usage=Usage(input=900, output=300),
            stop_reason="end_turn",
            trace=attempt.trace,
        )
        made += [attempt, call]
    return made


def tell(sink: SocketSender, record: Record) -> None:
    """Pass one record on, as the telemetry does."""
    if isinstance(record, AttemptRecord):
        sink.attempt(record)
    else:
        sink.call(record)


def in_child(work: Callable[[], None]) -> int:
    """Run something in a forked process, so that its CPU time is not ours."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def sending(path: Path, batch: list[Record]) -> float:
    """Return the CPU microseconds that a record costs its sender, thread and system calls included."""
    sender = SocketSender(Telemetry(), path, capacity=len(batch))
    before = time.process_time()
    for record in batch:
        tell(sender, record)
    sender.flush(60)
    spent = time.process_time() - before
    sender.close()
    return spent / len(batch) * 1e6


def pickling(path: Path, batch: list[Record]) -> float:
    """Return the same for one pickled record a datagram."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as plain:
        before = time.process_time()
        for record in batch:
            plain.sendto(pickle.dumps(record), str(path))
        return (time.process_time() - before) / len(batch) * 1e6


def swallow(path: Path) -> int:
    """Start a process that reads a socket and looks at nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reading:
        reading.bind(str(path))
        process = os.fork()
        if process:
            return process
        while True:
            reading.recv(1 << 20)


def receiving(path: Path, batch: list[Record]) -> float:
    """Return how many records a CPU second takes in and counts, from the system call to the histograms."""
    datagrams = [encode_records(batch, start, limit=256)[0].data for start in range(0, len(batch), 256)]
    receiver = Receiver(Telemetry(), path)
    receiver.open()
    spent = 0.0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for start in range(0, len(datagrams), 4):  # what Linux keeps by default, with room to spare
            for datagram in datagrams[start : start + 4]:
                sender.sendto(datagram, str(path))
            before = time.process_time()
            receiver.drain(60.0)
            spent += time.process_time() - before
    receiver.close()
    return receiver.records / spent


def lost_in_a_flood(path: Path, batch: list[Record]) -> int:
    """Return how many records get lost between two processes that both go as fast as they can."""
    receiver = Receiver(Telemetry(), path)
    receiver.open()

    def send() -> None:
        sender = SocketSender(Telemetry(), path, capacity=len(batch))
        for record in batch:
            tell(sender, record)
        sender.flush(60)

    process = in_child(send)
    take_all(receiver, process)
    receiver.close()
    return len(batch) - receiver.records


def take_all(receiver: Receiver, process: int) -> None:
    """Read until the sending process has ended and nothing is left."""
    while os.waitpid(process, os.WNOHANG) == (0, 0):
        select.select([receiver], [], [], 0.05)
        receiver.drain()
    receiver.drain(10.0)


def interrupted(path: Path, batch: list[Record]) -> tuple[int, int]:
    """Return how many of a steady stream of records are sent, and lost to a receiver that is busy again and again."""
    receiver = Receiver(Telemetry(), path)
    receiver.open()
    count = int(PACED_RATE * PACED_SECONDS)

    def send() -> None:
        sender = SocketSender(Telemetry(), path)
        start = time.monotonic()
        for number in range(count):
            tell(sender, batch[number])
            if number % 50 == 0:
                time.sleep(max(0.0, start + number / PACED_RATE - time.monotonic()))
        sender.flush(60)

    process = in_child(send)
    while os.waitpid(process, os.WNOHANG) == (0, 0):
        time.sleep(BUSY)
        receiver.drain(0.02)
    receiver.drain(10.0)
    receiver.close()
    return count, count - receiver.records


def main() -> None:
    """Print each figure beside its target."""
    batch = records(RECORDS)
    with tempfile.TemporaryDirectory(prefix="sc-") as directory:
        path = Path(directory)
        process = swallow(path / "a.sock")
        rounds = [(sending(path / "a.sock", batch), pickling(path / "a.sock", batch)) for _ in range(3)]
        os.kill(process, 9)
        os.waitpid(process, 0)
        ours, reference = (min(each) for each in zip(*rounds, strict=True))
        speed = max(receiving(path / "b.sock", batch) for _ in range(5))
        lost = lost_in_a_flood(path / "c.sock", batch)
        count, missed = interrupted(path / "d.sock", batch)
    busy = f"  busy for {BUSY * 1000:.0f} ms at {PACED_RATE:,}/s, lost of {count:,}"
    print(f"{'sender, CPU per record':46} {ours:8.2f} µs   target <= 5")
    print(f"{'  one pickled record a datagram':46} {reference:8.2f} µs   ratio {ours / reference:.2f}")
    print(f"{'received and counted, per CPU second':46} {speed:8,.0f}      target >= 50,000")
    print(f"{f'  in a flood of {RECORDS:,}, lost':46} {lost:8}      target 0")
    print(f"{busy:46} {missed:8}      target 0")
    sys.exit(1 if lost or missed else 0)


if __name__ == "__main__":
    main()
