"""Places to listen: what is bound, how it is shown, and what is left when it closes."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from sidecar.admin import Address
from sidecar.proxy.listening import ListenError, Listening, UnixAddress, parse_place
from sidecar.proxy.loop import new_event_loop


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:1", Address("127.0.0.1", 1)),
        ("[::1]:2", Address("::1", 2)),
        (":3", Address("0.0.0.0", 3)),  # noqa: S104  # as it is read; nothing is bound
        ("unix:/run/x.sock", UnixAddress(Path("/run/x.sock"))),
    ],
)
def test_a_place_is_an_address_or_a_path(text: str, place: object) -> None:
    assert parse_place(text) == place
    assert str(parse_place(str(place))) == str(place)


@pytest.mark.parametrize("text", ["x", "127.0.0.1", "unix:/" + "x" * 200])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ListenError):
        parse_place(text)


@pytest.mark.parametrize(
    ("place", "shown"), [("[::1]:0", "http://[::1]:"), ("0.0.0.0:0", "http://127.0.0.1:"), ("[::]:0", "http://[::1]:")]
)
def test_it_is_shown_as_a_client_of_this_machine_reaches_it(place: str, shown: str) -> None:
    listening = Listening(parse_place(place))
    try:
        host, _, port = listening.url.removeprefix("http://").rpartition(":")
        assert listening.url.startswith(shown)
        socket.create_connection((host.strip("[]"), int(port))).close()
    finally:
        listening.close()


def test_sockets_of_one_address_have_one_port() -> None:
    listening = Listening(parse_place("127.0.0.1:0"), count=3)
    try:
        assert len({sock.getsockname() for sock in listening.sockets}) == 1
        assert len({sock.fileno() for sock in listening.sockets}) == 3
    finally:
        listening.close()


def test_a_file_that_is_another_ones_by_now_is_left(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listening = Listening(UnixAddress(path))
    path.unlink()
    path.write_text("another's")
    listening.close()
    assert path.read_text() == "another's"


def test_a_live_socket_of_another_program_is_left(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ListenError, match="is in use"):
            Listening(UnixAddress(path))
    assert path.exists()


def test_without_uvloop_it_runs_on_asyncios_own_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = new_event_loop()
    assert type(loop).__module__.startswith("uvloop")
    loop.close()
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_event_loop()
    assert isinstance(loop, asyncio.SelectorEventLoop)
    loop.close()
