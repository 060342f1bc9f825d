"""The compose file mounts what is there, and what is mounted is accepted by the programs it is for."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.demo import find
from sidecar.demo.compose import write
from sidecar.demo.grafana import environment, program, provision
from sidecar.demo.stage import values_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "watching", {"proxy": "127.0.0.1:1"}, "http://127.0.0.1:2/", values_of(tmp_path))
    return tmp_path / "watching"


def test_everything_that_is_mounted_is_there(folder: Path) -> None:
    services: dict[str, Any] = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    assert set(services) == {"prometheus", "alertmanager", "grafana", "tempo"}
    for service in services.values():
        for volume in service["volumes"]:
            assert (folder / volume.split(":")[0]).exists(), volume


def test_the_programs_accept_their_configuration(folder: Path) -> None:
    # The rules are where only the container has them, so they are checked by themselves.
    subprocess.run([find("promtool"), "check", "config", "--syntax-only", folder / "prometheus.yml"], check=True)
    subprocess.run([find("promtool"), "check", "rules", *(folder / "alerts" / "rules").iterdir()], check=True)
    subprocess.run([find("amtool"), "check-config", folder / "alertmanager.yml"], check=True)


def test_it_can_be_written_again(folder: Path, tmp_path: Path) -> None:
    write(folder, {"proxy": "127.0.0.1:3"}, "http://127.0.0.1:2/", values_of(tmp_path))
    assert "127.0.0.1:3" in (folder / "prometheus.yml").read_text()


def test_grafana_asks_the_prometheus_it_is_told_of(tmp_path: Path) -> None:
    provisioning = provision(tmp_path / "boards", prometheus="http://127.0.0.1:9")
    (sources,) = (yaml.safe_load(file.read_text()) for file in (provisioning / "datasources").iterdir())
    assert [each["url"] for each in sources["datasources"] if each["type"] == "prometheus"] == ["http://127.0.0.1:9"]
    (provider,) = (yaml.safe_load(file.read_text()) for file in (provisioning / "dashboards").iterdir())
    assert provider["providers"][0]["options"]["path"] == str(tmp_path / "boards")
    told = environment(tmp_path, provisioning, 3)
    assert (told["GF_SERVER_HTTP_ADDR"], told["GF_PATHS_PROVISIONING"]) == ("127.0.0.1", str(provisioning))


@pytest.mark.parametrize(("name", "arguments"), [("grafana", ["server"]), ("grafana-server", [])], ids=["new", "old"])
def test_an_installed_grafana_is_found_by_either_name(
    name: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program() is None
    (tmp_path / name).touch(0o755)
    command = program()
    assert command is not None
    assert command[: 1 + len(arguments)] == [str(tmp_path / name), *arguments]
