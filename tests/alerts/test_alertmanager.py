"""The Alertmanager example: amtool accepts it, and alerts go where they should."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from sidecar.alerts import ALERT_NAMES, load_values
from sidecar.alerts.export import Layout, bundle
from sidecar.rules import seconds

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


def test_a_severity_that_is_spelled_otherwise_reaches_the_same_receiver(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yaml"
    values = load_values("severities: {page: critical, ticket: page}")
    file.write_text(bundle(values, [], Layout())["alertmanager/alertmanager.example.yaml"])
    for severity, receiver in (("critical", "on-call"), ("page", "tickets"), ("info", "notes")):
        test_a_severity_reaches_its_receiver(severity, receiver, file)
    rules = yaml.safe_load(file.read_text())["inhibit_rules"]
    assert [rules[0][side][0] for side in ("source_matchers", "target_matchers")] == [
        'severity="critical"',
        'severity="page"',
    ]


@pytest.mark.parametrize("where", [("pagerduty_configs", "description"), ("slack_configs", "title")])
def test_a_message_about_several_models_says_something_of_each(where: tuple[str, str], tmp_path: Path) -> None:
    """What they have in common would be nothing, as each summary names its model; PagerDuty takes no empty one."""
    kind, field = where
    (on_call,) = (each for each in yaml.safe_load(EXAMPLE)["receivers"] if each["name"] == "on-call")
    summaries = [f"5% of the calls of app to {model} time out" for model in ("a", "b")]
    alerts = [{"status": "firing", "labels": {}, "annotations": {"summary": text}} for text in summaries]
    (tmp_path / "data.json").write_text(json.dumps({"status": "firing", "alerts": alerts, "commonAnnotations": {}}))
    (tmp_path / "none.tmpl").write_text("")
    done = subprocess.run(
        [
            *("amtool", "template", "render", f"--template.glob={tmp_path}/*.tmpl"),
            *("--template.data", "data.json", "--template.text", on_call[kind][0][field]),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip().removeprefix("[FIRING] ") == "; ".join(summaries), done.stderr


def test_nothing_is_repeated_less_often_than_alertmanager_remembers() -> None:
    """By itself it keeps five days, and warns of what is to be repeated after more."""
    found = re.findall(r"repeat_interval: (\S+)", EXAMPLE)
    assert len(found) == 3
    assert all(seconds(interval) <= 5 * 86400 for interval in found)


def test_every_severity_of_the_table_is_routed() -> None:
    assert {values.given["severity"] for values in load_values().alerts.values()} == {"page", "ticket", "info"}


def test_every_alert_it_names_exists() -> None:
    named = {name for names in re.findall(r'alertname=~?"([A-Za-z|]+)"', EXAMPLE) for name in names.split("|")}
    assert named <= set(ALERT_NAMES)
    assert len(named) == 7


def test_no_secret_stands_in_it() -> None:
    assert not re.search(r"(api_url|routing_key|password|token):", EXAMPLE)
