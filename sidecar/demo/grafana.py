"""Grafana with our dashboards: what it is provisioned with, and starting one that is installed.

Neither Debian nor the package registries have Grafana, so no test of ours starts a real one.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from sidecar.demo.own import export

__all__ = ["DASHBOARDS", "environment", "program", "provision"]

DASHBOARDS: Final = "/d/claude-overview"
"""The page to open first."""
_HOMES: Final = ("/usr/share/grafana", "/opt/homebrew/opt/grafana/share/grafana", "/usr/local/share/grafana")


def program() -> list[str] | None:
    """Return the command that starts the Grafana on PATH, if there is one."""
    found = shutil.which("grafana")
    command = [found, "server"] if found else [old] if (old := shutil.which("grafana-server")) else None
    home = next((home for home in _HOMES if Path(home).is_dir()), None)
    return None if command is None else [*command, *(["--homepath", home] if home else [])]


def provision(folder: Path, *, prometheus: str, dashboards_at: str | None = None) -> Path:
    """Write dashboards and provisioning into a folder; Grafana sees the dashboards at ``dashboards_at``."""
    export("dashboards", folder)
    provisioning = folder / "provisioning"
    for kind, change in (("datasources", {"url": prometheus}), ("dashboards", {"path": dashboards_at or str(folder)})):
        for file in (provisioning / kind).glob("*.yaml"):
            known: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
            if kind == "datasources":
                next(each for each in known["datasources"] if each["type"] == "prometheus").update(change)
            else:
                for provider in known["providers"]:
                    provider["options"].update(change)
            file.write_text(yaml.safe_dump(known, sort_keys=False), encoding="utf-8")
    return provisioning


def environment(home: Path, provisioning: Path, port: int) -> Mapping[str, str]:
    """Let it listen on loopback, keep everything under ``home``, and show dashboards to whoever asks."""
    return {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_PATHS_DATA": str(home / "grafana"),
        "GF_PATHS_LOGS": str(home / "grafana"),
        "GF_PATHS_PLUGINS": str(home / "grafana" / "plugins"),
        "GF_PATHS_PROVISIONING": str(provisioning),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    }
