"""What the servers are told: whom to scrape, which rules to evaluate, where alerts go. Plain data, written as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

__all__ = ["delivering", "scraping"]

_PAUSES: Final = ("group_wait", "group_interval", "repeat_interval")


def scraping(
    jobs: Mapping[str, Sequence[str]],
    *,
    every: str = "1s",
    rules: Sequence[Path] = (),
    alertmanager: str | None = None,
) -> dict[str, Any]:
    """Let Prometheus scrape each job's targets (``host:port``), evaluate rule files, and send alerts to one address."""
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(file) for file in rules],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(targets)}]} for job, targets in jobs.items()
        ],
        **(
            {"alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}} if alertmanager else {}
        ),
    }


def delivering(example: str, url: str, *, within: str = "1s") -> dict[str, Any]:
    """Take an Alertmanager configuration with its routes and inhibitions, but let every receiver be one webhook.

    ``within`` is how long alerts are collected before they, or changes to them, are sent.
    """
    config: dict[str, Any] = yaml.safe_load(example)
    _hurry(config["route"], within)
    config["receivers"] = [
        {"name": receiver["name"], "webhook_configs": [{"url": url, "send_resolved": True}]}
        for receiver in config["receivers"]
    ]
    return config


def _hurry(route: dict[str, Any], within: str) -> None:
    route.update({"group_wait": within, "group_interval": within, "repeat_interval": "1h"})
    for child in route.get("routes", ()):
        _hurry(child, within)
