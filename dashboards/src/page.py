"""Putting panels on a page: places and ids, links that keep the time range and the filters, annotations."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from dashboards.src import palette
from dashboards.src.panels import Panel
from dashboards.src.query import JOB, PROCESS, select
from dashboards.src.variables import DATASOURCE, INPUT, datasource, label

TAG: Final = "claude-sidecar"
_COLUMNS: Final = 24

PAGES: Final = {
    "claude-overview": "Overview",
    "claude-latency": "Latency",
    "claude-timeouts-retries": "Timeouts and retries",
    "claude-breakers-limits": "Breakers and limits",
    "claude-slo": "SLO",
    "claude-tokens": "Tokens and prompts",
    "claude-sidecar-health": "Sidecar health",
}
"""uid -> title. The uids are what alerts and bookmarks point to: they never change."""


@dataclass(frozen=True, slots=True)
class Line:
    """Panels side by side; what their widths leave of the 24 columns stays empty."""

    height: int
    panels: Sequence[tuple[int, Panel]]
    """Width and panel."""


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under a heading."""

    title: str
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A whole dashboard."""

    uid: str
    description: str
    variables: Sequence[str]
    sections: Sequence[Section]
    since: str = "now-3h"


def assemble(page: Page) -> dict[str, Any]:
    """Build the dashboard as Grafana's import dialog and its provisioning take it."""
    title = PAGES[page.uid]
    board = (
        build.Dashboard(f"Claude / {title}")
        .uid(page.uid)
        .description(page.description)
        .tags([TAG, "claude"])
        .timezone("browser")
        .time(page.since, "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        # Whoever changes a provisioned dashboard loses the change with the next release; a copy stays.
        .readonly()
        .with_variable(datasource())
    )
    for name in page.variables:
        board.with_variable(label(name))
    for uid, name in PAGES.items():
        if uid != page.uid:
            board.link(_link(uid, name))
    for panel in _place(page.sections):
        board.with_panel(panel)
    return _finished(board.build(), page)


def _place(sections: Sequence[Section]) -> list[Any]:
    placed: list[Any] = []
    y = 0
    for section in sections:
        if section.title:
            row = build.Row(section.title).id(len(placed) + 1)
            placed.append(row.grid_pos(model.GridPos(x=0, y=y, w=_COLUMNS, h=1)))
            y += 1
        for line in section.lines:
            x = 0
            for width, panel in line.panels:
                built = panel.build()
                built.id_val = len(placed) + 1
                built.grid_pos = model.GridPos(x=x, y=y, w=width, h=line.height)
                placed.append(_Built(built))
                x += width
            y += line.height
    return placed


class _Built:
    """A finished panel where the SDK wants something to build."""

    def __init__(self, panel: model.Panel) -> None:
        self._panel: Final = panel

    def build(self) -> model.Panel:
        """Return it."""
        return self._panel


def _link(uid: str, name: str) -> build.DashboardLink:
    return (
        build.DashboardLink(name)
        .type(model.DashboardLinkType.LINK)
        .url(f"/d/{uid}")
        .icon("dashboard")
        .keep_time(keep_time=True)
        .include_vars(include_vars=True)
    )


def _annotations(page: Page) -> list[dict[str, Any]]:
    # Plain data: the SDK knows the annotations of Grafana's own store, and little of Prometheus'.
    marked = {
        "name": "Deploys",
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": False,
        "iconColor": palette.QUIET,
        "target": {"type": "tags", "tags": ["deploy"], "matchAny": True, "limit": 100},
    }
    started = f"max by (job) ({select('process_start_time_seconds', PROCESS)})"
    opened = select("claude_breaker_transitions_total", JOB, 'to=~"open|forced_open"', window="2m")
    annotations = [marked, _annotation("Process starts", f"time() - {started} < 120", palette.QUIET, "{{job}} started")]
    if "source" in page.variables:
        annotations.append(
            _annotation(
                "Breaker opened",
                f"sum by (breaker) (increase({opened})) > 0",
                palette.BAD,
                "The breaker of {{breaker}} opened",
            )
        )
    return annotations


def _annotation(name: str, expr: str, color: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "datasource": DATASOURCE.to_json(),
        "enable": True,
        "hide": False,
        "iconColor": color,
        "expr": expr,
        "step": "60s",
        "titleFormat": name,
        "textFormat": text,
        "useValueForTime": False,
    }


def _finished(board: model.Dashboard, page: Page) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(board, cls=JSONEncoder))
    plain["annotations"] = {"list": _annotations(page)}
    kinds = sorted({panel["type"] for panel in plain["panels"]} - {"row"})
    return {
        "__inputs": [
            {
                "name": INPUT,
                "label": "Prometheus",
                "description": "Where the metrics and recorded series of claude-sidecar are.",
                "type": "datasource",
                "pluginId": "prometheus",
                "pluginName": "Prometheus",
            }
        ],
        "__requires": [
            {"type": "grafana", "id": "grafana", "name": "Grafana", "version": "11.0.0"},
            {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"},
            *({"type": "panel", "id": kind, "name": kind, "version": ""} for kind in kinds),
        ],
        **plain,
    }
