"""The Alertmanager example: amtool accepts it, and alerts go where they should."""

import re
import subprocess
from pathlib import Path

import pytest

from sidecar.alerts import ALERT_NAMES, load_values
from sidecar.alerts.export import Layout, bundle

EXAMPLE = bundle(load_values(), [], Layout())["alertmanager/alertmanager.example.yaml"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "alertmanager.yaml"
    file.write_text(EXAMPLE)
    return file


def test_amtool_accepts_it(config: Path) -> None:
    done = subprocess.run(["amtool", "check-config", str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("severity", "receiver"), [("page", "on-call"), ("ticket", "tickets"), ("info", "notes")])
def test_a_severity_reaches_its_receiver(severity: str, receiver: str, config: Path) -> None:
    done = subprocess.run(
        ["amtool", "config", "routes", "test", f"--config.file={config}", f"severity={severity}", "job=app"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == receiver, done.stderr


def test_every_severity_of_the_table_is_routed() -> None:
    assert {values.given["severity"] for values in load_values().alerts.values()} == {"page", "ticket", "info"}


def test_every_alert_it_names_exists() -> None:
    named = {name for names in re.findall(r'alertname=~?"([A-Za-z|]+)"', EXAMPLE) for name in names.split("|")}
    assert named <= set(ALERT_NAMES)
    assert len(named) == 7


def test_no_secret_stands_in_it() -> None:
    assert not re.search(r"(api_url|routing_key|password|token):", EXAMPLE)
