"""The line between supervisor and worker, and a worker that finds nobody at its other end."""

import asyncio
import os
import socket
import subprocess
import sys

import pytest

from sidecar.proxy.line import Line, pair


class End:
    """One end of a line, and what it heard."""

    def __init__(self, sock: socket.socket) -> None:
        self.heard: list[bytes] = []
        self.over = asyncio.Event()
        self.line = Line(asyncio.get_running_loop(), sock, heard=self.heard.append, ended=self.over.set)


async def test_packets_arrive_whole_and_the_end_is_heard() -> None:
    one, other = (End(sock) for sock in pair())
    assert one.line.send(b"1")
    assert one.line.order({"config": {"x": 2}})
    one.line.close()
    await asyncio.wait_for(other.over.wait(), 10)
    assert other.heard == [b"1", b'{"config": {"x": 2}}']
    assert not other.line.send(b"x")
    assert not one.line.send(b"x")
    one.line.close()
    one.line.listen()


async def test_where_nobody_takes_packets_that_is_said() -> None:
    mine, theirs = pair()
    end = End(mine)
    with theirs:
        while end.line.send(b"x" * 1000):
            pass
        assert not end.over.is_set()
    end.line.close()


async def test_what_breaks_is_the_end() -> None:
    mine, theirs = pair()
    end = End(mine)
    with theirs:
        end.line._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)  # reading it fails: it has no peer
        asyncio.get_running_loop().remove_reader(mine)
        mine.close()
        end.line.listen()
    assert end.over.is_set()


@pytest.mark.parametrize("parent", [os.getpid(), 1], ids=["its_parent", "another"])
def test_a_worker_that_finds_nobody_ends_at_once(parent: int) -> None:
    ours, theirs = pair()
    with theirs:
        ours.close()
        descriptor = theirs.fileno()
        command = [sys.executable, "-P", "-m", "sidecar.proxy.worker", str(descriptor), str(parent)]
        done = subprocess.run(command, pass_fds=[descriptor], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
