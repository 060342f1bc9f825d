"""Proves that the receiver owns its socket alone, lets in only whom the file's mode lets, and survives what arrives."""

import os
import random
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.telemetry import Telemetry
from sidecar.telemetry.snapshot import GaugeSnapshot, Sample
from sidecar.telemetry.socket import Receiver, SocketError, default_socket, layout
from sidecar.telemetry.socket.encoder import encode_records, encode_snapshot
from tests.outlets import samples


@pytest.fixture
def peer() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_the_file_mode_says_who_may_send(path: Path, metrics: Telemetry, mode: int) -> None:
    before = os.umask(0o077)
    os.umask(before)
    receiver = Receiver(metrics, path, mode=mode)
    receiver.open()
    assert stat.S_IMODE(path.stat().st_mode) == mode
    receiver.close()
    assert os.umask(before) == before


def test_whom_the_mode_does_not_let_is_refused(path: Path, metrics: Telemetry) -> None:
    root = os.geteuid() == 0  # who can become another user; anyone else locks out himself
    receiver = Receiver(metrics, path, mode=0o600 if root else 0)
    receiver.open()
    path.parent.chmod(0o755)
    script = (
        "import os, socket, sys\nif os.geteuid() == 0: os.setgid(65534), os.setuid(65534)\n"
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False, capture_output=True, text=True)
    receiver.close()
    assert "PermissionError" in done.stderr


def test_a_live_socket_is_not_stolen(path: Path, metrics: Telemetry, receiver: Receiver) -> None:
    with pytest.raises(SocketError, match=r"in use by another sidecar: stop that one, or choose another path"):
        Receiver(metrics, path).open()
    datagram, _ = encode_records(samples.pairs(1))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.sendto(datagram.data, str(path))
    assert receiver.drain(60.0)
    assert receiver.records == 2


def test_another_programs_live_socket_is_not_stolen_either(path: Path, metrics: Telemetry, peer: socket.socket) -> None:
    peer.bind(str(path))
    with pytest.raises(SocketError, match="in use"):
        Receiver(metrics, path).open()
    peer.close()


def test_a_stream_socket_is_left_alone(path: Path, metrics: Telemetry) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
        stranger.bind(str(path))
        stranger.listen()
        with pytest.raises(SocketError, match="another program's socket"):
            Receiver(metrics, path).open()
    assert path.exists()


def test_what_a_killed_sidecar_left_behind_is_taken_over(path: Path, metrics: Telemetry, peer: socket.socket) -> None:
    peer.bind(str(path))
    peer.close()
    receiver = Receiver(metrics, path)
    receiver.open()
    assert receiver.drain(60.0)
    receiver.close()
    assert not path.exists()


def test_a_file_that_is_no_socket_is_left_alone(path: Path, metrics: Telemetry) -> None:
    path.write_text("precious")
    with pytest.raises(SocketError, match="is not a socket: remove it, or choose another path"):
        Receiver(metrics, path).open()
    assert path.read_text() == "precious"
    assert list(path.parent.iterdir()) == [path]  # not even a lock's file was made beside it


def test_an_empty_path_is_told_to_be_one(metrics: Telemetry) -> None:
    with pytest.raises(SocketError, match=r"the socket's path is empty: name a file, such as /run/app/sidecar\.sock"):
        Receiver(metrics, "")


def test_a_directory_that_is_not_there_is_told(tmp_path: Path, metrics: Telemetry) -> None:
    path = Path(os.path.relpath(tmp_path / "none" / "s.sock"))
    with pytest.raises(SocketError, match=r"cannot make the socket .*No such file or directory"):
        Receiver(metrics, path).open()


def test_a_failed_start_can_be_tried_again(path: Path, metrics: Telemetry) -> None:
    receiver = Receiver(metrics, path)
    path.write_text("in the way")
    with pytest.raises(SocketError):
        receiver.open()
    assert receiver.fileno() == -1
    path.unlink()
    receiver.open()
    assert receiver.fileno() >= 0
    receiver.close()


