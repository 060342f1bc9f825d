"""Several workers look like one proxy: one page, one call, one life."""

import json
import os
import signal
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from click.testing import CliRunner

from sidecar.chaos import Chaos, chaos_server
from sidecar.cli import main
from tests.proxy.processes import PATIENCE, QUESTION, Sidecar, sidecar

JSON = {"SIDECAR_LOG_FORMAT": "json"}
NO_WORKER = "import sys\nif sys.orig_argv[1:4:2] == ['-P', 'sidecar.proxy.worker']: sys.exit('no worker today')"
"""In `sitecustomize`: what every worker does when it starts."""
_CONNECTIONS = 64
"""All of them come to one worker of two once in 2^63 times."""


@contextmanager
def two_workers(*options: str, environ: dict[str, str] | None = None) -> Iterator[tuple[Sidecar, Chaos]]:
    with (
        chaos_server() as chaos,
        sidecar(chaos.url, "--workers", "2", "--access-log", *options, environ=JSON | (environ or {})) as proxy,
    ):
        yield proxy, chaos


@contextmanager
def one_connection_each(proxy: Sidecar) -> Iterator[list[HTTPConnection]]:
    """Connect until each worker has a connection."""
    found: dict[int, HTTPConnection] = {}
    others: list[HTTPConnection] = []
    for _ in range(_CONNECTIONS):
        connection = proxy.client()
        assert proxy.ask(on=connection, x_stainless_retry_count="0") == 200
        worker = proxy.event("request ended")["worker"]
        others.append(connection) if worker in found else found.update({worker: connection})
        if len(found) == 2:
            break
    yield [found[0], found[1]]
    for connection in (*found.values(), *others):
        connection.close()


