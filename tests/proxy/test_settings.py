"""The section [proxy]: every value is checked, alone and with the others, and every fault is told with its place."""

import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.admin import Address
from sidecar.config import ConfigError
from sidecar.model import Profile
from sidecar.proxy.limits import Limits
from sidecar.proxy.listening import UnixAddress
from sidecar.proxy.observe import ProfileRule
from sidecar.proxy.origin import Origin
from sidecar.proxy.routes import Target
from sidecar.proxy.settings import Config, build, read_values
from sidecar.proxy.shapes import Shape
from sidecar.telemetry.socket.paths import MAX_PATH


def read(text: str = "", given: dict[str, Any] | None = None, **environ: str) -> Config:
    path = Path("sidecar.toml")
    path.write_text(text)
    return build(read_values(given or {}, environ=environ), environ)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def faults(text: str = "", given: dict[str, Any] | None = None, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text, given, **environ)
    return str(caught.value)


def test_without_any_it_listens_on_loopback_for_the_api() -> None:
    config = read()
    assert [listener.place for listener in config.listeners] == [Address("127.0.0.1", 8788)]
    assert config.admin == Address("127.0.0.1", 9464)
    assert config.proxy.upstream == Origin("https", "api.anthropic.com", 443)
    assert config.proxy.limits == Limits()
    assert (config.workers, config.drain_seconds, config.socket_mode) == (1, 25.0, 0o600)


WHOLE = """
[client]
profile = "agentic"
[proxy]
listen = ["127.0.0.1:1", "unix:/run/x.sock"]
via = "http://user:secret@proxy.test:3128"
upstream = "https://gateway.test/anthropic"
profile = "background"
workers = 3
[proxy.limits]
in_flight = 7
connect_seconds = 2
[[proxy.listeners]]
listen = "[::1]:3"
profile = "interactive"
[[proxy.profiles]]
profile = "agentic"
user_agent = "claude-cli/"
[proxy.upstreams.bedrock]
url = "https://bedrock-runtime.us-east-1.amazonaws.com"
route = "/bedrock"
shape = "bedrock"
preserve_host = true
"""


def test_all_of_it_can_stand_in_the_file() -> None:
    config = read(WHOLE, NO_PROXY=".amazonaws.com", HTTPS_PROXY="http://other.test")
    assert [str(listener.place) for listener in config.listeners] == ["127.0.0.1:1", "unix:/run/x.sock", "[::1]:3"]
    assert [listener.profile for listener in config.listeners] == [None, None, Profile.INTERACTIVE]
    assert config.listeners[1].place == UnixAddress(Path("/run/x.sock"))
    assert config.proxy.limits == Limits(in_flight=7, connect_seconds=2.0)
    assert config.proxy.profile is Profile.BACKGROUND
    assert config.proxy.profile_rules == (ProfileRule(profile=Profile.AGENTIC, user_agent="claude-cli/"),)
    default, bedrock = config.proxy.targets
    assert (default.origin.prefix, default.via and default.via.host) == ("/anthropic", "proxy.test")
    assert bedrock == Target(
        name="bedrock",
        origin=Origin("https", "bedrock-runtime.us-east-1.amazonaws.com", 443),
        route="/bedrock",
        shape=Shape.BEDROCK,
        preserve_host=True,
    )


def test_what_was_read_can_be_handed_on_and_read_again() -> None:
    config = read(WHOLE)
    assert build(config.values, {}) == config


def test_the_command_line_goes_before_the_environment_before_the_file() -> None:
    config = read(
        '[proxy]\nadmin = "127.0.0.1:1"\nworkers = 2\nprofile = "agentic"', {"workers": 4}, SIDECAR_WORKERS="3"
    )
    assert (config.workers, config.admin.port, config.proxy.profile) == (4, 1, Profile.AGENTIC)
    assert read(SIDECAR_LISTEN="127.0.0.1:5", SIDECAR_ACCESS_LOG="yes").access_log


def test_every_fault_is_told_with_its_place() -> None:
    told = faults(
        """
        [proxy]
        listen = "nonsense"
        admin = "127.0.0.1:99999"
        upstream = "api.anthropic.com"
        via = "http://user:secret@"
        socket_mode = "rw"
        workers = 0
        log_format = "xml"
        drain_seconds = -1
        [proxy.limits]
        in_flight = 0
        head_seconds = "soon"
        colour = 1
        [proxy.upstreams.Bad]
        url = "https://a.test"
        [[proxy.listeners]]
        listen = "unix:/x"
        [[proxy.profiles]]
        profile = "fast"
        """
    ).splitlines()
    place = "sidecar.toml: [proxy] "
    assert told == [
        (
            f"{place}listen is 'nonsense'; it must be HOST:PORT, such as 127.0.0.1:8788, or unix:/path "
            f"({MAX_PATH} bytes at most), or a list of them"
        ),
        f"{place}admin is '127.0.0.1:99999'; it must be HOST:PORT, such as 127.0.0.1:9464",
        f"{place}upstream is 'api.anthropic.com'; it must be a URL such as https://api.anthropic.com",
        f"{place}via is 'http://…@'; it must be a URL such as http://proxy.example:3128",
        f"{place}socket_mode is 'rw'; it must be a file mode in octal, such as 0660",
        f"{place}workers is 0; it must be a whole number, 1 or more",
        f"{place}log_format is 'xml'; it must be text, json",
        f"{place}drain_seconds is -1; it must be a number, 0 or more",
        f"{place}limits.in_flight is 0; it must be a whole number, more than 0",
        f"{place}limits.head_seconds is 'soon'; it must be a number, more than 0",
        f"{place}limits.colour: there is no such setting; there are {', '.join(Limits.__slots__)}",
        (
            f"{place}upstreams.'Bad' is no name for an upstream; it must be lower-case letters, digits, dots, dashes "
            "and underscores, and not 'default'"
        ),
        f"{place}listeners.1.profile is missing; it must be interactive, background, realtime, agentic, default",
        f"{place}profiles.1.profile is 'fast'; it must be interactive, background, realtime, agentic, default",
    ]


