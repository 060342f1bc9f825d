"""What observing costs: CPU time per call beside the bare SDK, and beside its peers.

Everything runs in one process over an in-memory transport whose answers carry all the real headers. The targets are set
for a machine on which the bare calls take 414 us and 3,700 us; beside them the share of the bare call is what compares.

Calls are counted in batches, so a turn is as long as a batch: whatever is put off is part of what is measured. What
the calls cost by themselves, without the counting that one in 32 of them does for all, stands in brackets.
"""

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import anthropic
import httpx2

MODEL: Final = "claude-sonnet-5-5"
DELTAS: Final = 200
REFERENCE: Final = (414, 3_700)
"""The bare microseconds of a create and of a stream on the machine the targets were set on."""
PEERS: Final = {
    "OTel GenAI": (
        "opentelemetry-instrumentation-genai-anthropic",
        "opentelemetry.instrumentation.genai.anthropic:AnthropicInstrumentor",
    ),
    "OpenLLMetry": (
        "opentelemetry-instrumentation-anthropic",
        "opentelemetry.instrumentation.anthropic:AnthropicInstrumentor",
    ),
}

HEADERS: Final = [
    ("date", "Sat, 21 Nov 2026 00:00:00 GMT"),
    ("connection", "keep-alive"),
    ("cache-control", "no-cache"),
    ("anthropic-ratelimit-requests-limit", "4000"),
    ("anthropic-ratelimit-requests-remaining", "3999"),
    ("anthropic-ratelimit-requests-reset", "2026-11-21T00:00:00Z"),
    ("anthropic-ratelimit-input-tokens-limit", "2000000"),
    ("anthropic-ratelimit-input-tokens-remaining", "1999000"),
    ("anthropic-ratelimit-input-tokens-reset", "2026-11-21T00:00:01Z"),
    ("anthropic-ratelimit-output-tokens-limit", "400000"),
    ("anthropic-ratelimit-output-tokens-remaining", "399000"),
    ("anthropic-ratelimit-output-tokens-reset", "2026-11-21T00:00:02Z"),
    ("anthropic-ratelimit-tokens-limit", "2400000"),
    ("anthropic-ratelimit-tokens-remaining", "2398000"),
    ("anthropic-ratelimit-tokens-reset", "2026-11-21T00:00:01Z"),
    ("request-id", "req_011CVKZ8fT9JxYH6mW3nQ2aB"),
    ("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
    ("anthropic-organization-id", "00000000-0000-0000-0000-000000000000"),
    ("via", "1.1 google"),
    ("cf-cache-status", "DYNAMIC"),
    ("x-robots-tag", "none"),
    ("server", "cloudflare"),
    ("cf-ray", "0000000000000000-FRA"),
]
_USAGE: Final = {
    "input_tokens": 12,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "output_tokens": DELTAS,
    "service_tier": "standard",
}
_MESSAGE: Final = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "stop_sequence": None}


