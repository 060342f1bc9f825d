"""The settings of protection: what is refused, how the table is read, and that the page about them says the same."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from sidecar.config import ConfigError, policy_tables
from sidecar.model import Profile
from sidecar.policy import BreakerConfig, Policy, policies
from sidecar.proxy.origin import Origin
from sidecar.proxy.protect.settings import Protection, read_protection
from sidecar.proxy.server import Proxy, Settings
from sidecar.proxy.settings import build, read_values

PAGE = (Path(__file__).parents[2] / "docs" / "protection.md").read_text()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"breaker_status": 500}, "breaker_status must be 503 or 529, got 500"),
        ({"clients_retry": 1}, "clients_retry must be true or false, got 1"),
        ({"spool_bytes": -1}, "spool_bytes must be a whole number"),
        ({"concurrency_per": "host"}, "concurrency_per must be one of upstream, model, got 'host'"),
        ({"queue_seconds": 0}, "queue_seconds must be a finite number above 0, got 0"),
        ({"keep_alive_seconds": 0.01}, "keep_alive_seconds must be a finite number at least 0.1, or None, got 0.01"),
        ({"policies": {Profile.DEFAULT: Policy()}}, "missing: interactive, background, realtime, agentic"),
        (
            {"policies": policies({"profiles": {"agentic": {"breaker": {"consecutive": 2}}}})},
            "must not have breakers that differ by profile",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match="protection: ") as refused:
        Protection(**values)
    assert said in str(refused.value)


def test_every_fault_of_a_table_is_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"proxy\.protection: ") as refused:
        read_protection({"queue": -1, "upgrde": True, "upgrade": "yes"}, policies({}))
    said = str(refused.value)
    assert "upgrde is not known; known are breaker_status, " in said
    assert "queue must be" in said
    assert "upgrade must be true or false, got 'yes'" in said
    with pytest.raises(ValueError, match="upgrde is not known"):
        read_protection({"upgrde": True}, policies({}))


def test_a_table_is_read() -> None:
    of_profiles = policies({"breaker": {"consecutive": 2}, "profiles": {"realtime": {"breaker": False}}})
    read = read_protection({"upgrade": True, "keep_alive_seconds": False, "queue_seconds": 2}, of_profiles)
    assert read == Protection(policies=of_profiles, upgrade=True, queue_seconds=2)
    assert read.breaker == BreakerConfig(consecutive=2)


def test_no_profile_need_have_a_breaker() -> None:
    assert Protection(policies=policies({"breaker": False})).breaker is None


async def test_what_does_not_look_cannot_protect() -> None:
    """The process above several workers has a proxy that serves nobody, and no telemetry of its own."""
    proxy = Proxy(Settings(upstream=Origin("http", "up.test", 80), protection=Protection()))
    assert proxy.shield is None
    await proxy.close()


def shown(value: object) -> str:
    if value is None:
        return "off"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def test_every_setting_is_documented_with_its_default() -> None:
    settings = Protection()
    names = [field.name for field in fields(Protection) if field.name != "policies"]
    rows = [f"| `{name}` | {shown(getattr(settings, name))} |" for name in names]
    assert [row for row in rows if row not in PAGE] == []


# --- in the configuration of the command


def configured(tmp_path: Path, text: str, **given: Any) -> Protection | None:
    file = tmp_path / "sidecar.toml"
    file.write_text(text)
    return build(read_values(given, file=file, environ={}), environ={}).proxy.protection


SECTIONS = """
[proxy.protection]
concurrency = 7
[timeouts]
stall = 9
[profiles.realtime.timeouts]
total = 11
"""


def test_protection_is_off_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert configured(tmp_path, SECTIONS) is None
    only_for_clients = "[profiles.agentic.breaker]\nconsecutive = 2\n"
    assert configured(tmp_path, only_for_clients) is None
    with pytest.raises(ConfigError, match=r"protection\.policies must not have breakers that differ"):
        configured(tmp_path, only_for_clients, protect=True)


@pytest.mark.parametrize(("text", "given"), [("[proxy]\nprotect = true\n", {}), ("", {"protect": True})])
def test_protection_is_read_from_its_section_and_the_policies(tmp_path: Path, text: str, given: dict[str, Any]) -> None:
    read = configured(tmp_path, text + SECTIONS, **given)
    assert read is not None
    assert read.concurrency == 7
    assert {policy.timeouts.stall for policy in read.policies.values()} == {9}
    assert read.policies[Profile.REALTIME].timeouts.total == 11


def test_all_that_is_wrong_with_it_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        configured(tmp_path, '[proxy.protection]\nqueue = -1\n[timeouts]\nstall = "long"\n', protect=True)
    said = "\n".join(refused.value.faults)
    assert "protection.queue must be a whole number" in said
    assert "timeouts.stall must be a finite number" in said
    with pytest.raises(ConfigError, match="protection is 3; it must be a section"):
        configured(tmp_path, "[proxy]\nprotection = 3\n")
    with pytest.raises(ConfigError, match="no such file"):
        policy_tables(file=tmp_path / "missing.toml")


def test_the_pages_example_can_be_used(tmp_path: Path) -> None:
    example = PAGE.partition("```toml\n")[2].partition("```")[0]
    read = configured(tmp_path, example)
    assert read is not None
    assert (read.upgrade, read.concurrency, read.policies[Profile.INTERACTIVE].timeouts.total) == (True, 200, 45)
