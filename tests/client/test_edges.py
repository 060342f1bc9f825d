"""The rare ways: a transport that answers oddly, requests on the side, imports that go wrong, launches refused."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import anthropic
import httpx2
import pytest
from click.testing import CliRunner

import sidecar
from sidecar.chaos import Chaos
from sidecar.cli import run as launcher
from sidecar.client import attempt as attempt_module
from sidecar.client.patches import OnImport
from sidecar.model import Outcome


class Closed(httpx2.MockTransport):
    """Hands out responses that are closed and were never read."""

    def __init__(self) -> None:
        super().__init__(lambda _: httpx2.Response(200, stream=httpx2.ByteStream(b"")))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = super().handle_request(request)
        response.close()
        return response

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        await response.aclose()
        return response


def test_a_response_that_comes_closed_fails_as_it_does_without_us(installed: Any, ask: Any) -> None:
    with anthropic.Anthropic(api_key="k", max_retries=0, http_client=httpx2.Client(transport=Closed())) as client:
        with pytest.raises(httpx2.StreamClosed):
            list(client.messages.create(**ask, stream=True))
        with pytest.raises(anthropic.APIConnectionError):
            client.messages.create(**ask)
    assert [call.outcome for call in installed.calls] == [Outcome.TRUNCATED, Outcome.CLIENT_ERROR]
    assert len(installed.attempts) == 2


async def test_the_same_for_an_async_client(installed: Any, ask: Any) -> None:
    http = httpx2.AsyncClient(transport=Closed())
    async with anthropic.AsyncAnthropic(api_key="k", max_retries=0, http_client=http) as client:
        stream = await client.messages.create(**ask, stream=True)
        with pytest.raises(httpx2.StreamClosed):
            [event async for event in stream]
    assert [call.outcome for call in installed.calls] == [Outcome.TRUNCATED]


def test_a_request_on_the_side_through_the_same_http_client_is_no_attempt(
    installed: Any, chaos: Chaos, ask: Any
) -> None:
    class FetchesTokens(httpx2.Client):
        def send(self, request: httpx2.Request, **more: Any) -> httpx2.Response:
            super().send(self.build_request("GET", f"{chaos.url}/chaos/truth"))
            return super().send(request, **more)

    with anthropic.Anthropic(base_url=chaos.url, api_key="k", http_client=FetchesTokens()) as client:
        client.messages.create(**ask)
    installed.agree(chaos, calls=1)


async def test_the_same_asynchronously_and_unobserved_clients_pass_straight_through(
    seen: Any, chaos: Chaos, ask: Any
) -> None:
    class FetchesTokens(httpx2.AsyncClient):
        async def send(self, request: httpx2.Request, **more: Any) -> httpx2.Response:
            await super().send(self.build_request("GET", f"{chaos.url}/chaos/truth"))
            return await super().send(request, **more)

    async with (
        anthropic.AsyncAnthropic(base_url=chaos.url, api_key="k", http_client=FetchesTokens()) as observed,
        anthropic.AsyncAnthropic(base_url=chaos.url, api_key="k") as other,
    ):
        sidecar.instrument(observed, telemetry=seen)
        await observed.messages.create(**ask)
        await other.messages.create(**ask)
    assert len(chaos.settled()) == 2
    assert len(seen.attempts) == len(seen.calls) == 1


@pytest.mark.parametrize("fault", ["ok", "stall;after=2", "error-event;after=2"])
def test_a_stream_that_a_fork_has_left_in_a_child_is_the_parents_to_tell(
    fault: str, installed: Any, sync_client: anthropic.Anthropic, ask: Any
) -> None:
    stream = sync_client.messages.create(**ask, stream=True, extra_headers={"x-chaos": fault})
    installed.telemetry.before_fork()
    installed.telemetry.after_fork(child=True)
    next(iter(stream))
    stream.close()
    assert (installed.calls, installed.attempts, installed.faults) == ([], [], [])
    sync_client.messages.create(**ask)
    assert len(installed.calls) == len(installed.attempts) == 1


@pytest.mark.parametrize("name", ["classify_exception", "classify"])
def test_a_fault_in_ending_an_attempt_is_reported_and_no_more(
    name: str, installed: Any, chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    if name == "classify":
        monkeypatch.setattr(attempt_module.Attempt, "_close", explode)
        sync_client.messages.create(**ask)
        assert installed.faults[0][0] == "client.whole"
        return
    monkeypatch.setattr(attempt_module, name, explode)
    with pytest.raises(anthropic.APIConnectionError):
        sync_client.with_options(max_retries=0).messages.create(**ask, extra_headers={"x-chaos": "reset"})
    assert installed.faults[0][0] == "client.failed"


def test_a_fault_in_ending_a_call_is_reported_and_no_more(
    installed: Any, chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("sidecar.client.call.Call._end", explode)
    assert sync_client.messages.create(**ask).content
    assert [where for where, _ in installed.faults] == ["client.returned"]


class Loader:
    """Loads two modules, as a loader of a zip file does."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def create_module(self, _: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        self.loaded.append(module.__name__)


