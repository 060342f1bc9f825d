"""The server's life and its handles: refusing, ports, seeds, truth, and leaving nothing behind."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import Anthropic, AsyncAnthropic

from sidecar.chaos import Chaos, End, FaultError, ListenError, Scenario, ScenarioError, chaos_server, parse_scenario
from sidecar.chaos.server import ChaosServer
from sidecar.chaos.truth import Attempt

_KW: dict[str, Any] = {
    "model": "claude-sonnet-5",
    "max_tokens": 4_000,
    "messages": [{"role": "user", "content": "Hello"}],
}
_OUTAGE = parse_scenario(
    {
        "at_end": "hold",
        "phases": [
            {"name": "up", "duration": 10},
            {"name": "down", "duration": 10, "refuse": True},
            {"name": "back", "duration": 10},
        ],
    },
    "outage",
)


class _Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _client(chaos: Any, **options: Any) -> Anthropic:
    return Anthropic(base_url=chaos.url, api_key="any", max_retries=0, **options)


def _page(chaos: Any, path: str, *, post: bytes | None = None) -> Any:
    with httpx2.Client() as client:
        url = chaos.url + path
        return (client.get(url) if post is None else client.post(url, content=post)).json()


def test_a_refusing_phase_refuses_connections_and_the_next_one_takes_them_again() -> None:
    clock = _Clock()
    with chaos_server(_OUTAGE, clock=clock) as chaos, _client(chaos) as client:
        came = []
        for elapsed in (0.0, 10.0, 19.0, 20.0, 99.0):
            clock.now = 100.0 + elapsed
            chaos.follow()
            try:
                client.messages.create(**_KW)
                came.append("ok")
            except anthropic.APIConnectionError as error:
                came.append(type(error.__cause__).__name__)
        assert came == ["ok", "ConnectError", "ConnectError", "ok", "ok"]
        assert [attempt.phase for attempt in chaos.attempts()] == ["up", "back", "back"]


def test_a_refusing_phase_closes_a_kept_connection_and_finishes_a_running_answer() -> None:
    clock = _Clock()
    with chaos_server(_OUTAGE, clock=clock) as chaos, _client(chaos) as client:
        stream = client.messages.create(**_KW, stream=True, extra_headers={"x-chaos": "stall;after=1;s=0.05"})
        clock.now += 10
        chaos.follow()
        assert [event.type for event in stream][-1] == "message_stop"
        with pytest.raises(anthropic.APIConnectionError):
            client.messages.create(**_KW)


def test_a_request_on_a_kept_connection_is_dropped_while_refusing() -> None:
    clock = _Clock()
    with chaos_server(_OUTAGE, clock=clock) as chaos:
        sock = socket.create_connection(chaos.address, timeout=5)
        with sock:
            sock.sendall(b"GET /chaos HTTP/1.1\r\n")
            clock.now += 10  # nobody has looked at the clock: the connection is still open
            sock.sendall(b"host: h\r\n\r\n")
            assert sock.recv(10) == b""


def test_the_server_looks_at_the_clock_by_itself() -> None:
    quick = parse_scenario(
        {
            "phases": [
                {"name": "up", "duration": 0.2},
                {"name": "down", "duration": 0.2, "refuse": True},
            ]
        },
        "quick",
    )
    with chaos_server(quick) as chaos:
        seen: set[str] = set()
        deadline = time.monotonic() + 20
        while not {"taken", "ConnectionRefusedError"} <= seen and time.monotonic() < deadline:
            try:
                socket.create_connection(chaos.address, timeout=5).close()
                seen.add("taken")
            except ConnectionError as error:  # a reset, when it comes in the very moment of closing
                seen.add(type(error).__name__)
    assert seen >= {"taken", "ConnectionRefusedError"}


def test_speed_makes_the_timeline_pass_faster() -> None:
    clock = _Clock()
    with chaos_server(_OUTAGE, clock=clock, speed=10) as chaos:
        clock.now += 2.5
        chaos.follow()
        assert _page(chaos, "/chaos")["phase"] == "back"


def test_a_port_in_use_is_told_and_nothing_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        before = threading.active_count()
        with (
            pytest.raises(ListenError, match=rf"cannot listen on 127\.0\.0\.1:{port}.*choose another"),
            chaos_server(port=port),
        ):
            pass
        assert threading.active_count() == before


async def test_a_port_in_use_is_told_in_a_loop_of_ones_own_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ListenError):
        async with chaos_server(port=taken.getsockname()[1]):
            pass


def test_an_address_that_is_not_ours_is_told() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1:0"), chaos_server(host="192.0.2.1"):
        pass


def test_a_name_that_cannot_be_resolved_is_told() -> None:
    with (
        pytest.raises(ListenError, match=r"cannot listen on no\.such\.host\.invalid:0"),
        chaos_server(host="no.such.host.invalid"),
    ):
        pass


def test_ipv6_has_its_brackets() -> None:
    with chaos_server(host="::1") as chaos, _client(chaos) as client:
        assert chaos.url.startswith("http://[::1]:")
        assert client.messages.create(**_KW).stop_reason == "end_turn"


def test_an_unknown_scenario_is_told_before_anything_starts() -> None:
    with pytest.raises(ScenarioError):
        chaos_server("no-such-scenario")


def test_stopping_cuts_what_is_under_way_and_frees_the_port() -> None:
    before = threading.active_count()
    with chaos_server() as chaos:
        client = _client(chaos)
        stream = client.messages.create(**_KW, stream=True, extra_headers={"x-chaos": "stall;after=1"})
        address, held = chaos.address, chaos.attempts()
    with pytest.raises(httpx2.TransportError):
        list(stream)
    client.close()
    assert held[0].end is End.SERVER_STOPPED
    assert threading.active_count() == before
    with socket.create_server(address):
        pass


async def test_the_async_handle_stops_as_cleanly() -> None:
    async with chaos_server() as chaos:
        client = AsyncAnthropic(base_url=chaos.url, api_key="any", max_retries=0)
        stream = await client.messages.create(**_KW, stream=True, extra_headers={"x-chaos": "stall;after=1"})
        chaos.enqueue("529")
        with pytest.raises(anthropic.APIStatusError):
            await client.messages.create(**_KW)
        await chaos.follow()
        assert chaos.counts()["under_way"] == 1
        assert chaos.address[1] > 0
        held = chaos.attempts()
    with pytest.raises(httpx2.TransportError):
        _ = [event async for event in stream]
    await client.close()
    assert [attempt.end for attempt in held] == [End.SERVER_STOPPED, End.COMPLETE]
    chaos.reset()
    assert chaos.attempts() == ()


async def test_waiting_for_what_never_settles_ends() -> None:
    async with chaos_server() as chaos:
        with pytest.raises(TimeoutError):
            await chaos.settled(1, timeout=0.01)


async def test_the_server_runs_on_any_loop() -> None:
    server = ChaosServer(_OUTAGE)
    await server.start()
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"GET /chaos HTTP/1.0\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
    writer.close()
    await writer.wait_closed()
    await server.close()
    await server.close()


def _faults(scenario: str, seed: int, count: int) -> list[tuple[str, int | None]]:
    with chaos_server(scenario, seed=seed, clock=_Clock()) as chaos, httpx2.Client() as client:
        headers = {"x-api-key": "any", "anthropic-version": "1", "x-chaos": "ok;latency=0;tps=1e9"}
        for _ in range(count):
            client.post(chaos.url + "/v1/messages", json=_KW, headers=headers)
        return [(attempt.request_id, attempt.output_tokens) for attempt in chaos.settled(count)]


def test_the_same_seed_gives_the_same_sequence_over_the_wire() -> None:
    assert _faults("calm", 7, 12) == _faults("calm", 7, 12)
    assert _faults("calm", 7, 12) != _faults("calm", 8, 12)


def test_the_truth_has_the_timings_in_their_order() -> None:
    with chaos_server() as chaos, _client(chaos) as client:
        before = time.time()
        headers = {
            "x-chaos": "stall;after=2;s=0.1;latency=0.05;tokens=20;tps=400",
            "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
        }
        list(client.messages.create(**_KW, stream=True, extra_headers=headers))
        (attempt,) = chaos.settled(1)
    assert attempt.headers_sent_at is not None
    assert attempt.first_delta_at is not None
    assert attempt.last_sent_at is not None
    assert attempt.ended is not None
    assert attempt.max_gap is not None
    assert before - 1 < attempt.started <= attempt.received
    assert attempt.headers_sent_at - attempt.received >= 0.049
    assert attempt.first_delta_at >= attempt.headers_sent_at
    assert attempt.max_gap >= 0.099
    assert attempt.ended >= attempt.last_sent_at >= attempt.first_delta_at + 0.1
    assert (attempt.trace_id, attempt.span_id) == ("a" * 32, "b" * 16)
    assert (attempt.events, attempt.output_tokens, attempt.stop_reason) == (5, 20, "end_turn")
    assert (attempt.model, attempt.stream, attempt.retry_count) == ("claude-sonnet-5", True, 0)
    assert attempt.bytes > 1_000


@pytest.mark.parametrize("traceparent", ["", "x", "00-zz-b-01", f"00-{'A' * 32}-{'b' * 16}-01"])
def test_a_traceparent_that_is_none_is_not_written_down(traceparent: str) -> None:
    with chaos_server() as chaos, _client(chaos) as client:
        client.messages.create(**_KW, extra_headers={"traceparent": traceparent})
        assert chaos.attempts()[0].trace_id is None


def test_the_truth_page_tells_what_the_handle_does() -> None:
    with chaos_server() as chaos, _client(chaos) as client:
        for _ in range(3):
            client.messages.create(**_KW)
        page = _page(chaos, "/chaos/truth")
        assert [found["request_id"] for found in page["attempts"]] == [
            attempt.request_id for attempt in chaos.attempts()
        ]
        assert page["counts"] == chaos.counts()
        assert page["counts"]["by_fault"] == {"ok": 3}
        assert [found["sequence"] for found in _page(chaos, "/chaos/truth?since=1&limit=1")["attempts"]] == [1]
        assert _page(chaos, "/chaos/reset", post=b"") == {"reset": True}
        assert _page(chaos, "/chaos/truth")["attempts"] == []


def test_nothing_of_prompts_or_keys_is_in_the_truth() -> None:
    private = "a-very-private-matter"
    with chaos_server() as chaos, Anthropic(base_url=chaos.url, api_key=f"sk-{private}") as client:
        client.messages.create(**_KW | {"messages": [{"role": "user", "content": private}]}, system=private)
        client.messages.create(**_KW, metadata={"user_id": private}, stream=True).close()
        chaos.settled(2)
        assert private not in json.dumps(_page(chaos, "/chaos/truth"))


def test_queued_faults_go_to_the_next_requests_that_ask_for_none() -> None:
    with chaos_server() as chaos, _client(chaos) as client:
        chaos.enqueue("500")
        assert _page(chaos, "/chaos/next", post=b"529") == {"queued": ["529"]}
        client.messages.create(**_KW, extra_headers={"x-chaos": "ok"})
        statuses = []
        for _ in range(3):
            try:
                statuses.append(client.messages.with_raw_response.create(**_KW).status_code)
            except anthropic.APIStatusError as error:
                statuses.append(error.status_code)
        assert statuses == [500, 529, 200]
        with pytest.raises(FaultError):
            chaos.enqueue("oops")


def test_a_client_that_does_not_count_its_attempts_gets_a_sequence_by_its_requests() -> None:
    headers = {"x-api-key": "any", "anthropic-version": "1", "x-chaos": "529 x2"}
    with chaos_server() as chaos, httpx2.Client() as client:

        def statuses(count: int, **body: Any) -> list[int]:
            url = chaos.url + "/v1/messages"
            return [client.post(url, json=_KW | body, headers=headers).status_code for _ in range(count)]

        assert statuses(6) == [529, 529, 200, 529, 529, 200]
        assert statuses(1, max_tokens=7) == [529]
        headers["x-chaos"] = "ok,529"
        assert statuses(4, max_tokens=8) == [200, 529, 529, 529]


def test_memory_is_bounded_and_the_counts_stay_exact() -> None:
    with chaos_server(max_attempts=5) as chaos, _client(chaos) as client:
        for _ in range(8):
            client.messages.create(**_KW)
        attempts, counts = chaos.attempts(), chaos.counts()
    assert [attempt.sequence for attempt in attempts] == [3, 4, 5, 6, 7]
    assert (counts["total"], counts["ended"], counts["forgotten"]) == (8, 8, 3)


def test_a_reset_keeps_what_is_under_way() -> None:
    with chaos_server() as chaos, _client(chaos) as client:
        client.messages.create(**_KW)
        stream = client.messages.create(**_KW, stream=True, extra_headers={"x-chaos": "stall;after=1"})
        chaos.reset()
        assert [attempt.fault for attempt in chaos.attempts()] == ["stall;after=1"]
        assert chaos.counts()["by_fault"] == {"stall": 1}
        stream.close()
        chaos.settled()
        assert chaos.counts()["by_end"] == {"client_left": 1}


def test_a_scenarios_mix_and_latency_reach_the_client() -> None:
    scenario = parse_scenario(
        {
            "phases": [
                {"name": "p", "duration": 9, "latency": 0.03, "prompt_tokens": 500, "mix": {"429;retry-after=1": 1}}
            ]
        },
        "s",
    )
    with chaos_server(scenario) as chaos, _client(chaos) as client:
        with pytest.raises(anthropic.RateLimitError):
            client.messages.create(**_KW)
        message = client.messages.create(**_KW, extra_headers={"x-chaos": "ok"})
        assert message.usage.input_tokens == 500
        limited, good = chaos.settled(2)
    assert (limited.fault, limited.forced, limited.status) == ("429;retry-after=1", False, 429)
    assert _wait(good) >= 0.029
    assert _wait(limited) >= 0.0029


def _wait(attempt: Attempt) -> float:
    assert attempt.headers_sent_at is not None
    return attempt.headers_sent_at - attempt.received


def test_many_streams_at_once_come_at_their_own_pace() -> None:
    async def one(client: AsyncAnthropic, tokens: int) -> int:
        headers = {"x-chaos": f"ok;tokens={tokens};tps=1000"}
        stream = await client.messages.create(**_KW, stream=True, extra_headers=headers)
        return [event.type async for event in stream].count("content_block_delta")

    async def run() -> tuple[Attempt, ...]:
        async with chaos_server() as chaos, AsyncAnthropic(base_url=chaos.url, api_key="any") as client:
            counts = await asyncio.gather(*(one(client, 4 * count) for count in range(1, 31)))
            assert counts == list(range(1, 31))
            return await chaos.settled(30)

    for attempt in asyncio.run(run()):
        assert attempt.last_sent_at is not None
        assert attempt.last_sent_at - attempt.received >= attempt.events * 0.004 - 0.001


@pytest.mark.parametrize("refuse", [False, True])
def test_a_server_that_starts_in_a_refusing_phase_refuses(refuse: bool) -> None:
    scenario: Scenario = parse_scenario({"phases": [{"name": "p", "duration": 9, "refuse": refuse}]}, "s")
    with chaos_server(scenario) as chaos:
        assert _connects(chaos) is not refuse


def _connects(chaos: Chaos) -> bool:
    try:
        socket.create_connection(chaos.address, timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_the_fixture_gives_a_running_server(sidecar_chaos: Chaos) -> None:
    with _client(sidecar_chaos) as client:
        assert client.messages.create(**_KW).stop_reason == "end_turn"
    assert len(sidecar_chaos.attempts()) == 1


def test_timers_fire_in_their_order_never_early_and_not_when_cancelled() -> None:
    from sidecar.chaos.wheel import Wheel

    async def run() -> list[tuple[float, float]]:
        wheel = Wheel(asyncio.get_running_loop())
        fired: list[tuple[float, float]] = []
        done = asyncio.Event()
        start = wheel.now()

        def firing(delay: float) -> Callable[[], None]:
            return lambda: fired.append((delay, wheel.now() - start))

        wheel.at(start + 0.05, firing(0.05))
        cancelled = wheel.at(start + 0.02, firing(0.02))
        wheel.at(start + 0.01, firing(0.01))
        wheel.at(start + 0.06, done.set)
        cancelled.cancel()
        await done.wait()
        wheel.at(start + 600, done.clear)
        wheel.close()
        return fired

    fired = asyncio.run(run())
    assert [delay for delay, _ in fired] == [0.01, 0.05]
    assert all(at >= delay for delay, at in fired)
    assert all(earlier[1] <= later[1] for earlier, later in pairwise(fired))
