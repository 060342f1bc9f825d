"""Where clients are taken: addresses read, checked and bound. It knows no protocol spoken there."""

import contextlib
import errno
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.admin import Address, AdminError, parse_address

BACKLOG: Final = 1024
_UNIX: Final = "unix:"
_FIRST_PASSED: Final = 3
"""The first descriptor that systemd passes."""


class ListenError(Exception):
    """An address cannot be listened on; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A Unix socket's path."""

    path: Path

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}"


Place = Address | UnixAddress


def parse_place(text: str) -> Place:
    """Read ``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:/path``; raises ListenError."""
    if text.startswith(_UNIX):
        return UnixAddress(_path(text.removeprefix(_UNIX)))
    try:
        return parse_address(text, allow_remote=True)
    except AdminError:
        raise ListenError(
            f"{text!r} is not an address to listen on: write HOST:PORT, such as 127.0.0.1:8788, or unix:/path"
        ) from None


def is_remote(place: Place) -> bool:
    """Tell whether other machines can reach it."""
    return isinstance(place, Address) and not place.is_loopback


class Listening:
    """One place, bound: a socket for each of ``count`` processes, which the kernel shares connections out to.

    A Unix socket is one for all of them; so is one that systemd made.
    """

    def __init__(self, place: Place, *, count: int = 1, mode: int = 0o600) -> None:
        self.place = place
        self.sockets: list[socket.socket] = []
        self._claim: int | None = None
        self._inode = 0
        try:
            if isinstance(place, UnixAddress):
                self._open_unix(place.path, mode)
            else:
                self._open(place, count)
        except ListenError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise ListenError(f"cannot listen on {place}: {_reason(error)}; choose another address") from None

    @property
    def url(self) -> str:
        """What a client is told: with the port that the system gave for port 0."""
        if isinstance(self.place, UnixAddress):
            return str(self.place)
        return f"http://{Address(_reachable(self.place.host), self.sockets[0].getsockname()[1])}"

    def close(self) -> None:
        """Take no more clients here, and leave nothing behind."""
        if self._inode and isinstance(self.place, UnixAddress):
            with contextlib.suppress(OSError):
                if self.place.path.lstat().st_ino == self._inode:
                    self.place.path.unlink()
            self._inode = 0
        for sock in self.sockets:
            sock.close()
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _open_unix(self, path: Path, mode: int) -> None:
        # Only a Unix socket needs them, and with their package comes more than the rest of listening.
        from sidecar.telemetry.socket.claim import bind, clear, lock  # noqa: PLC0415
        from sidecar.telemetry.socket.paths import SocketError  # noqa: PLC0415

        try:
            self._claim = lock(path)
            clear(path, socket.SOCK_STREAM)
        except SocketError as error:
            raise ListenError(str(error)) from None
        made = bind(path, mode, socket.SOCK_STREAM)
        self.sockets.append(made)
        self._inode = path.stat().st_ino
        made.listen(BACKLOG)

    def _open(self, place: Address, count: int) -> None:
        found = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
        family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        if count > 1:  # those that share an address would share it with another proxy's as well
            _bound(family, address, share=False).close()
        for _ in range(count):
            self.sockets.append(_bound(family, address, share=count > 1))
            address = self.sockets[0].getsockname()
        for made in self.sockets:  # only now: a socket that listens alone gets every connection
            made.listen(BACKLOG)


def _bound(family: int, address: Any, *, share: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)  # noqa: FBT003  # its only form
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


class Passed(Listening):
    """A place that systemd listens on for us, in ``LISTEN_FDS``."""

    def __init__(self, sock: socket.socket) -> None:
        self.sockets = [sock]
        self._claim = None
        self._inode = 0
        name = sock.getsockname()
        if sock.family == socket.AF_UNIX:  # one without a file has a name that begins with a zero byte
            self.place = UnixAddress(Path(os.fsdecode(name).replace("\0", "@")))
        else:
            self.place = Address(name[0], name[1])


def passed_by_systemd(environ: Mapping[str, str]) -> list[Listening]:
    """Take the sockets that systemd listens on, if it does."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return []
    taken: list[Listening] = []
    for descriptor in range(_FIRST_PASSED, _FIRST_PASSED + int(count)):
        try:
            sock = socket.socket(fileno=descriptor)
        except OSError as error:
            raise _not_passed(descriptor) from error
        if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.close()
            raise _not_passed(descriptor)
        sock.setblocking(False)  # noqa: FBT003  # its only form
        sock.set_inheritable(False)
        taken.append(Passed(sock))
    return taken


def _not_passed(descriptor: int) -> ListenError:
    return ListenError(
        f"descriptor {descriptor}, passed in LISTEN_FDS, is not a listening stream socket: "
        "the socket unit needs ListenStream= and Accept=no"
    )


def _path(text: str) -> Path:
    from sidecar.telemetry.socket.paths import SocketError, check_path  # noqa: PLC0415  # as above

    try:
        return check_path(check_path(Path(text)).absolute())
    except SocketError as error:
        raise ListenError(str(error)) from None


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # for showing, not for binding


def _reason(error: OSError) -> str:
    return {
        errno.EADDRINUSE: "another program listens there",
        errno.EADDRNOTAVAIL: "this machine does not have that address",
        errno.EACCES: "the system does not allow this user to",
    }.get(error.errno or 0, error.strerror or str(error))
