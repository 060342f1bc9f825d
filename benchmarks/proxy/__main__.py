"""What the proxy costs, side by side with others in one run: ``make bench-proxy``.

One core for the proxies, another for the load and the upstream; CPU time and memory are the kernel's own figures. On a
busy machine the ratios between proxies hold better than the figures, and the latencies least of all.
"""

import json
import platform
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import trustme

from benchmarks.proxy.processes import OTHER_CORE, Child, child, cpu, kernel_share, load, memory
from benchmarks.proxy.proxies import PROXIES, Command, Running, running, sidecar_over_tls

_ROUNDS: Final = 3
_CLIENTS: Final = 16
_REQUESTS: Final = 3200
_STREAMS: Final = 1000
_STREAM_SECONDS: Final = 3.0
_CHUNKS: Final = 50 * 5
_ENOUGH: Final = 0.9
_IDLE: Final = 5000
_SLOW: Final = "litellm"
_OURS: Final = "sidecar"
_FLOOR: Final = "relay"
"""Ours without all that is ours: bytes passed on by uvloop, and not looked at."""


def _say(what: str, figure: str, target: str = "") -> None:
    print(f"  {what:<58}{figure:>16}   {target}", flush=True)


def _interpreter() -> str:
    """Say which Python ours runs on, and how that was built: a fifth of its figures may lie there."""
    program = Path(sys.executable).resolve()
    if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""):
        built = "built with --enable-optimizations"
    elif program.is_relative_to("/usr/bin"):
        built = "as the distribution built it (Debian and Fedora optimize, and their settings do not tell)"
    else:
        built = "built without --enable-optimizations, so slower than what most run"
    return f"{platform.python_implementation()} {platform.python_version()} ({program}), {built}"


def _requests(proxy: Running, *, count: int, clients: int) -> tuple[float, float]:
    """Give the CPU time of a request, and the share of it in the kernel."""
    pid = proxy.process.pid
    with load(do="requests", port=proxy.port, clients=clients, count=count) as clients_process:
        clients_process.line()
        before, shares = cpu(pid), kernel_share(pid)
        clients_process.tell()
        found = json.loads(clients_process.line())
        used, after = cpu(pid) - before, kernel_share(pid)
    user, system = after[0] - shares[0], after[1] - shares[1]
    return used / found["count"], system / ((user + system) or 1.0)


def _json(proxies: list[Running]) -> None:
    best: dict[str, tuple[float, float]] = {}
    for _ in range(_ROUNDS):
        for proxy in proxies:
            if proxy.name != _SLOW:
                measured = _requests(proxy, count=_REQUESTS, clients=_CLIENTS)
                best[proxy.name] = min(best.get(proxy.name, measured), measured)
    for proxy in proxies:
        if proxy.name == _SLOW:
            best[_SLOW] = _requests(proxy, count=64, clients=4)
    print("plain 2 KB JSON, CPU time of a request")
    for name, (seconds, share) in best.items():
        _say(name, f"{seconds * 1e6:.1f} us", f"{share:.0%} of it in the kernel")
    for name, target in (("nginx", "<= 2.0"), ("haproxy", ""), ("envoy", "<= 0.7"), (_SLOW, "<= 0.005"), (_FLOOR, "")):
        if name in best:
            _say(f"{_OURS} / {name}", f"{best[_OURS][0] / best[name][0]:.4g}", target)


def _latency(proxies: list[Running], upstream: int) -> None:
    ports = {"": upstream} | {proxy.name: proxy.port for proxy in proxies if proxy.name in {"nginx", _OURS}}
    with load(do="paced", ports=ports, rate=200, seconds=2, rounds=4) as clients:
        found = json.loads(clients.line())
    print("the same at 200 requests/s, added to the median")
    added = {name: found[name] - found[""] for name in ports if name}
    for name, seconds in added.items():
        _say(name, f"{seconds * 1e6:.0f} us")
    if "nginx" in added:
        _say(f"{_OURS} - nginx", f"{(added[_OURS] - added['nginx']) * 1e6:.0f} us", "<= 50 us")


def _sent(upstream: Child) -> int:
    upstream.tell()
    return int(upstream.line())