class Finder:
    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def find_spec(self, name: str, _: Any = None, __: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self.loader) if name in {"one_of_ours", "another_of_ours"} else None


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> Any:
    def find(loader: Any, then: Any) -> OnImport:
        monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder(loader)])
        for name in ("one_of_ours", "another_of_ours"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        waiting = OnImport("one_of_ours", then)
        waiting.begin()
        return waiting

    return find


def test_waiting_for_an_import_calls_once_and_for_that_module_only(imported: Any) -> None:
    calls: list[int] = []
    loader = Loader()
    waiting = imported(loader, lambda: calls.append(1))
    __import__("another_of_ours")
    assert calls == []
    __import__("one_of_ours")
    assert (calls, loader.loaded) == ([1], ["another_of_ours", "one_of_ours"])
    assert waiting not in sys.meta_path
    assert "exec_module" not in vars(loader)


def test_what_goes_wrong_after_an_import_does_not_reach_it(imported: Any, caplog: pytest.LogCaptureFixture) -> None:
    def explode() -> None:
        raise ZeroDivisionError

    imported(Loader(), explode)
    __import__("one_of_ours")
    assert "could not observe one_of_ours" in caplog.text


def test_a_loader_that_cannot_be_followed_is_told(imported: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Rigid(Loader):
        __slots__ = ()

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "exec_module":
                raise AttributeError(name)
            super().__setattr__(name, value)

    waiting = imported(Rigid(), lambda: None)
    __import__("one_of_ours")
    waiting.end()
    waiting.end()
    assert "call sidecar.install() after it" in caplog.text


def test_waiting_for_a_module_that_is_not_there_finds_none() -> None:
    waiting = OnImport("no_such_module_anywhere", lambda: None)
    waiting.begin()
    with pytest.raises(ModuleNotFoundError):
        __import__("no_such_module_anywhere")
    waiting.end()


def launch(monkeypatch: pytest.MonkeyPatch, *command: str) -> tuple[int, str, list[Any]]:
    """Run the command without leaving this process."""
    executed: list[Any] = []
    monkeypatch.setattr("os.execvpe", lambda *given: executed.append(given))
    result = CliRunner().invoke(launcher.command, command)
    return result.exit_code, result.output, executed


def test_the_launcher_sets_its_variable_and_hands_over(monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, ((program, arguments, environment),) = launch(monkeypatch, sys.executable, "-c", "pass", "--help")
    assert (code, program, arguments) == (0, sys.executable, [sys.executable, "-c", "pass", "--help"])
    assert environment["SIDECAR_RUN"] == "1"


@pytest.mark.parametrize(
    "first_line",
    ["", "#!", "#!/bin/sh -e", "#!/usr/bin/env", "#!/usr/bin/env -S A=1 bash", "#!/usr/bin/env no-python3"],
)
def test_a_script_whose_python_is_not_known_is_run_as_it_is(
    first_line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    script = tmp_path / "script"
    script.write_text(first_line + "\n")
    script.chmod(0o755)
    assert launch(monkeypatch, str(script))[2]


def test_what_cannot_be_launched_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    assert launch(monkeypatch, "no-such-program")[0] == 2
    broken = tmp_path / "python3-broken"
    broken.write_text("not a program")
    broken.chmod(0o755)
    code, output, executed = launch(monkeypatch, str(broken))
    assert (code, executed) == (2, [])
    assert "install it there with" in output
