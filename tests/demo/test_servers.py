"""The real servers start on free ports, answer, are told apart by what they say, and end."""

from pathlib import Path

import pytest

from sidecar.demo import MissingProgramError, ProcessError, alertmanager, delivering, find, prometheus, scraping
from tests.demo.test_settings import EXAMPLE
from tests.support.prometheus import until


def test_prometheus_sends_to_alertmanager(tmp_path: Path) -> None:
    with (
        alertmanager(tmp_path, delivering(EXAMPLE, "http://127.0.0.1:9/")) as alerts,
        prometheus(tmp_path, scraping({}, alertmanager=alerts.address)) as server,
    ):
        assert alerts.ask("/api/v2/status")["cluster"]["status"] == "disabled"
        assert server.ask("/api/v1/query", query="1 + 1")["data"]["result"][1] == "2"
        until(
            lambda: server.ask("/api/v1/alertmanagers")["data"]["activeAlertmanagers"], "the Alertmanager to be found"
        )
    assert server.process.ended
    assert alerts.process.ended
    assert not server.answers()


def test_one_that_refuses_its_configuration_says_so_with_its_own_words(tmp_path: Path) -> None:
    with (
        pytest.raises(ProcessError, match=r"field nonsense not found"),
        prometheus(tmp_path, {"nonsense": 1}),
    ):
        pass


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_one_that_is_not_there_is_told_with_what_to_install(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgramError, match=r"is not on PATH(?s:.*)apt-get install prometheus"):
        find(name)