def _streams(proxies: list[Running], upstream: Child, direct: int) -> None:
    print(f"{_STREAMS} streams of 50 chunks/s")
    with load(do="streams", port=direct, count=_STREAMS, chunks=_CHUNKS) as clients:
        clients.line()
        clients.tell()
        base = json.loads(clients.line())["p50"]
    cost: dict[str, float] = {}
    added: dict[str, float] = {}
    ours = 0.0
    for proxy in proxies:
        if proxy.name == _SLOW:
            continue
        pid = proxy.process.pid
        with load(do="streams", port=proxy.port, count=_STREAMS, chunks=_CHUNKS) as clients:
            clients.line()
            clients.tell()
            sent, before = _sent(upstream), cpu(pid)
            time.sleep(_STREAM_SECONDS)
            chunks, used = _sent(upstream) - sent, cpu(pid) - before
            resident = memory(pid)
            added[proxy.name] = json.loads(clients.line())["p50"] - base
        cost[proxy.name] = used / chunks
        name = f"{proxy.name}: CPU a chunk, at {chunks / _STREAM_SECONDS:,.0f} chunks/s"
        _say(name, f"{used / chunks * 1e6:.2f} us", f"{resident:.1f} MB, median {added[proxy.name] * 1e6:+.0f} us")
        if proxy.name == _OURS:
            ours = resident
        if chunks < _STREAMS * 50 * _STREAM_SECONDS * _ENOUGH:
            _say("", "", "the machine was too busy to send them all: compare no further")
    for name, target in (("nginx", "<= 1.3"), ("haproxy", ""), ("envoy", "<= 1.0"), (_FLOOR, "")):
        if name in cost:
            _say(f"{_OURS} / {name}, CPU a chunk", f"{cost[_OURS] / cost[name]:.2f}", target)
    if "nginx" in added:
        _say(f"{_OURS} - nginx, median delay of a chunk", f"{(added[_OURS] - added['nginx']) * 1e6:.0f} us", "<= 50 us")
    _say(f"{_OURS}: memory", f"{ours:.1f} MB", "<= 45 MB")


def _held(command: Command, upstream: int, folder: Path, *, count: int) -> float:
    """Give the memory of a fresh proxy while it holds so many silent streams."""
    with running(_OURS, command, upstream, folder) as proxy:
        assert proxy is not None  # noqa: S101  # ours is always here
        with load(do="streams", port=proxy.port, count=count, chunks=0) as clients:
            clients.line()
            return memory(proxy.process.pid)


def _over_tls(stack: ExitStack, folder: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    pem = str(folder / "server.pem")
    upstream = stack.enter_context(child(sys.executable, "-m", "benchmarks.proxy.upstream", pem, pem, core=OTHER_CORE))
    ours = sidecar_over_tls(folder / "ca.pem")
    resident = _held(ours, int(upstream.line()), folder / "tls", count=_STREAMS)
    _say(f"{_OURS}: memory, {_STREAMS} streams, TLS to the upstream", f"{resident:.1f} MB", "<= 90 MB")


def main() -> None:
    """Measure and report."""
    begun = time.monotonic()
    print(f"{_OURS} on {_interpreter()}", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(child(sys.executable, "-m", "benchmarks.proxy.upstream", core=OTHER_CORE))
        port = int(upstream.line())
        with running(_OURS, PROXIES[_OURS], port, folder / "first"):
            pass  # whatever has not been compiled yet is now
        proxies = []
        for name, command in PROXIES.items():
            proxy = stack.enter_context(running(name, command, port, folder / name))
            if proxy is None:
                _say(name, "not here")
            else:
                proxies.append(proxy)
        ours = next(proxy for proxy in proxies if proxy.name == _OURS)
        idle = memory(ours.process.pid)
        _json(proxies)
        _latency(proxies, port)
        _streams(proxies, upstream, port)
        resident = _held(PROXIES[_OURS], port, folder / "idle", count=_IDLE)
        print("the rest")
        _say(f"{_OURS}: memory, {_IDLE} idle streams", f"{resident:.1f} MB", "<= 150 MB")
        _over_tls(stack, folder)
        _say(f"{_OURS}: from start to taking clients", f"{ours.start_seconds:.2f} s", "<= 0.3 s")
        _say(f"{_OURS}: idle memory", f"{idle:.1f} MB", "<= 32 MB")
        measured = (sys.executable, "-m", "benchmarks.proxy.scrape", "5000")
        scrape: dict[str, Any] = json.loads(subprocess.run(measured, check=True, capture_output=True).stdout)  # noqa: S603
        _say(
            f"longest hold-up by a scrape of {scrape['series']:,} series",
            f"{scrape['longest'] * 1e3:.2f} ms",
            "<= 1 ms",
        )
    print(f"measured in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
