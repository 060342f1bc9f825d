"""Sends a process's records and gauges to the sidecar's socket. It never blocks a call and never raises into one.

A call leaves its record in a list; a daemon thread packs what gathered into datagrams and sends them. While the sidecar
is busy or away they wait in a bounded ring, and what falls out of it is counted as dropped.
"""

import atexit
import contextlib
import errno
import logging
import os
import socket
import sys
import threading
import time
import weakref
from collections import deque
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from sidecar.model import AttemptRecord, CallRecord
from sidecar.telemetry.fork import survive_forks
from sidecar.telemetry.socket.encoder import Encoded, Record, encode_records, encode_snapshot
from sidecar.telemetry.socket.paths import check_path, default_socket
from sidecar.telemetry.telemetry import Telemetry

CAPACITY: Final = 20_000
"""Records that may wait, by default: 4 s at 5,000 a second, in about 2 MB."""
EXIT_WITHIN: Final = 0.5
"""Seconds that the end of the interpreter may wait for the last records to be taken."""

_BATCH: Final = 256
"""Records in a datagram at most, so that the receiver's loop is never held for long."""
_LINGER: Final = 0.05
"""How long the first record of a batch waits for company, in seconds."""
_SNAPSHOT_EVERY: Final = 1.0
_BUSY_PAUSE: Final = 0.005
_AWAY_PAUSE: Final = 0.25
_SEND_BUFFER: Final = 1 << 20
_LOGGER: Final = logging.getLogger("sidecar.telemetry")

_BUSY: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.EINTR})
_NOT_OURS: Final = frozenset({errno.EBADF, errno.ENOTSOCK, errno.EISCONN, errno.EAFNOSUPPORT, errno.EOPNOTSUPP})
"""Someone closed our descriptor (as daemons do with all of them), and its number may be another's by now."""


