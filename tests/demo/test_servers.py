"""The real servers start on free ports, answer, are told apart by what they say, and end."""

import json
import sys
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


FAKE = f"""#!{sys.executable}
import http.server, re, sys
if "--help" in sys.argv:
    sys.exit(print("Valid options: {{known}}"))
print(*sys.argv[1:], flush=True)
host, port = re.search(r"listen-address=(.+):([0-9]+)", " ".join(sys.argv)).groups()
http.server.HTTPServer((host, int(port)), type("Handler", (http.server.BaseHTTPRequestHandler,), {{{{
    "do_GET": lambda self: (self.send_response(200), self.end_headers())
}}}})).serve_forever()
"""


@pytest.mark.parametrize(
    ("known", "flags", "setting"),
    [
        ("exemplar-storage, native-histograms.", "--enable-feature=native-histograms,exemplar-storage", None),
        ("exemplar-storage, old-ui.", "--enable-feature=exemplar-storage", True),
    ],
)
def test_native_histograms_are_turned_on_the_way_this_prometheus_knows(
    known: str, flags: str, setting: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prometheus 2 wants a flag; since 3.9 it is ignored, and a setting wanted that Prometheus 2 refuses."""
    program = tmp_path / "prometheus"
    program.write_text(FAKE.format(known=known))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with prometheus(tmp_path, scraping({}), features=("native-histograms", "exemplar-storage")) as server:
        given = server.process.log.read_text()
    assert flags in given.split()
    config = json.loads((tmp_path / "prometheus.yml").read_text())
    assert config["global"].get("scrape_native_histograms") is setting
    assert config["global"]["scrape_interval"] == "1s"


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_one_that_is_not_there_is_told_with_what_to_install(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgramError, match=r"is not on PATH(?s:.*)apt-get install prometheus"):
        find(name)
