"""SIGHUP: the new configuration is in force for the next request, or the old one stays and the log says why."""

import signal
from pathlib import Path

import pytest

from sidecar.chaos import chaos_server
from tests.proxy.processes import sidecar


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_changes_what_can_change_and_names_what_cannot(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "sidecar.toml"
    with chaos_server() as first, chaos_server() as second:
        path.write_text(f'[proxy]\nupstream = "{first.url}"\nworkers = {workers}\nlog_format = "json"')
        with sidecar("", config=path) as proxy:
            assert proxy.ask() == 200
            path.write_text(
                f'[proxy]\nupstream = "{second.url}"\nworkers = 3\nlog_format = "json"\naccess_log = true\n'
                '[[proxy.profiles]]\nprofile = "agentic"\nmodel = "claude-"'
            )
            proxy.tell(signal.SIGHUP)
            assert proxy.event("a setting stays as it is until a restart")["setting"] == "workers"
            proxy.event("the new configuration is in force")
            if workers > 1:  # each says nothing of its own; what it logs then tells that it has heard
                proxy.until(lambda: proxy.ask() == 200 and len(second.attempts()) > 0)
            else:
                assert proxy.ask() == 200
            assert proxy.event("request ended", profile="agentic")["outcome"] == "ok"
            assert len(second.attempts()) >= 1
            assert proxy.stop() == 0


def test_a_faulty_configuration_changes_nothing_and_every_fault_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.toml"
    with chaos_server() as chaos:
        path.write_text(f'[proxy]\nupstream = "{chaos.url}"\nlog_format = "json"')
        with sidecar("", config=path) as proxy:
            path.write_text('[proxy]\nupstream = "nonsense"\nworkers = 0')
            proxy.tell(signal.SIGHUP)
            told = [proxy.event("the new configuration cannot be used")["fault"] for _ in range(2)]
            assert "upstream is 'nonsense'" in told[0]
            assert "workers is 0" in told[1]
            assert proxy.event("the old configuration stays in force")["faults"] == 2
            assert proxy.ask() == 200
            assert proxy.stop() == 0
        assert len(chaos.attempts()) == 1