class SocketSender:
    """A sink for `Telemetry`: passes its records, and its gauges each second, on to the sidecar.

    ``path``: the sidecar's socket. ``capacity``: how many records may wait while it does not take them.
    """

    def __init__(self, telemetry: Telemetry, path: str | Path | None = None, *, capacity: int = CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}; at least one record must be able to wait")
        self.path: Final = check_path(Path(path) if path is not None else default_socket())
        self._address: Final = str(self.path)
        self._telemetry: Final = telemetry
        self._capacity: Final = capacity
        self._socket: socket.socket | None = None
        self._closed = False
        self._complained = False
        self._reset()
        _senders.add(self)
        survive_forks(self)

    def _reset(self) -> None:
        self._state = threading.RLock()  # held for a few assignments only
        self._sending = threading.Lock()  # whoever holds it owns the ring
        # A call can end in the garbage collector or a signal handler, so in the middle of anything here, on this very
        # thread: what it touches must bear that, as a deque and a SimpleQueue do, and an Event does not.
        self._gathered: deque[Record] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._woken = False
        self._thread: threading.Thread | None = None
        self._ring: deque[Encoded] = deque()
        self._in_ring = 0
        self._lost = 0
        self._snapshot_due = 0.0

    # What a call pays.

    def attempt(self, record: AttemptRecord, /) -> None:
        """Take a finished attempt."""
        self._take(record)

    def call(self, record: CallRecord, /) -> None:
        """Take a finished call."""
        self._take(record)

    def _take(self, record: Record) -> None:
        gathered = self._gathered
        if len(gathered) >= self._capacity:
            with self._state:
                self._lost += 1
            return
        gathered.append(record)
        if not self._woken or len(gathered) % _BATCH == 0:
            self._woken = True
            self._wake.put(None)
            if self._thread is None:
                self.start()

    # The thread, and what takes its place.

    def start(self) -> None:
        """Begin to send, gauges too. The first record does so as well, but a call may hang long before it ends."""
        with self._state:
            if self._thread is not None:
                return
            if not self._closed:
                thread = self._thread = threading.Thread(target=self._run, name="sidecar-socket", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # the interpreter ends, or threads are forbidden here
                    self._thread = None
                    self._telemetry.internal_error("socket_thread", error)
                else:
                    _finish_with_multiprocessing()
                    return
        self._pump(wait=False)

    def flush(self, timeout: float = EXIT_WITHIN) -> bool:
        """Send what waits, for ``timeout`` seconds at most; say whether all of it was taken."""
        until = time.monotonic() + timeout
        while (pause := self._pump()) is not None:
            if time.monotonic() + pause > until:
                return False
            time.sleep(pause)
        return True

    def close(self, timeout: float = EXIT_WITHIN) -> None:
        """Send what waits, take this process's gauges back, and end the thread."""
        with self._state:
            if self._closed:
                return
            self._closed = True
            thread, self._thread = self._thread, None
        self._wake.put(None)
        if thread is not None:
            thread.join(timeout)
        self.flush(timeout)
        self._send_snapshot(last=True)

    def _run(self) -> None:
        pause: float | None = None
        while not self._closed:
            due = max(self._snapshot_due - time.monotonic(), 0)
            woken = self._woken_within(due if pause is None else min(pause, due))
            if woken and pause is None and len(self._gathered) < _BATCH:
                self._woken_within(_LINGER)
            pause = self._pump()
            if time.monotonic() >= self._snapshot_due:
                self._send_snapshot()

    def _woken_within(self, seconds: float) -> bool:
        try:
            self._wake.get(timeout=seconds)
        except Empty:
            return False
        return True

    def _send_snapshot(self, *, last: bool = False) -> None:
        self._snapshot_due = time.monotonic() + _SNAPSHOT_EVERY
        try:
            snapshot = self._telemetry.snapshot()
            encoded = encode_snapshot(replace(snapshot, gauges=()) if last else snapshot)
            with self._sending:
                if last or not self._closed:
                    self._transmit(encoded.data)  # one that cannot be sent is not kept: the next one is newer
                self._tidy()
        except Exception as error:  # noqa: BLE001  # whatever it is, the thread must live on
            self._telemetry.internal_error("socket_snapshot", error)

    # Sending.

    def _pump(self, *, wait: bool = True) -> float | None:
        """Pack and send what waits; return None when all is sent, else how long to wait before the next try.

        Without ``wait``, whoever is at it already is trusted to do it.
        """
        if not self._sending.acquire(blocking=wait):
            return _BUSY_PAUSE
        try:
            self._woken = False  # before anything is taken: what comes from now on wakes again
            self._pack()
            return self._send()
        except Exception as error:  # noqa: BLE001  # our own fault must not end the thread, nor reach a call
            self._telemetry.internal_error("socket", error)
            return _AWAY_PAUSE
        finally:
            self._tidy()
            self._sending.release()

    def _tidy(self) -> None:
        if self._closed and self._socket is not None:
            self._socket.close()
            self._socket = None

    def _pack(self) -> None:
        records = [self._gathered.popleft() for _ in range(len(self._gathered))]
        with self._state:
            lost, self._lost = self._lost, 0
        position = refused = 0
        while position < len(records):
            encoded, position = encode_records(records, position, limit=min(_BATCH, self._capacity))
            refused += encoded.refused
            if encoded.items:
                self._ring.append(encoded)
                self._in_ring += encoded.items
        while self._in_ring > self._capacity:
            fallen = self._ring.popleft()
            self._in_ring -= fallen.items
            lost += fallen.items
        if lost:
            self._telemetry.dropped("socket_ring_full", lost)
        if refused:
            self._telemetry.dropped("socket_unencodable", refused)

    def _send(self) -> float | None:
        while self._ring:
            problem = self._transmit(self._ring[0].data)
            if problem in _BUSY:
                return _BUSY_PAUSE
            if problem and problem != errno.EMSGSIZE:
                self._complain(problem)
                return _AWAY_PAUSE
            self._complained = False
            sent = self._ring.popleft()
            self._in_ring -= sent.items
            if problem:
                self._telemetry.dropped("socket_too_large", sent.items)
        return None

    def _complain(self, problem: int) -> None:
        if not self._complained:
            self._complained = True
            _LOGGER.warning("no sidecar takes records at %s (%s); they wait", self.path, os.strerror(problem))

    def _transmit(self, data: bytes) -> int:
        """Send one datagram; return 0, or the number of the error."""
        # The path is looked up for every datagram, so a restarted sidecar is found without anything to reconnect.
        try:
            if self._socket is None:
                self._socket = _open_socket()
            self._socket.sendto(data, self._address)
        except OSError as error:
            if error.errno in _NOT_OURS and self._socket is not None:
                self._socket.detach()
                self._socket = None
            return error.errno or errno.EIO
        return 0

    # A forked child must neither send its parent's records again nor wait for locks of threads it does not have.

    def before_fork(self) -> None:
        """Do nothing: a child makes everything anew."""

    def after_fork(self, *, child: bool) -> None:
        """Begin anew in a child, and send its gauges if the parent's were sent."""
        if not child:
            return
        running = self._thread is not None
        self._reset()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if running:
            self.start()


def _open_socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.settimeout(0)
    with contextlib.suppress(OSError):
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    return made


_senders: Final[weakref.WeakSet[SocketSender]] = weakref.WeakSet()


def _at_exit() -> None:
    for sender in list(_senders):
        sender.close()


def _finish_with_multiprocessing() -> None:
    # A multiprocessing child ends with os._exit and never comes to atexit, but runs its own finalizers.
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, _at_exit, exitpriority=0)


atexit.register(_at_exit)
