"""``sidecar export dashboards``: the same dashboards in each form that Grafana takes."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from sidecar.cli import main
from sidecar.dashboards import Form, Settings, bundle, shipped, write
from tests.dashboards.boards import BOARDS, variables


def export(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["export", "dashboards", str(folder), *options])


def boards_in(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}


def without_source(board: dict[str, Any]) -> dict[str, Any]:
    """Leave out what differs between the forms."""
    rest = {key: value for key, value in json.loads(json.dumps(board)).items() if not key.startswith("__")}
    del rest["templating"]["list"][0]["current"]
    return rest


def test_without_options_the_files_are_for_the_import_dialog(tmp_path: Path) -> None:
    done = export(tmp_path)
    assert done.exit_code == 0, done.output
    assert boards_in(tmp_path) == BOARDS == shipped()
    assert "written" in done.output


def test_a_data_source_is_filled_in_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    assert export(tmp_path, "--datasource-uid", "mimir_eu").exit_code == 0
    found = boards_in(tmp_path)
    assert set(found) == set(BOARDS)
    for uid, board in found.items():
        assert variables(board)["datasource"]["current"]["value"] == "mimir_eu"
        assert "${DS_PROMETHEUS}" not in json.dumps(board)
        assert "__inputs" not in board
        assert without_source(board) == without_source(BOARDS[uid])


def test_provisioning_defines_the_data_source_the_folder_and_the_way_to_traces(tmp_path: Path) -> None:
    assert export(tmp_path, "--folder", 'On call: "Claude"').exit_code == 0
    folder = tmp_path / "provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards" / "claude-sidecar.yaml").read_text())["providers"]
    assert provider["folder"] == 'On call: "Claude"'
    assert provider["type"] == "file"
    metrics, traces = yaml.safe_load((folder / "datasources" / "claude-sidecar.yaml").read_text())["datasources"]
    assert metrics["type"] == "prometheus"
    assert metrics["uid"] == "claude-prometheus"
    assert metrics["jsonData"]["exemplarTraceIdDestinations"] == [{"name": "trace_id", "datasourceUid": traces["uid"]}]
    assert traces["type"] == "tempo"


def test_provisioning_and_dashboards_name_the_same_data_source(tmp_path: Path) -> None:
    assert export(tmp_path, "--datasource-uid", "prom-2").exit_code == 0
    text = (tmp_path / "provisioning" / "datasources" / "claude-sidecar.yaml").read_text()
    assert yaml.safe_load(text)["datasources"][0]["uid"] == "prom-2"


@pytest.mark.parametrize(("given", "labels"), [([], {"grafana_dashboard": "1"}), (["team=ai"], {"team": "ai"})])
def test_config_maps_hold_the_same_dashboards(tmp_path: Path, given: list[str], labels: dict[str, str]) -> None:
    options = [part for label in given for part in ("--resource-label", label)]
    assert export(tmp_path, "--format", "configmap", *options).exit_code == 0
    for uid, board in BOARDS.items():
        resource = yaml.safe_load((tmp_path / f"{uid}.yaml").read_text(encoding="utf-8"))
        assert resource["kind"] == "ConfigMap"
        assert resource["metadata"]["name"] == uid
        assert resource["metadata"]["labels"] == labels
        assert resource["metadata"]["annotations"] == {"grafana_folder": "Claude"}
        found = json.loads(resource["data"][f"{uid}.json"])
        assert without_source(found) == without_source(board)
        assert variables(found)["datasource"]["current"] == {}, "Grafana's default data source is taken"


@pytest.mark.parametrize(("given", "labels"), [([], {"dashboards": "grafana"}), (["env=prod"], {"env": "prod"})])
def test_the_operators_resources_hold_the_same_dashboards(
    tmp_path: Path, given: list[str], labels: dict[str, str]
) -> None:
    options = [part for label in given for part in ("--resource-label", label)]
    assert export(tmp_path, "--format", "operator", "--folder", "LLM", "--datasource-uid", "x", *options).exit_code == 0
    for uid, board in BOARDS.items():
        resource = yaml.safe_load((tmp_path / f"{uid}.yaml").read_text(encoding="utf-8"))
        assert resource["apiVersion"] == "grafana.integreatly.org/v1beta1"
        assert resource["kind"] == "GrafanaDashboard"
        assert resource["spec"]["folder"] == "LLM"
        assert resource["spec"]["instanceSelector"] == {"matchLabels": labels}
        found = json.loads(resource["spec"]["json"])
        assert without_source(found) == without_source(board)
        assert variables(found)["datasource"]["current"]["value"] == "x"


def test_a_resource_fits_into_kubernetes() -> None:
    for form in (Form.CONFIGMAP, Form.OPERATOR):
        assert all(len(text.encode()) < 1_000_000 for text in bundle(Settings(form=form)).values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--datasource-uid", "my source"], "'my source' is not the uid of a data source"),
        (["--datasource-uid", "${x}"], "is not the uid"),
        (["--folder", "  "], "is not a folder's name"),
        (["--folder", "a\nb"], "is not a folder's name"),
        (["--format", "terraform"], "'terraform' is not one of"),
        (["--resource-label", "team"], "'team' is not NAME=VALUE"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    tmp_path: Path, options: list[str], said: str
) -> None:
    done = export(tmp_path / "out", *options)
    assert done.exit_code == 2
    assert said in done.output
    assert not (tmp_path / "out").exists()


def test_exporting_needs_no_drawing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """What draws the dashboards is a dependency of development, not of users."""
    monkeypatch.setitem(__import__("sys").modules, "grafana_foundation_sdk", None)
    assert len(bundle(Settings())) == 9


def test_a_folder_that_cannot_take_all_of_it_is_refused_in_one_line_and_gets_nothing(tmp_path: Path) -> None:
    (tmp_path / "provisioning").write_text("a file where a folder has to be")
    done = export(tmp_path)
    assert done.exit_code == 1
    assert done.output == f"Error: cannot write {tmp_path / 'provisioning'}: Not a directory\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "provisioning"]


def test_all_files_are_there_before_the_first_is_told_of(tmp_path: Path) -> None:
    """So that a list nobody reads to its end, as in a pipe into head, is no half of an export."""
    write(tmp_path, bundle(Settings()))
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 9
