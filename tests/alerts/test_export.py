"""`sidecar export alerts`: the files, their safety, and that the repository's copy is up to date."""

import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from sidecar.cli import main

ROOT = Path(__file__).parents[2]


def export(folder: Path, *args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["export", "alerts", str(folder), *args], input=stdin)


def contents(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_the_repositorys_alerts_are_what_make_alerts_writes(tmp_path: Path) -> None:
    for kind in ("--native", "--classic"):
        assert export(tmp_path, kind).exit_code == 0
    assert contents(tmp_path) == contents(ROOT / "alerts")


@pytest.mark.parametrize("kind", ["native", "classic"])
def test_prometheus_loads_everything_that_is_exported(kind: str, tmp_path: Path) -> None:
    assert export(tmp_path, f"--{kind}", "--label", "team=ai").exit_code == 0
    files = sorted((tmp_path / "rules").iterdir())
    assert [file.name for file in files] == ["alerts.yaml", f"recording-{kind}.yaml", f"slo-{kind}.yaml"]
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint=all", "--lint-fatal", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_carries_the_labels_of_the_command_line(tmp_path: Path) -> None:
    export(tmp_path, "--label", "team=ai", "--set", "severities.page=critical")
    for name in ("alerts", "slo-classic"):
        groups = yaml.safe_load((tmp_path / "rules" / f"{name}.yaml").read_text())["groups"]
        alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
        assert alerts
        assert {alert["labels"]["team"] for alert in alerts} == {"ai"}
        assert {alert["labels"]["severity"] for alert in alerts} <= {"critical", "ticket", "info"}


def test_the_operator_gets_resources_it_can_find(tmp_path: Path) -> None:
    export(tmp_path / "plain")
    export(tmp_path / "crd", "--format", "operator", "--resource-label", "release=prometheus")
    for file in sorted((tmp_path / "crd" / "rules").iterdir()):
        resource = yaml.safe_load(file.read_text())
        assert resource["kind"] == "PrometheusRule"
        assert resource["metadata"] == {"name": f"claude-sidecar-{file.stem}", "labels": {"release": "prometheus"}}
        plain = yaml.safe_load((tmp_path / "plain" / "rules" / file.name).read_text())
        assert resource["spec"] == plain


def test_values_and_objectives_come_from_files_and_stdin(tmp_path: Path) -> None:
    slo = tmp_path / "mine.yaml"
    slo.write_text("version: sidecar/v1\nservice: s\nslos: [{name: a, kind: timeout, objective: 99}]\n")
    done = export(
        tmp_path / "out", "--values", "-", "--slo", str(slo), stdin="alerts: {ClaudeNoTraffic: {enabled: false}}"
    )
    assert done.exit_code == 0, done.output
    assert "ClaudeNoTraffic\n" not in (tmp_path / "out/rules/alerts.yaml").read_text()
    assert "sloth_id: s-a" in (tmp_path / "out/rules/slo-classic.yaml").read_text()


def test_what_a_team_edited_is_kept_unless_forced(tmp_path: Path) -> None:
    export(tmp_path)
    edited = tmp_path / "slo.yaml"
    edited.write_text("mine")
    assert f"kept    {edited}" in export(tmp_path).output
    assert edited.read_text() == "mine"
    export(tmp_path, "--force")
    assert edited.read_text() != "mine"


def test_both_ways_of_storing_histograms_in_one_folder_are_warned_of(tmp_path: Path) -> None:
    assert "not both" not in export(tmp_path, "--native").output
    assert "load either the classic or the native rules, not both" in export(tmp_path, "--classic").output


def test_links_that_nobody_else_can_follow_are_warned_of_until_they_are_set(tmp_path: Path) -> None:
    """A default cannot know where a team reads its runbooks, so it names the file, which is there."""
    said = export(tmp_path).output
    assert f"publish {tmp_path}/runbooks" in said
    assert "a Grafana at http://localhost:3000" in said
    rules = yaml.safe_load((tmp_path / "rules" / "alerts.yaml").read_text())
    for rule in (rule for rule in rules["groups"][0]["rules"] if "alert" in rule):
        assert (tmp_path / rule["annotations"]["runbook_url"]).is_file()
    links = ("--set", "links.runbooks=https://wiki/", "--set", "links.dashboards=https://grafana")
    assert "warning" not in export(tmp_path, *links).output
    assert "runbook_url: https://wiki/Claude" in (tmp_path / "rules" / "alerts.yaml").read_text()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--set", "ClaudeTimeoutSpik.ratio=1"], "did you mean 'ClaudeTimeoutSpike'?"),
        (["--values", "-"], "line 1: error: the file must be a mapping"),
        (["--slo", "-"], "<stdin>:1: error: version must be sidecar/v1"),
        (["--label", "team"], "'team' is not NAME=VALUE"),
        (["--resource-label", "x"], "'x' is not NAME=VALUE"),
        (["--format", "xml"], "'xml' is not one of 'prometheus', 'operator'"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(args: list[str], said: str, tmp_path: Path) -> None:
    done = export(tmp_path / "out", *args, stdin="[]")
    assert done.exit_code != 0
    assert said in done.output
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_take_all_of_it_is_refused_in_one_line_and_gets_nothing(tmp_path: Path) -> None:
    (tmp_path / "runbooks").write_text("a file where a folder has to be")
    done = export(tmp_path)
    assert done.exit_code == 1
    assert done.output == f"Error: cannot write {tmp_path / 'runbooks'}: Not a directory\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "runbooks"]


@pytest.mark.parametrize("option", ["--values", "--slo"])
def test_a_file_that_is_no_text_is_refused_in_one_line(option: str, tmp_path: Path) -> None:
    (tmp_path / "given.yaml").write_bytes(b"\xff\xfe")
    done = export(tmp_path / "out", option, str(tmp_path / "given.yaml"))
    assert done.exit_code == 1
    assert done.output == f"Error: {tmp_path / 'given.yaml'} is not UTF-8 text\n"
    assert not (tmp_path / "out").exists()