def _sse(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


ANSWER: Final = json.dumps(
    {**_MESSAGE, "content": [{"type": "text", "text": "word " * 100}], "stop_reason": "end_turn", "usage": _USAGE}
).encode()
EVENTS: Final = [
    _sse("message_start", message={**_MESSAGE, "content": [], "stop_reason": None, "usage": _USAGE}),
    _sse("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    *(_sse("content_block_delta", index=0, delta={"type": "text_delta", "text": "word "}) for _ in range(DELTAS)),
    _sse("content_block_stop", index=0),
    _sse("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=_USAGE),
    _sse("message_stop"),
]
_WHOLE: Final = b"".join(EVENTS)
COALESCED: Final = [_WHOLE[at : at + 4096] for at in range(0, len(_WHOLE), 4096)]


class _Chunks(httpx2.SyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks


class _AsyncChunks(httpx2.AsyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


class _Connection:
    """Stands in for that of httpx2's own transports, whose reads a policy bounds."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read nothing: there is none to read from."""
        raise NotImplementedError


class InMemory(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Answers every request at once."""

    chunks: list[bytes] = EVENTS

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer as the API does."""
        return self._answer(request.read(), _Chunks)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Do the same for async clients."""
        return self._answer(await request.aread(), _AsyncChunks)

    def _answer(self, asked: bytes, body: Callable[[list[bytes]], Any]) -> httpx2.Response:
        if b'"stream":true' in asked:
            headers = [*HEADERS, ("content-type", "text/event-stream; charset=utf-8")]
            return self._response(headers, body(self.chunks))
        headers = [*HEADERS, ("content-type", "application/json"), ("content-length", str(len(ANSWER)))]
        return self._response(headers, body([ANSWER]))

    def _response(self, headers: list[tuple[str, str]], body: Any) -> httpx2.Response:
        connection = {"http_version": b"HTTP/1.1", "network_stream": _Connection()}
        return httpx2.Response(200, headers=headers, stream=body, extensions=connection)


TRANSPORT: Final = InMemory()
_CLIENT: Final[dict[str, Any]] = {"api_key": "sk-bench", "base_url": "https://api.anthropic.com"}
_ASKED: Final[dict[str, Any]] = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}


def client() -> anthropic.Anthropic:
    """Make a client over the in-memory transport."""
    return anthropic.Anthropic(**_CLIENT, http_client=httpx2.Client(transport=TRANSPORT))


def async_client() -> anthropic.AsyncAnthropic:
    """Make an async one."""
    return anthropic.AsyncAnthropic(**_CLIENT, http_client=httpx2.AsyncClient(transport=TRANSPORT))


def create(caller: anthropic.Anthropic) -> None:
    """Make one call that is not streamed."""
    caller.messages.create(**_ASKED)


def stream(caller: anthropic.Anthropic) -> None:
    """Make one streamed call and read it to the end."""
    for _ in caller.messages.create(**_ASKED, stream=True):
        pass


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def async_stream(caller: anthropic.AsyncAnthropic) -> None:
    """Do the same with an async client, in an event loop that goes on from call to call."""

    async def run() -> None:
        async for _ in await caller.messages.create(**_ASKED, stream=True):
            pass

    _loop().run_until_complete(run())


WORK: Final[dict[str, tuple[Callable[[], Any], Callable[[Any], None], list[bytes], int]]] = {
    "create": (client, create, EVENTS, 60),
    "stream, one delta a chunk": (client, stream, EVENTS, 14),
    "stream, 4 KB chunks": (client, stream, COALESCED, 14),
    "async stream, one delta a chunk": (async_client, async_stream, EVENTS, 14),
    "async stream, 4 KB chunks": (async_client, async_stream, COALESCED, 14),
}
"""What is measured: who calls and how, the chunks it is answered with, and how often."""

Results = dict[str, tuple[float, float, float]]
"""For each kind of work the bare microseconds a call, what is added to them, and that without counting the batch."""


def measure(
    on: Callable[[], None],
    off: Callable[[], None],
    settle: Callable[[], object] = lambda: None,
    *,
    batch: int = 32,
    share: float = 1.0,
) -> Results:
    """Give what ``on`` adds to each kind of work. ``settle``: count what is put off, so that a turn begins afresh.

    Turns are taken by turns, and of each side the tenth that were least disturbed count: others on the machine only
    ever add time. ``share``: of the usual number of turns.
    """
    results = {}
    for name, (make, work, chunks, turns) in WORK.items():
        caller = make()
        TRANSPORT.chunks = chunks
        rounds = max(2, int(turns * share))
        whole: tuple[list[float], list[float]] = ([], [])
        path: tuple[list[float], list[float]] = ([], [])
        for number in range(rounds):
            for side, switch in list(enumerate((off, on)))[:: 1 if number % 2 else -1]:
                switch()
                for _ in range(3):
                    work(caller)
                settle()
                began = time.process_time()
                for _ in range(batch - 1):
                    work(caller)
                path[side].append((time.process_time() - began) / (batch - 1) * 1e6)
                work(caller)
                whole[side].append((time.process_time() - began) / batch * 1e6)
        off()
        bare, all_of_it = (sorted(kept)[rounds // 10] for kept in whole)
        bare_path, own_path = (sorted(kept)[rounds // 10] for kept in path)
        results[name] = (bare, all_of_it - bare, own_path - bare_path)
    return results


def ours(*, traced: bool) -> Results:
    """Measure ourselves; ``traced``: beside an SDK that makes its own spans already."""
    from sidecar.client.install import install, uninstall  # noqa: PLC0415  # peers are measured without it
    from sidecar.telemetry import Telemetry  # noqa: PLC0415

    telemetry = Telemetry()
    if traced:
        trace_all()
    return measure(lambda: install(telemetry=telemetry), uninstall, telemetry.snapshot)


def under_policy() -> Results:
    """Measure what a policy adds to being observed."""
    from sidecar import Policy  # noqa: PLC0415  # peers are measured without it
    from sidecar.client.install import install  # noqa: PLC0415
    from sidecar.telemetry import Telemetry  # noqa: PLC0415

    telemetry, policy = Telemetry(), Policy.for_profile("background")
    return measure(lambda: install(telemetry=telemetry, policy=policy), lambda: install(telemetry=telemetry))


def trace_all() -> None:
    """Set a tracer provider that exports to nobody."""
    from opentelemetry import trace  # noqa: PLC0415  # only where it is measured
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    trace.set_tracer_provider(TracerProvider())


def peer(name: str) -> Results:
    """Measure a peer, in an environment that has it."""
    from importlib import import_module  # noqa: PLC0415

    module, _, attribute = PEERS[name][1].partition(":")
    instrumentor = getattr(import_module(module), attribute)()
    trace_all()
    return measure(
        lambda: None if instrumentor.is_instrumented_by_opentelemetry else instrumentor.instrument(),
        lambda: instrumentor.uninstrument() if instrumentor.is_instrumented_by_opentelemetry else None,
        batch=8,
        share=0.7,
    )


def in_own_process(*arguments: str, python: str = sys.executable) -> Results | str:
    """Measure in a process of its own: what sets a tracer provider cannot unset it."""
    done = subprocess.run(  # noqa: S603  # ourselves
        [python, __file__, "--json", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no output"])[-1]
    return {key: (bare, extra, path) for key, (bare, extra, path) in json.loads(done.stdout).items()}


def peer_python(package: str) -> str | None:
    """Give a Python that has a peer and this SDK: made once, in a scratch environment."""
    home = Path(tempfile.gettempdir()) / f"claude-sidecar-bench-{os.getuid()}-{package}"
    python = home / "bin" / "python"
    if not (home / ".made").exists():
        venv.create(home, with_pip=True, clear=True)
        install = [
            str(python),
            "-m",
            "pip",
            "install",
            "-q",
            f"anthropic=={anthropic.__version__}",
            "opentelemetry-sdk",
            package,
        ]
        if subprocess.run(install, capture_output=True, check=False).returncode:  # noqa: S603  # pip, our own list
            return None
        (home / ".made").touch()
    return str(python)


def show(name: str, results: Results | str, targets: tuple[float, float] | None) -> None:
    """Print the rows of one contender. ``targets``: of a create and of a stream, of either kind."""
    if isinstance(results, str):
        print(f"{name:<22} not measured: {results}")
        return
    for work, (bare, extra, path) in results.items():
        target = ""
        if targets:
            most = targets[work != "create"]
            # What async clients take there was not noted: as much more than sync ones as here.
            slower = bare / results[work.removeprefix("async ")][0]
            share = most / (REFERENCE[work != "create"] * slower)
            target = f" [{path:+5.0f}]   target <= {most:.0f} us ({share:.1%})"
        print(f"{name:<22} {work:<31} bare {bare:8.0f} us   {extra:+8.0f} us ({extra / bare:+6.1%}){target}")


def soak(calls: int) -> None:
    """Make many calls and abandon a tenth as many streams, and tell by how much memory grew after the first tenth."""
    from sidecar.client.install import install  # noqa: PLC0415  # peers are measured without it
    from sidecar.telemetry import Telemetry  # noqa: PLC0415

    install(telemetry=Telemetry())
    caller = client()
    before = 0
    for number in range(calls):
        create(caller)
        if number % 10 == 0:
            abandoned = caller.messages.create(**_ASKED, stream=True)
            if number % 20 == 0:
                next(iter(abandoned))
            del abandoned
        if number == calls // 10:
            gc.collect()
            before = resident()
    gc.collect()
    print(f"{calls} calls, {calls // 10} abandoned streams: {(resident() - before) / 1024:+.0f} KiB of memory")


def resident() -> int:
    """Give the resident memory, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Measure and print."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peer")
    parser.add_argument("--traced", action="store_true")
    parser.add_argument("--policy", action="store_true")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--soak", type=int, metavar="CALLS")
    given = parser.parse_args()
    if given.soak:
        soak(given.soak)
        return
    if given.json:
        if given.policy:
            print(json.dumps(under_policy()))
        else:
            print(json.dumps(peer(given.peer) if given.peer else ours(traced=given.traced)))
        return
    show("ours, metrics", in_own_process(), (30, 150))
    show("ours, with a tracer", in_own_process("--traced"), (90, 260))
    show("policy, over metrics", in_own_process("--policy"), (60, 60))
    for name, (package, _) in () if given.no_peers else PEERS.items():
        python = peer_python(package)
        show(name, in_own_process("--peer", name, python=python) if python else f"{package} does not install", None)


if __name__ == "__main__":
    main()