@pytest.mark.parametrize(
    ("listen", "upstream"),
    [
        ("127.0.0.1:8788", "http://127.0.0.1:8788"),
        ("127.0.0.1:8788", "http://localhost:8788/x"),
        ("0.0.0.0:80", "http://127.0.0.1"),
    ],
)
def test_an_upstream_that_is_the_proxy_itself_is_refused(listen: str, upstream: str) -> None:
    given = {"listen": [listen], "upstream": upstream, "allow_remote": True}
    assert f"upstream is {listen}, where this proxy itself listens: a request would go round" in faults("", given)
    route = f'[proxy.upstreams.own]\nurl = "{upstream}"\nroute = "/own"'
    assert f"upstreams.own.url is {listen}, where this" in faults(route, {"listen": [listen], "allow_remote": True})
    elsewhere = ["127.0.0.1:0", "unix:/x", "127.0.0.1:1", "127.0.0.2:80", "[::1]:8788"]
    assert len(read("", {**given, "listen": elsewhere}).listeners) == len(elsewhere)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("limits = 3", "limits is 3; it must be a section: [proxy.limits]"),
        ("listeners = 3", "listeners is 3; it must be sections: [[proxy.listeners]]"),
        ("listeners = [3]", "listeners.1 is 3; it must be a table of settings"),
        ("upstreams = 3", "upstreams is 3; it must be sections: [proxy.upstreams.NAME]"),
        ("upstreams.x.route = 'x'", "upstreams.x.route is 'x'; it must be a path such as /bedrock"),
        ("upstreams.x.route = '/x'", "upstreams.x.url is missing"),
        ("listen = []", "listen is empty, and there is no [[proxy.listeners]]"),
        ("ca_file = '/nowhere.pem'", "ca_file is '/nowhere.pem', which cannot be used: No such file"),
        ("ca_file = 'sidecar.toml'", "ca_file is 'sidecar.toml', which cannot be used: it is no PEM file"),
        ("listen = 'unix:/" + "x" * 200 + "'", "listen is 'unix:/xxx"),
        ("listen = 'unix:'", "listen is 'unix:'; it must be HOST:PORT"),
        ("drain_seconds = inf", "drain_seconds is inf"),
        ("socket_mode = '7777'", "socket_mode is '7777'"),
        ("drain_seconds = true", "drain_seconds is True"),
    ],
)
def test_what_cannot_be_is_told(text: str, told: str) -> None:
    assert told in faults(f"[proxy]\n{text}")


def test_a_route_belongs_to_one_upstream() -> None:
    text = "".join(f'[proxy.upstreams.{name}]\nurl = "https://x.test"\nroute = "/r"\n' for name in "ab")
    assert faults(text) == "upstreams: the route /r is given 2 times"


@pytest.mark.parametrize("place", ["0.0.0.0:1", ":1", "[::]:1", "10.0.0.1:1"])
def test_other_machines_are_let_in_only_where_that_is_allowed(place: str) -> None:
    told = faults("", {"listen": place, "admin": place})
    assert told.count("which other machines can reach") == 2
    assert "API keys would come to it unencrypted" in told
    assert read("", {"listen": place, "admin": place, "allow_remote": True}).admin.port == 1


def test_only_linux_can_have_several_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert faults(SIDECAR_WORKERS="2") == "workers is 2, but only Linux can share clients out: leave it at 1"


def test_a_forward_proxy_that_makes_no_sense_is_told_without_its_password() -> None:
    assert faults(HTTPS_PROXY="ftp://user:secret@x.test") == (
        "via: HTTPS_PROXY is 'ftp://...@x.test', but must look like http://proxy.example:3128"
    )


def test_what_cannot_change_without_a_restart_is_named_and_kept() -> None:
    old = read()
    new = read(
        '[proxy]\nlisten = "127.0.0.1:1"\nadmin = "127.0.0.1:2"\nworkers = 2\ndrain_seconds = 1\nlog_format = "json"'
    )
    assert old.kept_until_restart(new) == ["listeners", "admin", "workers", "log_format"]
    merged = old.changed_to(new)
    assert (merged.listeners, merged.admin, merged.workers) == (old.listeners, old.admin, 1)
    assert merged.drain_seconds == 1.0
    assert build(merged.values, {}).log_format is old.log_format
