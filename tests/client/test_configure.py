"""`configure` opens the ways out and sets what calls are for; wrong settings change nothing."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from prometheus_client import CollectorRegistry, generate_latest

import sidecar
from sidecar.chaos import Chaos
from sidecar.client.configure import _OUTLETS
from sidecar.client.observer import Defaults
from sidecar.config import ConfigError
from sidecar.model import Profile


@pytest.fixture(autouse=True)
def _as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    sidecar.configure()
    assert Defaults.profile is None
    assert _OUTLETS._server is None
    assert _OUTLETS._sender is None
    Defaults.table = None  # as long as nothing was configured, a name is looked up in the file when it is first used


def test_a_profile_for_the_process_is_the_last_resort(
    installed: Any, chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any
) -> None:
    sidecar.configure(profile="agentic")
    sync_client.messages.create(**ask)
    with sidecar.profile("realtime"):
        sync_client.messages.create(**ask)
    assert [call.profile for call in installed.calls] == [Profile.AGENTIC, Profile.REALTIME]


def test_metrics_get_a_port_of_their_own_and_lose_it_again(chaos: Chaos, ask: Any) -> None:
    sidecar.configure(metrics_port=0)
    server = _OUTLETS._server
    sidecar.configure(metrics_port=0)
    assert _OUTLETS._server is server
    with sidecar.Anthropic(base_url=chaos.url, api_key="k") as client:
        client.messages.create(**ask)
    with urllib.request.urlopen(server.url) as page:  # noqa: S310  # our own server
        assert b'claude_calls_total{endpoint="messages"' in page.read()
    sidecar.configure(metrics_port=0, metrics_address="127.0.0.2")
    assert _OUTLETS._server is not server


def test_metrics_show_on_the_applications_own_registry() -> None:
    registry = CollectorRegistry()
    sidecar.configure(registry=registry)
    sidecar.configure(registry=registry)
    assert b"sidecar_build_info" in generate_latest(registry)


def test_records_go_to_the_socket(tmp_path: Path) -> None:
    sidecar.configure(socket=tmp_path / "s.sock")
    sender = _OUTLETS._sender
    assert sender.path == tmp_path / "s.sock"
    sidecar.configure(socket=str(tmp_path / "s.sock"))
    assert _OUTLETS._sender is sender
    sidecar.configure(socket=str(tmp_path / "t.sock"))
    assert _OUTLETS._sender is not sender


def test_wrong_settings_change_nothing() -> None:
    sidecar.configure(profile="agentic")
    with pytest.raises(ConfigError, match="no-profile"):
        sidecar.configure(profile="no-profile", metrics_port=0)
    assert Defaults.profile is Profile.AGENTIC
    assert _OUTLETS._server is None


@pytest.mark.parametrize("wanted", [True, False])
def test_traces_are_neither_on_nor_off_unless_somebody_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, wanted: bool
) -> None:
    file = tmp_path / "traces.toml"
    file.write_text(f"[client]\ntraces = {str(wanted).lower()}\n")
    found = []
    for given in ({"traces": wanted}, {}, {"file": file}):
        sidecar.configure(**given)
        found.append(Defaults.traces)
    with monkeypatch.context() as environment:
        environment.setenv("SIDECAR_TRACES", str(not wanted).lower())
        sidecar.configure(file=file)
        found.append(Defaults.traces)
    assert found == [wanted, None, wanted, not wanted]
