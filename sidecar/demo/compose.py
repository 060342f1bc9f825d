"""A compose file for whoever has Docker and no Prometheus: everything that watches a demo, in four containers.

The containers share the host's network, as what they watch listens on loopback only.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from sidecar.demo import grafana
from sidecar.demo.own import export
from sidecar.demo.settings import delivering, scraping

__all__ = ["write"]

_IMAGES: Final = {
    "prometheus": "prom/prometheus:v3.5.0",
    "alertmanager": "prom/alertmanager:v0.28.1",
    "grafana": "grafana/grafana:12.1.0",
    "tempo": "grafana/tempo:2.8.2",
}
_TEMPO: Final[dict[str, Any]] = {
    "server": {"http_listen_address": "127.0.0.1", "http_listen_port": 3200},
    "distributor": {"receivers": {"otlp": {"protocols": {"http": {"endpoint": "127.0.0.1:4318"}}}}},
    "storage": {"trace": {"backend": "local", "local": {"path": "/tmp/tempo"}, "wal": {"path": "/tmp/wal"}}},  # noqa: S108  # in its own container
}


def write(folder: Path, targets: Mapping[str, str], webhook: str, values: Path) -> Path:
    """Write ``compose.yaml`` and everything it mounts; ``targets`` is job -> ``host:port``."""
    folder.mkdir(parents=True, exist_ok=True)
    export("alerts", folder / "alerts", "--values", str(values), "--native", "--force")
    example = (folder / "alerts" / "alertmanager" / "alertmanager.example.yaml").read_text(encoding="utf-8")
    watched = scraping({job: [target] for job, target in targets.items()}, alertmanager="127.0.0.1:9093")
    watched["rule_files"] = ["/etc/prometheus/rules/*.yaml"]
    grafana.provision(
        folder / "grafana", prometheus="http://127.0.0.1:9090", dashboards_at="/var/lib/grafana/dashboards"
    )
    for name, content in {
        "prometheus.yml": watched,
        "alertmanager.yml": delivering(example, webhook),
        "tempo.yaml": _TEMPO,
    }.items():
        (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")  # JSON is YAML
    file = folder / "compose.yaml"
    file.write_text(yaml.safe_dump({"services": _services()}, sort_keys=False), encoding="utf-8")
    return file


def _services() -> dict[str, Any]:
    return {
        "prometheus": _service(
            "prometheus",
            {"prometheus.yml": "/etc/prometheus/prometheus.yml", "alerts/rules": "/etc/prometheus/rules"},
            "--config.file=/etc/prometheus/prometheus.yml",
            "--web.listen-address=127.0.0.1:9090",
            "--enable-feature=native-histograms,exemplar-storage",
        ),
        "alertmanager": _service(
            "alertmanager",
            {"alertmanager.yml": "/etc/alertmanager/alertmanager.yml"},
            "--config.file=/etc/alertmanager/alertmanager.yml",
            "--web.listen-address=127.0.0.1:9093",
            "--cluster.listen-address=",
        ),
        "tempo": _service("tempo", {"tempo.yaml": "/etc/tempo.yaml"}, "-config.file=/etc/tempo.yaml"),
        "grafana": {
            **_service(
                "grafana",
                {"grafana/provisioning": "/etc/grafana/provisioning", "grafana": "/var/lib/grafana/dashboards"},
            ),
            "environment": {
                "GF_SERVER_HTTP_ADDR": "127.0.0.1",
                "GF_AUTH_ANONYMOUS_ENABLED": "true",
                "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
            },
        },
    }


def _service(name: str, mounts: Mapping[str, str], *command: str) -> dict[str, Any]:
    return {
        "image": _IMAGES[name],
        "network_mode": "host",
        "volumes": [f"./{ours}:{theirs}:ro" for ours, theirs in mounts.items()],
        **({"command": list(command)} if command else {}),
    }