def children(process: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def retry(
    proxy: Sidecar,
    chaos: Chaos,
    first: HTTPConnection,
    second: HTTPConnection,
    failed: dict[str, str],
    retried: dict[str, str],
) -> None:
    """Fail a request on one connection, try it again on the other, and wait until that is counted as one call."""
    wanted = proxy.metric("claude_retried_calls_total", result="recovered") + 1
    chaos.enqueue("529")
    assert proxy.ask(on=first, **failed) == 529
    assert proxy.ask(on=second, **retried) == 200
    proxy.until(lambda: proxy.metric("claude_retried_calls_total", result="recovered") == wanted)


def test_a_call_whose_retry_came_to_the_other_worker_is_one_call() -> None:
    """And one page tells of both, with the same number of calls as the upstream was asked for."""
    with two_workers() as (proxy, chaos), one_connection_each(proxy) as (first, second):
        before = proxy.metric("claude_calls_total", outcome="ok")
        asked = len(chaos.attempts())
        proxy.until(lambda: proxy.metric("claude_attempts_total") == asked)
        assert proxy.metric("claude_calls_total", outcome="ok") >= before
        retry(proxy, chaos, first, second, {"x_stainless_retry_count": "0"}, {"x_stainless_retry_count": "1"})
        retry(proxy, chaos, first, second, {}, {})
        assert proxy.metric("claude_calls_total", outcome="overloaded") == 0
        assert proxy.metric("claude_retries_total", reason="overloaded") == 2
        assert proxy.metric("claude_attempts_total") == len(chaos.attempts())
        assert {proxy.event("request failed")["worker"] for _ in range(2)} == {0}
        assert proxy.stop() == 0


def test_a_worker_that_is_killed_is_started_again_and_the_other_goes_on() -> None:
    with two_workers() as (proxy, _), one_connection_each(proxy) as (_, second):
        victim = min(children(proxy.process.pid))
        os.kill(victim, signal.SIGKILL)
        told = proxy.event("a worker ended; the next is started")
        assert told["status"] == -signal.SIGKILL
        if told["worker"] == 0:
            assert proxy.ask(on=second) == 200
        proxy.until(lambda: len(children(proxy.process.pid)) == 2)
        # The sockets stayed open meanwhile: no connection was refused, and all are served again.
        assert [proxy.ask() for _ in range(8)] == [200] * 8
        assert proxy.page("/readyz")[0] == 200
        assert proxy.stop() == 0


def test_nothing_is_left_behind_when_the_parent_is_killed() -> None:
    with two_workers() as (proxy, _):
        workers = children(proxy.process.pid)
        assert len(workers) == 2
        proxy.tell(signal.SIGKILL)
        assert proxy.ended() == -signal.SIGKILL
        pause = threading.Event()
        waits = int(PATIENCE / 0.05)
        assert any(all(is_gone(worker) for worker in workers) or pause.wait(0.05) for _ in range(waits))


def test_sigterm_lets_the_streams_of_all_workers_end_and_counts_them() -> None:
    with two_workers() as (proxy, chaos), one_connection_each(proxy) as connections:
        body = json.dumps({**QUESTION, "max_tokens": 50, "stream": True})
        for connection in connections:
            chaos.enqueue("drip;bytes=1500;s=0.15")
            sent = {"x-api-key": "k", "anthropic-version": "2023-06-01", "x-stainless-retry-count": "0"}
            connection.request("POST", "/v1/messages", body, sent)
        answers = [connection.getresponse() for connection in connections]
        proxy.tell(signal.SIGTERM)
        assert all(b"message_stop" in answer.read() for answer in answers)
        workers = {proxy.event("request ended", stream=True, outcome="ok")["worker"] for _ in range(2)}
        assert workers == {0, 1}
        assert proxy.ended() == 0


def test_a_worker_that_hangs_is_killed_after_the_drain() -> None:
    with two_workers("--drain-seconds", "0") as (proxy, _):
        hanging, other = children(proxy.process.pid)
        os.kill(hanging, signal.SIGSTOP)
        assert proxy.stop() == 0
        assert is_gone(hanging)
        assert is_gone(other)


def test_an_address_is_not_shared_with_another_proxy() -> None:
    with two_workers() as (proxy, _):
        address = proxy.urls[0].removeprefix("http://")
        for workers in ("1", "2"):
            options = ["proxy", "--admin", "127.0.0.1:0", "--listen", address, "--workers", workers]
            result = CliRunner().invoke(main, options)
            assert (result.exit_code, "another program listens there" in result.output) == (2, True)


def test_while_no_worker_runs_it_is_not_ready(tmp_path: Path) -> None:
    """Both are killed, and those that follow cannot start."""
    poison = tmp_path / "sitecustomize.py"
    with two_workers(environ={"PYTHONPATH": str(tmp_path)}) as (proxy, _):
        poison.write_text(NO_WORKER)
        for worker in children(proxy.process.pid):
            os.kill(worker, signal.SIGKILL)
        proxy.until(lambda: "workers: no worker is running" in proxy.page("/readyz")[1])
        assert proxy.event("a worker ended; the next is started", status=1)["in_seconds"] > 0.1
        poison.unlink()
        proxy.until(lambda: proxy.page("/readyz")[0] == 200)
        assert proxy.ask() == 200
        assert proxy.stop() == 0


def test_a_place_for_records_that_cannot_be_is_told_with_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    options = ["proxy", "--admin", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--workers", "2"]
    result = CliRunner().invoke(main, options)
    assert (result.exit_code, "the workers have nowhere to report to" in result.output) == (2, True)
    assert list(deep.iterdir()) == []


def test_they_share_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with two_workers("--listen", f"unix:{path}") as (proxy, _):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert proxy.page("/readyz")[0] in {200, 503}
        assert proxy.stop() == 0
    assert not path.exists()


def test_a_worker_that_cannot_start_is_told_with_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_WORKER)
    with (
        pytest.raises(AssertionError, match="a worker ended before it took clients"),
        sidecar("http://127.0.0.1:1", "--workers", "2", environ={"PYTHONPATH": str(tmp_path)}),
    ):
        pass
