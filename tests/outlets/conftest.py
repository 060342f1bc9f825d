"""A socket of the test's own, both its ends, and waiting for what arrives."""

import select
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.telemetry import Telemetry
from sidecar.telemetry.socket import Receiver, SocketSender


@pytest.fixture
def path() -> Iterator[Path]:
    # pytest's own tmp_path may be longer than the kernel's 107 bytes.
    with tempfile.TemporaryDirectory(prefix="sc-") as directory:
        yield Path(directory) / "s.sock"


@pytest.fixture
def metrics() -> Telemetry:
    """Count what the receiving sidecar gets."""
    return Telemetry()


@pytest.fixture
def receiver(path: Path, metrics: Telemetry) -> Iterator[Receiver]:
    receiver = Receiver(metrics, path)
    receiver.open()
    yield receiver
    receiver.close()


@pytest.fixture
def app() -> Telemetry:
    """Count what the sending application does."""
    return Telemetry()


@pytest.fixture
def sender(app: Telemetry, path: Path) -> Iterator[SocketSender]:
    sender = SocketSender(app, path)
    app.add_sink(sender)
    yield sender
    sender.close(0)


def take_until(receiver: Receiver, reached: Callable[[], bool], within: float = 20.0) -> None:
    """Read what arrives until the condition holds; fail when it has not after a long time."""
    until = time.monotonic() + within
    while not reached():
        left = until - time.monotonic()
        assert left > 0, f"waited {within} s in vain"
        select.select([receiver], [], [], min(left, 0.1))
        receiver.drain()