def test_a_failed_bind_leaves_nothing_open(path: Path, metrics: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path, _mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    receiver = Receiver(metrics, path)
    with pytest.raises(SocketError, match="Operation not permitted"):
        receiver.open()
    assert receiver.fileno() == -1


def test_closing_leaves_a_socket_that_is_no_longer_ours(path: Path, metrics: Telemetry, peer: socket.socket) -> None:
    receiver = Receiver(metrics, path)
    receiver.open()
    path.rename(path.with_suffix(".old"))  # so that its inode is not given to the next one
    peer.bind(str(path))
    receiver.close()
    assert path.exists()
    peer.close()


def test_closing_twice_and_reading_after_it_do_nothing(path: Path, metrics: Telemetry) -> None:
    receiver = Receiver(metrics, path)
    receiver.open()
    path.unlink()
    receiver.close()
    receiver.close()
    assert receiver.drain(60.0)


def test_reading_stops_for_others_when_its_time_is_up_and_goes_on_later(path: Path, metrics: Telemetry) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    receiver = Receiver(metrics, path, clock=clock)
    receiver.open()
    datagram, _ = encode_records([samples.attempt()])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        for _ in range(4):
            sending.sendto(datagram.data, str(path))
    assert not receiver.drain(2.5)
    assert receiver.records == 3
    assert receiver.drain(9.0)
    assert receiver.records == 4
    receiver.close()


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "socket_malformed"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "socket_malformed"),
        (layout.MAGIC + bytes([layout.VERSION + 1]) + bytes(40), "socket_version"),
        (bytes(layout.MAX_DATAGRAM + 500), "socket_oversized"),
        (encode_records([samples.attempt(status=42)])[0].data, "socket_invalid"),
        (encode_snapshot(GaugeSnapshot(process="")).data, "socket_malformed"),
    ],
    ids=["empty", "http", "newer", "huge", "row", "snapshot"],
)
def test_what_makes_no_sense_is_dropped_and_counted_by_reason(
    path: Path, receiver: Receiver, metrics: Telemetry, datagram: bytes, reason: str
) -> None:
    good, _ = encode_records(samples.pairs(1))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.sendto(datagram, str(path))
        sending.sendto(good.data, str(path))
    assert receiver.drain(60.0)
    assert metrics.value("sidecar_dropped_records_total", reason=reason) == 1
    assert metrics.value("claude_calls_total") == 1


def test_a_snapshot_with_a_family_we_do_not_share_is_dropped(receiver: Receiver, metrics: Telemetry) -> None:
    receiver.take(encode_snapshot(GaugeSnapshot(process="p", gauges=(Sample("nonsense", (), 1.0),))).data)
    assert metrics.value("sidecar_dropped_records_total") == 1


def test_hostile_datagrams_neither_raise_nor_fill_the_memory(receiver: Receiver, metrics: Telemetry) -> None:
    rng = random.Random(7)
    for n in range(400):
        record = samples.attempt(model=f"evil-{n}", error_type=f"e{n}", host=f"h{n}", request_id=f"r{n}")
        datagram = bytearray(encode_records([record, samples.call(model=f"worse-{n}", stop_reason=f"s{n}")])[0].data)
        if n % 2:
            datagram[rng.randrange(len(datagram))] = rng.randrange(256)
        receiver.take(bytes(datagram))
    assert len(metrics.values("claude_calls_total")) < 51 * 20
    assert metrics.value("sidecar_label_overflows_total", label="model") > 0
    assert metrics.value("sidecar_internal_errors_total") == 0


def test_a_fault_of_the_system_while_reading_is_counted(path: Path, metrics: Telemetry) -> None:
    receiver = Receiver(metrics, path)
    receiver.open()
    descriptor = receiver.fileno()
    with Path(os.devnull).open("rb") as other:
        os.dup2(other.fileno(), descriptor)
    assert receiver.drain(60.0)
    assert metrics.value("sidecar_internal_errors_total", where="socket_receive") == 1
    receiver.close()


def test_by_default_the_socket_is_in_the_users_runtime_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIDECAR_SOCKET", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default_socket() == tmp_path / "claude-sidecar.sock"
    monkeypatch.setenv("SIDECAR_SOCKET", "/run/app/s.sock")
    assert default_socket() == Path("/run/app/s.sock")


@pytest.mark.parametrize("runtime", [None, "/nonexistent"])
def test_without_one_it_is_in_a_directory_of_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str | None
) -> None:
    monkeypatch.delenv("SIDECAR_SOCKET", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    path = default_socket()
    assert path == tmp_path / f"claude-sidecar-{os.getuid()}" / "claude-sidecar.sock"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert default_socket() == path


@pytest.mark.parametrize("trap", ["writable", "link"])
def test_a_directory_that_another_user_could_have_made_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    monkeypatch.delenv("SIDECAR_SOCKET", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    directory = tmp_path / f"claude-sidecar-{os.getuid()}"
    if trap == "link":
        directory.symlink_to(tmp_path)
    else:
        directory.mkdir()
        directory.chmod(0o777)
    with pytest.raises(SocketError, match="only this user can write to"):
        default_socket()
