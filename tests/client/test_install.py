"""Where the seam is put and how it is taken out: the process, one client, its copies; before or after the import."""

import subprocess
import sys
import textwrap
import types
from typing import Any

import anthropic
import httpx2
import pytest

import sidecar
from sidecar.chaos import Chaos
from sidecar.client.begin import MARK
from sidecar.model import Outcome, Profile


def run(code: str) -> str:
    """Run Python in a process of its own, where nothing is imported yet."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_and_installing_loads_neither_the_sdk_nor_opentelemetry() -> None:
    assert (
        run("""
        import sys, sidecar
        sidecar.install()
        with sidecar.profile("interactive"):
            pass
        sidecar.Anthropic, sidecar.instrument, sidecar.uninstall
        print([name for name in ("anthropic", "httpx2", "opentelemetry") if name in sys.modules])
        """)
        == "[]"
    )


def test_install_before_the_import_takes_effect_with_it() -> None:
    assert run("""
        import sidecar, sys
        sidecar.install(); sidecar.install()
        import anthropic
        from anthropic._base_client import SyncAPIClient
        print(SyncAPIClient.request.__module__, SyncAPIClient.request.__wrapped__.__module__)
        loader = anthropic._base_client.__loader__
        print(loader.__class__.__name__, "exec_module" in vars(loader))
        print([type(f).__name__ for f in sys.meta_path if type(f).__module__.startswith("sidecar")])
        sidecar.uninstall()
        print(hasattr(SyncAPIClient.request, "__wrapped__"))
        """).splitlines() == [
        "anthropic._base_client anthropic._base_client",
        "SourceFileLoader False",
        "[]",
        "False",
    ]


def test_uninstall_before_the_import_leaves_no_trace() -> None:
    assert run("""
        import sidecar, sys
        sidecar.install(); sidecar.uninstall()
        import anthropic
        print(hasattr(anthropic._base_client.SyncAPIClient.request, "__wrapped__"))
        print([f for f in sys.meta_path if type(f).__module__.startswith("sidecar")])
        """).splitlines() == ["False", "[]"]


def test_uninstall_puts_the_sdk_back_as_it_was(seen: Any) -> None:
    before = (anthropic._base_client.SyncAPIClient.request, httpx2.Client.send, httpx2.AsyncClient.send)
    sidecar.install(telemetry=seen)
    assert anthropic._base_client.SyncAPIClient.request is not before[0]
    sidecar.uninstall()
    sidecar.uninstall()
    assert (anthropic._base_client.SyncAPIClient.request, httpx2.Client.send, httpx2.AsyncClient.send) == before


def test_what_somebody_wrapped_around_us_stays_and_is_inert(
    seen: Any, chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sidecar.install(telemetry=seen)
    ours = anthropic._base_client.SyncAPIClient.request

    def theirs(self: Any, *args: Any, **kwargs: Any) -> Any:
        return ours(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(anthropic._base_client.SyncAPIClient, "request", theirs)
        sidecar.uninstall()
        assert anthropic._base_client.SyncAPIClient.request is theirs
        sync_client.messages.create(**ask)
        patch.setattr(anthropic._base_client.SyncAPIClient, "request", ours.__wrapped__)  # type: ignore[attr-defined]
    assert seen.calls == []
    anthropic._base_client.SyncAPIClient.request = ours.__wrapped__  # type: ignore[attr-defined,method-assign]


def test_one_client_is_observed_alone_and_so_are_its_copies(seen: Any, chaos: Chaos, ask: Any) -> None:
    with (
        anthropic.Anthropic(base_url=chaos.url, api_key="k") as observed,
        anthropic.Anthropic(base_url=chaos.url, api_key="k") as other,
    ):
        assert sidecar.instrument(observed, telemetry=seen, profile="agentic") is observed
        other.messages.create(**ask)
        other.with_options(timeout=3).messages.create(**ask)
        assert seen.calls == []
        observed.messages.create(**ask)
        observed.with_options(timeout=3).messages.create(**ask)
        with httpx2.Client() as http:
            observed.copy(http_client=http).copy().messages.create(**ask)
    assert [call.profile for call in seen.calls] == [Profile.AGENTIC] * 3


def test_instrumenting_again_changes_what_is_given_and_leaves_the_rest(
    seen: Any, chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any
) -> None:
    sidecar.instrument(sync_client, telemetry=seen)
    sidecar.instrument(sync_client, profile="realtime")
    sidecar.instrument(sync_client)
    sync_client.messages.create(**ask)
    assert [call.profile for call in seen.calls] == [Profile.REALTIME]


def test_a_client_that_is_observed_twice_is_counted_once(
    installed: Any, chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any
) -> None:
    sidecar.instrument(sync_client, telemetry=installed)
    sidecar.install(telemetry=installed)
    sync_client.messages.create(**ask)
    installed.agree(chaos, calls=1)


def test_uninstall_leaves_clients_that_were_instrumented_on_their_own(
    seen: Any, chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any
) -> None:
    sidecar.install(telemetry=seen)
    sidecar.instrument(sync_client, telemetry=seen)
    sidecar.uninstall()
    sync_client.messages.create(**ask)
    seen.agree(chaos, calls=1)


@pytest.mark.parametrize("thing", [None, httpx2.Client, anthropic.Anthropic, object()])
def test_what_is_no_client_is_refused_with_its_type(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"instrument\(\) takes a client of the anthropic package, not "):
        sidecar.instrument(thing)


def test_an_unknown_profile_is_refused_at_once(sync_client: anthropic.Anthropic) -> None:
    with pytest.raises(ValueError, match="no profile 'fast'; the profiles are interactive, background"):
        sidecar.instrument(sync_client, profile="fast")
    assert MARK not in sync_client.__dict__
    with pytest.raises(ValueError, match="no profile"):
        sidecar.install(profile="fast")


def test_the_factories_make_the_sdks_own_clients(seen: Any, chaos: Chaos, ask: Any) -> None:
    client = sidecar.Anthropic(base_url=chaos.url, api_key="k", telemetry=seen, profile="background")
    assert type(client) is anthropic.Anthropic
    assert isinstance(client, sidecar.Anthropic)
    assert issubclass(anthropic.Anthropic, sidecar.Anthropic)
    assert type(sidecar.AsyncAnthropic(api_key="k", telemetry=seen)) is anthropic.AsyncAnthropic
    assert not issubclass(anthropic.Anthropic, sidecar.AsyncAnthropic)
    with client:
        client.messages.create(**ask)
    assert seen.one.profile is Profile.BACKGROUND
    assert sidecar.Anthropic.copy is anthropic.Anthropic.copy
    assert repr(sidecar.Anthropic) == "<sidecar.Anthropic>"
    assert isinstance(client, sidecar.Anthropic | None)
    assert isinstance(None, None | sidecar.Anthropic)


def test_a_factory_cannot_be_subclassed_and_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"subclass anthropic\.Anthropic, and hand its instances"):
        types.new_class("Mine", (sidecar.Anthropic,))


def test_the_default_telemetry_is_the_shared_one(chaos: Chaos, ask: Any) -> None:
    before = sidecar.default_telemetry().value("claude_calls_total", outcome="ok")
    with sidecar.Anthropic(base_url=chaos.url, api_key="k") as client:
        client.messages.create(**ask)
    assert sidecar.default_telemetry().value("claude_calls_total", outcome="ok") == before + 1


def test_a_profile_comes_from_the_call_else_the_block_else_the_client(
    seen: Any, chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any
) -> None:
    sidecar.instrument(sync_client, telemetry=seen, profile="background")
    header: Any = {"extra_headers": {"X-Sidecar-Profile": "Realtime", "x-app": "1"}}
    sync_client.messages.create(**ask)
    with sidecar.profile("interactive"):
        sync_client.messages.create(**ask)
        sync_client.messages.create(**ask, **header)
        sync_client.messages.create(**ask, extra_headers={"x-sidecar-profile": "nonsense"})
    sync_client.messages.create(**ask)
    assert [call.profile for call in seen.calls] == [
        Profile.BACKGROUND,
        Profile.INTERACTIVE,
        Profile.REALTIME,
        Profile.INTERACTIVE,
        Profile.BACKGROUND,
    ]
    assert header == {"extra_headers": {"X-Sidecar-Profile": "Realtime", "x-app": "1"}}


def test_the_header_that_names_a_profile_is_never_sent(seen: Any, ask: Any) -> None:
    sent: list[httpx2.Headers] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers)
        return httpx2.Response(200, json={"type": "message", "content": [], "usage": {"input_tokens": 1}})

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    with sidecar.Anthropic(api_key="k", http_client=http, telemetry=seen) as client:
        client.messages.create(**ask, extra_headers={"x-sidecar-profile": "agentic", "x-app": "1"})
    assert "x-sidecar-profile" not in sent[0]
    assert sent[0]["x-app"] == "1"
    assert seen.one.profile is Profile.AGENTIC


def test_answers_from_memory_are_read_too(seen: Any, ask: Any) -> None:
    body = b"".join(
        b"event: %s\ndata: %s\n\n" % part
        for part in (
            (b"message_start", b'{"type":"message_start","message":{"usage":{"input_tokens":3}}}'),
            (b"content_block_delta", b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}'),
            (
                b"message_delta",
                b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}',
            ),
            (b"message_stop", b'{"type":"message_stop"}'),
        )
    )
    replay = httpx2.MockTransport(lambda _: httpx2.Response(200, content=body))
    with sidecar.Anthropic(api_key="k", http_client=httpx2.Client(transport=replay), telemetry=seen) as client:
        assert len(list(client.messages.create(**ask, stream=True))) == 4
    call = seen.one
    assert (call.outcome, call.stop_reason, call.usage.input, call.usage.output) == (Outcome.OK, "end_turn", 3, 4)


def test_an_answer_that_is_no_message_is_told(seen: Any, ask: Any) -> None:
    page = httpx2.MockTransport(lambda _: httpx2.Response(200, text="<html>", headers={"content-type": "text/html"}))
    with sidecar.Anthropic(api_key="k", http_client=httpx2.Client(transport=page), telemetry=seen) as client:
        assert client.messages.create(**ask) == "<html>"
    assert seen.one.outcome is Outcome.SERVER_ERROR
    assert [attempt.outcome for attempt in seen.attempts] == [Outcome.SERVER_ERROR]
