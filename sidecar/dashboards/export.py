"""The dashboards as files for Grafana: to provision or import, or as Kubernetes resources.

`bundle` decides what stands in which file; `write` puts it on disk. What the panels show was decided when the bundled
files were made; here only the data source is filled in.
"""

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from textwrap import indent
from typing import Any, Final

DEFAULT_UID: Final = "claude-prometheus"
"""The data source that the provisioning files define, unless another one is named."""
_UID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_MADE: Final = "# Made by `sidecar export dashboards`.\n"


class Form(StrEnum):
    """Who loads the dashboards."""

    JSON = "json"
    """Grafana itself, from files or through its import dialog."""
    CONFIGMAP = "configmap"
    """The container beside Grafana that collects labelled ConfigMaps."""
    OPERATOR = "operator"
    """The Grafana operator, as GrafanaDashboard resources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What two teams may want differently."""

    form: Form = Form.JSON
    datasource_uid: str | None = None
    """The Prometheus data source to begin with. None leaves it open: the import dialog asks, else Grafana's default."""
    folder: str = "Claude"
    """Grafana's folder for them."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """By which the resources are found: of the ConfigMaps, or of the Grafana instances that the operator manages."""

    def __post_init__(self) -> None:
        if self.datasource_uid is not None and not _UID.fullmatch(self.datasource_uid):
            raise ValueError(
                f"{self.datasource_uid!r} is not the uid of a data source: up to 40 letters, digits, - and _;"
                " Grafana shows it in the address of the data source's page"
            )
        if not self.folder.strip() or not self.folder.isprintable():
            raise ValueError(f"{self.folder!r} is not a folder's name: it needs at least one visible character")


@cache
def _texts() -> Mapping[str, str]:
    return {
        item.name.removesuffix(".json"): item.read_text(encoding="utf-8")
        for item in sorted(_data().iterdir(), key=lambda item: item.name)
        if item.name.endswith(".json")
    }


def shipped() -> dict[str, dict[str, Any]]:
    """Return the dashboards by uid, as Grafana's import dialog takes them."""
    return {uid: json.loads(text) for uid, text in _texts().items()}


def bundle(settings: Settings) -> dict[str, str]:
    """Build every file, by its path below the folder."""
    boards = {uid: _opened_with(board, settings) for uid, board in shipped().items()}
    if settings.form is Form.JSON:
        return {**{f"{uid}.json": _text(board) for uid, board in boards.items()}, **_provisioning(settings)}
    return {f"{uid}.yaml": _resource(uid, _text(board), settings) for uid, board in boards.items()}


def write(folder: Path, built: Mapping[str, str]) -> list[Path]:
    """Write the files, and return the path of each."""
    paths = [folder / name for name in built]
    for path, text in zip(paths, built.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return paths


def _opened_with(board: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Fill in the data source that the dashboard opens with."""
    uid = settings.datasource_uid
    if uid is None and settings.form is Form.JSON:
        return board
    opened = copy.deepcopy(board)
    # Only the import dialog knows inputs; everywhere else they would stay unanswered.
    del opened["__inputs"], opened["__requires"]
    (variable,) = (each for each in opened["templating"]["list"] if each["type"] == "datasource")
    variable["current"] = {"selected": True, "text": uid, "value": uid} if uid else {}
    return opened


def _text(board: dict[str, Any]) -> str:
    return json.dumps(board, indent=2, ensure_ascii=False) + "\n"


def _provisioning(settings: Settings) -> dict[str, str]:
    values = {"uid": settings.datasource_uid or DEFAULT_UID, "folder": json.dumps(settings.folder, ensure_ascii=False)}
    return {
        f"provisioning/{kind}/claude-sidecar.yaml": _MADE
        + Template((_data() / "provisioning" / f"{kind}.yaml").read_text(encoding="utf-8")).substitute(values)
        for kind in ("dashboards", "datasources")
    }


def _resource(uid: str, text: str, settings: Settings) -> str:
    folder = json.dumps(settings.folder, ensure_ascii=False)  # a JSON string is a YAML string
    if settings.form is Form.CONFIGMAP:
        return (
            f"{_MADE}apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {uid}\n"
            f"  labels:\n{_pairs(settings.labels or {'grafana_dashboard': '1'}, 4)}"
            f"  annotations:\n    grafana_folder: {folder}\n"
            f"data:\n  {uid}.json: |\n{indent(text, '    ')}"
        )
    return (
        f"{_MADE}apiVersion: grafana.integreatly.org/v1beta1\nkind: GrafanaDashboard\nmetadata:\n  name: {uid}\n"
        f"spec:\n  folder: {folder}\n"
        f"  instanceSelector:\n    matchLabels:\n{_pairs(settings.labels or {'dashboards': 'grafana'}, 6)}"
        f"  json: |\n{indent(text, '    ')}"
    )


def _pairs(labels: Mapping[str, str], by: int) -> str:
    return "".join(f"{' ' * by}{json.dumps(name)}: {json.dumps(value)}\n" for name, value in labels.items())


def _data() -> Traversable:
    return files("sidecar.dashboards") / "data"
