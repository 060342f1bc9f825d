"""Settings come from code before environment before file, and all faults are told at once."""

from pathlib import Path
from typing import Any

import pytest

from sidecar.config import CLIENT, ConfigError, load, policy_tables


def client(given: dict[str, Any] | None = None, *, file: Path | None = None, **environ: str) -> dict[str, Any]:
    return load("client", CLIENT, given, file=file, environ=environ)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "sidecar.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def test_without_any_the_defaults_hold() -> None:
    assert client() == {
        "profile": None,
        "policies": False,
        "metrics_port": None,
        "metrics_address": "127.0.0.1",
        "socket": None,
        "traces": None,
    }


def test_code_goes_before_environment_before_file() -> None:
    write('[client]\nprofile = "agentic"\nmetrics_port = 1\nsocket = true\n[profiles.agentic]\ntotal = 3')
    found = client({"profile": "realtime", "traces": None}, SIDECAR_PROFILE="background", SIDECAR_METRICS_PORT="2")
    assert (found["profile"], found["metrics_port"], found["socket"], found["traces"]) == ("realtime", 2, True, None)


@pytest.mark.parametrize("section", ["telemetry", "slo"])
def test_a_section_that_nothing_reads_is_refused(section: str) -> None:
    write(f"[{section}]\nlabel_limit = 200")
    with pytest.raises(
        ConfigError, match=rf"there is no section \[{section}\]; there are breaker, client, profiles, proxy"
    ):
        client()


def test_a_file_is_named_by_code_or_by_the_environment() -> None:
    write('[client]\nprofile = "agentic"', "a.toml")
    write('[client]\nprofile = "realtime"', "b.toml")
    assert client(SIDECAR_CONFIG="a.toml")["profile"] == "agentic"
    assert client(file=Path("b.toml"), SIDECAR_CONFIG="a.toml")["profile"] == "realtime"


def test_a_socket_is_a_path_or_whether_to_use_the_usual_one() -> None:
    assert client(SIDECAR_SOCKET="/run/x.sock")["socket"] == "/run/x.sock"
    assert client({"socket": True})["socket"] is True
    assert client({"socket": False}, SIDECAR_SOCKET="/run/x.sock")["socket"] is False
    with pytest.raises(ConfigError, match="SIDECAR_SOCKET is 'true'; it must be a path"):
        client(SIDECAR_SOCKET="true")


def test_every_fault_is_told_at_once_with_its_place_and_what_is_allowed() -> None:
    write('[client]\nprofile = "fast"\nmetrics_port = 70000\ncolour = 1\n[cleint]\n')
    with pytest.raises(ConfigError) as caught:
        client({"traces": "maybe", "metrics_address": ""}, SIDECAR_SOCKET="")
    assert caught.value.faults == (
        (
            "sidecar.toml: there is no section [cleint]; there are breaker, client, profiles, proxy, retry, "
            "retry_budget, stream_underneath, timeouts"
        ),
        "sidecar.toml: [client] profile is 'fast'; it must be interactive, background, realtime, agentic, default",
        "sidecar.toml: [client] metrics_port is 70000; it must be a port, 0 (any free one) to 65535",
        (
            "sidecar.toml: [client] colour: there is no such setting; there are profile, policies, metrics_port, "
            "metrics_address, socket, traces"
        ),
        "traces is 'maybe'; it must be true or false",
        "metrics_address is ''; it must be an address of this machine",
    )
    assert str(caught.value).count("\n") == 5


@pytest.mark.parametrize("value", ["x", "-1", "²", True, 1.5, []])
def test_a_port_is_a_port(value: Any) -> None:
    with pytest.raises(ConfigError, match="metrics_port is"):
        client({"metrics_port": value})


@pytest.mark.parametrize("value", [7, [], ""])
def test_a_switch_is_a_switch(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"traces is .*; it must be true or false"):
        client({"traces": value})


def test_a_section_is_a_section() -> None:
    with pytest.raises(ConfigError, match=r"client is 7; it must be a section: \[client\]"):
        client(file=write("client = 7"))


def test_a_long_value_is_not_shown_whole() -> None:
    with pytest.raises(ConfigError) as caught:
        client({"profile": "x" * 1000})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"[client", "is not TOML"), (b"\xff", "is not UTF-8 text")],
)
def test_a_file_that_cannot_be_read_is_told(content: bytes, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=fault):
        client(file=path)


def test_a_named_file_must_be_there_and_be_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        client(SIDECAR_CONFIG="nowhere.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        client(file=tmp_path)


def test_a_file_that_is_there_and_may_not_be_read_is_told_though_nobody_named_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("[proxy]\nprotect = true")

    def refused(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refused)  # root may read everything
    with pytest.raises(ConfigError, match=r"sidecar\.toml cannot be read: Permission denied"):
        client()


def test_a_directory_of_that_name_that_nobody_named_is_passed_over() -> None:
    Path("sidecar.toml").mkdir()
    assert client()["profile"] is None


def test_what_the_file_says_of_policies_is_given_as_it_stands() -> None:
    path = write('[client]\nprofile = "agentic"\n[retry]\nmax_attempts = 2\n[profiles.agentic.timeouts]\ntotal = 3')
    tables = {"retry": {"max_attempts": 2}, "profiles": {"agentic": {"timeouts": {"total": 3}}}}
    assert policy_tables(environ={}) == (path, tables)
    assert policy_tables(file=path, environ={})[1] == tables
    with pytest.raises(ConfigError, match=r"nothing\.toml: there is no such file"):
        policy_tables(environ={"SIDECAR_CONFIG": "nothing.toml"})
